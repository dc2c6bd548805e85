"""Copy this room to add a family; README.md says how."""
