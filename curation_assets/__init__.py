"""Balanced datasets for self-supervised learning, curated by hierarchical k-means as a Dagster asset graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curation_assets.components.pool import CurationPool

__version__ = "0.5.0"
__all__ = ["CurationPool"]


def __getattr__(name: str) -> Any:
    """Import Dagster for what needs it only: every module of the package imports this one."""
    if name != "CurationPool":
        raise AttributeError(f"module 'curation_assets' has no attribute '{name}'")
    from curation_assets.components.pool import CurationPool

    return CurationPool


def __dir__() -> list[str]:
    """Dagster's `dg` looks here for components."""
    return sorted([*globals(), *__all__])
