"""The life of a run: driver, locks, dead runs, tags, event log, executors."""
