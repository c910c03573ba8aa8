"""Contaminated samples and duplicates."""
