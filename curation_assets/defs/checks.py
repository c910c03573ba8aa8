"""Asset checks: properties that hold of a finished curation, each naming what breaks it."""

from collections.abc import Sequence

import dagster as dg
import polars as pl

from curation_assets.defs.assets.base import PoolGraph
from curation_assets.defs.resources import CurationResource
from curation_assets.errors import CurationError
from curation_assets.graph.freshness import Freshness
from curation_assets.pools import PoolSpec, RefitSettings
from curation_assets.pools.device import resolve_device
from curation_assets.steps.dataset.accounts import audit_ledger, missed_targets
from curation_assets.steps.dataset.clean_selection import contaminated_selection
from curation_assets.steps.report import DOMINATING_SHARE, dominating_share
from curation_assets.steps.soundness import miscounted_shards, unsound_embeddings
from curation_assets.storage.pool_storage import PoolStorage

_ROWS_SHOWN = 50


def build_checks(graph: PoolGraph) -> Sequence[dg.AssetChecksDefinition]:
    """The checks of one pool."""
    pool = graph.spec.name

    def key(asset: str) -> dg.AssetKey:
        return dg.AssetKey([pool, asset])

    @dg.asset_check(
        asset=key("ledger"), description="Every sample has exactly one fate, and the totals add up."
    )
    def ledger_adds_up(curation: CurationResource) -> dg.AssetCheckResult:
        return _check_ledger(graph.spec, curation.storage(pool))

    @dg.asset_check(
        asset=key("selection"),
        description="Every target has exactly its samples, or its tokens to within one sample, none twice.",
    )
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

    @dg.asset_check(
        asset=key("embeddings"),
        description="Embeddings are finite, and unit vectors as the fit reads them (64 rows of every shard).",
    )
    def embeddings_are_sound(curation: CurationResource) -> dg.AssetCheckResult:
        return _check_shards(
            unsound_embeddings(graph.spec, curation.storage(pool)), "embeddings that are sound"
        )

    @dg.asset_check(
        asset=key("selection"), description="The rows of every shard add up from raw pool to top level."
    )
    def row_counts_add_up(curation: CurationResource) -> dg.AssetCheckResult:
        return _check_shards(miscounted_shards(graph.spec, curation.storage(pool)), "rows that add up")

    @dg.asset_check(
        asset=key("drift"),
        description="No shard that came since the fit drifts further than the policy allows.",
    )
    def shards_resemble_the_fit(curation: CurationResource) -> dg.AssetCheckResult:
        return _check_drift(curation.storage(pool), graph.spec.refit.drift_score)

    @dg.asset_check(
        asset=key("curation_report"),
        description="Nothing of the pool is out of date; if something is: what, and why. Run it at any time.",
    )
    def nothing_is_out_of_date(curation: CurationResource) -> dg.AssetCheckResult:
        return _check_freshness(graph, curation.storage(pool))

    @dg.asset_check(
        asset=key("selection"),
        blocking=True,
        description="No selected sample is too close to one of an evaluation set: compared anew, not looked up.",
    )
    def selection_is_clean(curation: CurationResource) -> dg.AssetCheckResult:
        return _check_clean(graph.spec, curation.storage(pool))

    return [
        *([selection_is_clean] if graph.spec.decontamination else []),
        embeddings_are_sound,
        shards_resemble_the_fit,
        row_counts_add_up,
        targets_are_exact,
        no_cluster_dominates,
        ledger_adds_up,
        beats_random,
        nothing_is_out_of_date,
    ]


def _check_shards(wrong: dict[str, str], what: str) -> dg.AssetCheckResult:
    first = next(iter(wrong.items()), None)
    words = f"{len(wrong)} shards, e.g. '{first[0]}': {first[1]}" if first else f"every shard has {what}"
    rows = [
        dg.TableRecord({"shard": shard, "wrong": why}) for shard, why in list(wrong.items())[:_ROWS_SHOWN]
    ]
    return dg.AssetCheckResult(
        passed=not wrong,
        description=words,
        metadata={"n_wrong": len(wrong), **({"wrong_shards": dg.MetadataValue.table(rows)} if rows else {})},
    )


def _check_drift(storage: PoolStorage, limit: float | None) -> dg.AssetCheckResult:
    shards = storage.drift().shards.read().filter(~pl.col("in_fit")).sort("score", descending=True)
    # Without a limit in the policy the default one still tells the user what a refit would be about.
    limit = RefitSettings().drift_score or 1.0 if limit is None else limit
    drifting = shards.filter(pl.col("score") > limit)
    figures = ["shard", "score", "distance_shift", "beyond_radius_share", "mass_shift"]
    rows = [
        dg.TableRecord(
            {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}
        )
        for row in shards.select(figures).head(_ROWS_SHOWN).to_dicts()
    ]
    names = ", ".join(drifting["shard"].head(3))
    return dg.AssetCheckResult(
        passed=drifting.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(drifting)} of {len(shards)} shards that came since the fit drift by more than {limit:g}"
        + (f": {names}" if names else ""),
        metadata={"limit": limit, **({"shards_since_the_fit": dg.MetadataValue.table(rows)} if rows else {})},
    )


