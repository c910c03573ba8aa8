"""Near and exact duplicates."""
