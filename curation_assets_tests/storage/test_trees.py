"""Archived trees stay as they were, and only the newest are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets.storage.outputs import Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.trees import TreeArchive


def write(storage: PoolStorage, asset: str, shard: str | None, text: str) -> None:
    with storage.output(asset, shard).writing(Recipe({}, {"embeddings": text}, "1")) as writer:
        writer.text("txt", text)


@pytest.fixture(params=["local", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> PoolStorage:
    root = str(tmp_path) if request.param == "local" else f"memory://trees{tmp_path.name}"
    return PoolStorage(root, "p")


def keep(storage: PoolStorage, version: str, most: int = 5, shards: tuple[str, ...] = ("a", "b")) -> int:
    return TreeArchive(storage).keep(
        version, ["clusters"], "assign", shards, reason=f"why {version}", most=most
    )


def make_tree(storage: PoolStorage, text: str) -> None:
    write(storage, "clusters", None, text)
    for shard in ("a", "b"):
        write(storage, "assign", shard, f"{text} {shard}")


def test_an_old_tree_is_read_like_the_present_one(storage: PoolStorage) -> None:
    make_tree(storage, "one")
    assert keep(storage, "v1") == 3
    make_tree(storage, "two")
    assert keep(storage, "v2") == 3
    archive = TreeArchive(storage)
    assert [(r.version, r.reason) for r in archive.history()] == [("v1", "why v1"), ("v2", "why v2")]
    assert archive.storage("v1").output("clusters").path("txt").read_text() == "one"
    assert archive.storage("v1").output("assign", "b").path("txt").read_text() == "one b"
    assert archive.storage("v1").output("assign", "b").require_facts().inputs == {"embeddings": "one b"}
    assert archive.storage("v2").output("assign", "b").path("txt").read_text() == "two b"
    previous = archive.previous("v2")
    assert previous is not None
    assert previous.version == "v1"


def test_only_what_is_new_is_archived(storage: PoolStorage) -> None:
    make_tree(storage, "one")
    keep(storage, "v1")
    assert keep(storage, "v1") == 0
    write(storage, "assign", "c", "one c")
    write(storage, "assign", "a", "one, changed")
    assert keep(storage, "v1", shards=("a", "b", "c")) == 2
    assert TreeArchive(storage).storage("v1").output("assign", "a").path("txt").read_text() == "one, changed"
    assert len(TreeArchive(storage).history()) == 1


def test_the_oldest_go_and_one_that_comes_back_is_the_newest(storage: PoolStorage) -> None:
    for version in ("v1", "v2", "v1", "v3"):
        make_tree(storage, version)
        keep(storage, version, most=2)
    archive = TreeArchive(storage)
    assert [record.version for record in archive.history()] == ["v1", "v3"]
    assert archive.storage("v2").output("clusters").facts() is None
    assert archive.storage("v1").output("clusters").path("txt").read_text() == "v1"
