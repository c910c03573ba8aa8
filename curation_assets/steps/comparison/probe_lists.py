"""What the command of a probe gets: lists of ids, and a JSON file that names them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from curation_assets.errors import CurationError
from curation_assets.steps.comparison.probe_draws import ProbedSubset
from curation_assets.steps.dataset.pool_index import PoolIndex
from curation_assets.storage.pool_storage import PoolStorage

CANDIDATES_FILE: Final = "candidates.json"
HELD_OUT: Final = "held_out"


def write_lists(
    folder: Path,
    storage: PoolStorage,
    index: PoolIndex,
    draws: Mapping[tuple[ProbedSubset, int], np.ndarray],
    held_out: np.ndarray,
    *,
    seed: int,
) -> Path:
    """Write the ids of every draw and of the test samples, and the file that names the lists.

    A list has one id a line; a second file has the shard of each, line by line.

    Args:
        folder: gets the files.
        storage: the pool's outputs.
        index: of the pool.
        draws: pool rows, ascending, of each draw of each subset.
        held_out: pool rows, ascending, of the test samples; may be empty.
        seed: the pool's.

    Returns:
        Path of the file of candidates.

    Raises:
        CurationError: if an id has a line break.
    """
    lists = {f"{number:04}": rows for number, rows in enumerate(draws.values())} | {HELD_OUT: held_out}
    _write_ids(folder, storage, index, lists)
    candidates = [
        {
            "name": probed.name(draw),
            "target": probed.target.name,
            "subset": probed.subset,
            "level": probed.level,
            "seed": draw,
            **_files(folder, f"{number:04}", rows),
        }
        for number, ((probed, draw), rows) in enumerate(draws.items())
    ]
    document = {
        "pool": storage.pool,
        "seed": seed,
        HELD_OUT: _files(folder, HELD_OUT, held_out),
        "candidates": candidates,
    }
    path = folder / CANDIDATES_FILE
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
    return path


def _files(folder: Path, name: str, rows: np.ndarray) -> dict[str, Any]:
    ids, shards = _paths(folder, name)
    return {"n_samples": len(rows), "ids": str(ids), "shards": str(shards)}


def _paths(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"{name}.ids.txt", folder / f"{name}.shards.txt"


def _write_ids(folder: Path, storage: PoolStorage, index: PoolIndex, lists: Mapping[str, np.ndarray]) -> None:
    """Every list at once, so that the ids of each shard are read once."""
    for name in lists:
        for path in _paths(folder, name):
            path.touch()
    for number, shard in enumerate(index.shards):
        start, stop = index.starts[number], index.starts[number + 1]
        found = storage.embedded(shard).rows.column("sample_id")
        broken = found.filter(found.str.contains("[\n\r]"))
        if len(broken):
            raise CurationError(
                f"probe.command needs lists of one id a line, but the id {broken[0]!r} of shard '{shard}' has a line "
                f"break: name another source.id_field, or remove probe.command"
            )
        for name, rows in lists.items():
            first, last = np.searchsorted(rows, [start, stop])
            ids, shards = _paths(folder, name)
            # Opened for each shard: a process may not hold as many files as there can be lists.
            with ids.open("a", encoding="utf-8", newline="\n") as file:
                file.writelines(
                    f"{sample_id}\n" for sample_id in found.gather(rows[first:last] - start).to_list()
                )
            with shards.open("a", encoding="utf-8", newline="\n") as file:
                file.write(f"{shard}\n" * int(last - first))
