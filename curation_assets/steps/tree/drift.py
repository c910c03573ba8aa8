"""drift: how each shard compares with the rows of the fit, and whether that calls for a new tree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from curation_assets.graph.refit import StandingTree, standing_tree
from curation_assets.pools import PoolSpec, RefitSettings
from curation_assets.steps.context import StepContext
from curation_assets.storage.fit_rows import FitRows
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import Assigned, Drift

if TYPE_CHECKING:
    from curation_assets.algorithms.drift import FitDistribution

KEEP, REFIT = "assign and re-select", "refit from level 1"
DRIFT_FIGURES = ("score", "distance_shift", "beyond_radius_share", "mass_shift")
_SAMPLED_ROWS = 2**22
"""Of the fit. They give its 99 % radius to within 0.005 %."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the tree stays, with the figures that decided."""

    reasons: tuple[str, ...]
    """Why to refit; empty if the tree stays."""
    new_rows: int
    """Rows in shards that arrived or changed since the fit."""
    gone_rows: int
    """Fitted rows whose shard changed or went."""
    new_rows_share: float
    """The larger of the two, as a share of the fitted rows."""
    drift_score: float
    """The largest among shards that arrived since the fit."""
    drifting_shards: tuple[str, ...]
    shards: pl.DataFrame
    """The figures of every shard."""

    @property
    def summary(self) -> str:
        """What is to be done."""
        return REFIT if self.reasons else KEEP


def measure_pool_drift(step: StepContext) -> None:
    """Store the drift figures of every shard, and what the pool's refit policy makes of them.

    Shards whose assignments did not change keep their stored figures. The distribution of the fit is measured once per
    tree, while all its shards are there. Figures of shards that arrived since the fit are shown on their embeddings.
    """
    step.report(0.1, "measuring shards")
    tree, earlier = standing_tree(step.spec, step.storage), step.storage.drift()
    known: dict[str, float] = {}
    if earlier.whole_facts():
        arrived = earlier.shards.read("shard", "score", "in_fit").filter(~pl.col("in_fit"))
        known = dict(arrived.select("shard", "score").iter_rows())
    decision = measure_shards(step.spec, step.storage, tree, step.writer)
    step.log(
        f"{decision.summary}: {'; '.join(decision.reasons) or 'within the policy'} (new rows "
        f"{decision.new_rows_share:.1%} of the fitted, highest drift score {decision.drift_score:.2f})"
    )
    new = decision.shards.filter(~pl.col("in_fit")).to_dicts()
    changed = [row for row in new if known.get(row["shard"]) != row["score"]]
    for row in changed:
        figures = {f"drift/{name}": round(row[name], 4) for name in DRIFT_FIGURES}
        step.observe("embeddings", row["shard"], figures)
    step.writer.summary["n_observed"] = len(changed)


