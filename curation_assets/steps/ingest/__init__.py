"""From the pool's files to embedded rows."""
