"""MuseGAN: several tracks from four noises."""
