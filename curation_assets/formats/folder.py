"""Reads a folder and its subfolders; each file is a sample."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from curation_assets.formats.accounts import Account
from curation_assets.formats.base import Listing, RawSample, Rejection, RejectionReason
from curation_assets.formats.image_extensions import IMAGE_EXTENSIONS
from curation_assets.formats.listing import PatternReader, list_matching_files
from curation_assets.formats.opening import open_file
from curation_assets.pools.source import FolderSource

MOST_IMAGE_BYTES = 2**30
TEXT_EXTENSIONS = ("txt", "md")


class FolderReader(PatternReader[FolderSource]):
    """Reads images, or .txt and .md files; the id is the path with its extension, as `a.jpg` may be beside `a.png`."""

    def look(self) -> Listing:
        """See `ShardReader.look`; files with other extensions are left out."""
        extensions = IMAGE_EXTENSIONS if self._source.modality == "image" else TEXT_EXTENSIONS
        return list_matching_files(self._root, self._source.pattern, extensions=extensions)

    def read(self, file: str, account: Account | None = None) -> Iterator[RawSample | Rejection]:
        """See `ShardReader.read`; a file is one sample; its label `folder` is the name of its folder."""
        account = account or Account()
        account.n_seen += 1
        yield account.took(self._read(file))
        account.require_balance(file)

    def _read(self, file: str) -> RawSample | Rejection:
        path = PurePosixPath(file)
        is_text = self._source.modality == "text"
        limit = self._source.max_text_bytes
        with open_file(self._root, file) as handle:
            if not handle.size:
                return Rejection(file, file, None, RejectionReason.EMPTY_FILE, "the file has no bytes")
            if is_text and handle.size > limit:
                detail = f"{handle.size:,} bytes are above the limit of {limit:,}"
                return Rejection(file, file, None, RejectionReason.TEXT_TOO_LARGE, detail)
            if handle.size > MOST_IMAGE_BYTES:
                detail = (
                    f"{handle.size:,} bytes are above the limit of {MOST_IMAGE_BYTES:,}: shrink the image"
                )
                return Rejection(file, file, None, RejectionReason.IMAGE_TOO_LARGE, detail)
            content = handle.read()
        # A sample's text is its part `txt` in every format.
        extension = "txt" if is_text else path.suffix.lower().removeprefix(".")
        folder = path.parent.name or None
        return RawSample(file, file, file, 0, content, {extension: content}, {"folder": folder})


READER = FolderReader
