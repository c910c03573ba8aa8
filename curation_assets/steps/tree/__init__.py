"""The cluster tree: fits, assignments, drift, versions."""
