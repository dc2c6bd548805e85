"""Rooms of model families, and what they share: the verbs, the registry, loading."""
