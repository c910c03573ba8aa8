"""Packs the loose files of a folder pool into tars, which are listed and read in a fraction of the time."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from io import BytesIO
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from upath import UPath

from curation_assets.errors import PoolSpecError
from curation_assets.formats.base import SourceFile
from curation_assets.formats.listing import resolve_location
from curation_assets.formats.opening import open_file
from curation_assets.pools import PoolSpec
from curation_assets.pools.source import FolderSource
from curation_assets.steps.context import PoolAccess
from curation_assets.storage.atomic import staged_file
from curation_assets.storage.documents import read_document, write_document
from curation_assets.storage.fingerprint import fingerprint

RECORD = "_pack.json"
"""What is packed so far; listings leave out names that begin with an underscore."""
CAPTION, ATTRIBUTES = "txt", "json"
_BLOCK = 512
_NOTHING: Mapping[str, SourceFile] = MappingProxyType({})
"""One for all samples that have nothing beside them."""
_NO_KEY_CHARACTER = re.compile(r"[^\w/ @+,=()-]")


@dataclass(frozen=True, slots=True)
class Tar:
    """A tar that is complete."""

    digest: str
    """Of the files that it holds, with their versions."""
    n_captions: int = 0
    n_attributes: int = 0
    unreadable: list[str] = field(default_factory=list)
    """JSON files beside samples that hold no object; they are not packed."""


@dataclass(frozen=True, slots=True)
class Packed:
    """What `pack` did."""

    n_files: int
    n_bytes: int
    tars: list[Tar]
    n_kept: int
    """Tars that were there already."""


@dataclass(frozen=True, slots=True)
class _Sample:
    file: SourceFile
    key: str
    beside: Mapping[str, SourceFile]
    """Files of the same name with other extensions, by extension."""


def pack(pool: PoolAccess, out: UPath, tar_bytes: int, report: Callable[[float, str], None]) -> Packed:
    """Write the files of a folder pool as WebDataset tars. The files stay as they are.

    The key of a sample is its path without the extension. Its JSON names its folder and its path; the fields of a
    JSON file of the same name are added, and beside an image a text file of the same name becomes its caption. The
    same files give the same bytes. Tars that are complete are kept when packing goes on after an interruption.

    Args:
        pool: a pool of the format `folder`.
        out: folder of the tars.
        tar_bytes: size at which a tar is closed.
        report: takes the share that is done and a detail.

    Raises:
        PoolSpecError: if the pool has another format, or `out` holds tars of something else.
        ShardError: if a file cannot be read.
    """
    source = pool.spec.source
    if not isinstance(source, FolderSource):
        raise PoolSpecError(
            f"pool '{pool.spec.name}' has source.format {source.format}: only pools of the format folder are packed"
        )
    root = resolve_location(source.path, Path(pool.home_folder))
    samples = list(_samples(root, pool.reader.list_files(), is_text=source.modality == "text"))
    groups = {f"{number:05}.tar": group for number, group in enumerate(_groups(samples, tar_bytes))}
    done = _packed_before(out)
    n_files = n_kept = 0
    for name, group in groups.items():
        digest = fingerprint([_facts(sample) for sample in group])
        if name in done and done[name].digest == digest and (out / name).exists():
            n_kept += 1
        else:
            with staged_file(out / name) as staged:
                first, n_all = n_files, len(samples)

                def tell(n: int, name: str = name, first: int = first, n_all: int = n_all) -> None:
                    report((first + n) / n_all, f"{name}: {first + n:,} of {n_all:,} files")

                done[name] = _write_tar(
                    staged, root, group, digest, is_text=source.modality == "text", tell=tell
                )
            _record(out, done)
        n_files += len(group)
    for name in done.keys() - groups.keys():
        (out / name).unlink(missing_ok=True)
        del done[name]
        _record(out, done)
    n_bytes = sum(sample.file.size_bytes for sample in samples)
    return Packed(n_files, n_bytes, [done[name] for name in groups], n_kept)


def source_of_tars(spec: PoolSpec, out: str) -> dict[str, Any]:
    """The settings `source` of a pool that reads the tars."""
    kept = spec.source.model_dump(exclude_defaults=True, mode="json")
    for name in ("format", "path", "pattern", "files_per_shard"):
        kept.pop(name, None)
    return {"format": "webdataset", "path": out, "modality": spec.modality, **kept}


def _samples(root: UPath, files: Sequence[SourceFile], *, is_text: bool) -> Iterator[_Sample]:
    """Each file with its key, which no other has, and what lies beside it."""
    own = {file.path for file in files}
    keys = [_key(file.path) for file in files]
    repeated = _repeated(keys)
    endings = (ATTRIBUTES,) if is_text else (ATTRIBUTES, CAPTION)
    listed = lru_cache(maxsize=64)(lambda folder: _listed(root, folder))
    for file, key in zip(files, keys, strict=True):
        path = PurePosixPath(file.path)
        there = listed("" if path.parent == PurePosixPath() else str(path.parent))
        names = {ending: str(path.with_suffix(f".{ending}")) for ending in endings}
        beside = {ending: there[name] for ending, name in names.items() if name in there and name not in own}
        if key in repeated:
            key = f"{key}-{hashlib.sha256(file.path.encode()).hexdigest()[:10]}"
        yield _Sample(file, key, beside or _NOTHING)


def _key(path: str) -> str:
    """The path without extension, as a name in a tar: a dot would end the key."""
    key = _NO_KEY_CHARACTER.sub("_", str(PurePosixPath(path).with_suffix("")))
    return f"_{key}" if key.startswith("__") else key


def _repeated(keys: Sequence[str]) -> set[str]:
    """Keys that occur more than once, also for file systems that ignore case."""
    seen: set[str] = set()
    twice = {low for key in keys if (low := key.casefold()) in seen or seen.add(low)}  # type: ignore[func-returns-value]
    return {key for key in keys if key.casefold() in twice} if twice else set()


def _listed(root: UPath, folder: str) -> dict[str, SourceFile]:
    """Files of one folder by path, with size and time."""
    base = root.path.rstrip("/")
    found = {}
    for facts in root.fs.ls(f"{base}/{folder}".rstrip("/") or "/", detail=True):
        if facts["type"] != "directory":
            path = str(facts["name"]).removeprefix(base).strip("/")
            version = str(facts.get("mtime") or facts.get("ETag") or "")
            found[path] = SourceFile(path, int(facts.get("size") or 0), version)
    return found


def _groups(samples: Sequence[_Sample], tar_bytes: int) -> Iterator[list[_Sample]]:
    group: list[_Sample] = []
    size = 0
    for sample in samples:
        # A member is a header and whole blocks; the JSON takes about as much as one small member.
        parts = [sample.file, *sample.beside.values()]
        own = sum(_BLOCK + -(-part.size_bytes // _BLOCK) * _BLOCK for part in parts) + 2 * _BLOCK
        if group and size + own > tar_bytes:
            yield group
            group, size = [], 0
        group.append(sample)
        size += own
    if group:
        yield group


def _facts(sample: _Sample) -> list[Any]:
    return [sample.key, *([file.path, file.size_bytes, file.version] for file in _parts(sample))]


def _parts(sample: _Sample) -> list[SourceFile]:
    return [sample.file, *(sample.beside[ending] for ending in sorted(sample.beside))]


def _write_tar(
    path: Path,
    root: UPath,
    group: Sequence[_Sample],
    digest: str,
    *,
    is_text: bool,
    tell: Callable[[int], None],
) -> Tar:
    n_captions = n_attributes = 0
    unreadable = []
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for number, sample in enumerate(group):
            place = PurePosixPath(sample.file.path)
            ending = CAPTION if is_text else place.suffix.lower().removeprefix(".")
            _add(tar, f"{sample.key}.{ending}", _content(root, sample.file))
            if caption := sample.beside.get(CAPTION):
                _add(tar, f"{sample.key}.{CAPTION}", _content(root, caption))
                n_captions += 1
            fields: Mapping[str, Any] = {}
            if beside := sample.beside.get(ATTRIBUTES):
                found = _object(_content(root, beside))
                if found is None:
                    unreadable.append(beside.path)
                else:
                    fields = found
                    n_attributes += 1
            document = {**fields, "folder": place.parent.name or None, "path": sample.file.path}
            text = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
            _add(tar, f"{sample.key}.{ATTRIBUTES}", text.encode("utf-8"))
            tell(number + 1)
    return Tar(digest, n_captions, n_attributes, unreadable)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    header = tarfile.TarInfo(name)
    header.size = len(content)
    tar.addfile(header, BytesIO(content))
    # tarfile keeps all headers.
    tar.members.clear()  # type: ignore[attr-defined]


def _content(root: UPath, file: SourceFile) -> bytes:
    with open_file(root, file.path) as handle:
        return handle.read()


def _object(content: bytes) -> dict[str, Any] | None:
    """The fields of a JSON object; None if it is none, or has what strict JSON lacks."""
    try:
        found = json.loads(content.decode("utf-8-sig"))
        json.dumps(found, allow_nan=False, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _packed_before(out: UPath) -> dict[str, Tar]:
    """The tars that are complete.

    Raises:
        PoolSpecError: if there are others.
    """
    document = read_document(out / RECORD, "remove it, and all tars beside it are packed again") or {}
    done = {name: Tar(**facts) for name, facts in document.get("tars", {}).items()}
    there = [path.name for path in out.iterdir()] if out.exists() else []
    others = sorted(name for name in there if name.endswith(".tar") and name not in done)
    # One that was just renamed when the process was killed is not recorded.
    expected = f"{len(done):05}.tar"
    if others and others != [expected]:
        raise PoolSpecError(
            f"'{out}' holds tars that are not of this pool ({', '.join(others[:3])}): give an empty folder"
        )
    return done


def _record(out: UPath, done: Mapping[str, Tar]) -> None:
    write_document(out / RECORD, {"tars": {name: asdict(tar) for name, tar in done.items()}})
