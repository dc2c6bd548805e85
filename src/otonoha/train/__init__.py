"""The one training loop: batches, objectives, checkpoints, logging."""
