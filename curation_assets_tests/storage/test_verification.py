"""Whatever changes in a stored file is found, and what is removed is made again."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from curation_assets.storage.fit_rows import FitRows, FittedShard, save_fit_rows
from curation_assets.storage.outputs import Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.trees import TreeArchive
from curation_assets.storage.verification import Damage, mark_for_repair, stored_files, verify_file
from curation_assets_tests.graph.stored_steps import shard


@pytest.fixture
def storage(tmp_path: Path) -> PoolStorage:
    """Every kind of stored file: listings, outputs of shards and of the pool, files in folders, archived trees."""
    storage = PoolStorage(str(tmp_path), "p")
    storage.save_shards([shard("a"), shard("b")])
    save_fit_rows(storage.folder, FitRows({"a": FittedShard("1" * 32, 3)}, "encoder", "first fit"))
    outputs = [
        ("level_1_clusters", None),
        ("tree", None),
        *((n, k) for n in ("level_1_assign", "raw") for k in "ab"),
    ]
    for name, key in outputs:
        with storage.output(name, key).writing(Recipe({"k": 3}, {"raw": "2" * 32}, "1")) as writer:
            writer.text("small/rows.txt" if name == "raw" else "rows.txt", f"rows of {name} {key}")
            writer.text("empty.txt", "")
            writer.summary["n_rows"] = 3
    keep_tree(storage, "first")
    return storage


def keep_tree(storage: PoolStorage, version: str) -> None:
    TreeArchive(storage).keep(
        version, ["level_1_clusters"], "level_1_assign", ["a", "b"], reason="fit", most=5
    )


def damages(storage: PoolStorage) -> list[Damage]:
    verdicts = [verify_file(storage, file) for file in stored_files(storage)]
    assert all(verdict.has_digest for verdict in verdicts if not verdict.damage)
    return [verdict.damage for verdict in verdicts if verdict.damage]


def all_files(storage: PoolStorage) -> list[Path]:
    return sorted(path for path in Path(str(storage.folder)).rglob("*") if path.is_file())


def test_everything_that_is_stored_is_read(storage: PoolStorage) -> None:
    assert damages(storage) == []
    found = sorted(f"{storage.folder}/{file.path}" for file in stored_files(storage))
    assert found == [str(path) for path in all_files(storage)]
    assert len(found) == 3 + 3 * 6 + 3 * 3


@pytest.mark.parametrize("seed", range(100))
def test_any_flipped_bit_and_any_cut_is_found(storage: PoolStorage, seed: int) -> None:
    drawn = random.Random(seed)
    path = drawn.choice([path for path in all_files(storage) if path.stat().st_size])
    content = bytearray(path.read_bytes())
    if seed % 2:
        bit = drawn.randrange(8 * len(content))
        content[bit // 8] ^= 1 << bit % 8
    else:
        del content[drawn.randrange(len(content)) :]
    path.unlink()  # Archived trees share files with those in use.
    path.write_bytes(content)
    [damage] = damages(storage)
    assert f"{storage.folder}/{damage.file.path}" == str(path)
    assert damage.what
    assert damage.remedy


def test_a_missing_file_is_found_and_facts_that_are_gone_are_not_damage(storage: PoolStorage) -> None:
    output = storage.output("raw", "a")
    output.path("empty.txt").unlink()
    [damage] = damages(storage)
    assert (damage.file.path, damage.what) == ("raw/a.empty.txt", "is missing")
    assert damage.remedy == "made again by the step raw"
    output.path("facts.json").unlink()
    assert damages(storage) == []


def test_the_facts_of_a_repaired_output_stay(storage: PoolStorage) -> None:
    output = storage.output("level_1_clusters")
    facts = output.facts()
    path = Path(str(output.path("empty.txt")))
    path.unlink()
    path.write_text("no longer empty")
    [damage] = damages(storage)
    mark_for_repair(storage, damage)
    assert output.facts() == facts
    assert output.whole_facts() is None


def test_listings_and_facts_are_removed(storage: PoolStorage) -> None:
    for name in ("shards.json", "fit_rows.json", "raw/a.facts.json"):
        (storage.folder / name).write_text("{")
    for damage in damages(storage):
        mark_for_repair(storage, damage)
    assert damages(storage) == []
    assert storage.all_shards() == []
    assert storage.fit_rows() is None
    assert storage.output("raw", "a").facts() is None


def test_the_history_of_trees_is_written_again_from_the_trees(storage: PoolStorage) -> None:
    with storage.output("level_1_clusters").writing(Recipe({"k": 4}, {}, "1")) as writer:
        writer.text("rows.txt", "other clusters")
    keep_tree(storage, "second")
    archive = TreeArchive(storage)
    before = [record.version for record in archive.history()]
    (storage.folder / "trees" / "history.json").write_text("[")
    [damage] = damages(storage)
    mark_for_repair(storage, damage)
    assert [record.version for record in archive.history()] == before == ["first", "second"]


def test_a_damaged_archived_tree_is_archived_again(storage: PoolStorage) -> None:
    path = Path(str(storage.folder / "trees" / "first" / "level_1_assign" / "b.rows.txt"))
    path.unlink()
    path.write_text("others")
    [damage] = damages(storage)
    assert damage.file.tree == "first"
    mark_for_repair(storage, damage)
    assert damages(storage) == []
    assert TreeArchive(storage).storage("first").output("level_1_assign", "b").facts() is None
    assert storage.output("tree").facts() is None
    keep_tree(storage, "first")
    assert path.read_text() == "rows of level_1_assign b"
