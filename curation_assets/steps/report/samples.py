"""Samples as the page shows them, each read once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from curation_assets.formats.base import RawSample, RejectedSampleError, ShardReader
from curation_assets.pools import SourceSettings
from curation_assets.report.data import SampleView
from curation_assets.steps.ingest.samples import read_pool_samples, sample_text, sample_thumbnail
from curation_assets.steps.report.pool import ReportPool

_TEXT_CHARACTERS = 200
_THUMBNAIL_PIXELS = 64


class PoolViews:
    """Views of rows of the pool."""

    def __init__(self, pool: ReportPool, reader: ShardReader) -> None:
        self._pool = pool
        self._reader = reader
        self._views: dict[int, SampleView] = {}

    def load(self, rows: np.ndarray) -> None:
        """Read the samples of pool rows, int64 (b,), in any order."""
        index, source = self._pool.index, self._pool.spec.source
        rows = np.unique(rows)
        shard_of_row, _ = index.locate(rows)
        row_of = {
            (index.shards[shard], int(self._pool.raw_rows[row])): int(row)
            for shard, row in zip(shard_of_row, rows, strict=True)
        }
        wanted: dict[str, list[int]] = {}
        for key, raw_row in row_of:
            wanted.setdefault(key, []).append(raw_row)
        for found in read_pool_samples(self._pool.storage, self._reader, source, wanted):
            caption = " · ".join([found.record["sample_id"], *found.labels(source)])
            self._views[row_of[found.shard, found.raw_row]] = view_of(caption, found.sample, source)

    def of(self, rows: Iterable[int], notes: Mapping[int, str] | None = None) -> list[SampleView]:
        """Views of loaded rows, in the order given, some with a note."""
        notes = notes or {}
        return [self.one(int(row), notes.get(int(row), "")) for row in rows]

    def one(self, row: int, note: str = "") -> SampleView:
        """View of a loaded row."""
        return dataclasses.replace(self._views[row], note=note)


def view_of(caption: str, sample: RawSample | None, source: SourceSettings) -> SampleView:
    """A sample as the page shows it; only its caption if there is nothing else to show."""
    try:
        text = sample_text(sample, source)
        picture = sample_thumbnail(sample, source, _THUMBNAIL_PIXELS)
    except RejectedSampleError:
        # Its file changed since it was embedded; the next run of raw_pool reports that.
        return SampleView(caption)
    return SampleView(caption, picture, None if text is None else beginning(text))


def beginning(text: str) -> str:
    """The first 200 characters of a text on one line, cut between words if there are any."""
    flat = " ".join(text[: 4 * _TEXT_CHARACTERS].split())
    if len(flat) <= _TEXT_CHARACTERS and len(text) <= 4 * _TEXT_CHARACTERS:
        return flat
    cut = flat[:_TEXT_CHARACTERS]
    whole = cut.rpartition(" ")[0]
    return (whole if len(whole) > _TEXT_CHARACTERS // 2 else cut).rstrip() + "…"


def evaluation_views(
    reader: ShardReader, source: SourceSettings, sample_ids: Iterable[str]
) -> dict[str, SampleView]:
    """Views of samples of an evaluation set by id; ids that are not found are left out.

    Its files are read up to the last wanted sample.
    """
    left = set(sample_ids)
    found: dict[str, SampleView] = {}
    for file in reader.list_files() if left else ():
        for item in reader.read(file.path):
            if isinstance(item, RawSample) and item.sample_id in left:
                left.remove(item.sample_id)
                found[item.sample_id] = view_of(item.sample_id, item, source)
                if not left:
                    return found
    return found
