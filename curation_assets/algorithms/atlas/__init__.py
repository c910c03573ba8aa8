"""The two-dimensional map of a pool."""
