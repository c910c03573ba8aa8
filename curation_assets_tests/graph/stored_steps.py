"""Small graphs whose outputs are written as steps write them, for tests of freshness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curation_assets.formats.base import SourceFile
from curation_assets.graph.base import ExtraInput, Step
from curation_assets.graph.freshness import Freshness
from curation_assets.graph.refit import choose_fit_rows
from curation_assets.storage.outputs import Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import Shard


def shard(key: str, version: str = "1") -> Shard:
    return Shard(key, (SourceFile(f"{key}.tar", 10, version),))


def whole(name: str, *inputs: str, settings: Any = None, version: str = "1", **more: Any) -> Step:
    """A step with one output."""
    return Step(name, version, inputs, settings or {}, **more)


def per_shard(name: str, *inputs: str, **more: Any) -> Step:
    """A step with an output per shard."""
    return whole(name, *inputs, partitioned=True, **more)


FILES: dict[str, Any] = {"extra_inputs": (ExtraInput.SHARD_FILES,)}
FITS: dict[str, Any] = {"level": 1, "fits_tree": True, "on_fit_rows": True}
STEPS = {
    "raw_pool": per_shard("raw_pool", settings={"colour": "red"}, **FILES),
    "fit": whole("fit", "raw_pool", settings={"k": 3}),
    "assign": per_shard("assign", "raw_pool", "fit"),
}


def make(
    storage: PoolStorage, freshness: Freshness, name: str, key: str | None, content: str, **parts: str
) -> None:
    recipe = freshness.recipe(name, key)
    assert isinstance(recipe, Recipe)
    with storage.output(name, key).writing(recipe) as writer:
        writer.text("txt", content)
        writer.parts.update(parts)


def made_pool(folder: Path, shards: list[Shard]) -> PoolStorage:
    storage = PoolStorage(str(folder), "p")
    for entry in shards:
        make(storage, Freshness(storage, STEPS, shards), "raw_pool", entry.key, f"rows of {entry.key}")
    make(storage, Freshness(storage, STEPS, shards), "fit", None, "centroids")
    for entry in shards:
        make(storage, Freshness(storage, STEPS, shards), "assign", entry.key, "clusters")
    return storage


TREE = {
    "raw_pool": per_shard("raw_pool", **FILES),
    "embeddings": per_shard("embeddings", "raw_pool", settings={"encoder": "one"}, gives_fit_rows=True),
    "level_1_clusters": whole("level_1_clusters", "embeddings", settings={"k": 3}, **FITS),
    "level_1_assign": per_shard("level_1_assign", "embeddings", "level_1_clusters", level=1),
    "level_2_clusters": whole(
        "level_2_clusters", "level_1_clusters", settings={"k": 2}, level=2, fits_tree=True
    ),
}


def curate(storage: PoolStorage, shards: list[Shard], steps: dict[str, Step] = TREE) -> None:
    """Make whatever is out of date, as the runner does; embeddings follow their file's version."""
    for name, step in steps.items():
        for key in Freshness(storage, steps, shards).outdated().get(name, {}):
            freshness = Freshness(storage, steps, shards)
            if name == "level_1_clusters":
                choose_fit_rows(storage, freshness)
                freshness = Freshness(storage, steps, shards)
            recipe = freshness.recipe(name, key)
            assert recipe is not None
            with storage.output(name, key).writing(recipe) as writer:
                content = freshness.shards[key].source_digest if key else str(recipe.inputs)
                writer.text("txt", f"{name} {content} {step.settings}")
                writer.summary["n_rows"] = 10
