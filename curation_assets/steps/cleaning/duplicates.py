"""duplicates: which samples of the pool repeat another, and which of each group stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from curation_assets.pools import DeduplicationSettings, PoolSpec
from curation_assets.steps.cleaning.duplicate_groups import group_sizes
from curation_assets.steps.cleaning.duplicate_rows import DuplicateRows, keep_order
from curation_assets.steps.cleaning.standing_duplicates import Standing, decisive_settings
from curation_assets.steps.context import StepContext
from curation_assets.steps.soundness import require_one_encoder
from curation_assets.storage.clusters import write_preprocessing
from curation_assets.storage.fates import EXACT, NORMALIZED_TEXT, SEMANTIC
from curation_assets.storage.fingerprint import fingerprint
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.tables import Duplicates

if TYPE_CHECKING:
    from curation_assets.steps.cleaning.duplicate_search import CoarseSearch


@dataclass(frozen=True, slots=True)
class _Found:
    """Removed rows of one run: int64 rows and twins, kinds, float64 similarities, all (r,)."""

    rows: np.ndarray
    twins: np.ndarray
    kinds: np.ndarray
    similarities: np.ndarray


def find_duplicates(step: StepContext) -> None:
    """Remove equal samples, then near ones, across all shards. Contaminated rows take no part.

    Equal bytes (and texts that are equal after normalisation) come first, because embeddings do not tell them
    apart. The largest of each group stays, or the first, as `deduplication.keep` says. The samples that stay are
    compared within coarse clusters. If such a sample is removed there, its whole group is removed with it and
    names the same twin and similarity. Images of one colour are copies only of equal bytes.

    Earlier decisions hold until the settings change or the step is forced. Rows of unchanged shards are judged
    again only if the sample that they are a copy of is gone. New rows are compared with the rows that stay and
    with each other. The coarse clusters stay too, until the pool holds four times the rows they were fitted on.

    Writes the evidence, and what the next run starts from. Peak memory: about 150 bytes a row of the pool, the
    sample of the coarse fit (512 d bytes a cluster), and ten times 32 MiB of rows or four times the largest coarse
    cluster. 200,000 rows of 384 numbers took 1.1 GiB, including torch.

    Raises:
        CurationError: if shards were embedded with different weights.
    """
    spec, storage, writer = step.spec, step.storage, step.writer
    settings = spec.deduplication
    if settings is None:
        raise ValueError(f"pool '{spec.name}' has no deduplication: nothing to find")
    if settings.semantic:
        require_one_encoder(storage)
    threshold = resolved_threshold(spec)
    step.report(0.0, "reading digests")
    rows = DuplicateRows.read(spec, storage)
    standing = Standing.none() if step.forced else Standing.read(spec, storage.duplicates(), rows, threshold)
    is_open = ~rows.contaminated
    is_open[standing.kept] = False
    is_open[standing.evidence["pool_row"].to_numpy()] = False
    n_judged = int(is_open.sum())
    found = [_equal(spec, rows, standing, is_open)] if settings.exact else []
    search: CoarseSearch | None = None
    if settings.semantic:
        from curation_assets.steps.cleaning.duplicate_search import CoarseSearch

        search = CoarseSearch(spec, rows, standing, threshold, step.report, step.engine)
        near = _near(search, is_open, writer)
        found = [*(_follow(part, near) for part in found), near]
    step.report(0.95, "writing the evidence")
    known = standing.evidence.select(list(Duplicates.evidence.schema))
    evidence = pl.concat([known, *(_evidence(rows, part) for part in found)]).sort("shard", "row")
    Duplicates.evidence.write(writer, evidence)
    Duplicates.judged.write(writer, rows.judged())
    Duplicates.left_out.write(writer, rows.left_out())
    if search and search.coarse and search.visits is not None:
        Duplicates.centroids.write(writer, search.coarse.centroids)
        Duplicates.visits.write(writer, search.visits)
        write_preprocessing(writer, search.coarse.preprocessing)
    writer.parts.update(_shard_digests(rows.shards, evidence))
    _summarise(writer, rows, evidence)
    writer.summary.update(
        n_judged=n_judged, keep=settings.keep, threshold=threshold, decided_by=decisive_settings(spec)
    )


def _near(search: CoarseSearch, is_open: np.ndarray, writer: OutputWriter) -> _Found:
    """Open rows that are close to one that stays."""
    removals = search.remove(is_open)
    writer.summary.update(
        n_comparisons=removals.n_comparisons,
        n_rounds=removals.n_rounds,
        n_clusters=len(search.coarse.centroids) if search.coarse else 0,
        n_clusters_touched=removals.n_clusters_touched,
        n_rows_of_fit=search.coarse.n_rows if search.coarse else 0,
    )
    kinds = np.full(len(removals.rows), SEMANTIC, dtype=object)
    return _Found(removals.rows, removals.twins, kinds, removals.similarities)


def resolved_threshold(spec: PoolSpec) -> float:
    """The cosine of near duplicates that follows from the pool's settings."""
    settings = spec.deduplication or DeduplicationSettings()
    centring = spec.preprocessing.centring and spec.preprocessing.metric == "cosine"
    return settings.resolve_threshold(spec.modality, centring=centring)


