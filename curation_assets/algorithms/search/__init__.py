"""The exact nearest centroid of each row."""
