"""Writes WebDataset tars with the standard library; the library webdataset would import torch."""

from __future__ import annotations

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
from curation_assets.formats.tar.groups import split_member_name
from curation_assets.formats.tar.safe_names import digest_of, folded, is_safe, safe_extension

RECORD_EXTENSION = "curation.json"
_NO_KEY_CHARACTER = re.compile(r"[^\w-]+")
_MAX_KEY_LENGTH = 60


class WebDatasetWriter(DatasetWriter):
    """Writes a tar of the samples' own parts, each sample followed by its record as `<key>.curation.json`.

    The tar at `path` is made on entering, and overwritten if it exists.

    Equal samples in equal order give equal bytes: no time, user or machine is recorded. A sample that already has
    a `curation.json` (from an earlier curation) gets the new one instead.

    A sample from a tar keeps its key if that is safe to unpack (see `is_safe`). Any other sample gets its key from
    its id: an id of letters, digits, `_` and `-` is the key; in another id the other characters become `_` and a
    digest of the id is appended, so that different ids give different keys. Attributes that are in no part are
    written as `<key>.json`.

    A WebDataset file must not repeat a key, but a shard may join files that do. The first sample keeps its key; a
    later one is put in a folder named after its file (`0001` of `b/07.tar` becomes `b/07/0001`). Keys that differ
    only in case or in the form of accents count as repeated, since some file systems would unpack them into one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys: set[str] = set()
        """As file systems see them that ignore case."""
        self._folders: set[str] = set()
        self._written: set[tuple[str, str]] = set()
        """File and id of each sample."""

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
                self._add(f"{key}.{safe_extension(extension)}", content)
        others = {name: value for name, value in sample.attributes.items() if name not in sample.parts}
        attributes = None if "json" in sample.parts else attributes_json(others)
        if attributes is not None:
            self._add(f"{key}.json", attributes.encode("utf-8"))
        self._add(f"{key}.{RECORD_EXTENSION}", document.encode("utf-8"))

    def _claim_key(self, sample: RawSample) -> str:
        key = _key_of(sample)
        if (sample.file, sample.sample_id) in self._written:
            raise ShardError(
                f"{self._path.name}: the sample '{key}' of {sample.file} is written already: pass each sample once"
            )
        self._written.add((sample.file, sample.sample_id))
        if folded(key) in self._keys:
            # A dot in the folder is harmless: a key ends at the first dot of its last component.
            key = f"{PurePosixPath(sample.file).with_suffix('')}/{key}"
        if folded(key) in self._keys or not is_safe(key) or self._is_blocked(key, sample):
            key = _made_key(f"{sample.file}/{sample.sample_id}")
        self._keys.add(folded(key))
        self._folders.update(_parents(folded(key)))
        return key

    def _is_blocked(self, key: str, sample: RawSample) -> bool:
        """Whether one of its members would be unpacked where a folder is, or below what is a file."""
        key = folded(key)
        below_files = (split_member_name(folder) for folder in _parents(key))
        members = (f"{key}.{extension}" for extension in (*sample.parts, "json", RECORD_EXTENSION))
        return any(found and found[0] in self._keys for found in below_files) or any(
            folded(member) in self._folders for member in members
        )

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
    if name is not None and name[0] == sample.sample_id and is_safe(name[0]):
        return name[0]
    key = sample.sample_id
    if _is_plain(key) and is_safe(key):
        return key
    return _made_key(key)


def _made_key(name: str) -> str:
    """A key for an id that is a path or a URL: a dot would end it, a slash could lead out of the unpacked folder."""
    return f"{_NO_KEY_CHARACTER.sub('_', name)[:_MAX_KEY_LENGTH].strip('_') or 'sample'}-{digest_of(name)}"


def _parents(key: str) -> list[str]:
    """The folders above a key: `a/b/c` is in `a` and `a/b`."""
    return [key[: slash.start()] for slash in re.finditer("/", key)]


def _is_plain(key: str) -> bool:
    return (
        not _NO_KEY_CHARACTER.search(key)
        and len(key) <= _MAX_KEY_LENGTH
        and not key.startswith("__")
        and bool(key)
    )


def _plain(value: Any) -> Any:
    """NumPy scalars as Python's."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(
        f"a record has the value {value!r} of type {type(value).__name__}: pass text, numbers, lists or None"
    )
