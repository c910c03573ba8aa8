"""Files of a pool that are not what their names say."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.errors import PoolSpecError, ShardError
from curation_assets_tests.bad_inputs.row import BadInput, Recorded, Refused, Result, read, read_pool
from curation_assets_tests.formats.downloads import Download, write_shard
from curation_assets_tests.formats.tars import image_bytes, tar_bytes

PNG = image_bytes()


def jsonl(*lines: bytes, **source: Any) -> Callable[[Path], list[Result]]:
    return read("a.jsonl", b"".join(lines), format="jsonl", **source)


def parquet(columns: dict[str, Any], **source: Any) -> Callable[[Path], list[Result]]:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return read("a.parquet", buffer.getvalue(), format="parquet", **{"modality": "text", **source})


def downloads(folder: Path) -> list[Result]:
    (folder / "raw").mkdir()
    write_shard(folder / "raw", [Download("https://a/0"), Download("https://a/1", error="HTTP Error 404")])
    return read_pool(folder)


def broken_downloads(folder: Path) -> list[Result]:
    (folder / "raw").mkdir()
    write_shard(folder / "raw", [Download("https://a/0")])
    (folder / "raw" / "00000.parquet").write_bytes(b"PAR1")
    return read_pool(folder)


GOOD = b'{"id": "g", "text": "good"}\n'
ZSTD = pa.compress(GOOD * 500, codec="zstd", asbytes=True)
PARQUET = io.BytesIO()
pq.write_table(pa.table({"text": ["good"] * 100}), PARQUET)
_LINK = tarfile.TarInfo("a.png")
_LINK.type, _LINK.linkname = tarfile.SYMTYPE, "b.png"
LINKED = _LINK.tobuf() + bytes(1024)
BAD_FILES = [
    BadInput(
        "a folder that does not exist",
        lambda folder: read_pool(folder),
        Refused(PoolSpecError, ("source.path", "not a folder: create it")),
    ),
    BadInput(
        "a pattern that matches nothing",
        read("a.csv", b"x", format="jsonl"),
        Refused(PoolSpecError, ("source.pattern is '**/*.jsonl*'", "matches no file")),
    ),
    BadInput(
        "a folder without images",
        read("a.txt", b"x", format="folder", modality="image"),
        Refused(PoolSpecError, ("no file with an extension of jpg",)),
    ),
    BadInput(
        "an id with a line break",
        jsonl(b'{"id": "a\\nb", "text": "x"}\n', GOOD, id_field="id"),
        Recorded("invalid_id", ("'a\\nb' has a line break", "source.id_field"), 1),
    ),
    BadInput(
        "a tar with a link to what it does not hold",
        read("a.tar", LINKED),
        Recorded("unreadable_member", ("a.png is a symbolic link to b.png", "tar --dereference")),
    ),
    BadInput(
        "an empty text file",
        read("a.txt", b"", format="folder", modality="text"),
        Recorded("empty_file", ("no bytes",)),
    ),
    BadInput(
        "a text file that is Latin-1",
        read("a.txt", "Köln".encode("latin-1"), format="folder", modality="text"),
        Recorded("invalid_utf8", ("byte 1",)),
    ),
    BadInput(
        "a text file of white space",
        read("a.md", b" \n\t", format="folder", modality="text"),
        Recorded("empty_text", ("white space",)),
    ),
    BadInput(
        "a web page named as an image",
        read("a.jpg", b"<html>", format="folder", modality="image"),
        Recorded("not_an_image", ()),
    ),
    BadInput(
        "an image bomb",
        read(
            "a.png", image_bytes(size=(200, 200)), format="folder", modality="image", max_image_pixels=10_000
        ),
        Recorded("image_too_large", ("200 x 200 pixels",)),
    ),
    BadInput(
        "a text beyond the limit",
        jsonl(GOOD, GOOD.replace(b"good", b"x" * 99), max_text_bytes=10),
        Recorded("text_too_large", ("99", "10"), 1),
    ),
    BadInput(
        "a line beyond any text",
        jsonl(GOOD, b'{"text": "' + b"x" * 2**21 + b'"}\n', GOOD, max_text_bytes=10),
        Recorded("text_too_large", ("2,097,165 bytes", "max_text_bytes = 10"), 2),
    ),
    BadInput(
        "a line of bad UTF-8",
        jsonl(GOOD, b'{"text": "\xc3"}\n', GOOD),
        Recorded("invalid_utf8", ("byte 10 of the line",), 2),
    ),
    BadInput(
        "a line of bad JSON", jsonl(GOOD, b"{'text': 1}\n", GOOD), Recorded("invalid_json", ("not JSON",), 2)
    ),
    BadInput(
        "a line that is no object",
        jsonl(GOOD, b"[1]\n"),
        Recorded("invalid_json", ("expected an object, got list",), 1),
    ),
    BadInput(
        "a lone surrogate",
        jsonl(GOOD, b'{"text": "\\udead"}\n'),
        Recorded("invalid_json", ("lone surrogate",), 1),
    ),
    BadInput(
        "a line without text",
        jsonl(GOOD, b'{"body": "x"}\n'),
        Recorded("missing_field", ("no field 'text'", "there are body"), 1),
    ),
    BadInput(
        "a text that is a number",
        jsonl(GOOD, b'{"text": 3}\n'),
        Recorded("missing_field", ("is int, expected a text",), 1),
    ),
    BadInput(
        "a line without id",
        jsonl(GOOD, b'{"text": "x"}\n', id_field="id"),
        Recorded("missing_field", ("id field 'id' is missing",), 1),
    ),
    BadInput(
        "a repeated id", jsonl(GOOD, GOOD, id_field="id"), Recorded("duplicate_id", ("first in line 0",), 1)
    ),
    BadInput(
        "a cut last line",
        jsonl(GOOD, GOOD[:-6]),
        Recorded("truncated_file", ("ends inside its last line",), 1),
    ),
    BadInput("an empty JSON lines file", jsonl(b""), Recorded("empty_file", ("no bytes",))),
    BadInput(
        "a cut gzip stream",
        read("a.jsonl.gz", gzip.compress(GOOD * 5)[:-4], format="jsonl"),
        Recorded("truncated_file", ("ends before its end marker",), 5),
    ),
    BadInput(
        "a cut zstd stream",
        read("a.jsonl.zst", (ZSTD + ZSTD)[:-1], format="jsonl"),
        Recorded("truncated_file", ("ends before its end marker",), 500),
    ),
    BadInput(
        "a damaged gzip stream",
        read("a.jsonl.gz", gzip.compress(GOOD * 5)[:-8] + bytes(8), format="jsonl"),
        Recorded("unreadable_file", ("stream is damaged",), 5),
    ),
    BadInput(
        "a plain file named .gz",
        read("a.jsonl.gz", GOOD, format="jsonl"),
        Recorded("unreadable_file", ("its name says gzip",)),
    ),
    BadInput(
        "a file of bzip2",
        read("a.jsonl.bz2", b"BZh91AY", format="jsonl"),
        Recorded("unreadable_file", ("compress it with gzip or zstd",)),
    ),
    BadInput(
        "a file of UTF-16", jsonl("\ufeff{}".encode("utf-16-le")), Recorded("unreadable_file", ("UTF-16",))
    ),
    BadInput(
        "a wrong text column",
        parquet({"body": ["x"], "n": [1]}),
        Refused(ShardError, ("a.parquet", "source.text_field is 'text'", "columns are body, n")),
    ),
    BadInput(
        "a wrong id column",
        parquet({"text": ["x"]}, id_field="key"),
        Refused(ShardError, ("source.id_field is 'key'", "columns are text")),
    ),
    BadInput(
        "a wrong label column",
        parquet({"text": ["x"]}, label_fields=["topic"]),
        Refused(ShardError, ("source.label_fields is 'topic'",)),
    ),
    BadInput(
        "a text column of numbers",
        parquet({"text": [1.5]}),
        Refused(ShardError, ("type double, not of texts",)),
    ),
    BadInput(
        "an image column of texts",
        parquet({"image": ["x.png"]}, modality="image"),
        Refused(ShardError, ("source.image_field is 'image'", "type string")),
    ),
    BadInput(
        "a null image",
        parquet({"image": [PNG, None]}, modality="image"),
        Recorded("missing_field", ("'image' is null",), 1),
    ),
    BadInput(
        "an image that is only named",
        parquet({"image": [{"bytes": None, "path": "/x.png"}]}, modality="image"),
        Recorded("missing_field", ("only names the file /x.png",)),
    ),
    BadInput(
        "a null text", parquet({"text": ["x", None]}), Recorded("missing_field", ("'text' is null",), 1)
    ),
    BadInput(
        "a null id",
        parquet({"text": ["x", "y"], "id": [1, None]}, id_field="id"),
        Recorded("missing_field", ("'id' is None",), 1),
    ),
    BadInput(
        "a repeated id in Parquet",
        parquet({"text": ["x", "y"], "id": [1, 1]}, id_field="id"),
        Recorded("duplicate_id", ("first in row 0",), 1),
    ),
    BadInput(
        "a Parquet of bad UTF-8",
        parquet({"text": pa.array([b"x", b"\xff"])}),
        Recorded("invalid_utf8", (), 1),
    ),
    BadInput(
        "a cut Parquet",
        read("a.parquet", PARQUET.getvalue()[:-9], format="parquet", modality="text"),
        Recorded("unreadable_file", ("cut or damaged",)),
    ),
    BadInput(
        "a web page named as Parquet",
        read("a.parquet", b"<html>" * 9, format="parquet", modality="text"),
        Recorded("unreadable_file", ("not a Parquet file",)),
    ),
    BadInput(
        "a Parquet without rows",
        parquet({"text": pa.array([], pa.string())}),
        Recorded("empty_file", ("no rows",)),
    ),
    BadInput(
        "a tar sample without text",
        read("a.tar", tar_bytes([("a.png", PNG), ("b.txt", b"x")]), modality="text"),
        Recorded("no_text_member", ("there are a.png",), 1),
    ),
    BadInput(
        "a tar sample without image",
        read("a.tar", tar_bytes([("a.png", PNG), ("b.txt", b"x")])),
        Recorded("no_image_member", ("there are b.txt",), 1),
    ),
    BadInput(
        "a tar with bad JSON",
        read("a.tar", tar_bytes([("a.png", PNG), ("a.json", b"{")])),
        Recorded("invalid_json", ("a.json",)),
    ),
    BadInput(
        "a cut tar",
        read("a.tar", tar_bytes([("a.png", PNG), ("b.png", PNG)])[:1550]),
        Recorded("truncated_file", ("b.png",), 1),
    ),
    BadInput(
        "a compressed tar",
        read("a.tar", gzip.compress(tar_bytes([("a.png", PNG)]))),
        Recorded("unreadable_file", ("compressed with gzip",)),
    ),
    BadInput(
        "a failed download", downloads, Recorded("download_failed", ("HTTP Error 404", "https://a/1"), 1)
    ),
    BadInput(
        "a broken list of downloads", broken_downloads, Recorded("unreadable_file", ("img2dataset",), 1)
    ),
]
