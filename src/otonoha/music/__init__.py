"""Music as data: scores, audio, time, keys. Knows no files, no tokens and no models."""
