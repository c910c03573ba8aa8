"""The layout of what the graph stores: outputs with their facts, shards, embeddings and clusters."""
