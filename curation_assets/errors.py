"""Errors that a caller may want to handle; each message names the setting or file, its value and the remedy."""


class CurationError(Exception):
    """Base class of every error this package raises on purpose."""


class PoolSpecError(CurationError, ValueError):
    """A pool's YAML, or a setting of it, cannot be carried out."""


class ShardError(CurationError):
    """One shard of a pool cannot be processed; other shards are unaffected."""


class StaleInputError(CurationError):
    """A step was asked to run on inputs that are missing or were made with other settings."""


class PoolBusyError(CurationError):
    """Another process is already working on the same pool."""
