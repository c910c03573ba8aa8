"""What a project's own files say of its pools, and the example that a new one starts from."""
