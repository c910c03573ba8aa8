"""Balanced datasets for self-supervised learning, curated by hierarchical k-means as a Dagster asset graph."""

__version__ = "0.5.0"
