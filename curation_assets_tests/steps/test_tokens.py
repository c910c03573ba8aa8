"""Token counts: a row for every accepted sample, by the counter or from a stored column."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from curation_assets.encoders.tokenizers import ByteCounter, WordCounter
from curation_assets.errors import ShardError
from curation_assets.formats import build_reader
from curation_assets.pools import EmbeddingsSource, JsonlSource
from curation_assets.steps.ingest import ingest_shard
from curation_assets.steps.tokens import count_tokens
from curation_assets.storage.outputs import Output, Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import group_files

RECIPE = Recipe({}, {}, "1")
TEXTS = JsonlSource(format="jsonl", path="raw", id_field="id")


def counted(folder: Path, source: Any, counter: Any) -> Output:
    storage = PoolStorage(str(folder / "curated"), "p")
    reader = build_reader(source, folder)
    [shard] = group_files(reader.list_files(), 1)
    raw = storage.output("raw_pool", shard.key)
    with raw.writing(RECIPE) as writer:
        ingest_shard(reader, shard, source, writer)
    output = storage.output("token_counts", shard.key)
    with output.writing(RECIPE) as writer:
        count_tokens(reader, shard, raw, counter, source, writer)
    return output


def write_texts(folder: Path, *texts: str) -> None:
    (folder / "raw").mkdir(exist_ok=True)
    lines = [json.dumps({"id": str(i), "text": text}) for i, text in enumerate(texts)]
    (folder / "raw" / "a.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_every_accepted_text_is_counted_once(tmp_path: Path) -> None:
    write_texts(tmp_path, "three short words", "   ", "two words", "größer")
    output = counted(tmp_path, TEXTS, WordCounter())
    assert output.table("parquet").rows() == [(0, 3), (2, 2), (3, 1)]
    summary = output.require_facts().summary
    assert (summary["n_tokens"], summary["mean_tokens"], summary["most_tokens"]) == (6, 2.0, 3)
    assert counted(tmp_path, TEXTS, ByteCounter()).table("parquet")["n_tokens"].to_list() == [17, 9, 8]


def test_a_file_that_changed_since_it_was_listed_is_refused(tmp_path: Path) -> None:
    write_texts(tmp_path, "one text", "another text")
    storage = PoolStorage(str(tmp_path / "curated"), "p")
    reader = build_reader(TEXTS, tmp_path)
    [shard] = group_files(reader.list_files(), 1)
    raw = storage.output("raw_pool", shard.key)
    with raw.writing(RECIPE) as writer:
        ingest_shard(reader, shard, TEXTS, writer)
    write_texts(tmp_path, "one text")
    output = storage.output("token_counts", shard.key)
    with (
        pytest.raises(ShardError, match=r"1 samples .* run raw_pool again"),
        output.writing(RECIPE) as writer,
    ):
        count_tokens(reader, shard, raw, WordCounter(), TEXTS, writer)
    assert output.facts() is None


def test_embedded_samples_bring_their_counts(tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    np.save(folder / "a.npy", np.eye(3, dtype=np.float16))
    source = EmbeddingsSource(
        format="embeddings", layout="folder", path="raw", encoder="e", token_count_field="n"
    )
    pl.DataFrame({"n": [5, 0, 7]}).write_parquet(folder / "a.parquet")
    assert counted(tmp_path, source, None).table("parquet")["n_tokens"].to_list() == [5, 0, 7]
    for values in ([5, -1, 7], [5.5, 1.0, 2.0], [5, None, 7]):
        pl.DataFrame({"n": values}).write_parquet(folder / "a.parquet")
        with pytest.raises(ShardError, match=r"a.npy: row \d: n is .*whole numbers from 0"):
            counted(tmp_path, source, None)
