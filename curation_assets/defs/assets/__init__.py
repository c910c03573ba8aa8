"""Assets of a pool, one factory per file."""
