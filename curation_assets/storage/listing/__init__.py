"""The stored listing of a pool: its shards, and the table of their files."""
