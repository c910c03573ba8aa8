"""Reads a folder and its subfolders; each file is a sample."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from curation_assets.formats.base import RawSample, Rejection, RejectionReason, SourceFile
from curation_assets.formats.image_extensions import IMAGE_EXTENSIONS
from curation_assets.formats.listing import PatternReader, list_matching_files
from curation_assets.formats.opening import open_file
from curation_assets.pools.source import FolderSource

TEXT_EXTENSIONS = ("txt", "md")


class FolderReader(PatternReader[FolderSource]):
    """Reads images, or .txt and .md files; the id is the path with its extension, as `a.jpg` may be beside `a.png`."""

    def list_files(self) -> list[SourceFile]:
        """See `ShardReader.list_files`; files with other extensions are skipped."""
        extensions = IMAGE_EXTENSIONS if self._source.modality == "image" else TEXT_EXTENSIONS
        return list_matching_files(self._root, self._source.pattern, extensions=extensions)

    def read(self, file: str) -> Iterator[RawSample | Rejection]:
        """See `ShardReader.read`; a file is one sample; its label `folder` is the name of its folder."""
        path = PurePosixPath(file)
        is_text = self._source.modality == "text"
        limit = self._source.max_text_bytes
        with open_file(self._root, file) as handle:
            if not handle.size:
                yield Rejection(file, file, None, RejectionReason.EMPTY_FILE, "the file has no bytes")
                return
            if is_text and handle.size > limit:
                detail = f"{handle.size:,} bytes are above the limit of {limit:,}"
                yield Rejection(file, file, None, RejectionReason.TEXT_TOO_LARGE, detail)
                return
            content = handle.read()
        # A sample's text is its part `txt` in every format.
        extension = "txt" if is_text else path.suffix.lower().removeprefix(".")
        yield RawSample(
            file, file, file, 0, content, {extension: content}, {"folder": path.parent.name or None}
        )


READER = FolderReader
