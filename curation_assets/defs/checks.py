"""Asset checks: properties of a finished curation. A check that fails names what breaks the property."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import dagster as dg
import polars as pl

from curation_assets.defs.access import access
from curation_assets.defs.keys import asset_key
from curation_assets.defs.metadata import table
from curation_assets.defs.removals import removals_are_few
from curation_assets.defs.run.gate import gate_of
from curation_assets.errors import CurationError
from curation_assets.graph.freshness import Freshness
from curation_assets.graph.steps import pool_steps
from curation_assets.pools import PoolSpec, RefitSettings
from curation_assets.pools.device import resolve_device
from curation_assets.project import Home
from curation_assets.steps.comparison.verdict import verdict_lines
from curation_assets.steps.context import PoolAccess
from curation_assets.steps.damage import damaged_files, rejections_by_shard, total_rejections
from curation_assets.steps.dataset.accounts import audit_ledger, missed_targets
from curation_assets.steps.dataset.clean_selection import contaminated_selection
from curation_assets.steps.ingest.sample_labels import label_names, unknown_labels
from curation_assets.steps.listing import look_at_files
from curation_assets.steps.soundness import miscounted_shards, unsound_embeddings
from curation_assets.steps.tree.levels import level_lines, shown_level

_ROWS_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Check:
    """An asset check, as it is declared."""

    asset: str
    description: str
    evaluate: Callable[[PoolAccess], dg.AssetCheckResult]
    blocking: bool = False
    """Whether assets downstream in the same run wait for it."""
    needs_evaluation_sets: bool = False
    """Only for pools that are decontaminated."""
    needs_deduplication: bool = False
    """Only for pools that are deduplicated."""
    also: str = ""
    """Another asset that has the check too."""
    at_any_time: bool = False
    """Whether it has something to say of an asset that is out of date."""


def build_checks(spec: PoolSpec, home: Home) -> list[dg.AssetChecksDefinition]:
    """The checks of one pool."""
    return [
        _build_check(spec, home, name, check, asset)
        for name, check in CHECKS.items()
        for asset in filter(None, (check.asset, check.also))
        if (spec.decontamination or not check.needs_evaluation_sets)
        and (spec.deduplication or not check.needs_deduplication)
    ]


def _build_check(spec: PoolSpec, home: Home, name: str, check: Check, asset: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        name=name,
        asset=asset_key(spec, asset),
        description=check.description,
        blocking=check.blocking,
    )
    def evaluate(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        pool = access(spec, home)
        if not check.at_any_time:
            steps, storage = pool_steps(spec), pool.storage
            void = gate_of(context.run.run_id).why_check_is_void(
                spec.name, lambda: Freshness(storage, steps, storage.shards()), asset
            )
            if void:
                return dg.AssetCheckResult(passed=False, description=void)
        return check.evaluate(pool)

    return evaluate


def _files_are_readable(pool: PoolAccess) -> dg.AssetCheckResult:
    files = damaged_files(pool.spec, pool.storage)
    words = "every file could be read to its end"
    if files:
        shown = [f"{file.file} ({file.reason}: {file.detail})" for file in files[:3]]
        number = f"{len(files)} files are" if files[1:] else "1 file is"
        words = f"{number} damaged or empty: {'; '.join(shown)}" + ("; ..." if files[3:] else "")
    merely_empty = all(file.is_merely_empty for file in files)
    return dg.AssetCheckResult(
        passed=not files,
        severity=dg.AssetCheckSeverity.WARN if merely_empty else dg.AssetCheckSeverity.ERROR,
        description=words,
        metadata={"n_files": len(files), **table("files", [asdict(file) for file in files[:_ROWS_SHOWN]])},
    )


def _labels_are_found(pool: PoolAccess) -> dg.AssetCheckResult:
    unknown = unknown_labels(pool.spec, pool.storage)
    words = (
        "every label field is found" if pool.spec.source.label_fields else "source.label_fields names none"
    )
    if unknown:
        there = ", ".join(label_names(pool.storage, pool.reader)) or "none"
        words = (
            f"no sample has the label {' or '.join(unknown)} of source.label_fields: correct the name or remove it; "
            f"the first sample has: {there}"
        )
    return dg.AssetCheckResult(passed=not unknown, description=words, metadata={"not_found": unknown})


def _rejections_are_few(pool: PoolAccess) -> dg.AssetCheckResult:
    limit = pool.spec.source.max_rejected_share
    by_shard = rejections_by_shard(pool.storage)
    every = total_rejections(by_shard)
    worst = sorted(by_shard, key=lambda key: (-by_shard[key].share, key))
    wrong = [key for key in worst if by_shard[key].share > limit]
    rows = [
        {
            "shard": key,
            "samples": by_shard[key].n_samples,
            "rejected": f"{by_shard[key].share:.1%}",
            "reasons": by_shard[key].words,
        }
        for key in worst[:_ROWS_SHOWN]
        if by_shard[key].reasons
    ]
    words = f"{every.share:.1%} of {every.n_samples:,} samples are rejected"
    if wrong:
        shown = [f"{key} ({by_shard[key].share:.0%}; {by_shard[key].words})" for key in wrong[:3]]
        words = (
            f"{len(wrong)} of {len(by_shard)} shards have more rejected samples than source.max_rejected_share = "
            f"{limit:.0%}: {'; '.join(shown)}" + ("; ..." if wrong[3:] else "")
        )
    return dg.AssetCheckResult(
        passed=not wrong,
        description=words,
        metadata={
            "allowed_share": limit,
            "rejected_share": round(every.share, 4),
            "n_wrong": len(wrong),
            **{f"rejections/{reason}": count for reason, count in sorted(every.reasons.items())},
            **table("shards_with_rejections", rows),
        },
    )


def _embeddings_are_sound(pool: PoolAccess) -> dg.AssetCheckResult:
    return _shards_result(unsound_embeddings(pool.spec, pool.storage), "sound embeddings")


def _row_counts_add_up(pool: PoolAccess) -> dg.AssetCheckResult:
    return _shards_result(miscounted_shards(pool.spec, pool.storage), "rows that add up")


def _shards_result(wrong: dict[str, str], what: str) -> dg.AssetCheckResult:
    first = next(iter(wrong.items()), None)
    words = f"{len(wrong)} shards, e.g. '{first[0]}': {first[1]}" if first else f"every shard has {what}"
    rows = [{"shard": shard, "wrong": why} for shard, why in list(wrong.items())[:_ROWS_SHOWN]]
    return dg.AssetCheckResult(
        passed=not wrong,
        description=words,
        metadata={"n_wrong": len(wrong), **table("wrong_shards", rows)},
    )


def _shards_resemble_the_fit(pool: PoolAccess) -> dg.AssetCheckResult:
    limit = pool.spec.refit.drift_score
    shards = pool.storage.drift().shards.read().filter(~pl.col("in_fit")).sort("score", descending=True)
    # If the policy has no limit, the default still tells the user what a refit would be about.
    limit = RefitSettings().drift_score or 1.0 if limit is None else limit
    drifting = shards.filter(pl.col("score") > limit)
    figures = ["score", "distance_shift", "beyond_radius_share", "mass_shift"]
    rows = shards.select("shard", pl.col(figures).round(4)).head(_ROWS_SHOWN).to_dicts()
    names = ", ".join(drifting["shard"].head(3))
    return dg.AssetCheckResult(
        passed=drifting.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(drifting)} of {len(shards)} shards that came since the fit drift by more than {limit:g}"
        + (f": {names}" if names else ""),
        metadata={"limit": limit, **table("shards_since_the_fit", rows)},
    )


def _nothing_is_out_of_date(pool: PoolAccess) -> dg.AssetCheckResult:
    look = look_at_files(pool)
    every = look.change.shards
    taking_part = [shard for shard in every if not shard.set_aside]
    outdated = Freshness(pool.storage, pool_steps(pool.spec), taking_part).outdated()
    rows = [
        {"asset": name, "outputs": len(reasons), "why": "; ".join(sorted(set(reasons.values()))[:3])}
        for name, reasons in outdated.items()
    ]
    aside = {shard.key: shard.set_aside for shard in every if shard.set_aside}
    words = [
        f"{len(rows)} assets are out of date: {', '.join(outdated)}" if rows else "everything is up to date"
    ]
    if aside:
        words.append(f"curated without {', '.join(aside)}, which failed")
    return dg.AssetCheckResult(
        passed=not rows and not aside and not look.is_news and not look.skipped,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join([*words, *look.lines()]),
        metadata={"set_aside": aside, **table("out_of_date", rows)},
    )


def _ledger_adds_up(pool: PoolAccess) -> dg.AssetCheckResult:
    accounts = audit_ledger(pool.spec, pool.storage)
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


def _targets_are_exact(pool: PoolAccess) -> dg.AssetCheckResult:
    wrong = missed_targets(pool.storage)
    summary = pool.storage.selection().require_facts().summary
    return dg.AssetCheckResult(
        passed=not wrong,
        description="; ".join(f"{name}: {why}" for name, why in wrong.items()) or "every target has its size",
        metadata=table(
            "targets",
            [
                {
                    "target": name,
                    "requested": requested,
                    "unit": summary["unit"][name],
                    "wrong": wrong.get(name, ""),
                }
                for name, requested in summary["requested"].items()
            ],
        ),
    )


def _selection_is_clean(pool: PoolAccess) -> dg.AssetCheckResult:
    try:
        device = resolve_device(pool.spec.fit_device, "fit_device")
        proof = contaminated_selection(pool.spec, pool.storage, device=device)
    except CurationError as error:
        return dg.AssetCheckResult(passed=False, description=str(error))
    rows = proof.found.drop("row", "raw_row").head(_ROWS_SHOWN).to_dicts()
    closest = {name: value for name, value in (proof.closest or {}).items() if name != "cosine"}
    return dg.AssetCheckResult(
        passed=proof.found.is_empty(),
        description=proof.summary,
        metadata={
            "comparisons": proof.n_comparisons,
            "selected_samples": proof.n_rows,
            "contaminated_samples": len(proof.found),
            **({"closest_cosine": round(proof.closest["cosine"], 4)} if proof.closest else {}),
            **table("closest_pair", [closest] if closest else []),
            **table("evidence", rows),
        },
    )


def _no_cluster_dominates(pool: PoolAccess) -> dg.AssetCheckResult:
    levels = pool.storage.tree().require_facts().summary["levels"]
    fitted = [row for row in levels if not row["dropped"]]
    top = fitted[-1]
    lines = [line for row in fitted for line in level_lines([row])]
    return dg.AssetCheckResult(
        passed=not lines,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(lines)
        or f"the largest of {top['n_clusters']} top-level clusters holds {top['largest_share']:.1%} of the pool",
        metadata={
            "allowed_share": pool.spec.max_share,
            **table("levels", [shown_level(row) for row in levels]),
        },
    )


def _beats_baselines(pool: PoolAccess) -> dg.AssetCheckResult:
    verdicts = pool.storage.comparison().require_facts().summary["verdicts"]
    losing = {name: verdict for name, verdict in verdicts.items() if not verdict["beats_baselines"]}
    words = [f"{name}: {verdict_lines(verdict)[0]}" for name, verdict in (losing or verdicts).items()]
    rows = [
        {
            "target": name,
            "outcome": verdict["outcome"],
            "against_the_best_baseline": f"{100 * verdict['gain']:+.1f} %",
            "noise": f"{100 * verdict['noise']:.1f} %",
            "alarms": " ".join(verdict["alarms"]),
            "remedy": verdict["remedy"],
        }
        for name, verdict in verdicts.items()
    ]
    return dg.AssetCheckResult(
        passed=not losing,
        severity=dg.AssetCheckSeverity.WARN,
        description=" ".join(words),
        metadata=table("verdicts", rows),
    )


CHECKS: Mapping[str, Check] = {
    "selection_is_clean": Check(
        "selection",
        "No selected sample is too close to a sample of an evaluation set. The check compares them again.",
        _selection_is_clean,
        blocking=True,
        needs_evaluation_sets=True,
    ),
    "files_are_readable": Check(
        "raw_pool",
        "Every file of the pool could be read to its end. The check names the others with the reason.",
        _files_are_readable,
    ),
    "labels_are_found": Check(
        "raw_pool",
        "Every entry of `source.label_fields` is a label of some sample.",
        _labels_are_found,
    ),
    "rejections_are_few": Check(
        "raw_pool",
        "No shard has a larger share of rejected samples than `source.max_rejected_share`. Failed downloads do not "
        "count.",
        _rejections_are_few,
        # Some faults are found only when a sample is decoded.
        also="embeddings",
    ),
    "embeddings_are_sound": Check(
        "embeddings",
        "Embeddings are finite, and unit vectors as the fit reads them (64 rows of every shard).",
        _embeddings_are_sound,
    ),
    "removals_are_few": Check(
        "duplicates",
        "No shard and no label lost more of its samples as duplicates than `deduplication.max_removed_share`. It "
        "names examples.",
        removals_are_few,
        needs_deduplication=True,
    ),
    "shards_resemble_the_fit": Check(
        "drift",
        "No shard that arrived since the fit drifts further than the policy allows.",
        _shards_resemble_the_fit,
    ),
    "row_counts_add_up": Check(
        "selection", "The rows of every shard add up from raw pool to top level.", _row_counts_add_up
    ),
    "targets_are_exact": Check(
        "selection",
        "Every target has exactly its samples, or its tokens to within one sample, none twice.",
        _targets_are_exact,
    ),
    "no_cluster_dominates": Check(
        "selection",
        "No level has collapsed: none of its clusters holds more than `max_share` of the pool.",
        _no_cluster_dominates,
    ),
    "ledger_adds_up": Check(
        "ledger", "Every sample has exactly one fate, and the totals add up.", _ledger_adds_up
    ),
    "beats_baselines": Check(
        "comparison",
        "Every target is more diverse than a random subset of its size, beyond noise, covers no fewer labels, and is "
        "no less diverse than flat k-means.",
        _beats_baselines,
    ),
    "nothing_is_out_of_date": Check(
        "curation_report",
        "Everything in the pool is up to date with its files, which the check lists. If not, it names what is not, and "
        "why. Run it at any time.",
        _nothing_is_out_of_date,
        at_any_time=True,
    ),
}