def _equal(spec: PoolSpec, rows: DuplicateRows, standing: Standing, is_open: np.ndarray) -> _Found:
    """Open rows equal to one that stays, which are open no longer."""
    from curation_assets.algorithms.duplicates.near_duplicates import exact_twins

    candidates = is_open.copy()
    candidates[standing.kept] = True
    part = np.flatnonzero(candidates & rows.has_digest)
    digests = rows.texts if spec.modality == "text" else rows.contents
    twins = exact_twins(digests[part], keep_order(spec, rows, part, is_open[part]))
    # Rows kept earlier stay, even if two of them are equal, as when one was kept in a later run than the other.
    removed = (twins >= 0) & is_open[part]
    at, twin = part[removed], part[twins[removed]]
    same = (rows.contents[at] == rows.contents[twin]).all(axis=1)
    is_open[at] = False
    kinds = np.where(same, EXACT, NORMALIZED_TEXT).astype(object)
    return _Found(at, twin, kinds, np.ones(len(at)))


def _follow(equal: _Found, near: _Found) -> _Found:
    """Rows equal to a removed near duplicate, now as near duplicates of the twin of that one."""
    if not len(near.rows):
        return equal
    at = np.minimum(np.searchsorted(near.rows, equal.twins), len(near.rows) - 1)
    fell = near.rows[at] == equal.twins
    return _Found(
        equal.rows,
        np.where(fell, near.twins[at], equal.twins),
        np.where(fell, near.kinds[at], equal.kinds),
        np.where(fell, near.similarities[at], equal.similarities),
    )


def _evidence(rows: DuplicateRows, found: _Found) -> pl.DataFrame:
    twins = rows.names(found.twins)
    described = rows.names(found.rows).with_columns(
        kind=pl.Series(found.kinds.tolist(), dtype=pl.String),
        twin_set=twins["shard"],
        twin_id=twins["sample_id"],
        similarity=pl.Series(found.similarities, dtype=pl.Float32),
    )
    return Duplicates.evidence.cast(described)


def _shard_digests(shards: list[str], evidence: pl.DataFrame) -> dict[str, str]:
    """Digest of each shard's evidence: a shard whose evidence is unchanged need not be admitted again."""
    parts = evidence.partition_by("shard", as_dict=True, maintain_order=True)
    texts = {str(shard): part.write_csv() for (shard,), part in parts.items()}
    return {shard: fingerprint(texts.get(shard, "")) for shard in shards}


def _summarise(writer: OutputWriter, rows: DuplicateRows, evidence: pl.DataFrame) -> None:
    groups = group_sizes(evidence)
    kinds = dict(evidence.group_by("kind").len().iter_rows())
    n_candidates = rows.n_rows - int(rows.contaminated.sum())
    largest = int(groups["n_removed"].max() or 0)  # type: ignore[arg-type]
    writer.summary.update(
        n_rows=rows.n_rows,
        n_blank=int(rows.blank.sum()),
        n_removed=len(evidence),
        removed={kind: kinds.get(kind, 0) for kind in (EXACT, NORMALIZED_TEXT, SEMANTIC)},
        share_removed=round(len(evidence) / max(1, n_candidates), 6),
        n_groups=len(groups),
        largest_group=largest + 1 if largest else 0,
    )
