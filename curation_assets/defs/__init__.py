"""Everything Dagster: assets, partitions, checks, jobs, sensors and schedules."""
