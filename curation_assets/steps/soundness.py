"""What must hold between the stored outputs of a pool, and the gates before a fit and a draw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from curation_assets.errors import CurationError
from curation_assets.formats.base import RejectionReason
from curation_assets.pools import PoolSpec
from curation_assets.steps.damage import lost_files
from curation_assets.storage.clusters import read_preprocessing
from curation_assets.storage.outputs import Facts
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import Embedded, RawPool, level_asset

_ROWS_LOOKED_AT = 64
_UNIT_NORM_TOLERANCE = 1e-3


def require_usable_pool(spec: PoolSpec, storage: PoolStorage) -> None:
    """Gate before level 1: refuse to fit a tree if the source is broken.

    Samples that could not be downloaded do not count, neither as rejected nor as samples: links break, which says
    nothing about the files.

    Raises:
        CurationError: if a larger share of the samples is rejected than the pool allows, or of the bytes is in files
            of which nothing is usable, or shards were embedded with different weights.
    """
    require_one_encoder(storage)
    require_few_rejections(spec, storage, (RawPool.asset, Embedded.asset))
    require_admissible_tokens(spec, storage)


def require_few_rejections(spec: PoolSpec, storage: PoolStorage, assets: Sequence[str]) -> None:
    """Refuse a pool of which a larger share of the samples is rejected than it allows.

    Samples that could not be downloaded do not count, see `require_usable_pool`.

    Args:
        spec: the pool.
        storage: its outputs.
        assets: the raw pool, or the raw pool and the embeddings if they were made from it.

    Raises:
        CurationError: naming the share and the most frequent reasons.
    """
    rejections: Counter[str] = Counter()
    n_rows, taking_part = 0, {shard.key for shard in storage.shards()}
    for asset in assets:
        for facts in (facts for key, facts in storage.shard_facts(asset).items() if key in taking_part):
            rejections.update(facts.summary["rejections"])
            n_rows += facts.summary["n_rows"] if asset == RawPool.asset else 0
    n_rows -= rejections.pop(RejectionReason.DOWNLOAD_FAILED.value, 0)
    share = sum(rejections.values()) / max(1, n_rows)
    if share > spec.source.max_rejected_share:
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in rejections.most_common(3))
        raise CurationError(
            f"{share:.0%} of the {n_rows:,} samples of pool '{spec.name}' are rejected ({reasons}), more than "
            f"source.max_rejected_share = {spec.source.max_rejected_share:.0%}: fix the files or raise it"
        )
    # A file that cannot be read is one rejection, whatever it holds.
    if rejections and (lost := lost_files(spec, storage)).share > spec.source.max_rejected_share:
        raise CurationError(
            f"pool '{spec.name}': {lost.words}: more than source.max_rejected_share = "
            f"{spec.source.max_rejected_share:.0%}: fix the files or raise it"
        )


def require_admissible_tokens(spec: PoolSpec, storage: PoolStorage) -> None:
    """Refuse a target of more tokens than the rows of the tree have, before the tree is fitted.

    Raises:
        PoolSpecError: naming the target and the tokens there are.
    """
    if not any(target.tokens is not None for target in spec.targets):
        return
    n_tokens = 0
    for shard in storage.shards():
        rows = storage.embedded(shard.key).rows.read("raw_row")["raw_row"]
        if spec.is_cleaned:
            rows = rows[storage.admitted(shard.key).kept.read()]
        counts = storage.token_counts(shard.key)
        if counts.facts() is None:
            return
        table = counts.counts.read("raw_row", "n_tokens")
        n_tokens += int(table.filter(table["raw_row"].is_in(rows.implode()))["n_tokens"].sum())
    spec.require_tokens(n_tokens)


def shards_of_other_weights(storage: PoolStorage) -> dict[str, str]:
    """Shards embedded with other weights than most: a model name may stand for other weights later."""
    return _unlike_most(
        storage,
        lambda facts: str(facts.summary.get("encoder", {}).get("weights_sha256", ""))[:12],
        "embedded with weights {}, most shards with {}",
    )


def shards_of_other_dimension(storage: PoolStorage) -> dict[str, str]:
    """Shards whose embeddings have another length than most, as precomputed ones may."""
    return _unlike_most(
        storage,
        lambda facts: int(facts.summary["dimension"]),
        "embeddings of dimension {}, most shards of {}",
    )


def _unlike_most(storage: PoolStorage, value_of: Callable[[Facts], Hashable], words: str) -> dict[str, str]:
    """Shards whose embeddings differ from most in a value, with both values put into `words`."""
    facts = storage.shard_facts(Embedded.asset)
    taking_part = {shard.key for shard in storage.shards()}
    values = {key: value_of(entry) for key, entry in sorted(facts.items()) if key in taking_part}
    usual = Counter(values.values()).most_common(1)
    return {key: words.format(mine, usual[0][0]) for key, mine in values.items() if mine != usual[0][0]}


def require_one_encoder(storage: PoolStorage) -> None:
    """Gate before a fit and before a draw: distances between embeddings of different models mean nothing.

    Raises:
        CurationError: naming the shards and how to embed them again.
    """
    if others := shards_of_other_dimension(storage):
        raise CurationError(
            f"{len(others)} shards of pool '{storage.pool}' have embeddings of another dimension than the rest, e.g. "
            f"'{next(iter(others))}': {next(iter(others.values()))}. Replace or remove their files, or set "
            f"source.dimension to the right one"
        )
    if others := shards_of_other_weights(storage):
        names = ",".join(list(others)[:20])
        raise CurationError(
            f"{len(others)} shards were embedded with other weights than the rest, e.g. '{next(iter(others))}': "
            f"{next(iter(others.values()))}. Embed them again: curation-assets backfill --pool {storage.pool} --from "
            f"embeddings --shards {names}"
        )


def miscounted_shards(spec: PoolSpec, storage: PoolStorage) -> dict[str, str]:
    """Shards whose rows do not add up along the graph, with what is wrong; counted from the files themselves."""
    wrong: dict[str, str] = {}
    raw_pool, embeddings = storage.shard_facts(RawPool.asset), storage.shard_facts(Embedded.asset)
    assigned = {
        level: storage.shard_facts(level_asset(level, "assign")) for level in range(1, spec.n_levels + 1)
    }
    for shard in storage.shards():
        raw, embedded = raw_pool.get(shard.key), embeddings.get(shard.key)
        if raw is None or embedded is None:
            wrong[shard.key] = "not ingested"
            continue
        n_rows = len(storage.embedded(shard.key).vectors.read())
        if raw.summary["n_accepted"] != n_rows + embedded.summary["n_rejected"]:
            wrong[shard.key] = (
                f"{raw.summary['n_accepted']} accepted, but {n_rows} embedded and "
                f"{embedded.summary['n_rejected']} rejected by the encoder"
            )
        for level, facts in assigned.items():
            count = facts[shard.key].summary["n_rows"] if shard.key in facts else 0
            if count != n_rows:
                wrong[shard.key] = f"{n_rows} embedded, but {count} assigned at level {level}"
    return wrong


def unsound_embeddings(spec: PoolSpec, storage: PoolStorage) -> dict[str, str]:
    """Shards with embeddings of other weights, not finite, without direction, or not of unit length when prepared.

    The check reads 64 evenly spaced rows of every shard, not the whole pool.
    """
    bottom = storage.clusters(1)
    preprocessing = read_preprocessing(bottom) if bottom.facts() else None
    wrong = shards_of_other_weights(storage) | shards_of_other_dimension(storage)
    for shard in storage.shards():
        embedded = storage.embedded(shard.key)
        if embedded.facts() is None:
            continue
        array = embedded.vectors.read()
        step = max(1, len(array) // _ROWS_LOOKED_AT)
        rows = np.asarray(array[::step], dtype=np.float32)
        if not len(rows):
            continue
        cosine = spec.preprocessing.metric == "cosine"
        if not np.isfinite(rows).all():
            wrong[shard.key] = "not finite"
        elif cosine and not rows.any(axis=1).all():
            wrong[shard.key] = "length zero"
        elif cosine and preprocessing is not None and preprocessing.metric == "cosine":
            norms = np.linalg.norm(preprocessing.apply(rows), axis=1)
            worst = float(np.abs(norms - 1).max())
            if worst > _UNIT_NORM_TOLERANCE:
                wrong[shard.key] = f"prepared rows are off unit length by {worst:.3g}"
    return wrong


def require_assigned_rows(shard: str, n_embedded: int, n_assigned: int) -> None:
    """Gate before a draw: an assignment of other rows than those embedded would select the wrong samples.

    Raises:
        CurationError: if the counts differ.
    """
    if n_embedded != n_assigned:
        raise CurationError(
            f"shard '{shard}': {n_embedded:,} rows are embedded, {n_assigned:,} assigned: run "
            f"level_1_assign of it again"
        )
