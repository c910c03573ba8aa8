"""Components for projects of Dagster's `dg`: a curated pool as one YAML file among a team's own definitions."""
