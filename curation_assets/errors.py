"""Errors that a caller may want to handle; each message names the setting or file, its value and the remedy."""


class CurationError(Exception):
    """Base class of every error this package raises on purpose."""


class PoolSpecError(CurationError, ValueError):
    """A setting of a pool, or an option of a command, is invalid."""


class ModelUnavailableError(PoolSpecError):
    """The model of a pool cannot be loaded, so none of its shards can be embedded."""


class ShardError(CurationError):
    """One shard of a pool cannot be processed; other shards are unaffected."""


class StaleInputError(CurationError):
    """A step cannot run because its inputs are missing or out of date."""


class DamagedFileError(CurationError):
    """A stored file is not what was written."""


class RemovalsError(CurationError):
    """So many files have left a pool at once that a person has to confirm it."""


class DeviceMemoryError(CurationError):
    """A card has no memory left for what a step does on it."""


class PoolBusyError(CurationError):
    """Another process is already running the same pool."""
