"""What an asset downstream of `dataset_release` gets: folders and lazy tables of each target."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from curation_assets.errors import CurationError, StaleInputError
from curation_assets.release import Release
from curation_assets.storage.outputs import Recipe
from curation_assets.storage.pool_storage import PoolStorage


def release_of(root: str, targets: dict[str, list[int]]) -> Release:
    """A release with a Parquet file for each number of a target, which is its rows."""
    output = PoolStorage(root, "web").dataset_release()
    with output.writing(Recipe({}, {}, "1")) as writer:
        for target, sizes in targets.items():
            writer.text(f"{target}/manifest.json", '{"size": 3}')
            for number, size in enumerate(sizes):
                name = f"{target}/data/train-{number:05}-of-{len(sizes):05}.parquet"
                writer.table(
                    name,
                    pl.DataFrame({"sample_id": [f"{number}-{i}" for i in range(size)], "n": [number] * size}),
                )
    return Release.open(PoolStorage(root, "web").dataset_release())


@pytest.fixture(params=["local", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "a [b]") if request.param == "local" else f"memory://{tmp_path.name}"


def test_a_target_is_a_lazy_table_of_its_shards(root: str) -> None:
    release = release_of(root, {"small": [2, 1], "other": [1]})
    lazy = release.scan("small")
    assert isinstance(lazy, pl.LazyFrame)
    assert lazy.filter(pl.col("n") == 0).select("sample_id").collect()["sample_id"].to_list() == [
        "0-0",
        "0-1",
    ]
    assert lazy.select(pl.len()).collect().item() == 3
    assert list(release.targets) == ["other", "small"]
    assert release["small"].manifest() == {"size": 3}
    assert release["small"].path == release.path / "small"
    assert (release["small"].path / "data" / "train-00000-of-00002.parquet").exists()


def test_the_only_target_needs_no_name(root: str) -> None:
    assert release_of(root, {"small": [3]}).scan().collect().height == 3


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        StaleInputError, match="web/dataset_release has not been made yet: materialize it first"
    ):
        Release.open(PoolStorage(str(tmp_path), "web").dataset_release())
    release = release_of(str(tmp_path), {"small": [1], "ids_only": []})
    with pytest.raises(CurationError, match="name one of the targets: ids_only, small"):
        release.scan()
    with pytest.raises(CurationError, match="no target 'large'; it has: ids_only, small"):
        release.scan("large")
    with pytest.raises(CurationError, match="target 'ids_only' has no Parquet files: add parquet to outputs"):
        release.scan("ids_only")


def test_equal_releases_have_equal_digests(tmp_path: Path) -> None:
    first, again, other = (
        release_of(str(tmp_path / name), {"small": sizes})
        for name, sizes in (("a", [2]), ("b", [2]), ("c", [3]))
    )
    assert first.digest == again.digest != other.digest