def measure_shards(
    spec: PoolSpec, storage: PoolStorage, tree: StandingTree, writer: OutputWriter
) -> Decision:
    """Measure every shard against the fit, and decide by the pool's policy."""
    from curation_assets.algorithms.drift import drift_level, measure_drift

    n_clusters = [len(storage.clusters(level).centroids.read()) for level in range(1, spec.n_levels + 1)]
    fit_rows = tree.rows
    level = drift_level(spec.n_rows_of_fit(fit_rows.n_rows), n_clusters)
    assigned = {shard.key: storage.assigned(level, shard.key) for shard in storage.shards()}
    earlier = storage.drift()
    known = earlier.whole_facts()
    same_tree = known is not None and known.summary.get("tree_version") == tree.version
    fit = _stored_fit(earlier) if same_tree else _measured_fit(assigned, fit_rows, n_clusters[level - 1])
    rows = {row["shard"]: row for row in earlier.shards.read().iter_rows(named=True)} if same_tree else {}
    table = []
    for key, stored in assigned.items():
        digest, embedded = stored.require_facts().digest, storage.embedded(key).require_facts().digest
        fitted = fit_rows.shards.get(key)
        in_fit = fitted is not None and fitted.embedded == embedded
        row = rows.get(key)
        if row is None or row["assign_digest"] != digest:
            part = stored.rows.read()
            found = measure_drift(part["distance"].to_numpy(), part["cluster"].to_numpy(), fit)
            row = {name: getattr(found, name) for name in list(Drift.shards.schema)[2:-1]}
            row["assign_digest"] = digest
        table.append(row | {"shard": key, "in_fit": in_fit})
    shards = pl.DataFrame(table, schema=Drift.shards.schema)
    decision = decide(spec.refit, shards, fit_rows)
    Drift.shards.write(writer, shards)
    Drift.fit_mass.write(writer, fit.mass)
    writer.summary.update(
        decision=decision.summary,
        reasons=list(decision.reasons),
        new_rows=decision.new_rows,
        gone_rows=decision.gone_rows,
        new_rows_share=round(decision.new_rows_share, 6),
        drift_score=round(decision.drift_score, 6),
        drifting_shards=list(decision.drifting_shards),
        fitted_rows=fit_rows.n_rows,
        level=level,
        fit_mean_distance=fit.mean_distance,
        fit_radius=fit.radius,
        fit_n_rows=fit.n_rows,
    )
    return decision


def decide(policy: RefitSettings, shards: pl.DataFrame, fit_rows: FitRows) -> Decision:
    """What the policy makes of the figures."""
    new = shards.filter(~pl.col("in_fit"))
    standing = set(shards.filter(pl.col("in_fit"))["shard"])
    gone_rows = sum(part.n_rows for key, part in fit_rows.shards.items() if key not in standing)
    new_rows = int(new["n_rows"].sum())
    share = max(new_rows, gone_rows) / max(1, fit_rows.n_rows)
    score = float(new["score"].max() or 0.0)  # type: ignore[arg-type]
    limit = policy.drift_score
    drifting = new.filter(pl.col("score") > limit)["shard"].to_list() if limit is not None else []
    reasons = []
    if policy.new_rows is not None and share > policy.new_rows:
        what = "came" if new_rows >= gone_rows else "went"
        reasons.append(
            f"{max(new_rows, gone_rows):,} rows {what} since the fit of {fit_rows.n_rows:,}: {share:.0%}, more than "
            f"{policy.new_rows:.0%}"
        )
    if drifting:
        names = ", ".join(drifting[:3]) + (f" and {len(drifting) - 3} more" if len(drifting) > 3 else "")
        reasons.append(f"drift of shard {names}: score up to {score:.2f}, more than {limit:.2f}")
    return Decision(tuple(reasons), new_rows, gone_rows, share, score, tuple(drifting), shards)


def _stored_fit(stored: Drift) -> FitDistribution:
    from curation_assets.algorithms.drift import FitDistribution

    summary = stored.require_facts().summary
    return FitDistribution(
        summary["fit_n_rows"],
        summary["fit_mean_distance"],
        summary["fit_radius"],
        np.array(stored.fit_mass.read()),
    )


def _measured_fit(assigned: Mapping[str, Assigned], fit_rows: FitRows, n_clusters: int) -> FitDistribution:
    """The fit's distribution from the assignments of its shards (evenly spaced rows of a very large pool)."""
    from curation_assets.algorithms.drift import FitDistribution

    step = max(1, -(-fit_rows.n_rows // _SAMPLED_ROWS))
    present = [stored for key, stored in assigned.items() if key in fit_rows.shards]
    parts = [stored.rows.read().gather_every(step) for stored in present]
    rows = pl.concat(parts) if parts else pl.DataFrame()
    if rows.is_empty():
        rows = pl.concat([stored.rows.read() for stored in assigned.values()])
    return FitDistribution.of(rows["distance"].to_numpy(), rows["cluster"].to_numpy(), n_clusters)
