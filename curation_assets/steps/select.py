"""selection: quotas down the tree, and the rows that fill them, for every target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from curation_assets.errors import CurationError
from curation_assets.lineage import level_asset
from curation_assets.pools import PoolSpec, TargetSettings
from curation_assets.steps.assign import TABLE as ASSIGN_TABLE
from curation_assets.steps.soundness import require_assigned_rows, require_one_encoder
from curation_assets.storage.admission import KEPT
from curation_assets.storage.clusters import CENTROIDS, read_parents
from curation_assets.storage.embeddings import ROWS
from curation_assets.storage.fingerprint import fingerprint
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.pool_storage import PoolStorage

SELECTED = "selected.parquet"
QUOTAS = "quotas.parquet"
DUPLICATES = "duplicates.parquet"


@dataclass(frozen=True, slots=True)
class PoolIndex:
    """What a draw needs of every embedded row of the pool, in canonical order: 29 bytes a row."""

    shards: list[str]
    starts: np.ndarray
    """int64 (n_shards + 1,): first row of each shard."""
    clusters: np.ndarray
    """int64 (n,): cluster at level 1."""
    distances: np.ndarray
    """float32 (n,): to the level-1 centroid."""
    id_hashes: np.ndarray
    """uint64 (n,)."""
    admissible: np.ndarray
    """bool (n,): neither duplicates nor contaminated; all True in a pool that is not cleaned."""

    @classmethod
    def read(cls, storage: PoolStorage, *, cleaned: bool = False) -> PoolIndex:
        """Collect the columns of all shards.

        Args:
            storage: the pool's outputs.
            cleaned: whether only the rows of `admitted` may be drawn.
        """
        shards = [shard.key for shard in storage.shards()]
        assigned = [storage.output(level_asset(1, "assign"), shard).table(ASSIGN_TABLE) for shard in shards]
        hashes = [storage.output("embeddings", shard).table(ROWS, ["id_hash"])["id_hash"] for shard in shards]
        for shard, column, table in zip(shards, hashes, assigned, strict=True):
            require_assigned_rows(shard, len(column), len(table))
        return cls(
            shards,
            np.concatenate([[0], np.cumsum([len(table) for table in assigned])]).astype(np.int64),
            np.concatenate([table["cluster"].to_numpy() for table in assigned]),
            np.concatenate([table["distance"].to_numpy() for table in assigned]),
            np.concatenate([column.to_numpy() for column in hashes]),
            np.concatenate(
                [
                    _admissible(storage, shard, len(table), cleaned=cleaned)
                    for shard, table in zip(shards, assigned, strict=True)
                ]
            ),
        )

    def locate(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shard number and row inside the shard of pool rows."""
        shard = np.searchsorted(self.starts, rows, side="right") - 1
        return shard, rows - self.starts[shard]


def _admissible(storage: PoolStorage, shard: str, n_rows: int, *, cleaned: bool) -> np.ndarray:
    admissible = np.full(n_rows, not cleaned)
    if cleaned:
        admissible[storage.output("admitted", shard).array(KEPT)] = True
    return admissible


def select(spec: PoolSpec, storage: PoolStorage, writer: OutputWriter) -> None:
    """Draw every target of a pool.

    Rows whose sample id occurs in an earlier shard are set aside first. Draws are decided by hashes of sample
    ids and the seed, so the order in which shards arrived does not matter.

    Args:
        spec: the pool.
        storage: its outputs.
        writer: gets the selected rows, the quotas of every level and the duplicate ids.

    Raises:
        PoolSpecError: if a target is larger than the pool.
        CurationError: if a draw misses its size: nothing is written then.
    """
    require_one_encoder(storage)
    index = PoolIndex.read(
        storage, cleaned=spec.deduplication is not None or spec.decontamination is not None
    )
    duplicates = _cross_shard_duplicates(index, storage)
    admissible = index.admissible.copy()
    admissible[duplicates["pool_row"].to_numpy()] = False
    rows = np.flatnonzero(admissible)
    parents = read_parents(storage, spec.n_levels)
    n_clusters = len(storage.output(level_asset(1, "clusters")).array(CENTROIDS))
    sizes = np.bincount(index.clusters[rows], minlength=n_clusters)
    selected, quotas = [], []
    for target in spec.targets:
        chosen, quota_table = _draw_target(spec, target, index, rows, sizes, parents)
        selected.append(_selected_table(target.name, chosen, index, storage, parents))
        quotas.append(quota_table)
    table = pl.concat(selected)
    writer.table(SELECTED, table)
    writer.table(QUOTAS, pl.concat(quotas))
    writer.table(DUPLICATES, duplicates.drop("pool_row"))
    writer.parts.update(_shard_digests(index.shards, table, duplicates))
    writer.summary.update(
        n_rows=len(index.clusters),
        n_admissible=len(rows),
        n_duplicate_ids=duplicates.height,
        targets={target.name: len(part) for target, part in zip(spec.targets, selected, strict=True)},
        requested={target.name: target.resolve(len(rows)) for target in spec.targets},
    )


