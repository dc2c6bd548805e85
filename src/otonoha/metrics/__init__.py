"""Pure functions of music: one file per question, `compare` puts generated beside real."""
