"""Reads WebDataset: tars in which consecutive members with the same key are one sample."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from curation_assets.formats.base import (
    DamagedFileError,
    RawSample,
    RejectedSampleError,
    Rejection,
    RejectionReason,
    SourceFile,
)
from curation_assets.formats.image_extensions import IMAGE_EXTENSIONS
from curation_assets.formats.img2dataset import failed_downloads
from curation_assets.formats.listing import PatternReader
from curation_assets.formats.opening import ends_with, first_bytes, open_file
from curation_assets.formats.tar_members import BLOCK_BYTES, TarMember, is_no_header, iterate_members
from curation_assets.locations import shows_whole_files
from curation_assets.pools.source import WebDatasetSource

END_OF_TAR = bytes(1024)
# Extensions of a sample's content, and the reason if no member has one of them.
_CONTENT = {
    "image": (IMAGE_EXTENSIONS, RejectionReason.NO_IMAGE_MEMBER),
    "text": (("txt",), RejectionReason.NO_TEXT_MEMBER),
}


class WebDatasetReader(PatternReader[WebDatasetSource]):
    """Streams the tars of a folder; a sample's id is its WebDataset key (for img2dataset, its number)."""

    def is_closed(self, file: SourceFile) -> bool:
        """Whether an uncompressed tar ends in its two empty blocks, or does not begin with a header.

        Object stores show only whole files.
        """
        if not file.path.endswith(".tar") or shows_whole_files(self._root):
            return True
        if file.size_bytes < len(END_OF_TAR):
            return False
        if is_no_header(first_bytes(self._root, file.path, BLOCK_BYTES)):
            return True
        return ends_with(self._root, file.path, END_OF_TAR)

    def read(self, file: str) -> Iterator[RawSample | Rejection]:
        """See `ShardReader.read`; peak memory is one sample and one member.

        Of a cut or damaged tar, every whole sample is read first. Then the sample that the cut is in is rejected,
        or the file if the cut is in no sample. The failed downloads that img2dataset lists in its Parquet beside
        the tar come last.
        """
        with open_file(self._root, file) as handle:
            yield from _read_samples(file, iterate_members(handle), self._source.modality)
        yield from failed_downloads(self._root, file)


READER = WebDatasetReader


def split_member_name(name: str) -> tuple[str, str] | None:
    """Key and lower-case extension as WebDataset splits them; None for a name that belongs to no sample.

    The key is the path up to the first dot of its last component: `a/b.seg.png` gives `a/b` and `seg.png`. Names
    without a dot, hidden names and the library's `__meta__` entries belong to no sample.
    """
    folder, slash, base = name.rpartition("/")
    stem, dot, extension = base.partition(".")
    top = name.split("/", 1)[0]
    if not stem or not dot or (len(top) >= 4 and top.startswith("__") and top.endswith("__")):
        return None
    return f"{folder}{slash}{stem}", extension.lower()


class _Group:
    """Consecutive members of one key."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.members: dict[str, TarMember] = {}

    def takes(self, key: str, extension: str) -> bool:
        # A repeated extension starts another sample with the same key.
        return key == self.key and extension not in self.members

    def first_of(self, extensions: tuple[str, ...]) -> TarMember | None:
        for extension in extensions:
            if extension in self.members:
                return self.members[extension]
        # `photo.v2.jpg` has the extension `v2.jpg`.
        endings = tuple(f".{extension}" for extension in extensions)
        return next(
            (member for extension, member in self.members.items() if extension.endswith(endings)), None
        )


def _read_samples(file: str, members: Iterator[TarMember], modality: str) -> Iterator[RawSample | Rejection]:
    judge = _Judge(file, modality)
    group: _Group | None = None
    try:
        for member in members:
            name = split_member_name(member.name)
            if name is None:
                continue
            if group is None or not group.takes(*name):
                if group is not None:
                    yield judge.conclude(group)
                group = _Group(name[0])
            group.members[name[1]] = member
    except DamagedFileError as damage:
        yield from judge.conclude_damaged(group, damage)
        return
    if group is None:
        yield judge.reject(file, None, RejectionReason.EMPTY_FILE, "the tar holds no sample")
    else:
        yield judge.conclude(group)


class _Judge:
    """Decides which groups of one file are samples."""

    def __init__(self, file: str, modality: str) -> None:
        self._file = file
        self._extensions, self._none_found = _CONTENT[modality]
        self._first_members: dict[str, str] = {}
        self._usual: set[str] | None = None
        """Extensions that every sample so far has."""

    def conclude(self, group: _Group) -> RawSample | Rejection:
        extensions = set(group.members)
        self._usual = extensions if self._usual is None else self._usual & extensions
        content = group.first_of(self._extensions)
        some_member = content or next(iter(group.members.values()))
        try:
            self._refuse_duplicate(group.key, some_member.name)
            if content is None:
                found = ", ".join(member.name for member in group.members.values())
                detail = f"no member is one of {' '.join(self._extensions)}; there are {found}"
                raise RejectedSampleError(self._none_found, detail)
            json_member = group.members.get("json")
            attributes = {} if json_member is None else _parse_json_object(json_member)
        except RejectedSampleError as error:
            return self.reject(group.key, some_member.name, error.reason, error.detail)
        parts = {extension: member.content for extension, member in group.members.items()}
        return RawSample(
            group.key, self._file, content.name, content.offset, content.content, parts, attributes
        )

    def conclude_damaged(
        self, group: _Group | None, damage: DamagedFileError
    ) -> Iterator[RawSample | Rejection]:
        cut = split_member_name(damage.member) if damage.member else None
        group_is_cut = group is not None and (group.takes(*cut) if cut else self._looks_cut(group))
        if group is not None and group_is_cut:
            yield self.reject(group.key, damage.member, damage.reason, damage.detail)
            if cut:
                return
        elif group is not None:
            yield self.conclude(group)
        yield self.reject(cut[0] if cut else self._file, damage.member, damage.reason, damage.detail)

    def reject(self, sample_id: str, member: str | None, reason: RejectionReason, detail: str) -> Rejection:
        return Rejection(sample_id, self._file, member, reason, detail)

    def _looks_cut(self, group: _Group) -> bool:
        """Whether the group before a cut lacks an extension that all samples before it have."""
        return group.first_of(self._extensions) is None or not (self._usual or set()) <= set(group.members)

    def _refuse_duplicate(self, key: str, member: str) -> None:
        first = self._first_members.setdefault(key, member)
        if first is not member:
            detail = f"the key '{key}' was met before in this file, first as {first}"
            raise RejectedSampleError(RejectionReason.DUPLICATE_ID, detail)


def _parse_json_object(member: TarMember) -> dict[str, Any]:
    try:
        attributes = json.loads(member.content.decode("utf-8-sig"))
        if b"\\u" in member.content:
            # An escaped lone surrogate is valid JSON, but a table cannot hold it.
            json.dumps(attributes, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise RejectedSampleError(RejectionReason.INVALID_JSON, f"{member.name}: {error}") from error
    if not isinstance(attributes, dict):
        kind = type(attributes).__name__
        raise RejectedSampleError(
            RejectionReason.INVALID_JSON, f"{member.name}: expected an object, got {kind}"
        )
    return attributes
