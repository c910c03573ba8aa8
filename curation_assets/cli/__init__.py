"""The command line `curation-assets`: a thin layer over Dagster that needs no server and no daemon."""
