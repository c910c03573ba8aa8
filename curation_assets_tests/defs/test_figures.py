"""One name is one number: what the UI shows of a curated pool, what its report says and what commands print."""

from __future__ import annotations

from typing import Any

import pytest

from curation_assets.defs.metadata import rounded, summary_metadata
from curation_assets.defs.shown import SHOWN
from curation_assets.steps.context import PoolAccess
from curation_assets.steps.report import gather_report
from curation_assets.storage.outputs import Facts
from curation_assets_tests.projects import Project


def records(value: Any) -> list[dict[str, Any]]:
    return [dict(record.data) for record in value.records]


def test_levels_and_targets_have_the_same_figures_everywhere(finished: Project) -> None:
    storage, spec = finished.storage, finished.spec
    pool = PoolAccess(spec, storage, str(finished.folder))
    report = gather_report(spec, storage, pool.reader, pool.evaluation_readers)
    shown = records(SHOWN["tree"](pool, storage.output("tree"))["levels"])
    for row, level in zip(shown, report.levels, strict=True):
        assert row["n_clusters"] == len(level.sizes)
        assert row["effective_clusters_of_samples"] == pytest.approx(level.effective_number, abs=0.006)
        assert row["largest_share_of_samples"] == pytest.approx(level.largest_share, abs=6e-5)
    fit = SHOWN["clusters"](pool, storage.clusters(spec.n_levels))
    assert "effective_clusters_of_samples" not in fit, "a fit above level 1 counts centroids"
    selection = storage.output("selection").require_facts()
    names = [target.name for target in spec.targets]
    metadata = summary_metadata(selection, names)
    sizes = {row["target"]: row["n_samples"] for row in records(metadata["targets"])}
    assert sizes == {target.name: target.size for target in report.targets}
    assert metadata["n_admissible"] == report.n_samples
    assert not [name for name in metadata if name.partition("/")[2] in names]
    n_accepted = sum(
        summary_metadata(storage.output("raw_pool", shard.key).require_facts())["n_accepted"]
        for shard in storage.shards()
    )
    assert n_accepted >= report.n_samples
    code, output = finished.run("explain", report.targets[0].balanced_sample[0].caption.split(" · ")[0])
    assert code == 0
    assert f"balanced from level {report.targets[0].balance_from} " in output


def test_internals_are_one_entry_and_targets_one_table() -> None:
    summary = {
        "n_rows": 12,
        "share_removed": 0.8472394823,
        "grid_step": 5.960464477539063e-08,
        "targets": {"a": 3, "b": 4},
        "evenness": {"a": 0.75},
        "rejections": {"undecodable": 2},
        "verdicts": {"a": "Balancing worked.", "b": "Balancing worked."},
    }
    facts = Facts("print", "digest", {}, {}, "1", {}, summary, made_at="2026-01-01")
    metadata = summary_metadata(facts, ["a", "b"])
    assert records(metadata.pop("targets")) == [
        {"target": "a", "n_samples": 3, "evenness": 0.75},
        {"target": "b", "n_samples": 4, "evenness": ""},
    ]
    assert metadata.pop("internals").data == {"fingerprint": "print", "grid_step": 5.960464477539063e-08}
    assert metadata == {
        "n_rows": 12,
        "share_removed": 0.8472,
        "rejections/undecodable": 2,
        "dagster/partition_row_count": 12,
        "made_at": "2026-01-01",
    }


@pytest.mark.parametrize(
    ("value", "shown"), [(0.8472394823, 0.8472), (147.76614, 147.8), (12345.6, 12346.0), (7, 7), ("a", "a")]
)
def test_figures_are_rounded(value: Any, shown: Any) -> None:
    assert rounded(value) == shown
