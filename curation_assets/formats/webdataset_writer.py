"""Writes WebDataset tars with the standard library; the library webdataset would import torch."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

from curation_assets.errors import ShardError
from curation_assets.formats.attributes import attributes_json
from curation_assets.formats.base import DatasetWriter, RawSample
from curation_assets.formats.webdataset import split_member_name

RECORD_EXTENSION = "curation.json"
_NO_KEY_CHARACTER = re.compile(r"[^\w-]+")
_MAX_KEY_LENGTH = 60


class WebDatasetWriter(DatasetWriter):
    """Writes a tar of the samples' own parts, each sample followed by its record as `<key>.curation.json`.

    The tar at `path` is made on entering, and overwritten if it exists.

    Equal samples in equal order give equal bytes: no time, user or machine is recorded. A sample that already has
    a `curation.json` (from an earlier curation) gets the new one instead.

    A sample from a tar keeps its key. Any other sample gets its key from its id: an id of letters, digits, `_` and
    `-` is the key; in another id the other characters become `_` and a digest of the id is appended, so that
    different ids give different keys. Attributes that are in no part are written as `<key>.json`.

    A WebDataset file must not repeat a key, but a shard may join files that do. The first sample keeps its key; a
    later one is put in a folder named after its file (`0001` of `b/07.tar` becomes `b/07/0001`).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys: set[str] = set()

    def __enter__(self) -> WebDatasetWriter:
        self._tar = tarfile.open(self._path, "w", format=tarfile.PAX_FORMAT)
        return self

    def __exit__(self, *exc_info: Any) -> None:
        # After an error tarfile writes no end marker, so a partial file does not look complete.
        self._tar.__exit__(*exc_info)

    def write(self, sample: RawSample, record: Mapping[str, Any]) -> None:
        """Add one sample.

        Raises:
            ShardError: if its key cannot be made unique in this file.
            TypeError: if the record has a value that JSON cannot represent.
            ValueError: if the record has NaN or infinity.
        """
        document = json.dumps(
            dict(record),
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
            allow_nan=False,
            default=_plain,
        )
        key = self._claim_key(sample)
        for extension, content in sample.parts.items():
            if extension != RECORD_EXTENSION:
                self._add(f"{key}.{extension}", content)
        attributes = None if "json" in sample.parts else attributes_json(sample.attributes)
        if attributes is not None:
            self._add(f"{key}.json", attributes.encode("utf-8"))
        self._add(f"{key}.{RECORD_EXTENSION}", document.encode("utf-8"))

    def _claim_key(self, sample: RawSample) -> str:
        key = _key_of(sample)
        if key in self._keys:
            # A dot in the folder is harmless: a key ends at the first dot of its last component.
            key = f"{PurePosixPath(sample.file).with_suffix('')}/{key}"
        if key in self._keys:
            raise ShardError(
                f"{self._path.name}: the sample '{key}' of {sample.file} is written already: pass each sample once"
            )
        self._keys.add(key)
        return key

    def _add(self, name: str, content: bytes) -> None:
        header = tarfile.TarInfo(name)
        header.size = len(content)
        header.mode = 0o644
        self._tar.addfile(header, BytesIO(content))
        # tarfile keeps all headers.
        self._tar.members.clear()  # type: ignore[attr-defined]


def _key_of(sample: RawSample) -> str:
    """The key of a sample before it is made unique."""
    name = split_member_name(sample.member)
    if name is not None and name[0] == sample.sample_id:
        return name[0]
    # Ids may be paths or URLs: a dot would end the key, a slash could lead out of the folder of unpacked files.
    key = _NO_KEY_CHARACTER.sub("_", sample.sample_id)[:_MAX_KEY_LENGTH]
    if key == sample.sample_id and not key.startswith("__"):
        return key
    digest = hashlib.blake2b(sample.sample_id.encode(), digest_size=6).hexdigest()
    return f"{key.strip('_') or 'sample'}-{digest}"


def _plain(value: Any) -> Any:
    """NumPy scalars as Python's."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(
        f"a record has the value {value!r} of type {type(value).__name__}: pass text, numbers, lists or None"
    )