def _draw_target(
    spec: PoolSpec,
    target: TargetSettings,
    index: PoolIndex,
    rows: np.ndarray,
    sizes: np.ndarray,
    parents: list[np.ndarray],
) -> tuple[np.ndarray, pl.DataFrame]:
    from curation_assets.algorithms.randomness import Purpose, keyed_priorities
    from curation_assets.algorithms.sampling import draw, plan_quotas

    size = target.resolve(len(rows))
    plan = plan_quotas(sizes, parents, size, seed=spec.seed)
    if target.strategy == "random":
        priorities = keyed_priorities(index.id_hashes[rows], spec.seed, Purpose.DRAW)
    else:
        priorities = index.distances[rows]
    chosen = rows[draw(index.clusters[rows], priorities, plan.quotas[0])]
    if len(chosen) != size:
        raise CurationError(f"target '{target.name}' drew {len(chosen):,} samples instead of {size:,}")
    quotas = [
        pl.DataFrame({"cluster": np.arange(len(quota)), "size": plan.sizes[t], "quota": quota}).select(
            pl.lit(target.name).alias("target"), pl.lit(t + 1, pl.Int32).alias("level"), pl.all()
        )
        for t, quota in enumerate(plan.quotas)
    ]
    return chosen, pl.concat(quotas)


def _selected_table(
    target: str, chosen: np.ndarray, index: PoolIndex, storage: PoolStorage, parents: list[np.ndarray]
) -> pl.DataFrame:
    shard, row = index.locate(chosen)
    clusters = {"level_1": index.clusters[chosen]}
    for level, parent in enumerate(parents, start=2):
        clusters[f"level_{level}"] = parent[clusters[f"level_{level - 1}"]]
    parts = []
    for number in np.unique(shard):
        mine = np.flatnonzero(shard == number)
        ids = storage.output("embeddings", index.shards[number]).table(ROWS, ["raw_row", "sample_id"])[
            row[mine]
        ]
        parts.append(
            pl.DataFrame(
                {
                    "shard": [index.shards[number]] * len(mine),
                    "row": row[mine],
                    "raw_row": ids["raw_row"],
                    "sample_id": ids["sample_id"],
                    **{name: values[mine] for name, values in clusters.items()},
                    "distance": index.distances[chosen[mine]],
                }
            )
        )
    return pl.concat(parts).select(pl.lit(target).alias("target"), pl.all())


def _cross_shard_duplicates(index: PoolIndex, storage: PoolStorage) -> pl.DataFrame:
    """Rows whose sample id occurs in an earlier shard, with the shard that is kept."""
    order = np.argsort(index.id_hashes, kind="stable")
    hashes = index.id_hashes[order]
    suspects = np.sort(order[np.isin(hashes, hashes[1:][hashes[1:] == hashes[:-1]])])
    shard, row = index.locate(suspects)
    first_shard: dict[str, str] = {}
    found = []
    for number in np.unique(shard):
        mine = np.flatnonzero(shard == number)
        output = storage.output("embeddings", index.shards[number])
        rows = output.table(ROWS, ["raw_row", "sample_id"])[row[mine]]
        for pool_row, raw_row, sample_id in zip(
            suspects[mine], rows["raw_row"], rows["sample_id"], strict=True
        ):
            # Equal hashes of different ids are possible, if rare: the ids themselves decide.
            kept = first_shard.setdefault(sample_id, index.shards[number])
            if kept != index.shards[number]:
                found.append((int(pool_row), index.shards[number], raw_row, sample_id, kept))
    schema = {
        "pool_row": pl.Int64,
        "shard": pl.String,
        "raw_row": pl.UInt32,
        "sample_id": pl.String,
        "kept_shard": pl.String,
    }
    return pl.DataFrame(found, schema=schema, orient="row")


def _shard_digests(shards: list[str], selected: pl.DataFrame, duplicates: pl.DataFrame) -> dict[str, str]:
    """What of the selection concerns each shard: a shard whose part is unchanged need not be written again."""
    parts: dict[str, list[str]] = {shard: [] for shard in shards}
    for table in (selected, duplicates.drop("pool_row")):
        for (shard,), part in table.partition_by("shard", as_dict=True, maintain_order=True).items():
            parts[str(shard)].append(part.write_csv())
    return {shard: fingerprint(texts) for shard, texts in parts.items()}
