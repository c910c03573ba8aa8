"""contaminated: rows of a shard that are too close to a sample of an evaluation set, each with its evidence."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl

from curation_assets.errors import CurationError
from curation_assets.pools import DecontaminationSettings, PoolSpec
from curation_assets.pools.cleaning import DECONTAMINATION_PIXEL_DISTANCE
from curation_assets.steps.context import StepContext
from curation_assets.storage.fates import EXACT, NORMALIZED_TEXT, PIXELS, SEMANTIC
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import Contaminated, Embedded, EvaluationSets, RawPool

_HASHES = {EXACT: "content_sha256", NORMALIZED_TEXT: "normalized_sha256"}


@dataclass(frozen=True, slots=True)
class EvaluationSamples:
    """All evaluation sets as they are stored; arrays are memory-mapped."""

    table: pl.DataFrame
    embeddings: np.ndarray
    signatures: np.ndarray
    weights: str

    @classmethod
    def read(cls, stored: EvaluationSets) -> EvaluationSamples:
        """The samples of all sets.

        Raises:
            StaleInputError: if the step has not run yet.
        """
        facts = stored.require_facts()
        return cls(
            stored.samples.read(),
            stored.embeddings.read(),
            stored.signatures.read(),
            str(facts.summary["encoder"].get("weights_sha256", "")),
        )


@dataclass(frozen=True, slots=True)
class ShardRows:
    """Embedded rows of one shard, or some of them, with the columns they are compared by."""

    table: pl.DataFrame
    """row, raw_row, sample_id, content_sha256, normalized_sha256."""
    embeddings: np.ndarray
    signatures: np.ndarray | None

    @classmethod
    def read(cls, raw_pool: RawPool, embedded: Embedded, samples: EvaluationSamples, pool: str) -> ShardRows:
        """All embedded rows of a shard.

        Raises:
            CurationError: if they cannot be compared to the evaluation sets: other weights or dimension, or
                no pixel signatures.
        """
        array = embedded.vectors.read()
        _require_comparable(embedded, array, samples, pool)
        rows = embedded.rows.read("raw_row", "sample_id")
        hashes = raw_pool.samples.read(*_HASHES.values())[rows["raw_row"]]
        table = rows.with_row_index("row").hstack(hashes)
        signed = bool(len(samples.signatures))
        return cls(table, array, embedded.signatures.read() if signed else None)

    def take(self, rows: np.ndarray) -> ShardRows:
        """Some of them, in the order given."""
        signatures = None if self.signatures is None else self.signatures[rows]
        return ShardRows(self.table[rows], self.embeddings[rows], signatures)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of comparing rows to every evaluation sample."""

    evidence: pl.DataFrame
    """Columns of `Contaminated.evidence`, at most one line a row: the first of hashes, pixels and cosine; of cosines
    the highest."""
    cosines: np.ndarray
    """float32 (n,): the highest to any evaluation sample, whatever its set's threshold; -1 if none has any."""
    closest: np.ndarray
    """int64 (n,): line of that sample in the samples' table."""


def find_contaminated(step: StepContext) -> None:
    """Store the evidence against every embedded row of a shard that is too close to an evaluation sample.

    Peak memory is the samples' digests, one column of digests of the shard, and two chunks of 64 MiB.

    Raises:
        CurationError: if shard and evaluation sets were embedded with different weights or dimensions.
        StaleInputError: if the evaluation sets were not read yet.
    """
    from curation_assets.pools.device import resolve_device

    storage, writer, shard = step.storage, step.writer, step.shard.key
    settings, device = required_settings(step.spec), resolve_device(step.spec.fit_device, "fit_device")
    digest = storage.evaluation_sets().require_facts().digest
    samples = _evaluation_samples(str(storage.folder.parent), storage.pool, digest)
    rows = ShardRows.read(storage.raw_pool(shard), storage.embedded(shard), samples, storage.pool)
    compared = compare(rows, samples, settings, device=device)
    Contaminated.evidence.write(writer, compared.evidence)
    clean = np.ones(len(rows.table), dtype=bool)
    clean[compared.evidence["row"].to_numpy()] = False
    by_set = Counter({entry.name: 0 for entry in settings.evaluation_sets})
    by_set.update(compared.evidence["twin_set"])
    writer.summary.update(
        n_rows=len(rows.table),
        n_contaminated=len(compared.evidence),
        sets=dict(by_set),
        kinds=dict(sorted(Counter(compared.evidence["kind"]).items())),
        closest_clean_cosine=round(float(compared.cosines[clean].max()), 4) if clean.any() else None,
    )
    step.report(1.0, f"{len(compared.evidence):,} of {len(rows.table):,} rows")


@lru_cache(maxsize=1)
def _evaluation_samples(storage_root: str, pool: str, digest: str) -> EvaluationSamples:
    """The evaluation samples with this digest; read once for many shards."""
    return EvaluationSamples.read(PoolStorage(storage_root, pool).evaluation_sets())


