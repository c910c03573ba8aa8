"""Whether the ledger and the targets add up, counted from the stored tables and where each fate was decided."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import polars as pl

from curation_assets.pools import PoolSpec
from curation_assets.steps.dataset.pool_index import counted_tokens
from curation_assets.steps.dataset.selection import ledger_part, misses_less_than_a_sample
from curation_assets.steps.dataset.shard_tables import ShardTables
from curation_assets.steps.dataset.target_draw import TOKENS
from curation_assets.storage.fates import (
    CONTAMINATED_FATE,
    DUPLICATE_FATE,
    NOT_SELECTED_FATE,
    REJECTED_FATE,
    SELECTED_FATE,
)
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import RawPool


@dataclass(frozen=True, slots=True)
class LedgerAccounts:
    """What an audit of the ledger found."""

    fates: Counter[str] = field(default_factory=Counter)
    """Samples of the audited shards by fate."""
    wrong: dict[str, str] = field(default_factory=dict)
    """Shard -> what does not add up."""
    pending: list[str] = field(default_factory=list)
    """Shards without a ledger of the current selection."""


def audit_ledger(spec: PoolSpec, storage: PoolStorage) -> LedgerAccounts:
    """Count every fate of every shard, and compare it with the step that decided it."""
    accounts = LedgerAccounts()
    selection = storage.selection()
    parts = selection.require_facts().parts
    selected = _counted(selection.selected.read("shard", "raw_row").unique()["shard"])
    repeated = _counted(selection.repeated_ids.column("shard"))
    for shard in storage.shards():
        key, stored = shard.key, storage.ledger(shard.key)
        facts = stored.facts()
        if facts is None or facts.inputs["selection"] != parts.get(ledger_part(key)):
            accounts.pending.append(key)
            continue
        ledger = stored.fates.read("fate", "reason", "twin_id", "ran_out_at", "targets")
        here = _counted(ledger["fate"])
        accounts.fates.update(here)
        tables = ShardTables.of(spec, storage, key)
        expected = _expected_fates(storage.raw_pool(key), tables, selected[key], repeated[key])
        if here != expected:
            accounts.wrong[key] = f"the ledger counts {_counts(here)}, its sources {_counts(expected)}"
        elif unexplained := ledger.filter(~_is_explained()).height:
            accounts.wrong[key] = f"{unexplained} samples without what their fate calls for"
    return accounts


def missed_targets(storage: PoolStorage) -> dict[str, str]:
    """Targets that do not have their samples, or not their tokens to within one sample, with what is wrong.

    Tokens are taken from the counts of the shards, not from the selection.
    """
    selection = storage.selection()
    summary = selection.require_facts().summary
    wrong = {}
    for name, requested in summary["requested"].items():
        mine = selection.selected.part("target", name, "shard", "row", "raw_row", "sample_id")
        n_rows, n_ids = mine.select("shard", "row").n_unique(), mine["sample_id"].n_unique()
        counts_tokens = summary["unit"][name] == TOKENS
        size = summary["targets"][name] if counts_tokens else requested
        if not mine.height == n_rows == n_ids == size:
            wrong[name] = f"{mine.height} rows, {n_ids} different ids, {size} expected"
        elif counts_tokens:
            tokens = counted_tokens(storage.token_counts, mine)
            if not misses_less_than_a_sample(requested, tokens, summary["lightest_left"][name]):
                wrong[name] = f"{tokens} tokens, {requested} asked for: not within one sample"
    return wrong


def _expected_fates(raw_pool: RawPool, tables: ShardTables, n_selected: int, n_repeated: int) -> Counter[str]:
    """Samples of a shard by fate, counted where each fate was decided."""
    raw, embedded = raw_pool.require_facts().summary, tables.embedded.require_facts().summary
    counts = Counter({SELECTED_FATE: n_selected})
    counts[REJECTED_FATE] = raw["n_rejected"] + embedded["n_rejected"] + n_repeated
    if tables.admitted:
        counts.update(_counted(tables.admitted.excluded.column("fate")))
    counts[NOT_SELECTED_FATE] = raw["n_rows"] - sum(counts.values())
    return +counts


def _counted(values: pl.Series) -> Counter[str]:
    """How often each value occurs, without making a Python string for each of millions of rows."""
    counts = values.value_counts(name="n_values")
    return Counter(dict(zip(counts[values.name], counts["n_values"], strict=True)))


def _is_explained() -> pl.Expr:
    """Whether a row of the ledger has the columns that its fate needs, and no others."""
    fate = pl.col("fate")
    return (
        ((fate == REJECTED_FATE) == pl.col("reason").is_not_null())
        & ((fate == NOT_SELECTED_FATE) == pl.col("ran_out_at").is_not_null())
        & ((fate == SELECTED_FATE) == (pl.col("targets").list.len() > 0))
        & (fate.is_in([DUPLICATE_FATE, CONTAMINATED_FATE]) == pl.col("twin_id").is_not_null())
    )


def _counts(fates: Counter[str]) -> str:
    return ", ".join(f"{count} {fate}" for fate, count in sorted(fates.items())) or "nothing"
