"""atlas: samples of the pool with their fates, a projection and neighbours, as Embedding Atlas opens them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from curation_assets.errors import CurationError
from curation_assets.formats.base import RejectedSampleError
from curation_assets.pools import AtlasSettings, EmbeddingsSource, PoolSpec
from curation_assets.steps.context import PoolAccess, StepContext
from curation_assets.steps.ingest.samples import read_pool_samples, sample_text, sample_thumbnail
from curation_assets.storage.clusters import read_preprocessing
from curation_assets.storage.embeddings import ShardedEmbeddings
from curation_assets.storage.tables import LABEL_PREFIX, Assigned, Atlas, Embedded, Ledger

if TYPE_CHECKING:
    from curation_assets.algorithms.preprocessing import Preprocessing

_TEXT_CHARACTERS = 2_000
_LEDGER_COLUMNS = ("fate", "reason", "twin_set", "twin_id", "similarity", "targets")


@dataclass(frozen=True, slots=True)
class _Shard:
    """The tables of one shard, in canonical order."""

    key: str
    embedded: Embedded
    ledger: Ledger
    assigned: Sequence[Assigned]
    """By level, the first for level 1."""


def export_atlas(step: StepContext) -> None:
    """Store one table for Embedding Atlas, a row per shown sample (excluded ones too), and a picture of it.

    If the pool has more than `max_rows` embedded rows, a sample is shown, with some rows of every fate; hashes of ids
    and the seed decide which. Peak memory is one shard's tables and what `max_rows` rows need.
    """
    from curation_assets.report.projection import projection_scatter

    spec, storage, writer, settings = step.spec, step.storage, step.writer, step.spec.atlas
    if settings is None:
        raise ValueError(f"pool '{spec.name}' sets atlas: null, so there is nothing to export")
    step.report(0.1, "projecting")
    levels = range(1, spec.n_levels + 1)
    shards = [
        _Shard(key, storage.embedded(key), storage.ledger(key), [storage.assigned(t, key) for t in levels])
        for key in (shard.key for shard in storage.shards())
    ]
    shown, fates = _choose_rows(shards, settings.max_rows, spec.seed)
    embeddings, preprocessing = storage.embeddings(), read_preprocessing(storage.clusters(1))
    table = _with_clusters(shards, embeddings.starts.tolist(), shown)
    table = table.with_columns(
        _geometry(spec, settings, embeddings, preprocessing, table["pool_row"].to_numpy())
    )
    table = table.join(
        _contents(step.pool, settings.thumbnail_pixels, shown),
        on=["shard", "raw_row"],
        how="left",
        maintain_order="left",
    )
    # Embedding Atlas colours by text columns and would lay numbers out on an axis. It keeps the order of columns.
    names = [f"level_{level}" for level in levels]
    table = table.with_columns(
        pl.col(names).cast(pl.String), pl.col("targets").list.sort().list.join(", ")
    ).select(
        pl.col("sample_id").alias("id"),
        pl.col("^(text|image)$"),
        *("fate", "targets", *reversed(names)),
        pl.col(f"^{LABEL_PREFIX}.*$"),
        *("distance", "reason", "twin_set", "twin_id", "similarity", "shard", "file"),
        *(Atlas.X, Atlas.Y, Atlas.NEIGHBOURS),
    )
    Atlas.samples.write(writer, table)
    counts = dict(table.group_by("fate").len().sort("fate").iter_rows())
    writer.summary.update(n_rows=len(table), n_pool_rows=sum(fates.values()), fates=counts)
    x, y = table[Atlas.X].to_numpy(), table[Atlas.Y].to_numpy()
    writer.file(Atlas.PICTURE).write_bytes(projection_scatter(x, y, table["fate"].to_list()))


def atlas_command(atlas: Atlas, spec: PoolSpec) -> str:
    """The shell command that opens the stored table in Embedding Atlas."""
    words = ["embedding-atlas", str(atlas.samples.path), "--x", Atlas.X, "--y", Atlas.Y]
    words += ["--neighbors", Atlas.NEIGHBOURS]
    if spec.modality == "image":
        words += ["--image", "image"]
    elif spec.modality == "text" or (isinstance(spec.source, EmbeddingsSource) and spec.source.text_field):
        words += ["--text", "text"]
    return shlex.join(words)


def _choose_rows(shards: Sequence[_Shard], max_rows: int, seed: int) -> tuple[pl.DataFrame, dict[str, int]]:
    """The rows that are shown, in canonical order, and the embedded rows of the pool by fate."""
    from curation_assets.algorithms.atlas.strata import strata_quotas
    from curation_assets.algorithms.randomness import Purpose, keyed_priorities

    parts: list[pl.DataFrame] = []
    sizes: dict[str, int] = {}
    start = 0
    for shard in shards:
        rows = shard.embedded.rows.read("raw_row", "sample_id", "id_hash")
        rows = rows.with_columns(
            shard=pl.lit(shard.key),
            pool_row=pl.int_range(start, start + len(rows), dtype=pl.Int64, eager=True),
            priority=pl.Series(keyed_priorities(rows["id_hash"].to_numpy(), seed, Purpose.ATLAS)),
        )
        rows = rows.hstack(_fates(shard.ledger, rows))
        for fate, count in rows.group_by("fate").len().iter_rows():
            sizes[fate] = sizes.get(fate, 0) + count
        start += len(rows)
        kept = pl.concat([*parts, rows])
        parts = [kept.filter(pl.col("priority").rank("ordinal").over("fate") <= max_rows)]
    candidates = parts[0]
    names = sorted(sizes)
    quotas = strata_quotas(np.array([sizes[name] for name in names]), max_rows)
    quota = pl.col("fate").replace_strict(
        dict(zip(names, quotas.tolist(), strict=True)), return_dtype=pl.Int64
    )
    shown = candidates.filter(pl.col("priority").rank("ordinal").over("fate") <= quota)
    return shown.sort("pool_row"), sizes


def _fates(stored: Ledger, rows: pl.DataFrame) -> pl.DataFrame:
    """The ledger's columns of embedded rows of a shard; columns that an older ledger lacks are null."""
    ledger = stored.fates.read()
    places = rows["raw_row"]
    known = ledger["sample_id"].gather(places.clip(upper_bound=max(0, len(ledger) - 1)))
    if len(places) and (known != rows["sample_id"]).any():
        raise CurationError(
            f"shard '{stored.shard}': the ledger is of other rows than the embeddings: materialize ledger again"
        )
    present = ledger[places]
    return present.select(
        pl.col(name).cast(dtype) if name in present.columns else pl.lit(None, dtype).alias(name)
        for name, dtype in ((name, Ledger.fates.schema[name]) for name in _LEDGER_COLUMNS)
    )


