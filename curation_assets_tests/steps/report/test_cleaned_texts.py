"""The report of a cleaned pool of texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curation_assets.report.data import ReportData
from curation_assets.report.page import render_report
from curation_assets.steps.comparison.candidates import Candidates
from curation_assets.steps.context import PoolAccess
from curation_assets.steps.report import gather_report
from curation_assets.steps.report.samples import beginning
from curation_assets_tests.steps.text_pool import ARABIC, TextPool


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> TextPool:
    made = TextPool(tmp_path_factory.mktemp("texts"))
    made.run()
    return made


@pytest.fixture(scope="module")
def data(pool: TextPool) -> ReportData:
    access = PoolAccess(pool.spec, pool.storage, str(pool.folder))
    return gather_report(pool.spec, pool.storage, pool.reader, access.evaluation_readers)


def test_figures_are_of_admissible_rows(data: ReportData) -> None:
    # 60 texts, one of white space; 4 duplicates and 1 contaminated text are set aside.
    assert data.n_samples == 54
    assert [level.sizes.sum() for level in data.levels] == [54, 54]
    assert sum(card.size for card in data.clusters) == 54
    assert sum(counts[0] for counts in data.targets[0].label_counts.values()) == 53, "one has no label"
    excluded = {"b00", "b01", "c00", "c01", "c02", "c19"}
    shown = [*data.pool_sample, *data.targets[0].random_sample, *data.targets[0].balanced_sample]
    shown += [view for card in data.clusters for view in card.examples]
    assert not excluded & {view.caption.split(" · ")[0] for view in shown}


def test_every_row_has_one_fate(data: ReportData) -> None:
    fates = {fate.name: (fate.n_samples, dict(fate.parts)) for fate in data.fates}
    n_left, left = fates.pop("not_selected")
    assert n_left == sum(left.values()) == 42
    assert set(left) <= {
        "other samples of its cluster were drawn",
        "its cluster at level 1 got no quota",
    }
    assert fates == {
        "selected": (12, {"small": 12}),
        "duplicate": (4, {"same bytes": 2, "nearly the same": 2}),
        "contaminated": (1, {"same bytes": 1}),
        "rejected": (1, {"empty_text": 1}),
    }
    assert sum(n for n, _ in fates.values()) == 18
    order = ["selected", "not_selected", "duplicate", "contaminated", "rejected"]
    assert [fate.name for fate in data.fates] == order


def test_groups_of_duplicates_show_the_kept_sample_first(data: ReportData) -> None:
    duplicates = data.duplicates
    assert duplicates is not None
    assert (duplicates.n_candidates, duplicates.n_removed, duplicates.n_groups) == (58, 4, 2)
    assert duplicates.by_kind == {"same bytes": 2, "nearly the same": 2}
    first = duplicates.groups[0]
    assert first.kept.caption.startswith("a00")
    assert [(view.caption[:3], view.note) for view in first.removed] == [
        ("b01", "cosine 0.970"),
        ("c00", "cosine 0.990"),
        ("b00", "same bytes"),
    ]
    assert first.n_removed == 3
    assert (first.lowest_similarity, first.highest_similarity) == pytest.approx((0.97, 0.99))
    assert first.removed[2].text == first.kept.text


def test_contamination_is_counted_by_set_with_both_texts(data: ReportData) -> None:
    quiz, clean = data.contamination
    assert (quiz.evaluation_set, quiz.by_kind, clean.by_kind) == ("quiz", {"same bytes": 1}, {})
    [pair] = quiz.pairs
    assert (pair.sample.caption, pair.twin.caption) == ("c02 · sea", "q1")
    assert pair.sample.text == pair.twin.text == "which ferry has an anchor"
    assert clean.pairs == []


def test_without_their_readers_evaluation_samples_are_named(pool: TextPool) -> None:
    [pair] = gather_report(pool.spec, pool.storage, pool.reader).contamination[0].pairs
    assert (pair.twin.caption, pair.twin.text) == ("q1", None)


def test_the_page_shows_texts_escaped_and_in_their_own_direction(data: ReportData) -> None:
    html = render_report(data)
    assert "<script" not in html
    assert f'<p class="text" dir="auto">{ARABIC}</p>' in html
    for words in (
        "The fate of every sample",
        "Duplicates",
        "Contamination",
        "not selected",
        "cosine 0.970",
    ):
        assert words in html
    assert "Clean: no sample of the pool is equal or too similar to one of this set." in html
    assert html == render_report(data)


def test_tokens_stand_beside_samples_where_they_are_counted(tmp_path: Path, data: ReportData) -> None:
    assert data.targets[0].n_tokens is None
    pool = TextPool(tmp_path, targets=[{"name": "budget", "tokens": 80}], tokenizer="words")
    pool.run()
    counted = gather_report(pool.spec, pool.storage, pool.reader)
    target = counted.targets[0]
    assert target.requested_tokens == 80
    assert target.n_tokens is not None
    assert 80 - 12 < target.n_tokens <= 80, "a sentence has twelve words"
    assert "12 tokens" in {view.note for view in target.balanced_sample}
    words = f"{target.size} samples with {target.n_tokens} tokens (budget: 80)"
    assert words in render_report(counted)


def test_texts_are_cut_between_words() -> None:
    assert beginning("short  and\nplain") == "short and plain"
    cut = beginning("word " * 100)
    assert cut.endswith("word…")
    assert len(cut) <= 201
    assert beginning("x" * 500) == "x" * 200 + "…"
    assert beginning("\n" * 900 + "late") == "…", "a text of white space first is not read to its end"


def test_the_flat_baseline_draws_from_fitted_rows_only(pool: TextPool) -> None:
    candidates = Candidates.read(pool.spec, pool.storage)
    np.testing.assert_array_equal(np.flatnonzero(candidates.flat_clusters >= 0), candidates.rows())
    fitted = pool.storage.initial(1).assignments.read()
    np.testing.assert_array_equal(candidates.flat_clusters[candidates.rows()], fitted)
