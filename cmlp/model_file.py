"""Model files (being written)."""
