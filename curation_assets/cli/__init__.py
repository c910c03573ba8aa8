"""The command line `curation-assets`: thin over Dagster, needs no server and no daemon."""
