"""The path of one sample through the curation: its file, its fate and the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from curation_assets.pools import PoolSpec
from curation_assets.steps.dataset.start_level import BY_NAME, BY_PROBE
from curation_assets.storage.fates import CONTAMINATED_FATE, DUPLICATE_FATE, REJECTED_FATE, SELECTED_FATE
from curation_assets.storage.outputs import FACTS
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import Assigned, BalancedDataset, Embedded, Ledger, Selection, TokenCounts


@dataclass(frozen=True, slots=True)
class ClusterOfSample:
    """The sample's cluster at one level; `distance` is to its centroid."""

    level: int
    cluster: int
    distance: float


@dataclass(frozen=True, slots=True)
class Share:
    """What a target took from one of the sample's clusters."""

    level: int
    cluster: int
    size: int
    quota: int
    share: float
    """Quota by size."""
    navigates: bool
    """The level lies above the start level: its quota is the sum of its children's."""


@dataclass(frozen=True, slots=True)
class MeasuredLevel:
    """What one level would give a target, measured without labels."""

    level: int
    score: float
    noise: float
    collapsed: bool


@dataclass(frozen=True, slots=True)
class TargetOfSample:
    """One target, with the shares of the sample's clusters: top level first, in `unit`."""

    name: str
    unit: str
    requested: int
    selected: bool
    balance_from: int
    """Level whose clusters shared the target."""
    why_from: str
    """How the level was chosen."""
    evenness: float
    levels: tuple[MeasuredLevel, ...]
    """Level 1 first; none if the level was not chosen by measures."""
    shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class Twin:
    """The sample that this one repeats; `fate` is its own, None in an evaluation set."""

    twin_set: str
    sample_id: str
    similarity: float | None
    fate: str | None


@dataclass(frozen=True, slots=True)
class Story:
    """Everything known about one row of the raw pool."""

    pool: str
    sample_id: str
    shard: str
    raw_row: int
    file: str
    member: str | None
    offset: int | None
    size_bytes: int | None
    n_characters: int | None
    n_tokens: int | None
    fate: str | None
    """From the ledger; None if the shard has no ledger yet."""
    why: str
    reason: str | None
    detail: str | None
    ran_out_at: int | None
    clusters: tuple[ClusterOfSample, ...]
    """Level 1 first; none for a sample that was not embedded."""
    targets: tuple[TargetOfSample, ...]
    twin: Twin | None
    files: tuple[str, ...]
    """Output files that hold it."""
    out_of_date: str | None
    """Why the ledger is out of date, if it is."""


def tell(
    spec: PoolSpec, storage: PoolStorage, shard: str, raw_row: int, *, out_of_date: str | None = None
) -> Story:
    """The story of one row, as far as the pool is curated; `out_of_date` is why its ledger is."""
    raw = storage.raw_pool(shard).samples.read().row(raw_row, named=True)
    stored = storage.ledger(shard)
    ledger: dict[str, Any] = (
        stored.fates.read().row(raw_row, named=True) if stored.path(FACTS).exists() else {}
    )
    assigned = [storage.assigned(level, shard) for level in range(1, spec.n_levels + 1)]
    clusters = tuple(_clusters(storage.embedded(shard), assigned, raw_row))
    selected_for = ledger.get("targets") or []
    targets = tuple(_targets(storage.selection(), clusters, selected_for))
    twin = _twin(ledger, storage.ledger)
    return Story(
        pool=spec.name,
        sample_id=raw["sample_id"],
        shard=shard,
        raw_row=raw_row,
        file=raw["file"],
        member=raw["member"],
        offset=raw["offset"],
        size_bytes=raw["size_bytes"],
        n_characters=raw["n_characters"],
        n_tokens=_tokens(storage.token_counts(shard), raw_row) if spec.counts_tokens else None,
        fate=ledger.get("fate"),
        why=_why(ledger, clusters, targets, twin),
        reason=ledger.get("reason") or raw["reason"],
        detail=ledger.get("detail") or raw["detail"],
        ran_out_at=ledger.get("ran_out_at"),
        clusters=clusters,
        targets=targets,
        twin=twin,
        files=tuple(_files(storage.balanced_dataset(shard), selected_for)),
        out_of_date=out_of_date,
    )


def _clusters(embedded: Embedded, assigned: Sequence[Assigned], raw_row: int) -> Iterator[ClusterOfSample]:
    if not embedded.path(FACTS).exists():
        return
    rows = (embedded.rows.column("raw_row") == raw_row).arg_true()
    for level, stored in enumerate(assigned, start=1):
        if len(rows) and stored.path(FACTS).exists():
            cluster, distance = stored.rows.read("cluster", "distance").row(rows[0])
            yield ClusterOfSample(level, cluster, round(distance, 6))


def _tokens(stored: TokenCounts, raw_row: int) -> int | None:
    if not stored.path(FACTS).exists():
        return None
    found = stored.counts.read("raw_row", "n_tokens").filter(pl.col("raw_row") == raw_row)
    return int(found["n_tokens"][0]) if len(found) else None


