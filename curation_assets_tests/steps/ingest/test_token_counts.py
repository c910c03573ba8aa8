"""Counting tokens and embedding texts, on a reader that holds its samples in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from curation_assets.encoders.base import Encoder
from curation_assets.encoders.tokenizers import build_tokenizer
from curation_assets.errors import ShardError
from curation_assets.formats import build_reader
from curation_assets.formats.accounts import Account
from curation_assets.formats.base import (
    Listing,
    RawSample,
    Rejection,
    RejectionReason,
    ShardReader,
    SourceFile,
)
from curation_assets.pools import PoolSpec
from curation_assets.pools.source import EmbeddingsSource, JsonlSource
from curation_assets.steps.ingest import accepted
from curation_assets.steps.ingest import token_counts as tokens
from curation_assets.steps.ingest.accepted import ShardSource
from curation_assets.steps.ingest.embed import embed_samples
from curation_assets.steps.ingest.token_counts import count_samples
from curation_assets.storage.outputs import Output, Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import Shard
from curation_assets.storage.tables import TokenCounts
from curation_assets_tests.steps.making import make

RECIPE = Recipe({}, {}, "1")
SHARD = Shard("s", (SourceFile("a.jsonl", 1, "1"), SourceFile("b.jsonl", 1, "1")))
TEXTS = JsonlSource(format="jsonl", path="texts")
EMBEDDED = EmbeddingsSource(format="embeddings", path="clip", encoder="clip", token_count_field="n_tokens")


class Held(ShardReader):
    """Contents of files, by name."""

    def __init__(self, files: dict[str, Sequence[Any]]) -> None:
        self.files = files

    def look(self) -> Listing:
        return Listing([SourceFile(name, 1, "1") for name in self.files])

    def read(self, file: str, account: Account | None = None) -> Iterator[RawSample | Rejection]:
        for i, item in enumerate(self.files[file]):
            if item is None:
                yield Rejection(f"{file}:{i}", file, f"row {i}", RejectionReason.INVALID_JSON, "no object")
            else:
                content = item.encode() if isinstance(item, str) else b""
                attributes = item if isinstance(item, dict) else {}
                yield RawSample(f"{file}:{i}", file, f"row {i}", i, content, {}, attributes)


@pytest.fixture
def held() -> Held:
    return Held({"a.jsonl": ["one two", " ", None, "日本語 テキスト です"], "b.jsonl": ["x " * 500, "last"]})


def source_of(reader: ShardReader, folder: Path, source: Any) -> ShardSource:
    """The samples of a shard, once `raw_pool` has listed them."""
    embedded = source.format == "embeddings"
    encoder = None if embedded else {"kind": "sentence_transformers", "model": "m"}
    targets = [{"name": "t", "size": 1}]
    values = {"name": "p", "source": source.model_dump(), "encoder": encoder, "targets": targets}
    spec, storage = PoolSpec.model_validate(values), PoolStorage(str(folder), "p")
    make(spec, storage, "raw_pool", SHARD, reader=reader)
    return ShardSource(reader, SHARD, storage.raw_pool(SHARD.key), source)


def counted(source: ShardSource, folder: Path, name: str | None) -> TokenCounts:
    output = TokenCounts(UPath(folder) / "token_counts", "s")
    counter = build_tokenizer(name) if name else None
    with output.writing(RECIPE) as writer:
        count_samples(source, counter, writer)
    return output


def test_every_accepted_row_has_its_tokens(
    held: Held, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "_WINDOW", 2)
    source = source_of(held, tmp_path, TEXTS)
    output = counted(source, tmp_path, "words")
    table = output.table(TokenCounts.counts.name)
    assert dict(table.schema) == {"raw_row": pl.UInt32, "n_tokens": pl.Int64}
    assert table.rows() == [(0, 2), (3, 3), (4, 500), (5, 1)]
    summary = output.require_facts().summary
    assert summary == {
        "tokenizer": {"kind": "words"},
        "n_rows": 4,
        "n_tokens": 506,
        "mean_tokens": 126.5,
        "max_tokens": 500,
    }


def test_the_same_counts_for_any_window(held: Held, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(held, tmp_path, TEXTS)
    whole = counted(source, tmp_path, "utf8_bytes").require_facts()
    monkeypatch.setattr(tokens, "_WINDOW", 1)
    assert counted(source, tmp_path, "utf8_bytes").require_facts().digest == whole.digest


def test_a_shard_without_texts_has_no_counts(tmp_path: Path) -> None:
    reader = Held({"a.jsonl": [" "], "b.jsonl": []})
    output = counted(source_of(reader, tmp_path, TEXTS), tmp_path, "words")
    assert output.table(TokenCounts.counts.name).height == 0
    assert output.require_facts().summary["n_tokens"] == 0
    assert output.require_facts().summary["max_tokens"] is None


def test_a_file_that_changed_is_noticed(held: Held, tmp_path: Path) -> None:
    source = source_of(held, tmp_path, TEXTS)
    whole = held.files["b.jsonl"]
    for changed, n_gone in ((whole[:1], 1), (["x", *whole[1:]], 1), (["x"], 2)):
        held.files["b.jsonl"] = changed
        with pytest.raises(
            ShardError,
            match=rf"shard 's': .*\b{n_gone} samples .* no longer in its files: run raw_pool again, with",
        ):
            counted(source, tmp_path, "words")
    held.files["b.jsonl"] = whole
    strict = replace(source, settings=TEXTS.model_copy(update={"max_text_bytes": 20}))
    with pytest.raises(
        ShardError, match=r"a\.jsonl, row 3: accepted .* but now text_too_large.*run raw_pool"
    ):
        counted(strict, tmp_path, "words")


def test_embeddings_bring_their_counts(tmp_path: Path) -> None:
    reader = Held({"a.jsonl": [{"n_tokens": 7}, {"n_tokens": 12.0}], "b.jsonl": [{"n_tokens": np.int32(0)}]})
    output = counted(source_of(reader, tmp_path, EMBEDDED), tmp_path, None)
    assert output.table(TokenCounts.counts.name)["n_tokens"].to_list() == [7, 12, 0]
    expected = {"kind": "token_count_field", "name": "n_tokens"}
    assert output.require_facts().summary["tokenizer"] == expected


@pytest.mark.parametrize(
    "value", [-1, 1.5, None, "12", True, float("nan"), float("inf"), 2**63], ids=lambda value: repr(value)
)
def test_what_is_no_count_is_refused(value: Any, tmp_path: Path) -> None:
    reader = Held({"a.jsonl": [{"n_tokens": 3}, {"n_tokens": value}], "b.jsonl": []})
    source = source_of(reader, tmp_path, EMBEDDED)
    with pytest.raises(ShardError, match=r"a\.jsonl, row 1: source\.token_count_field 'n_tokens' is "):
        counted(source, tmp_path, None)


BAD_COUNTS = [-1.0, 1.5, None, float("nan"), float("inf")]


@pytest.mark.parametrize(
    "values", [BAD_COUNTS, ["12", "", "many", None, "1e3"], [True, False, None, True, True]]
)
def test_a_row_with_a_bad_count_is_rejected_when_it_is_read(values: list[Any], tmp_path: Path) -> None:
    good = 3 if isinstance(values[0], float) else values[0]
    table = pa.table({"n_tokens": [good, *values], "key": ["a", "a", "c", "d", "e", "f"]})
    (tmp_path / "clip").mkdir()
    np.save(tmp_path / "clip" / "x.npy", np.ones((6, 2), np.float32))
    pq.write_table(table, tmp_path / "clip" / "x.parquet")
    settings = EMBEDDED.model_copy(update={"layout": "folder", "id_field": "key"})
    results = list(build_reader(settings, tmp_path).read("x.npy"))
    rejected = [item for item in results if isinstance(item, Rejection)]
    assert len(rejected) == (5 if good == 3 else 6)
    assert {item.reason for item in rejected} == {RejectionReason.MISSING_FIELD}
    assert [item.sample_id for item in rejected][-5:] == ["a", "c", "d", "e", "f"]
    assert rejected[-1].detail == (
        f"the column 'n_tokens' (source.token_count_field) is {values[-1]!r} in row 5, expected a whole number of "
        f"tokens, 0 or more"
    )


def test_a_missing_column_is_refused(tmp_path: Path) -> None:
    reader = Held({"a.jsonl": [{"other": 3}], "b.jsonl": []})
    with pytest.raises(ShardError, match=r"'n_tokens' is None: each sample needs a whole number"):
        counted(source_of(reader, tmp_path, EMBEDDED), tmp_path, None)


def test_windows_end_by_number_and_by_characters() -> None:
    texts = list(enumerate(["aa", "bbbb", "c", "d", "e", "ffffffff"]))
    grouped = [[row for row, _ in window] for window in accepted.windows(texts, 3, max_characters=6)]
    assert grouped == [[0, 1], [2, 3, 4], [5]]
    images = [(i, object()) for i in range(5)]
    assert [len(window) for window in accepted.windows(images, 2, max_characters=1)] == [2, 2, 1]


class Lengths(Encoder):
    """Length and first character; sees ten characters."""

    dimension = 2
    identity = {"model": "lengths"}  # noqa: RUF012 - stands for a property
    window = 3

    def encode(self, samples: Sequence[str]) -> np.ndarray:
        return np.array([[len(text), ord(text[0])] for text in samples], dtype=np.float32)

    def count_truncated(self, samples: Sequence[str]) -> int:
        return sum(len(text) > 10 for text in samples)


def test_texts_are_embedded_as_they_are(held: Held, tmp_path: Path) -> None:
    source = source_of(held, tmp_path, TEXTS)
    output = Output(UPath(tmp_path) / "embeddings", "s")
    with output.writing(RECIPE) as writer:
        embed_samples(source, Lengths(), writer, metric="cosine")
    np.testing.assert_array_equal(output.array("npy")[:, 0], [7, 11, 1000, 4])
    assert output.array("npy")[1, 1] == np.float16(ord("日"))
    assert output.table("rows.parquet")["raw_row"].to_list() == [0, 3, 4, 5]
    summary = output.require_facts().summary
    assert summary["n_truncated"] == 2
    assert summary["samples_per_second"] > 0
    assert summary["bottleneck"] in ("decode", "encode", "write")
    assert 0 <= summary["share"]["encode"] <= 1
    assert set(summary["seconds"]) == {"total", *summary["share"]}
