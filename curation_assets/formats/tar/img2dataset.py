"""Failed downloads of img2dataset, whose Parquet beside each tar has a row for every URL."""

from __future__ import annotations

from collections.abc import Iterator

from upath import UPath

from curation_assets.formats.arrow.batches import open_batches
from curation_assets.formats.arrow.rows import readable_texts
from curation_assets.formats.base import DamagedFileError, Rejection, RejectionReason
from curation_assets.formats.opening import StorageFile, storage_errors
from curation_assets.locations import full_path

SUCCESS = "success"
_REQUIRED = ("key", "status")
_SHOWN = ("error_message", "url")


def failed_downloads(root: UPath, tar: str) -> Iterator[Rejection]:
    """One DOWNLOAD_FAILED for each URL of a tar's Parquet that did not become a sample.

    A tar without such a Parquet, or whose Parquet has no `key` and `status`, is not from img2dataset and yields
    none. A Parquet that cannot be read is rejected itself.

    Args:
        root: the pool's folder.
        tar: `SourceFile.path` of the tar.

    Raises:
        ShardError: if storage fails.
    """
    table = f"{tar.removesuffix('.tar')}.parquet"
    with storage_errors(table):
        try:
            handle = root.fs.open(full_path(root, table), "rb")
        except FileNotFoundError:
            return
    with StorageFile(handle, table) as file:
        try:
            yield from _failed_rows(file, tar, table)
        except DamagedFileError as error:
            detail = f"{error.detail}; it lists what img2dataset could not download: remove or mend it"
            yield Rejection(table, tar, table, error.reason, detail)


def _failed_rows(file: StorageFile, tar: str, table: str) -> Iterator[Rejection]:
    batches = open_batches(file)
    names = batches.schema.names
    if any(names.count(name) != 1 for name in _REQUIRED):
        return
    columns = [*_REQUIRED, *(name for name in _SHOWN if names.count(name) == 1)]
    for first_row, batch in batches.iterate(columns):
        found = {name: readable_texts(batch.column(name)) for name in columns}
        for i, status in enumerate(found["status"]):
            # A row whose status is null is not in the tar either.
            if status == SUCCESS:
                continue
            key, error, url = (found[name][i] if name in found else None for name in ("key", *_SHOWN))
            row = first_row + i
            detail = f"{status}: {error} ({url})"
            sample_id = f"{table}:{row}" if key is None else key
            yield Rejection(sample_id, tar, f"row {row} of {table}", RejectionReason.DOWNLOAD_FAILED, detail)
