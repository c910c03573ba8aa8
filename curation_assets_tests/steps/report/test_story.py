"""What a sample's story says of each fate."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets.steps.ingest.sample_search import close_ids, find_sample
from curation_assets.steps.report.story import Story, tell
from curation_assets_tests.steps.built_pool import BuiltPool, Text

PARENTS = [[0, 0, 1]]
TEXTS = {
    "a": [
        Text("doc-one", 0, 50),
        Text("broken", reason="invalid_utf8"),
        Text("doc-two", 0, 50),
        Text("copy", 0, 50, twin=("duplicate", "exact", "b", "b0", 1.0)),
    ],
    "b": [
        Text("b0", 1, 900),
        Text("leak", 2, 30, twin=("contaminated", "semantic", "exam", "q7", 0.93)),
        Text("doc-one", 1, 20),
        Text("b1", 2, 30),
    ],
}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> BuiltPool:
    exam = {"name": "exam", "source": {"format": "jsonl", "path": "exam"}}
    pool = BuiltPool(
        tmp_path_factory.mktemp("pool"), TEXTS, n_clusters=3, parents=PARENTS,
        targets=[{"name": "t", "tokens": 80}], deduplication={}, decontamination={"evaluation_sets": [exam]},
    )  # fmt: skip
    pool.select()
    pool.write_ledgers()
    return pool


def stories(pool: BuiltPool, sample_id: str) -> list[Story]:
    return [tell(pool.spec, pool.storage, *place) for place in find_sample(pool.storage, sample_id)]


def test_the_way_down_the_tree_is_told_with_every_quota(pool: BuiltPool) -> None:
    one, two = (stories(pool, name)[0] for name in ("doc-one", "doc-two"))
    assert {one.fate, two.fate} == {"selected", "not_selected"}
    taken, left = (one, two) if one.fate == "selected" else (two, one)
    assert taken.why == "for t"
    assert left.ran_out_at == 0
    assert left.why == (
        "its cluster 0 at level 1 had a quota of 50 of 100 tokens (target t), and other samples went first"
    )
    (target,) = left.targets
    assert (target.unit, target.requested, target.selected) == ("tokens", 80, False)
    assert (target.balance_from, target.why_from, target.evenness) == (2, "named by the pool", 1.0)
    assert [(s.level, s.cluster, s.size, s.quota, s.share) for s in target.shares] == [
        (2, 0, 100, 50, 0.5), (1, 0, 100, 50, 0.5),
    ]  # fmt: skip
    assert [(step.level, step.cluster) for step in left.clusters] == [(1, 0), (2, 0)]
    assert (left.n_tokens, left.file, left.member) == (50, "a.jsonl", "row 2" if left is two else "row 0")


def test_what_kept_a_sample_out_is_told_with_its_twin(pool: BuiltPool) -> None:
    (copy,), (leak,), (broken,), (long,) = (stories(pool, name) for name in ("copy", "leak", "broken", "b0"))
    assert copy.why == "same bytes as b0 in shard b, similarity 1.0000; that one is not selected"
    assert copy.twin is not None
    assert copy.twin.fate == "not_selected"
    assert leak.why == "nearly the same as q7 in evaluation set exam, similarity 0.9300"
    assert (leak.fate, leak.clusters[0].cluster) == ("contaminated", 2)
    assert (broken.fate, broken.why, broken.clusters, broken.targets) == (
        "rejected", "invalid_utf8: as given", (), (),
    )  # fmt: skip
    assert long.ran_out_at == 1
    assert long.why == "its cluster 1 at level 1 got nothing of the quota of its parent at level 2"


def test_an_id_that_repeats_has_a_story_for_each_row(pool: BuiltPool) -> None:
    first, second = stories(pool, "doc-one")
    assert (first.shard, second.shard) == ("a", "b")
    assert second.why == "duplicate_id: also in shard a, which is kept"
    assert stories(pool, "doc-three") == []
    assert close_ids(pool.storage, "doc-three")[0] in {"doc-one", "doc-two"}
    assert close_ids(pool.storage, "DOC-ONE")[0] == "doc-one"
    assert close_ids(pool.storage, "xyz") == []


def test_a_pool_without_a_ledger_is_told_as_far_as_it_got(tmp_path: Path) -> None:
    young = BuiltPool(tmp_path, TEXTS, n_clusters=3, parents=PARENTS, targets=[{"name": "t", "size": 1}])
    (story,) = stories(young, "copy")
    assert (story.fate, story.targets, len(story.clusters)) == (None, (), 2)
    assert story.why == "its fate is not decided yet: the shard has no ledger"


def test_levels_above_the_start_level_do_not_run_out(tmp_path: Path) -> None:
    texts = {"a": [Text("x", 0), Text("y", 1), Text("z", 2)]}
    targets = [{"name": "t", "size": 1, "balance_from": "level_1"}]
    pool = BuiltPool(tmp_path, texts, n_clusters=3, parents=PARENTS, targets=targets)
    selected = set(pool.select()["sample_id"])
    pool.write_ledgers()
    for name in {"x", "y", "z"} - selected:
        (story,) = stories(pool, name)
        assert story.ran_out_at == 1
        cluster = "xyz".index(name)
        assert story.why == f"its cluster {cluster} at level 1 got nothing of the quota of the whole target"
        assert [(share.level, share.navigates) for share in story.targets[0].shares] == [
            (2, True),
            (1, False),
        ]
