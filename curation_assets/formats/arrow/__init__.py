"""Parquet files: their batches, the Arrow types of their columns, and the rows beside arrays of embeddings."""
