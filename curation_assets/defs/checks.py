"""Asset checks: properties that hold of a finished curation, each naming what breaks it."""

from collections import Counter
from collections.abc import Sequence

import dagster as dg
import polars as pl

from curation_assets.defs.assets.base import PoolGraph
from curation_assets.defs.resources import CurationResource
from curation_assets.steps.ledger import REJECTED_FATE, SELECTED_FATE
from curation_assets.steps.ledger import TABLE as LEDGER
from curation_assets.steps.report import DOMINATING_SHARE
from curation_assets.steps.select import QUOTAS, SELECTED
from curation_assets.storage.pool_storage import PoolStorage


def build_checks(graph: PoolGraph) -> Sequence[dg.AssetChecksDefinition]:
    """The checks of one pool."""
    pool = graph.spec.name

    def key(asset: str) -> dg.AssetKey:
        return dg.AssetKey([pool, asset])

    @dg.asset_check(
        asset=key("ledger"), description="Every sample has exactly one fate, and the totals add up."
    )
    def ledger_adds_up(curation: CurationResource) -> dg.AssetCheckResult:
        return _check_ledger(curation.storage(pool))

    @dg.asset_check(asset=key("selection"), description="Every target has exactly its samples, none twice.")
    def targets_are_exact(curation: CurationResource) -> dg.AssetCheckResult:
        return _check_targets(curation.storage(pool))

    @dg.asset_check(
        asset=key("selection"),
        description=f"No top-level cluster holds over {DOMINATING_SHARE:.0%} of the pool.",
    )
    def no_cluster_dominates(curation: CurationResource) -> dg.AssetCheckResult:
        return _check_domination(curation.storage(pool))

    @dg.asset_check(asset=key("curation_report"), description="The subset is more diverse than a random one.")
    def beats_random(curation: CurationResource) -> dg.AssetCheckResult:
        return _check_diversity(curation.storage(pool))

    return [ledger_adds_up, targets_are_exact, no_cluster_dominates, beats_random]


def _check_ledger(storage: PoolStorage) -> dg.AssetCheckResult:
    fates: Counter[str] = Counter()
    bad, pending = [], []
    n_raw = 0
    selected = storage.output("selection").table(SELECTED, ["shard", "raw_row"]).unique()
    per_shard = Counter(selected["shard"].to_list())
    selection_parts = storage.output("selection").require_facts().parts
    for shard in storage.shards():
        output, raw = (
            storage.output("ledger", shard.key),
            storage.output("raw_pool", shard.key).require_facts(),
        )
        facts = output.facts()
        if facts is None or facts.inputs["selection"] != selection_parts.get(shard.key):
            pending.append(shard.key)
            continue
        ledger = output.table(LEDGER, ["fate", "reason", "targets"])
        here = Counter(ledger["fate"].to_list())
        fates += here
        n_raw += raw.summary["n_rows"]
        reasoned = ledger.filter((pl.col("fate") == REJECTED_FATE) != pl.col("reason").is_not_null()).height
        if ledger.height != raw.summary["n_rows"] or here[SELECTED_FATE] != per_shard[shard.key] or reasoned:
            bad.append(shard.key)
    return dg.AssetCheckResult(
        passed=not bad and not pending and sum(fates.values()) == n_raw,
        severity=dg.AssetCheckSeverity.ERROR if bad else dg.AssetCheckSeverity.WARN,
        description=_ledger_words(bad, pending),
        metadata={"samples": n_raw, **fates, "bad_shards": bad, "pending_shards": pending},
    )


def _ledger_words(bad: list[str], pending: list[str]) -> str:
    if bad:
        return f"the ledgers of {len(bad)} shards do not add up, e.g. '{bad[0]}'"
    if pending:
        return f"{len(pending)} shards have no ledger of the present selection yet"
    return "every sample has exactly one fate"


def _check_targets(storage: PoolStorage) -> dg.AssetCheckResult:
    output = storage.output("selection")
    requested = output.require_facts().summary["requested"]
    table = output.table(SELECTED, ["target", "shard", "row", "sample_id"])
    wrong = {}
    for name, size in requested.items():
        mine = table.filter(pl.col("target") == name)
        n_rows, n_ids = mine.select("shard", "row").n_unique(), mine["sample_id"].n_unique()
        if not mine.height == n_rows == n_ids == size:
            wrong[name] = f"{mine.height} rows, {n_ids} different ids, {size} asked for"
    return dg.AssetCheckResult(passed=not wrong, metadata={"requested": requested, "wrong": wrong})


def _check_domination(storage: PoolStorage) -> dg.AssetCheckResult:
    quotas = storage.output("selection").table(QUOTAS)
    top = quotas.filter(
        (pl.col("target") == quotas["target"][0]) & (pl.col("level") == quotas["level"].max())
    )
    share = float(top["size"].max() / top["size"].sum())  # type: ignore[operator, arg-type]
    return dg.AssetCheckResult(
        passed=share <= DOMINATING_SHARE,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"the largest of {top.height} top-level clusters holds {share:.1%} of the pool",
        metadata={"largest_share": share, "allowed_share": DOMINATING_SHARE},
    )


def _check_diversity(storage: PoolStorage) -> dg.AssetCheckResult:
    summary = storage.output("curation_report").require_facts().summary
    has_labels = summary["balanced"]["effective_labels"] is not None
    figure = "effective_labels" if has_labels else "effective_top_clusters"
    balanced, random = summary["balanced"][figure], summary["random"][figure]
    return dg.AssetCheckResult(
        passed=balanced > random,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{figure.replace('_', ' ')}: {balanced:.1f} balanced, {random:.1f} random",
        metadata={"balanced": balanced, "random": random},
    )
