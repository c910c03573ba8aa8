"""Reads a folder and its subfolders; each file is a sample."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from curation_assets.errors import ShardError
from curation_assets.formats.accounts import Account
from curation_assets.formats.base import Listing, RawSample, Rejection, RejectionReason, SourceFile
from curation_assets.formats.image_extensions import IMAGE_EXTENSIONS, sniff_extension
from curation_assets.formats.listing import PatternReader, list_matching_files
from curation_assets.formats.opening import first_bytes, open_file
from curation_assets.locations import is_local
from curation_assets.pools.source import FolderSource

MOST_IMAGE_BYTES = 2**30
TEXT_EXTENSIONS = ("txt", "md")
UNKNOWN_IMAGE = "jpg"
"""Extension of the content of a file without one that is no image any more; its sample becomes a rejection."""
_BYTES_LOOKED_AT = 64


class FolderReader(PatternReader[FolderSource]):
    """Reads images, or .txt and .md files; the id is the path with its extension, as `a.jpg` may be beside `a.png`."""

    def look(self) -> Listing:
        """See `ShardReader.look`; files with other extensions are left out.

        On this machine, files without an extension that begin like an image are images.
        """
        is_image = self._source.modality == "image"
        return list_matching_files(
            self._root,
            self._source.pattern,
            extensions=IMAGE_EXTENSIONS if is_image else TEXT_EXTENSIONS,
            recognises=self._is_image if is_image and is_local(self._root) else lambda _: False,
            **self.ways_to_look,
        )

    def _is_image(self, file: SourceFile) -> bool:
        try:
            head = first_bytes(self._root, file.path, _BYTES_LOOKED_AT)
        except ShardError:
            # A link to nothing, or no right to read it; it is counted as left out.
            return False
        return sniff_extension(head, strictly=True, n_bytes=file.size_bytes) is not None

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
        if not is_text and extension not in IMAGE_EXTENSIONS:
            extension = sniff_extension(content, strictly=True) or UNKNOWN_IMAGE
        folder = path.parent.name or None
        return RawSample(file, file, file, 0, content, {extension: content}, {"folder": folder})


READER = FolderReader