def _check_freshness(graph: PoolGraph, storage: PoolStorage) -> dg.AssetCheckResult:
    every = storage.all_shards()
    outdated = Freshness(storage, graph.steps, [shard for shard in every if not shard.set_aside]).outdated()
    rows = [
        dg.TableRecord(
            {"asset": name, "outputs": len(reasons), "why": "; ".join(sorted(set(reasons.values()))[:3])}
        )
        for name, reasons in outdated.items()
    ]
    aside = {shard.key: shard.set_aside for shard in every if shard.set_aside}
    words = (
        f"{len(rows)} assets are out of date: {', '.join(outdated)}" if rows else "everything is up to date"
    )
    return dg.AssetCheckResult(
        passed=not rows and not aside,
        severity=dg.AssetCheckSeverity.WARN,
        description=words + (f"; curated without {', '.join(aside)}, which failed" if aside else ""),
        metadata={"set_aside": aside, **({"out_of_date": dg.MetadataValue.table(rows)} if rows else {})},
    )


def _check_ledger(spec: PoolSpec, storage: PoolStorage) -> dg.AssetCheckResult:
    accounts = audit_ledger(spec, storage)
    words = "every sample has exactly one fate"
    if accounts.wrong:
        first, why = next(iter(accounts.wrong.items()))
        words = f"the ledgers of {len(accounts.wrong)} shards do not add up, e.g. '{first}': {why}"
    elif accounts.pending:
        words = f"{len(accounts.pending)} shards have no ledger of the present selection yet"
    return dg.AssetCheckResult(
        passed=not accounts.wrong and not accounts.pending,
        severity=dg.AssetCheckSeverity.ERROR if accounts.wrong else dg.AssetCheckSeverity.WARN,
        description=words,
        metadata={
            "samples": sum(accounts.fates.values()),
            **accounts.fates,
            **({"bad_shards": accounts.wrong} if accounts.wrong else {}),
            **({"pending_shards": accounts.pending} if accounts.pending else {}),
        },
    )


def _check_targets(storage: PoolStorage) -> dg.AssetCheckResult:
    wrong = missed_targets(storage)
    summary = storage.selection().require_facts().summary
    return dg.AssetCheckResult(
        passed=not wrong,
        description="; ".join(f"{name}: {why}" for name, why in wrong.items()) or "every target has its size",
        metadata={"requested": summary["requested"], "unit": summary["unit"], "wrong": wrong},
    )


def _check_clean(spec: PoolSpec, storage: PoolStorage) -> dg.AssetCheckResult:
    try:
        proof = contaminated_selection(spec, storage, device=resolve_device(spec.fit_device, "fit_device"))
    except CurationError as error:
        return dg.AssetCheckResult(passed=False, description=str(error))
    rows = [dg.TableRecord(row) for row in proof.found.drop("row", "raw_row").head(_ROWS_SHOWN).to_dicts()]
    closest = {name: value for name, value in (proof.closest or {}).items() if name != "cosine"}
    return dg.AssetCheckResult(
        passed=proof.found.is_empty(),
        description=proof.summary,
        metadata={
            "comparisons": proof.n_comparisons,
            "selected_samples": proof.n_rows,
            "contaminated_samples": len(proof.found),
            **({"closest_cosine": round(proof.closest["cosine"], 4)} if proof.closest else {}),
            **({"closest_pair": dg.MetadataValue.table([dg.TableRecord(closest)])} if closest else {}),
            **({"evidence": dg.MetadataValue.table(rows)} if rows else {}),
        },
    )


def _check_domination(storage: PoolStorage) -> dg.AssetCheckResult:
    quotas = storage.selection().quotas.read()
    top = quotas.filter(
        (pl.col("target") == quotas["target"][0]) & (pl.col("level") == quotas["level"].max())
    )
    share = float(top["size"].max() / top["size"].sum())  # type: ignore[operator, arg-type]
    allowed = dominating_share(top.height)
    return dg.AssetCheckResult(
        passed=share <= allowed,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"the largest of {top.height} top-level clusters holds {share:.1%} of the pool's {top['unit'][0]}",
        metadata={"largest_share": round(share, 4), "allowed_share": round(allowed, 4)},
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
        metadata={"balanced": round(balanced, 2), "random": round(random, 2)},
    )