def _with_clusters(shards: Sequence[_Shard], starts: Sequence[int], shown: pl.DataFrame) -> pl.DataFrame:
    """Adds the rows' clusters at every level, and the distance to the centroid of level 1."""
    by_key = {shard.key: (shard, start) for shard, start in zip(shards, starts, strict=True)}
    parts = []
    for (key,), mine in shown.partition_by("shard", as_dict=True, maintain_order=True).items():
        shard, start = by_key[str(key)]
        places = mine["pool_row"] - start
        columns = []
        for level, stored in enumerate(shard.assigned, start=1):
            assigned = stored.rows.read()[places]
            columns.append(assigned["cluster"].alias(f"level_{level}"))
            if level == 1:
                columns.append(assigned["distance"])
        parts.append(mine.with_columns(columns))
    return pl.concat(parts)


def _geometry(
    spec: PoolSpec,
    settings: AtlasSettings,
    embeddings: ShardedEmbeddings,
    preprocessing: Preprocessing,
    pool_rows: np.ndarray,
) -> list[pl.Series]:
    """Projection and neighbours of the shown rows, as zero-based positions in the table."""
    from curation_assets.algorithms.atlas.neighbours import nearest_neighbours
    from curation_assets.algorithms.atlas.projection import project
    from curation_assets.pools.device import resolve_device

    rows = preprocessing.apply(embeddings.take(pool_rows))
    plane = project(rows, seed=spec.seed)
    device = resolve_device(spec.fit_device, "fit_device")
    indices, distances = nearest_neighbours(
        rows, settings.n_neighbours, metric=preprocessing.metric, device=device
    )
    neighbours = pl.DataFrame(
        {"ids": pl.Series(indices.tolist(), dtype=pl.List(pl.Int64)),
         "distances": pl.Series(distances.tolist(), dtype=pl.List(pl.Float32))}
    )  # fmt: skip
    return [
        pl.Series(Atlas.X, plane[:, 0]),
        pl.Series(Atlas.Y, plane[:, 1]),
        neighbours.to_struct(Atlas.NEIGHBOURS),
    ]


def _contents(pool: PoolAccess, thumbnail_pixels: int, shown: pl.DataFrame) -> pl.DataFrame:
    """File, labels, and text or thumbnail of the shown rows, by shard and raw_row."""
    spec, source = pool.spec, pool.spec.source
    schema: dict[str, Any] = {"shard": pl.String, "raw_row": pl.UInt32, "file": pl.String}
    labels = [LABEL_PREFIX + name for name in source.label_fields]
    schema |= dict.fromkeys(labels, pl.String)
    if spec.modality == "image":
        # The form of Hugging Face datasets, which Embedding Atlas turns into a data URI.
        schema["image"] = pl.Struct({"bytes": pl.Binary, "path": pl.String})
    elif spec.modality == "text" or (isinstance(source, EmbeddingsSource) and source.text_field):
        schema["text"] = pl.String
    wanted = {
        str(shard): mine["raw_row"].to_list()
        for (shard,), mine in shown.partition_by("shard", as_dict=True, maintain_order=True).items()
    }
    rows = []
    for found in read_pool_samples(pool.storage, pool.reader, source, wanted):
        row = {"shard": found.shard, "raw_row": found.raw_row, "file": found.record["file"]}
        row |= {name: found.record[name] for name in labels}
        try:
            text = sample_text(found.sample, source)
            picture = sample_thumbnail(found.sample, source, thumbnail_pixels)
        except RejectedSampleError:
            # Its file changed since it was embedded, so it is shown as a point without content.
            text = picture = None
        row["text"] = None if text is None else text[:_TEXT_CHARACTERS]
        row["image"] = picture and {"bytes": picture, "path": f"{found.record['sample_id']}.webp"}
        rows.append({name: row[name] for name in schema})
    return pl.DataFrame(rows, schema=schema, orient="row")
