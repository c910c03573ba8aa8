"""Outputs: complete or missing, whatever kills the process, and in any file system."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from upath import UPath

from curation_assets.errors import StaleInputError
from curation_assets.storage import outputs
from curation_assets.storage.outputs import Output, Recipe


def recipe(k: int) -> Recipe:
    return Recipe({"k": k}, {"raw": "digest"}, "1")


def write(output: Output, k: int, *, extra: bool = False) -> None:
    with output.writing(recipe(k)) as writer:
        writer.array("npy", np.full(3, k))
        if extra:
            writer.table("small/parquet", pl.DataFrame({"k": [k]}))
        writer.summary["k"] = k


@pytest.mark.parametrize("root", ["local", "memory://outputs"])
def test_what_was_written_is_read_back(root: str, tmp_path: Path) -> None:
    folder = UPath(tmp_path if root == "local" else root) / "embeddings"
    output = Output(folder, "00003")
    assert output.facts() is None
    with pytest.raises(StaleInputError, match=r"embeddings, shard '00003' has not been made"):
        output.require_facts()
    write(output, 1, extra=True)
    facts = output.require_facts()
    assert facts.fingerprint == recipe(1).fingerprint
    assert facts.summary == {"k": 1}
    assert set(facts.files) == {"npy", "small/parquet"}
    assert output.array("npy").tolist() == [1, 1, 1]
    assert output.table("small/parquet", ["k"])["k"].to_list() == [1]
    assert output.path("small/parquet").name == "00003.parquet"
    first = facts.digest
    write(output, 1)
    assert not output.path("small/parquet").exists(), "files of an earlier version go"
    assert output.require_facts().digest != first


def test_equal_content_has_an_equal_digest_under_another_recipe(tmp_path: Path) -> None:
    output = Output(UPath(tmp_path), None)
    digests = set()
    for k in (1, 2):
        with output.writing(recipe(k)) as writer:
            writer.text("page.html", "same")
        digests.add(output.require_facts().digest)
    assert len(digests) == 1


def test_an_error_while_writing_leaves_the_old_output_alone(tmp_path: Path) -> None:
    output = Output(UPath(tmp_path), "a")
    write(output, 1)

    def fail_half_way() -> None:
        with output.writing(recipe(2)) as writer:
            writer.array("npy", np.zeros(5))
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert output.require_facts().summary == {"k": 1}
    assert output.array("npy").tolist() == [1, 1, 1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.facts.json", "a.npy"]


def test_death_between_files_and_facts_counts_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = Output(UPath(tmp_path), "a")
    write(output, 1)

    def die(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(outputs, "write_document", die)
        with pytest.raises(SystemExit):
            write(output, 2)
    assert output.facts() is None
    leftover = tmp_path / ".tmp-a.npy-left"
    leftover.write_bytes(b"of a process killed long ago")
    os.utime(leftover, (1, 1))
    write(output, 2)
    assert output.require_facts().summary == {"k": 2}
    assert not list(tmp_path.glob(".tmp-*"))


def test_broken_facts_count_as_missing(tmp_path: Path) -> None:
    output = Output(UPath(tmp_path), "a")
    write(output, 1)
    for broken in ("{", "[]", '{"fingerprint": 1}'):
        output.path("facts.json").write_text(broken)
        assert output.facts() is None


def test_a_link_shares_the_bytes_and_survives_their_replacement(tmp_path: Path) -> None:
    storage = UPath(tmp_path)
    first, second = Output(storage / "one", "a"), Output(storage / "two", None)
    with first.writing(recipe(1)) as writer:
        writer.text("small/txt", "old")
    digest = first.require_facts().files["small/txt"]
    for _ in range(2):
        with second.writing(recipe(1)) as writer:
            writer.link("small/data/0.txt", first.path("small/txt"), digest)
    linked = Path(str(second.path("small/data/0.txt")))
    assert linked.samefile(str(first.path("small/txt")))
    assert second.require_facts().files == {"small/data/0.txt": digest}
    assert [path.name for path in linked.parent.iterdir()] == ["0.txt"], "no staged file is left"
    with first.writing(recipe(1)) as writer:
        writer.text("small/txt", "new")
    assert linked.read_text() == "old"


def test_where_there_are_no_links_the_file_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr("os.link", refuse)
    for root in (str(tmp_path), "memory://links"):
        storage = UPath(root)
        first, second = Output(storage / "one", None), Output(storage / "two", None)
        with first.writing(recipe(1)) as writer:
            writer.text("txt", "content")
        with second.writing(recipe(1)) as writer:
            writer.link("txt", first.path("txt"), first.require_facts().files["txt"])
        assert second.path("txt").read_text() == "content"
        assert second.require_facts().digest == first.require_facts().digest


def test_facts_that_a_killed_process_staged_are_swept_up(tmp_path: Path) -> None:
    output = Output(UPath(tmp_path / "p" / "raw_pool"), "00001")
    leftover = tmp_path / "p" / "raw_pool" / ".tmp-00001.facts.json-abc"
    leftover.parent.mkdir(parents=True)
    leftover.write_text("{")
    os.utime(leftover, (1, 1))
    with output.writing(Recipe({}, {}, "1")) as writer:
        writer.text("txt", "rows")
    assert output.facts() is not None
    assert not list(tmp_path.rglob(".tmp-*"))
