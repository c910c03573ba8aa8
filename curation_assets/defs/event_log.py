"""The storage class under the name that dagster.yaml files use; see `defs.run.event_log`."""

from curation_assets.defs.run.event_log import BatchedSqliteStorage

__all__ = ["BatchedSqliteStorage"]
