"""Names of the steps that several others read, as the settings of the pool have them."""

from __future__ import annotations

from curation_assets.pools import PoolSpec
from curation_assets.storage.tables import level_asset


def judges(spec: PoolSpec) -> list[str]:
    """The steps whose evidence excludes rows."""
    settings = {"contaminated": spec.decontamination, "duplicates": spec.deduplication}
    return [name for name, asked_for in settings.items() if asked_for]


def admitted_rows(spec: PoolSpec) -> tuple[str, ...]:
    """The step that says which rows may be drawn, if the pool is cleaned."""
    return ("admitted",) if spec.is_cleaned else ()


def of_levels(spec: PoolSpec, kind: str) -> tuple[str, ...]:
    """One kind of step of every level."""
    return tuple(level_asset(level, kind) for level in range(1, spec.n_levels + 1))


def probe_figure(spec: PoolSpec) -> dict[str, str]:
    """The figure that the probe chooses by, among the settings of steps that take its choice; empty for its default."""
    chooses = spec.probe is not None and any(target.asks_probe for target in spec.targets)
    return {"probe_figure": spec.probe.figure} if chooses and spec.probe and spec.probe.figure else {}
