"""`curation-assets plan`: the estimated cost of curating a pool, stage by stage, and its assumptions."""
