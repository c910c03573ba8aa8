"""A look at the files of a pool, which stores nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets.pools import PoolSpec
from curation_assets.steps.cleaning.evaluation_sets import take_evaluation_listing
from curation_assets.steps.comparison.labels_table import take_labels_sight
from curation_assets.steps.context import PoolAccess
from curation_assets.steps.listing import look_at_files
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets_tests.projects import SMALL_POOL


@pytest.fixture
def pool(tmp_path: Path) -> PoolAccess:
    for folder in ("raw", "hidden"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.tar").write_bytes(b"a")
    (tmp_path / "labels.csv").write_text("sample_id,label\nx,cat\n")
    spec = PoolSpec.model_validate(
        {
            "name": "p",
            **SMALL_POOL,
            "source": {"path": "raw"},
            "decontamination": {"evaluation_sets": [{"name": "hidden", "source": {"path": "hidden"}}]},
            "probe": {"labels": {"path": "labels.csv"}},
        }
    )
    return PoolAccess(spec, PoolStorage(str(tmp_path / "curated"), "p"), str(tmp_path))


def test_what_else_steps_read_is_looked_at_too(pool: PoolAccess, tmp_path: Path) -> None:
    pool.storage.save_shards(look_at_files(pool).change.shards)
    assert not look_at_files(pool).is_news, "before they are first seen, they are not made yet"
    take_evaluation_listing(pool)
    take_labels_sight(pool)
    assert not look_at_files(pool).is_news
    (tmp_path / "hidden" / "b.tar").write_bytes(b"b")
    (tmp_path / "labels.csv").write_text("sample_id,label\nx,dog\ny,cat\n")
    look = look_at_files(pool)
    assert look.is_news
    assert list(look.lines()) == [
        "changed since the last listing: files of the evaluation sets; the next run reads that again",
        "changed since the last listing: the table of labels; the next run reads that again",
    ]


def test_files_that_cannot_be_listed_are_said(pool: PoolAccess, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").unlink()
    [line] = look_at_files(pool).lines()
    assert line.startswith(
        "the files are not listed: probe.labels.path is 'labels.csv', but there is no such file"
    )
