"""Whether a file is still being written, or can never become complete."""

from __future__ import annotations

import io
import random
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation_assets.formats import build_reader
from curation_assets_tests.projects import spec_of

NOISE = random.Random(0).randbytes(5_000)


def tar_bytes() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("a.txt")
        member.size = 18_000
        tar.addfile(member, io.BytesIO(b"x" * 18_000))
    return buffer.getvalue()


def parquet_bytes() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": [str(i) for i in range(500)]}), buffer)
    return buffer.getvalue()


def npy_bytes() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ones((500, 4), dtype=np.float16))
    return buffer.getvalue()


FILES: dict[str, tuple[bytes, dict[str, Any]]] = {
    "a.tar": (tar_bytes(), {"format": "webdataset"}),
    "a.parquet": (parquet_bytes(), {"format": "parquet", "modality": "text"}),
    "a.jsonl": (b'{"text": "a"}\n' * 100, {"format": "jsonl"}),
    "a.npy": (npy_bytes(), {"format": "embeddings", "layout": "folder", "encoder": "e"}),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("what", "closed"),
    [("whole", True), ("half", False), ("reserved", False), ("noise", True), ("noisy start", True)],
)
def test_only_what_may_become_complete_is_waited_for(
    name: str, what: str, closed: bool, tmp_path: Path
) -> None:
    whole, source = FILES[name]
    contents = {
        "whole": whole,
        "half": whole[: len(whole) // 2 - 3],
        "reserved": bytes(5_000) + b"\x01",
        "noise": NOISE,
        "noisy start": NOISE[:600] + whole[600:-5],
    }
    (tmp_path / name).write_bytes(contents[what])
    if name == "a.npy":
        (tmp_path / "a.parquet").write_bytes(parquet_bytes())
    settings = {"source": {"path": str(tmp_path), **source}}
    if name == "a.npy":
        settings["encoder"] = None  # type: ignore[assignment]
    elif name != "a.tar":
        settings["encoder"] = {"kind": "sentence_transformers", "model": "m"}
    if name != "a.tar" and what == "reserved" and name != "a.parquet":
        pytest.skip("reserved space reads as zeros, which end no such file")
    reader = build_reader(spec_of(**settings).source, tmp_path)
    [file] = reader.list_files()
    assert reader.is_closed(file) is closed
