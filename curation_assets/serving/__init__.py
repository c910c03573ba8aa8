"""What a person's browser talks to on this machine: Dagster's UI, guarded, and the reports."""
