"""Files that change between the listing and the release, with the same size and time."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from curation_assets.errors import ShardError
from curation_assets.formats import build_reader
from curation_assets.pools import EmbeddingsSource
from curation_assets.steps.dataset.embedding_dataset import copy_rows
from curation_assets.steps.ingest.accepted import accepted_rows, accepted_samples
from curation_assets.steps.ingest.samples import read_pool_samples
from curation_assets.storage.shards import group_files
from curation_assets_tests.steps.ingest.test_raw_pool import pool_of
from curation_assets_tests.steps.making import make

NAMED = r"the file changed since it was listed: {} \(sample '{}'\): 1 samples of the raw pool"


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet", "a.tar", "1.txt"])
def test_another_content_in_the_same_place_names_file_and_sample(tmp_path: Path, name: str) -> None:
    (tmp_path / "raw").mkdir()
    path = tmp_path / "raw" / name

    def put(second: str) -> None:
        texts = ["first", second, "third"]
        if name.endswith(".jsonl"):
            path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        elif name.endswith(".parquet"):
            pl.DataFrame({"text": texts}).write_parquet(path)
        elif name.endswith(".tar"):
            with tarfile.open(path, "w") as tar:
                for n, text in enumerate(texts):
                    header = tarfile.TarInfo(f"{n}.txt")
                    header.size = len(text)
                    tar.addfile(header, io.BytesIO(text.encode()))
        else:
            path.write_text(second)

    put("other")
    formats = {"jsonl": "jsonl", "parquet": "parquet", "tar": "webdataset", "txt": "folder"}
    kind = formats[name.rpartition(".")[2]]
    spec, storage = pool_of(tmp_path, {"format": kind} | ({} if kind == "jsonl" else {"modality": "text"}))
    reader = build_reader(spec.source, tmp_path)
    storage.save_shards(group_files(reader.list_files(), spec.source.files_per_shard))
    [shard] = storage.shards()
    raw = make(spec, storage, "raw_pool", shard, reader=reader)
    put("OTHER")
    changed = {"jsonl": "a:1", "parquet": "a:1", "tar": "1", "txt": "1.txt"}[name.rpartition(".")[2]]
    message = NAMED.format(name, changed)
    rows = accepted_rows(storage.raw_pool(shard.key))
    with pytest.raises(ShardError, match=message):
        list(accepted_samples(reader, shard, rows))
    with pytest.raises(ShardError, match=message):
        list(read_pool_samples(storage, reader, spec.source, {shard.key: range(len(rows))}))
    assert raw.require_facts().summary["n_accepted"] == len(rows)


def test_a_table_beside_embeddings_that_has_other_ids_is_noticed(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    np.save(raw / "x.npy", np.eye(3, dtype=np.float32))

    def put(*ids: str) -> None:
        pl.DataFrame({"id": ids, "license": ["a", "b", "c"]}).write_parquet(raw / "x.parquet")

    put("one", "two", "six")
    source = EmbeddingsSource(
        path="raw", format="embeddings", layout="folder", pattern="*.npy", encoder="m", id_field="id"
    )
    reader = build_reader(source, tmp_path)
    [shard] = group_files(reader.list_files(), 1)
    records = pl.DataFrame(
        {"sample_id": ["one", "six"], "source_file": "x.npy", "source_member": "row", "offset": [0, 2]}
    )
    schema = pa.schema([("source_shard", pa.string())])
    assert copy_rows(reader, shard, records, schema, tmp_path / "out.parquet") == []
    assert pl.read_parquet(tmp_path / "out.parquet")["license"].to_list() == ["a", "c"]
    put("one", "six", "two")
    assert copy_rows(reader, shard, records, schema, tmp_path / "out.parquet") == [("x.npy", "six")]
