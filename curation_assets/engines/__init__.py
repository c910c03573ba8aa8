"""Where heavy work runs; importing this imports no Ray."""

from __future__ import annotations

from curation_assets.engines.base import Engine
from curation_assets.engines.local import LocalEngine
from curation_assets.pools import EngineSettings

__all__ = ["Engine", "LocalEngine", "build_engine"]


def build_engine(settings: EngineSettings, memory_budget: int) -> Engine:
    """The engine that settings describe.

    Args:
        settings: with what the environment says (see `resolve_engine`).
        memory_budget: bytes that a worker may take at its peak.

    Raises:
        PoolSpecError: if the engine is Ray and Ray is not installed.
    """
    if settings.kind == "local":
        return LocalEngine()
    from curation_assets.engines.ray.engine import RayEngine

    return RayEngine(settings, memory_budget)
