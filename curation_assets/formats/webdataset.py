"""Reads WebDataset: tars in which consecutive members with the same key are one sample."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import Any

from curation_assets.formats.accounts import Account, Cause
from curation_assets.formats.base import (
    DamagedFileError,
    RawSample,
    RejectedSampleError,
    Rejection,
    RejectionReason,
    SourceFile,
)
from curation_assets.formats.image_extensions import IMAGE_EXTENSIONS, sniff_extension
from curation_assets.formats.json_documents import parse_json
from curation_assets.formats.listing import PatternReader
from curation_assets.formats.opening import StorageFile, ends_with, first_bytes, open_file
from curation_assets.formats.tar.groups import Group, Grouping, is_library_entry, split_member_name
from curation_assets.formats.tar.img2dataset import failed_downloads
from curation_assets.formats.tar.members import (
    BLOCK_BYTES,
    TarMember,
    UnreadMember,
    is_no_header,
    iterate_members,
)
from curation_assets.locations import shows_whole_files
from curation_assets.pools.source import WebDatasetSource

_IMG2DATASET_ENDINGS = (".parquet", "_stats.json")
END_OF_TAR = bytes(1024)
_SHORT_TEXT_BYTES = 2**16
_NOT_PLAIN = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
MOST_JSON_BYTES = 2**26
"""Of a sample's JSON; Python takes many times that."""
# Extensions of a sample's content, and the reason if no member has one of them.
_CONTENT = {
    "image": (IMAGE_EXTENSIONS, RejectionReason.NO_IMAGE_MEMBER),
    "text": (("txt",), RejectionReason.NO_TEXT_MEMBER),
}


class WebDatasetReader(PatternReader[WebDatasetSource]):
    """Streams the tars of a folder; a sample's id is its WebDataset key (for img2dataset, its number)."""

    def belongs_to(self, path: str) -> str | None:
        """See `PatternReader.belongs_to`: the tar of what img2dataset writes beside it."""
        stem = next((path.removesuffix(end) for end in _IMG2DATASET_ENDINGS if path.endswith(end)), None)
        return None if stem is None else f"{stem}.tar"

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

    def read(self, file: str, account: Account | None = None) -> Iterator[RawSample | Rejection]:
        """See `ShardReader.read`; peak memory is one sample and one member.

        Of a cut or damaged tar, every whole sample is read first. Then the sample that the cut is in is rejected,
        or the file if the cut is in no sample. The failed downloads that img2dataset lists in its Parquet beside
        the tar come last.
        """
        with open_file(self._root, file) as handle:
            yield from _Samples(file, self._source, account or Account()).read(handle)
        yield from failed_downloads(self._root, file)


READER = WebDatasetReader