def _targets(
    selection: Selection, clusters: tuple[ClusterOfSample, ...], selected_for: list[str]
) -> Iterator[TargetOfSample]:
    facts = selection.facts()
    if facts is None or not clusters or "balance_from" not in facts.summary:
        return
    summary, measured = facts.summary, selection.start_levels.read()
    mine = pl.any_horizontal(
        (pl.col("level") == step.level) & (pl.col("cluster") == step.cluster) for step in clusters
    )
    quotas = selection.quotas.read().filter(mine).sort("level", descending=True)
    for name, requested in summary["requested"].items():
        start = summary["balance_from"][name]
        shares = tuple(
            Share(level, cluster, size, quota, round(quota / size, 6) if size else 0.0, level > start)
            for level, cluster, size, quota in quotas.filter(pl.col("target") == name)
            .select("level", "cluster", "size", "quota")
            .iter_rows()
        )
        levels = tuple(
            MeasuredLevel(*figures)
            for figures in measured.filter(pl.col("target") == name)
            .select("level", "score", "noise", "collapsed")
            .iter_rows()
        )
        yield TargetOfSample(
            name=name,
            unit=summary["unit"][name],
            requested=requested,
            selected=name in selected_for,
            balance_from=start,
            why_from=_why_from(start, summary["chosen_by"][name], levels),
            evenness=summary["evenness"][name],
            levels=levels,
            shares=shares,
        )


def _why_from(start: int, chosen_by: str, levels: tuple[MeasuredLevel, ...]) -> str:
    if chosen_by == BY_NAME:
        return "named by the pool"
    if chosen_by == BY_PROBE:
        return "the probe learns most from it"
    if not levels:
        return "the only level that differs"
    healthy = [level for level in levels if not level.collapsed] or list(levels)
    best = max(healthy, key=lambda level: (level.score, level.level))
    if best.level != start:
        return f"its score is the same as that of level {best.level}, within noise, and it is higher"
    left_out = sum(level.score > best.score for level in levels)
    of = "the highest score" if not left_out else "the highest score of the levels that have not collapsed"
    return f"{of}, {best.score:.3f}"


def _twin(ledger: dict[str, Any], ledger_of: Callable[[str], Ledger]) -> Twin | None:
    if ledger.get("twin_id") is None:
        return None
    twin_set, twin_id, similarity = (ledger[name] for name in ("twin_set", "twin_id", "similarity"))
    fate = None
    if ledger["fate"] == DUPLICATE_FATE and (stored := ledger_of(twin_set)).path(FACTS).exists():
        fates = stored.fates.read("sample_id", "fate", "reason").filter(pl.col("sample_id") == twin_id)
        # An id can repeat inside a shard, where all but the first row are rejected; the first is the twin.
        fates = fates.sort(pl.col("reason").is_not_null())
        fate = fates["fate"][0] if len(fates) else None
    return Twin(twin_set, twin_id, None if similarity is None else round(similarity, 6), fate)


def _files(dataset: BalancedDataset, targets: list[str]) -> Iterator[str]:
    facts = dataset.facts()
    for name in sorted(facts.files) if facts else ():
        if name.partition("/")[0] in targets:
            yield str(dataset.path(name))


def _why(
    ledger: dict[str, Any],
    clusters: tuple[ClusterOfSample, ...],
    targets: tuple[TargetOfSample, ...],
    twin: Twin | None,
) -> str:
    fate = ledger.get("fate")
    if fate is None:
        return "its fate is not decided yet: the shard has no ledger"
    if fate == REJECTED_FATE:
        return f"{ledger['reason']}: {ledger['detail']}"
    if fate in (DUPLICATE_FATE, CONTAMINATED_FATE) and twin:
        cosine = "" if twin.similarity is None else f", similarity {twin.similarity:.4f}"
        own = f"; that one is {twin.fate.replace('_', ' ')}" if twin.fate else ""
        return f"{ledger['detail']}{cosine}{own}"
    if fate == SELECTED_FATE:
        return f"for {', '.join(ledger['targets'])}"
    return _where_it_ran_out(ledger.get("ran_out_at"), clusters, targets)


def _where_it_ran_out(
    level: int | None, clusters: tuple[ClusterOfSample, ...], targets: tuple[TargetOfSample, ...]
) -> str:
    if level:
        cluster = next((str(step.cluster) for step in clusters if step.level == level), "?")
        starts_here = any(
            target.balance_from == level and not share.quota
            for target in targets
            for share in target.shares
            if share.level == level
        )
        shared = "the whole target" if starts_here else f"its parent at level {level + 1}"
        return f"its cluster {cluster} at level {level} got nothing of the quota of {shared}"
    bottom = [(target, target.shares[-1]) for target in targets if target.shares and target.shares[-1].quota]
    if not bottom:
        return "its level-1 cluster had a share, and other samples went first"
    target, share = max(bottom, key=lambda entry: entry[1].share)
    return (
        f"its cluster {share.cluster} at level 1 had a quota of {share.quota:,} of {share.size:,} {target.unit} "
        f"(target {target.name}), and other samples went first"
    )