def required_settings(spec: PoolSpec) -> DecontaminationSettings:
    """The pool's decontamination.

    Raises:
        ValueError: if it has none.
    """
    if spec.decontamination is None:
        raise ValueError(f"pool '{spec.name}' has no key `decontamination`")
    return spec.decontamination


def compare(
    rows: ShardRows, samples: EvaluationSamples, settings: DecontaminationSettings, *, device: str = "cpu"
) -> Comparison:
    """Compare rows to every sample of every evaluation set, exactly."""
    found = [_equal_hashes(rows, samples, kind) for kind in _HASHES]
    found.append(_equal_pixels(rows, samples, device))
    semantic, cosines, closest = _close_embeddings(rows, samples, settings, device)
    evidence = pl.concat([*found, semantic]).unique("row", keep="first", maintain_order=True).sort("row")
    return Comparison(evidence, cosines, closest)


def _equal_hashes(rows: ShardRows, samples: EvaluationSamples, kind: str) -> pl.DataFrame:
    column = _HASHES[kind]
    # If two evaluation samples have the same content, the first of the first set is named.
    known = samples.table.drop_nulls(column).unique(column, keep="first", maintain_order=True)
    twins = known.select(column, twin_set="set", twin_id="sample_id")
    hits = rows.table.join(twins, on=column, how="inner", maintain_order="left")
    return _evidence(hits, kind, np.ones(len(hits), dtype=np.float32))


def _equal_pixels(rows: ShardRows, samples: EvaluationSamples, device: str) -> pl.DataFrame:
    from curation_assets.algorithms.search.references import nearest_rows, pair_cosines

    if rows.signatures is None:
        return Contaminated.evidence.empty()
    index, distance = nearest_rows(rows.signatures, samples.signatures, device=device)
    hits = np.flatnonzero(distance <= DECONTAMINATION_PIXEL_DISTANCE * np.sqrt(rows.signatures.shape[1]))
    signed = samples.table.drop_nulls("signature_row")
    twins = signed.select("embedding_row", twin_set="set", twin_id="sample_id")[index[hits]]
    theirs = samples.embeddings[twins["embedding_row"].to_numpy()]
    table = rows.table[hits].hstack(twins.drop("embedding_row"))
    return _evidence(table, PIXELS, pair_cosines(rows.embeddings[hits], theirs))


def _close_embeddings(
    rows: ShardRows, samples: EvaluationSamples, settings: DecontaminationSettings, device: str
) -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    from curation_assets.algorithms.search.references import best_matches

    n_rows = len(rows.table)
    cosines, closest = np.full(n_rows, -1, dtype=np.float32), np.full(n_rows, -1, dtype=np.int64)
    embedded = samples.table.with_row_index("line").drop_nulls("embedding_row")
    parts = [Contaminated.evidence.empty()]
    for entry in settings.evaluation_sets:
        mine = embedded.filter(pl.col("set") == entry.name)
        if mine.is_empty():
            continue
        first = mine["embedding_row"][0]
        index, cosine = best_matches(
            rows.embeddings, samples.embeddings[first : first + len(mine)], device=device
        )
        hits = np.flatnonzero(cosine >= np.float32(settings.threshold_for(entry)))
        twins = mine[index[hits]].select(twin_set="set", twin_id="sample_id")
        parts.append(_evidence(rows.table[hits].hstack(twins), SEMANTIC, cosine[hits]))
        wins = cosine > cosines
        cosines[wins] = cosine[wins]
        closest[wins] = mine["line"].to_numpy()[index[wins]]
    semantic = pl.concat(parts).sort("similarity", descending=True, maintain_order=True)
    return semantic, cosines, closest


def _evidence(hits: pl.DataFrame, kind: str, similarity: np.ndarray) -> pl.DataFrame:
    described = hits.with_columns(kind=pl.lit(kind), similarity=pl.Series(similarity, dtype=pl.Float32))
    return Contaminated.evidence.cast(described)


def _require_comparable(embedded: Embedded, array: np.ndarray, samples: EvaluationSamples, pool: str) -> None:
    facts, shard = embedded.require_facts(), embedded.shard
    again = f"embed it again: curation-assets backfill --pool {pool} --from embeddings --shards {shard}"
    weights = str(facts.summary.get("encoder", {}).get("weights_sha256", ""))
    if weights and samples.weights and weights != samples.weights:
        raise CurationError(
            f"shard '{shard}' was embedded with weights {weights[:12]}, the evaluation sets with "
            f"{samples.weights[:12]}: {again}, or evaluation_sets if the shard is right"
        )
    if len(samples.embeddings) and array.shape[1] != samples.embeddings.shape[1]:
        names = ", ".join(samples.table["set"].unique(maintain_order=True))
        raise CurationError(
            f"shard '{shard}' has embeddings of {array.shape[1]} dimensions, the evaluation sets ({names}) of "
            f"{samples.embeddings.shape[1]}: embed both with the same encoder"
        )
    if len(samples.signatures) and Embedded.signatures.name not in facts.files:
        raise CurationError(f"shard '{shard}' has no pixel signatures of its images: {again}")