class _Samples:
    """Decides which members of one tar are samples."""

    def __init__(self, file: str, source: WebDatasetSource, account: Account) -> None:
        self._file = file
        self._prefix = f"{file.removesuffix('.tar')}/" if source.ids == "file_and_key" else ""
        self._extensions, self._none_found = _CONTENT[source.modality]
        self._sniffs = source.modality == "image"
        self._account = account
        self._groups = Grouping(self._extensions)
        self._first_members: dict[str, str] = {}
        self._usual: set[str] | None = None
        """Extensions that every sample so far has."""

    def read(self, handle: StorageFile) -> Iterator[RawSample | Rejection]:
        try:
            for member in iterate_members(handle):
                self._account.n_seen += 1
                if (name := self._name_of(member)) is not None:
                    for group in self._groups.add(*name, member):
                        yield from self._conclude(group)
        except DamagedFileError as damage:
            yield from self._conclude_damaged(damage)
        else:
            for group in self._groups.close():
                yield from self._conclude(group)
            if not self._account.n_rows + self._account.n_rejected:
                yield Rejection(
                    self._file, self._file, None, RejectionReason.EMPTY_FILE, "the tar holds no sample"
                )
        self._account.require_balance(self._file)

    def _name_of(self, member: TarMember | UnreadMember) -> tuple[str, str] | None:
        """Key and extension of a member; None for one that is left out, which is counted."""
        if (name := split_member_name(member.name)) is not None and name[1]:
            return name
        base = member.name.rpartition("/")[2]
        if base.startswith(".") or not base or is_library_entry(member.name):
            cause = Cause.HIDDEN_MEMBER
        elif isinstance(member, UnreadMember):
            cause = Cause.LINK if member.is_link else Cause.SPECIAL
        else:
            # The names of downloads are often bare hashes.
            found = sniff_extension(member.content, strictly=True) if self._sniffs else None
            if found is not None:
                return member.name, found
            cause = Cause.UNKNOWN_EXTENSION
        self._account.left_out.add(cause, member.name)
        return None

    def _conclude(self, group: Group) -> Iterator[RawSample | Rejection]:
        content = group.content
        if group.key in self._first_members and content and "." in content[0]:
            # `score_0.95.jpg` and `score_0.97.jpg` have one key, even if they are apart.
            for part in group.apart():
                yield self._judge(part)
        else:
            yield self._judge(group)

    def _judge(self, group: Group) -> RawSample | Rejection:
        self._usual = set(group.members) if self._usual is None else self._usual & set(group.members)
        found = group.content
        content: TarMember | None = found[1] if found else None
        stands_for_it: TarMember | UnreadMember = content or group.unread_content or group.some_member
        place = stands_for_it.name
        is_whole = content is not None and group.too_large is None
        if is_whole:
            for unread in group.unread.values():
                self._account.left_out.add(Cause.LINK if unread.is_link else Cause.SPECIAL, unread.name)
        n_parts = len(group) - 1 - (len(group.unread) if is_whole else 0)
        try:
            self._refuse_duplicate(group.key, place)
            if (member := group.too_large) is not None:
                raise RejectedSampleError(RejectionReason.UNREADABLE_MEMBER, f"{member.name} {member.why}")
            if content is None:
                raise self._no_content(group)
            attributes = _attributes(group, found[0] if found else "")
        except RejectedSampleError as error:
            rejection = Rejection(self._prefix + group.key, self._file, place, error.reason, error.detail)
            return self._account.took(rejection, n_parts)
        parts = {ending: member.content for ending, member in group.members.items()}
        sample = RawSample(
            self._prefix + group.key,
            self._file,
            content.name,
            content.offset,
            content.content,
            parts,
            attributes,
        )
        return self._account.took(sample, n_parts)

    def _no_content(self, group: Group) -> RejectedSampleError:
        if unread := group.unread_content:
            return RejectedSampleError(RejectionReason.UNREADABLE_MEMBER, f"{unread.name} {unread.why}")
        found = ", ".join(group.names)
        detail = f"no member is one of {' '.join(self._extensions)}; there are {found}"
        return RejectedSampleError(self._none_found, detail)

    def _conclude_damaged(self, damage: DamagedFileError) -> Iterator[RawSample | Rejection]:
        for whole in self._groups.cut(damage.member):
            yield from self._conclude(whole)
        cut = self._groups.split(damage.member) if damage.member else None
        group = self._groups.open
        group_is_cut = group is not None and (group.takes(*cut) if cut else self._looks_cut(group))
        if group is not None and group_is_cut:
            rejection = Rejection(
                self._prefix + group.key, self._file, damage.member, damage.reason, damage.detail
            )
            yield self._account.took(rejection, len(group) - 1)
            if cut:
                return
        else:
            for last in self._groups.close():
                yield from self._conclude(last)
        # What is cut is no member that was seen.
        sample_id = self._prefix + cut[0] if cut else self._file
        yield Rejection(sample_id, self._file, damage.member, damage.reason, damage.detail)

    def _looks_cut(self, group: Group) -> bool:
        """Whether the group before a cut lacks an extension that all samples before it have."""
        return group.content is None or not (self._usual or set()) <= set(group.members)

    def _refuse_duplicate(self, key: str, member: str) -> None:
        first = self._first_members.setdefault(key, member)
        if first is not member:
            detail = f"the key '{key}' was met before in this file, first as {first}"
            raise RejectedSampleError(RejectionReason.DUPLICATE_ID, detail)


def _attributes(group: Group, extension: str) -> dict[str, Any]:
    """What the sample says about itself: its JSON, and its small members of plain text by their extension.

    The JSON is `photo.json`, or for `photo.v2.jpg` also `photo.v2.json`. A document that is no object, such as a list
    of boxes, is kept under the name `json`. Names of the JSON take precedence over extensions.
    """
    texts = {
        ending: text
        for ending, member in group.members.items()
        if ending != extension and (text := _short_text(ending, member.content)) is not None
    }
    dotted = f"{extension.rpartition('.')[0]}.json"
    member = group.members.get("json") or group.members.get(dotted)
    if member is None:
        return texts
    if len(member.content) > MOST_JSON_BYTES:
        detail = (
            f"{member.name}: {len(member.content):,} bytes of JSON are above the limit of {MOST_JSON_BYTES:,}"
        )
        raise RejectedSampleError(RejectionReason.INVALID_JSON, detail)
    try:
        value = parse_json(member.content.removeprefix(BOM_UTF8))
    except RejectedSampleError as error:
        detail = f"{member.name}: {error.detail}"
        raise RejectedSampleError(RejectionReason.INVALID_JSON, detail) from error
    return texts | (value if isinstance(value, dict) else {"json": value})


def _short_text(extension: str, content: bytes) -> str | None:
    """The text of a member such as `photo.cls` or `photo.txt`; None for a long one, JSON, or what is no plain text."""
    if extension.endswith("json") or len(content) > _SHORT_TEXT_BYTES:
        return None
    try:
        text = content.removeprefix(BOM_UTF8).decode("utf-8").strip()
    except UnicodeDecodeError:
        return None
    return None if _NOT_PLAIN.search(text) else text
