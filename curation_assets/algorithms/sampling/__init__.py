"""The balanced draw down the tree."""
