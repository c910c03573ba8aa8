"""Reasons as the status table words them."""

from __future__ import annotations

from pathlib import Path

from curation_assets.cli.status import tree_lines, why_not
from curation_assets.formats import build_reader
from curation_assets.graph.base import Step
from curation_assets.graph.freshness import Freshness
from curation_assets.graph.steps import pool_steps
from curation_assets.storage.fit_rows import FitRows, FittedShard, save_fit_rows
from curation_assets.storage.outputs import Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import Shard, group_files
from curation_assets_tests.projects import Project, make_project, spec_of

ROWS = Step("embeddings", "1", (), {}, partitioned=True)
FIT = Step("level_1_clusters", "1", (), {})


def test_reasons_name_their_shards_unless_all_share_them() -> None:
    assert why_not(FIT, {None: "k changed from 3 to 4"}, 1) == "k changed from 3 to 4"
    assert why_not(ROWS, dict.fromkeys("abc", "not made yet"), 3) == "not made yet"
    assert why_not(ROWS, dict.fromkeys("ab", "not made yet"), 3) == "not made yet (a, b)"
    mixed = {**dict.fromkeys("abcde", "input raw_pool changed"), "f": "not made yet"}
    assert why_not(ROWS, mixed, 9) == "input raw_pool changed (a, b, c and 2 more); not made yet (f)"
    assert why_not(ROWS, {}, 3) == ""


LEVELS = [
    {"level": 1, "n_clusters": 30, "largest_share": 0.1, "collapsed": False, "dropped": False},
    {"level": 2, "n_clusters": 9, "largest_share": 0.4, "collapsed": True, "dropped": False},
    {
        "level": 3,
        "n_clusters": 9,
        "largest_share": 0.4,
        "collapsed": False,
        "dropped": True,
        "why_dropped": "too close",
    },
]


def test_the_tree_and_who_is_left_out_are_told(tmp_path: Path) -> None:
    spec = spec_of()
    steps, storage = pool_steps(spec), PoolStorage(str(tmp_path), "p")
    storage.save_shards([Shard("a", ()), Shard("b", (), "failed once")])
    assert list(tree_lines(storage, Freshness(storage, steps, storage.shards()))) == [
        "curated without shard b: failed once"
    ]
    for name, summary in (
        ("tree", {"tree_version": "abc", "levels": LEVELS}),
        (
            "drift",
            {
                "decision": "assign and re-select",
                "new_rows": 3,
                "gone_rows": 0,
                "new_rows_share": 0.42857,
                "drift_score": 0.1,
                "reasons": [],
            },
        ),
    ):
        with storage.output(name).writing(Recipe({}, {}, "1")) as writer:
            writer.summary.update(summary)
    with storage.output("embeddings", "a").writing(Recipe({}, {}, "1")) as writer:
        writer.text("txt", "rows")
    digest = storage.output("embeddings", "a").require_facts().digest
    save_fit_rows(
        storage.folder,
        FitRows({"a": FittedShard(digest, 7)}, steps["embeddings"].config_fingerprint, "first fit"),
    )
    lines = list(tree_lines(storage, Freshness(storage, steps, storage.shards())))
    assert lines[0].startswith("tree abc: fitted on 7 rows of 1 shards (first fit, ")
    assert lines[1].startswith("level 2 has collapsed: the largest of its 9 clusters holds 40% of the pool.")
    assert lines[2] == "level 3 is dropped: too close"
    assert lines[3] == (
        "drift: assign and re-select; since the fit 3 rows were added (42.9%) and 0 removed; highest drift score 0.10"
    )


def shown(project: Project, *options: str) -> str:
    code, output = project.run("status", "--pool", "emoji", *options)
    assert code == 0, output
    return " ".join(output.split())


def test_status_lists_the_files_and_changes_nothing(tmp_path: Path) -> None:
    project = make_project(tmp_path, n_images=18, samples_per_shard=6)
    raw = project.folder / "data" / "raw" / "emoji"
    output = shown(project)
    assert "emoji: 3 shards" in output
    assert "3 new (00000, 00001, 00002); the next run takes that in" in output
    files = build_reader(project.spec.source, project.folder).list_files()
    project.storage.save_shards(group_files(files, 1))
    assert "listing" not in shown(project)
    (raw / "00000.tar").unlink()
    (raw / "00001.tar").write_bytes((raw / "00002.tar").read_bytes())
    before = project.modified_times()
    assert "since the last listing: 1 changed (00001), 1 gone (00000)" in shown(project)
    output = shown(project, "--no-listing")
    assert "the files are not listed: --no-listing was given." in output
    assert "since the last listing" not in output
    raw.rename(tmp_path / "elsewhere")
    output = shown(project)
    assert "the files are not listed: source.path is" in output
    assert "emoji: 3 shards" in output
    assert project.modified_times() == before
