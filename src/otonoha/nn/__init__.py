"""Blocks that more than one room needs. Knows no music."""
