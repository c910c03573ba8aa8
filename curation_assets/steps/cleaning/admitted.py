"""admitted: the rows of a shard that are neither contaminated nor duplicates, and the evidence for the others."""

from __future__ import annotations

import numpy as np
import polars as pl

from curation_assets.errors import CurationError
from curation_assets.steps.context import StepContext
from curation_assets.storage.fates import CONTAMINATED_FATE, DUPLICATE_FATE
from curation_assets.storage.tables import Admitted


def admit_shard(step: StepContext) -> None:
    """Store which embedded rows of a shard may enter the tree, and every excluded row with its twin and similarity.

    Raises:
        CurationError: if a row is excluded twice: contaminated samples are never judged as duplicates.
    """
    spec, storage, writer, shard = step.spec, step.storage, step.writer, step.shard.key
    facts = storage.embedded(shard).require_facts()
    parts = [Admitted.excluded.empty()]
    if spec.decontamination:
        parts.append(_with_fate(storage.contaminated(shard).evidence.read(), CONTAMINATED_FATE))
    if spec.deduplication:
        every = storage.duplicates().evidence.read()
        parts.append(_with_fate(every.filter(pl.col("shard") == shard), DUPLICATE_FATE))
    excluded = pl.concat(parts).sort("row")
    if excluded["row"].n_unique() != len(excluded):
        raise CurationError(f"shard '{shard}': a row is excluded twice: run duplicates again")
    kept = np.ones(int(facts.summary["n_rows"]), dtype=bool)
    kept[excluded["row"].to_numpy()] = False
    Admitted.kept.write(writer, np.flatnonzero(kept))
    Admitted.excluded.write(writer, excluded)
    # The fit reads embeddings through this output: its digest must change with theirs.
    writer.text(Admitted.EMBEDDINGS_DIGEST, facts.digest)
    counts = dict(excluded.group_by("fate").len().sort("fate").iter_rows())
    writer.summary.update(n_rows=int(kept.sum()), n_excluded=len(excluded), excluded=counts)
    step.report(1.0, f"{int(kept.sum()):,} rows, {len(excluded):,} excluded")


def _with_fate(evidence: pl.DataFrame, fate: str) -> pl.DataFrame:
    return Admitted.excluded.cast(evidence.with_columns(fate=pl.lit(fate)))
