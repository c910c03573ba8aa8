"""What a subset is worth, with and without labels, and the level of a tree to balance from."""
