"""Where heavy work runs. Importing this package does not import Ray."""

from __future__ import annotations

from curation_assets.engines.base import Engine
from curation_assets.engines.local import LocalEngine
from curation_assets.pools import EngineSettings

__all__ = ["Engine", "LocalEngine", "build_engine"]


def build_engine(settings: EngineSettings, memory_budget: int) -> Engine:
    """The engine that resolved settings describe; a worker peaks at `memory_budget` bytes at most.

    Raises:
        PoolSpecError: if the engine is Ray and Ray is not installed.
    """
    if settings.kind == "local":
        return LocalEngine()
    from curation_assets.engines.ray.engine import RayEngine

    return RayEngine(settings, memory_budget)
