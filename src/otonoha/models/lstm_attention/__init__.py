"""LSTM with attention: melodies (and chorale voices), one event after the other. See README.md in this room."""
