"""The rows of a fit on a sample, chosen by hashes of their ids. The order of the shards does not matter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl

from curation_assets.pools import PoolSpec
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import LevelClusters

_SPARE_ROWS = 2**20

Sample = Mapping[str, np.ndarray]
"""By shard, rows of its embeddings, uint32, ascending; empty for a shard that gives no rows."""


def choose_sample(spec: PoolSpec, storage: PoolStorage) -> Sample | None:
    """The `fit_rows` rows that come first by a keyed hash of their ids; None if the fit is on all rows.

    Reads one column of ids, shard by shard. Memory: 32 bytes for each row of the sample and of one shard.

    Raises:
        StaleInputError: if a shard has changed or gone since the rows of the fit were chosen.
    """
    from curation_assets.algorithms.randomness import Purpose, keyed_priorities

    if spec.fit_rows is None or spec.fit_rows >= storage.fitted_embeddings().n_rows:
        return None
    shards: list[str] = []
    priorities = [np.empty(0, dtype=np.uint64)]
    places = [np.empty((0, 2), dtype=np.uint32)]
    limit, n_waiting = np.uint64(2**64 - 1), 0
    for shard, rows, id_hashes in _fitted_rows(storage):
        found = keyed_priorities(id_hashes, spec.seed, Purpose.FIT_SAMPLE)
        first = np.flatnonzero(found <= limit)
        priorities.append(found[first])
        numbers = np.full(len(first), len(shards), dtype=np.uint32)
        places.append(np.stack([numbers, rows[first].astype(np.uint32)], axis=1))
        shards.append(shard)
        n_waiting += len(first)
        if n_waiting > spec.fit_rows + _SPARE_ROWS:
            priorities, places = _first_rows(priorities, places, spec.fit_rows)
            limit, n_waiting = priorities[0].max(), spec.fit_rows
    _, chosen = _first_rows(priorities, places, spec.fit_rows)
    order = np.lexsort((chosen[0][:, 1], chosen[0][:, 0]))
    ordered = chosen[0][order]
    bounds = np.searchsorted(ordered[:, 0], np.arange(len(shards) + 1))
    return {shard: ordered[bounds[i] : bounds[i + 1], 1].copy() for i, shard in enumerate(shards)}


def write_sample(writer: OutputWriter, sample: Sample | None) -> None:
    """Store a sample with the fit, if it is on one."""
    if sample is None:
        return
    sizes = [len(rows) for rows in sample.values()]
    shards = pl.Series("shard", list(sample), dtype=pl.String).cast(pl.Categorical)
    table = pl.DataFrame(
        {
            "shard": shards[np.repeat(np.arange(len(sizes)), sizes)],
            "row": np.concatenate([np.empty(0, dtype=np.uint32), *sample.values()]),
        }
    )
    LevelClusters.fit_sample.write(writer, table)


def read_sample(storage: PoolStorage, stored: LevelClusters) -> Sample | None:
    """The sample that is stored with an output of level 1; None if it was fitted on all rows."""
    if LevelClusters.fit_sample.name not in stored.require_facts().files:
        return None
    parts = stored.fit_sample.read().partition_by("shard", as_dict=True, maintain_order=True)
    found = {str(shard): part["row"].to_numpy() for (shard,), part in parts.items()}
    rows = storage.fit_rows()
    keys = sorted(rows.shards) if rows else [shard.key for shard in storage.shards()]
    return {key: found.get(key, np.empty(0, dtype=np.uint32)) for key in keys}


def _fitted_rows(storage: PoolStorage) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Shard, rows of its embeddings and hashes of their ids, for all rows the tree may be fitted on."""
    chosen = storage.fit_rows()
    cleaned = {key: part.embeddings != "" for key, part in chosen.shards.items()} if chosen else {}
    for key in sorted(cleaned) if chosen else [shard.key for shard in storage.shards()]:
        id_hashes = storage.embedded(key).rows.column("id_hash").to_numpy()
        rows = np.arange(len(id_hashes))
        if cleaned.get(key):
            rows = np.asarray(storage.admitted(key).kept.read())
        yield key, rows, id_hashes[rows]


def _first_rows(
    priorities: list[np.ndarray], places: list[np.ndarray], n_rows: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The rows of lowest priority. Repeated ids tie; then the first shard wins."""
    every, where = np.concatenate(priorities), np.concatenate(places)
    if len(every) <= n_rows:
        return [every], [where]
    limit = np.partition(every, n_rows - 1)[n_rows - 1]
    below, tied = np.flatnonzero(every < limit), np.flatnonzero(every == limit)
    tied = tied[np.lexsort((where[tied, 1], where[tied, 0]))][: n_rows - len(below)]
    first = np.concatenate([below, tied])
    return [every[first]], [where[first]]
