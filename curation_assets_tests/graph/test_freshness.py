"""What is out of date, and why; and what keeps a tree standing while shards come and go."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets.formats.base import SourceFile
from curation_assets.graph.base import ExtraInput
from curation_assets.graph.freshness import Forced, Freshness
from curation_assets.graph.refit import choose_fit_rows
from curation_assets.storage.evaluation import save_evaluation_listing
from curation_assets.storage.labels import save_labels_sight
from curation_assets.storage.outputs import timestamp
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import save_left_out
from curation_assets.storage.tables import RawPool
from curation_assets_tests.graph.stored_steps import (
    FILES,
    FITS,
    STEPS,
    TREE,
    curate,
    made_pool,
    make,
    per_shard,
    shard,
    whole,
)


def test_everything_is_up_to_date_after_it_was_made(tmp_path: Path) -> None:
    shards = [shard("a"), shard("b")]
    storage = PoolStorage(str(tmp_path), "p")
    assert Freshness(storage, STEPS, shards).outdated()["fit"] == {None: "not made yet"}
    assert Freshness(storage, STEPS, shards).recipe("fit", None) is None
    assert Freshness(made_pool(tmp_path, shards), STEPS, shards).outdated() == {}


def test_a_changed_setting_is_named_and_what_follows_is_out_of_date(tmp_path: Path) -> None:
    shards = [shard("a"), shard("b")]
    storage = made_pool(tmp_path, shards)
    steps = {**STEPS, "fit": whole("fit", "raw_pool", settings={"k": 4})}
    outdated = Freshness(storage, steps, shards).outdated()
    assert outdated == {
        "fit": {None: "k changed from 3 to 4"},
        "assign": dict.fromkeys("ab", "upstream is out of date: fit"),
    }
    make(storage, Freshness(storage, steps, shards), "fit", None, "centroids")
    assert Freshness(storage, steps, shards).outdated() == {}, "the same content stops the propagation"
    steps["fit"] = whole("fit", "raw_pool", settings={"k": 4}, version="2")
    assert Freshness(storage, steps, shards).outdated()["fit"] == {None: "code version 1 -> 2"}


def test_a_changed_shard_concerns_its_own_rows_and_the_fan_in(tmp_path: Path) -> None:
    storage = made_pool(tmp_path, [shard("a"), shard("b")])
    now = [shard("a"), shard("b", version="2"), shard("c")]
    outdated = Freshness(storage, STEPS, now).outdated()
    assert outdated["raw_pool"] == {"b": "input source changed", "c": "not made yet"}
    assert list(outdated["fit"]) == [None]


def test_a_shard_depends_on_its_own_part_of_a_shared_input(tmp_path: Path) -> None:
    shards = [shard("a"), shard("b")]
    storage = made_pool(tmp_path, shards)
    make(storage, Freshness(storage, STEPS, shards), "fit", None, "new", a="part of a", b="part of b")
    for entry in shards:
        make(storage, Freshness(storage, STEPS, shards), "assign", entry.key, "clusters")
    make(storage, Freshness(storage, STEPS, shards), "fit", None, "newer", a="part of a", b="other part of b")
    assert list(Freshness(storage, STEPS, shards).outdated()["assign"]) == ["b"]


def test_labels_concern_only_the_steps_that_read_them(tmp_path: Path) -> None:
    shards = [shard("a"), shard("b")]
    storage = made_pool(tmp_path, shards)
    steps = {
        **STEPS,
        "fit": whole("fit", "raw_pool", settings={"k": 3}, reads_labels=False),
        "assign": per_shard("assign", "raw_pool", "fit", reads_labels=False),
        "dataset": per_shard("dataset", "raw_pool"),
        "report": whole("report", "raw_pool"),
    }
    for key in "ab":
        make(storage, Freshness(storage, steps, shards), "dataset", key, "rows")
    make(storage, Freshness(storage, steps, shards), "report", None, "page")
    assert Freshness(storage, steps, shards).outdated() == {}, "pools made before labels counted apart"
    labels = {**STEPS["raw_pool"].settings, "source": {"label_fields": ["kind"]}}
    relabelled = {**steps, "raw_pool": per_shard("raw_pool", settings=labels, **FILES)}
    assert list(Freshness(storage, relabelled, shards).outdated()) == ["raw_pool", "dataset", "report"]
    forced = Forced(frozenset({"raw_pool"}), timestamp())
    assert {"fit", "assign"} <= set(Freshness(storage, relabelled, shards, forced).outdated())
    recoloured = {**labels, "colour": "blue"}
    relabelled["raw_pool"] = per_shard("raw_pool", settings=recoloured, **FILES)
    assert {"fit", "assign"} <= set(Freshness(storage, relabelled, shards).outdated())
    before = storage.output("raw_pool", "a").require_facts().digest
    recipe = Freshness(storage, steps, shards).recipe("raw_pool", "a")
    assert recipe is not None
    with storage.output("raw_pool", "a").writing(recipe) as writer:
        writer.text("txt", "rows of a, labelled")
        writer.parts[RawPool.CONTENT] = before
    assert Freshness(storage, steps, shards).outdated() == {
        "dataset": {"a": "input raw_pool changed"},
        "report": {None: "input raw_pool changed"},
    }
    make(storage, Freshness(storage, steps, shards), "raw_pool", "a", "other rows of a")
    assert {"fit", "assign"} <= set(Freshness(storage, steps, shards).outdated())


def test_captions_and_metadata_concern_only_the_steps_that_write_them(tmp_path: Path) -> None:
    shards = [shard("a")]
    storage = made_pool(tmp_path, shards)
    steps = {
        **STEPS,
        "fit": whole("fit", "raw_pool", settings={"k": 3}, reads_labels=False),
        "assign": per_shard("assign", "raw_pool", "fit", reads_labels=False),
        "dataset": per_shard("dataset", "raw_pool", reads_extras=True),
        "report": whole("report", "raw_pool"),
    }
    make(storage, Freshness(storage, steps, shards), "dataset", "a", "rows")
    make(storage, Freshness(storage, steps, shards), "report", None, "page")
    before = storage.output("raw_pool", "a").require_facts().digest
    recipe = Freshness(storage, steps, shards).recipe("raw_pool", "a")
    assert recipe is not None
    with storage.output("raw_pool", "a").writing(recipe) as writer:
        writer.text("txt", "rows of a, other captions")
        writer.parts |= {RawPool.CONTENT: before, RawPool.LABELLED: before}
    assert Freshness(storage, steps, shards).outdated() == {"dataset": {"a": "input raw_pool changed"}}


def test_what_is_to_be_made_again_is_until_it_was_made_since(tmp_path: Path) -> None:
    shards = [shard("a")]
    storage = made_pool(tmp_path, shards)
    again = Forced(frozenset({"fit"}), timestamp())
    outdated = Freshness(storage, STEPS, shards, again).outdated()
    assert outdated["fit"] == {None: "rebuild requested"}
    assert Freshness(storage, STEPS, shards, again).is_forced("fit", None)
    assert not Freshness(storage, STEPS, shards, again).is_forced("raw_pool", "a")
    assert "raw_pool" not in outdated
    make(storage, Freshness(storage, STEPS, shards), "fit", None, "centroids")
    assert Freshness(storage, STEPS, shards, again).outdated() == {}
    assert not Freshness(storage, STEPS, shards, again).is_forced("fit", None)


def test_the_tree_stands_while_shards_come_change_and_go(tmp_path: Path) -> None:
    storage = PoolStorage(str(tmp_path), "p")
    curate(storage, [shard("a"), shard("b")])
    rows = storage.fit_rows()
    assert rows is not None
    assert (set(rows.shards), rows.n_rows, rows.reason) == ({"a", "b"}, 20, "first fit")
    version = Freshness(storage, TREE, [shard("a"), shard("b")]).tree_version()
    now = [shard("a", version="2"), shard("c")]
    outdated = Freshness(storage, TREE, now).outdated()
    assert outdated.keys() == {"raw_pool", "embeddings", "level_1_assign"}
    assert outdated["level_1_assign"].keys() == {"a", "c"}
    curate(storage, now)
    freshness = Freshness(storage, TREE, now)
    assert freshness.outdated() == {}
    assert freshness.fit_rows() == rows
    assert freshness.tree_version() == version
    with pytest.raises(Exception, match="shard 'a' has changed or gone since the fit of level 1 began"):
        storage.fitted_embeddings()


def test_a_refit_takes_all_rows_and_says_why(tmp_path: Path) -> None:
    storage = PoolStorage(str(tmp_path), "p")
    curate(storage, [shard("a")])
    now = [shard("a"), shard("b")]
    curate(storage, now)
    before = Freshness(storage, TREE, now)
    assert choose_fit_rows(storage, before, "too many new rows")
    after = Freshness(storage, TREE, now)
    assert after.outdated()["level_1_clusters"] == {None: "refit: too many new rows"}
    assert after.tree_version() != before.tree_version()
    assert not choose_fit_rows(storage, after, "again"), "the same rows are no refit"


def test_a_setting_of_level_1_or_the_encoder_ends_the_tree(tmp_path: Path) -> None:
    storage = PoolStorage(str(tmp_path), "p")
    curate(storage, [shard("a")])
    now = [shard("a"), shard("b")]
    curate(storage, now)
    more = {
        **TREE,
        "level_1_clusters": whole("level_1_clusters", "embeddings", settings={"k": 4}, **FITS),
    }
    assert Freshness(storage, more, now).outdated()["level_1_clusters"] == {None: "k changed from 3 to 4"}
    curate(storage, now, more)
    rows = storage.fit_rows()
    assert rows is not None
    assert set(rows.shards) == {"a", "b"}, "a new fit takes all rows there are"
    other = {
        **more,
        "embeddings": per_shard("embeddings", "raw_pool", settings={"encoder": "two"}, gives_fit_rows=True),
    }
    freshness = Freshness(storage, other, now)
    assert freshness.fit_rows() is None
    assert freshness.outdated()["level_1_clusters"] == {None: "upstream is out of date: embeddings"}


def test_level_2_has_a_version_of_its_own(tmp_path: Path) -> None:
    storage = PoolStorage(str(tmp_path), "p")
    curate(storage, [shard("a")])
    steps = {
        **TREE,
        "level_2_clusters": whole(
            "level_2_clusters", "level_1_clusters", settings={"k": 9}, level=2, fits_tree=True
        ),
    }
    before, after = (Freshness(storage, graph, [shard("a")]) for graph in (TREE, steps))
    assert before.tree_version(1) == after.tree_version(1)
    assert before.tree_version(2) == before.tree_version() != after.tree_version()


def test_an_unfinished_fit_whose_rows_are_gone_begins_anew(tmp_path: Path) -> None:
    storage = PoolStorage(str(tmp_path), "p")
    curate(storage, [shard("a"), shard("b")])
    storage.output("level_1_clusters").path("facts.json").unlink()
    now = [shard("a")]
    assert Freshness(storage, TREE, now).fit_rows() is None
    curate(storage, now)
    rows = storage.fit_rows()
    assert rows is not None
    assert set(rows.shards) == {"a"}


CLEANED = {
    "raw_pool": TREE["raw_pool"],
    "embeddings": per_shard("embeddings", "raw_pool", settings={"encoder": "one"}),
    "duplicates": whole("duplicates", "embeddings", settings={"threshold": 0.9}, cleans=True),
    "admitted": per_shard("admitted", "embeddings", "duplicates", gives_fit_rows=True, cleans=True),
    "level_1_clusters": whole("level_1_clusters", "admitted", settings={"k": 3}, **FITS),
    "level_1_assign": TREE["level_1_assign"],
}


def test_the_tree_of_a_cleaned_pool_rests_on_its_admitted_rows(tmp_path: Path) -> None:
    storage = PoolStorage(str(tmp_path), "p")
    curate(storage, [shard("a"), shard("b")], CLEANED)
    rows = storage.fit_rows()
    assert rows is not None
    for key in "ab":
        assert rows.shards[key].digest == storage.output("admitted", key).require_facts().digest
        assert rows.shards[key].embedded == storage.output("embeddings", key).require_facts().digest
    now = [shard("a"), shard("b"), shard("c")]
    outdated = Freshness(storage, CLEANED, now).outdated()
    assert "level_1_clusters" not in outdated, "the tree stands"
    assert set(outdated["admitted"]) == set("abc"), "whether old shards lose rows is known after duplicates"
    curate(storage, now, CLEANED)
    freshness = Freshness(storage, CLEANED, now)
    assert freshness.outdated() == {}
    assert freshness.fit_rows() == rows


def test_another_threshold_ends_the_tree(tmp_path: Path) -> None:
    storage = PoolStorage(str(tmp_path), "p")
    curate(storage, [shard("a")], CLEANED)
    stricter = {
        **CLEANED,
        "duplicates": whole("duplicates", "embeddings", settings={"threshold": 0.8}, cleans=True),
    }
    freshness = Freshness(storage, stricter, [shard("a")])
    assert freshness.fit_rows() is None
    assert freshness.outdated()["duplicates"] == {None: "threshold changed from 0.9 to 0.8"}
    assert "level_1_clusters" in freshness.outdated()
    plain = Freshness(storage, TREE, [shard("a")])
    assert plain.fit_rows() is None, "a tree on admitted rows is none on all of them"


def test_a_part_for_one_step_comes_before_the_one_for_all(tmp_path: Path) -> None:
    shards = [shard("a")]
    storage = made_pool(tmp_path, shards)
    make(storage, Freshness(storage, STEPS, shards), "fit", None, "centroids", **{"a": "1", "assign/a": "2"})
    make(storage, Freshness(storage, STEPS, shards), "assign", "a", "clusters")
    assert storage.output("assign", "a").require_facts().inputs["fit"] == "2"
    make(storage, Freshness(storage, STEPS, shards), "fit", None, "others", **{"a": "3", "assign/a": "2"})
    assert Freshness(storage, STEPS, shards).outdated() == {}
    make(storage, Freshness(storage, STEPS, shards), "fit", None, "others", **{"a": "3", "assign/a": "4"})
    assert list(Freshness(storage, STEPS, shards).outdated()) == ["assign"]


def test_evaluation_sets_follow_the_listing_of_their_files(tmp_path: Path) -> None:
    storage = PoolStorage(str(tmp_path), "p")
    steps = {
        "evaluation_sets": whole(
            "evaluation_sets", settings={"sets": ["one"]}, extra_inputs=(ExtraInput.EVALUATION_FILES,)
        )
    }

    def reason() -> str | None:
        return Freshness(storage, steps, []).reason("evaluation_sets", None)

    save_evaluation_listing(storage.folder, {"one": [SourceFile("a.tar", 10, "1")]})
    assert reason() == "not made yet"
    make(storage, Freshness(storage, steps, []), "evaluation_sets", None, "samples")
    assert reason() is None
    for changed in ([SourceFile("a.tar", 10, "2")], [SourceFile("a.tar", 11, "1")], []):
        save_evaluation_listing(storage.folder, {"one": changed})
        assert reason() == "input source changed"
    save_evaluation_listing(storage.folder, {"one": [SourceFile("a.tar", 10, "1")]})
    assert reason() is None


def test_a_probe_follows_its_table_of_labels(tmp_path: Path) -> None:
    storage = PoolStorage(str(tmp_path), "p")
    steps = {"probe": whole("probe", extra_inputs=(ExtraInput.LABELS_TABLE,))}

    def reason() -> str | None:
        return Freshness(storage, steps, []).reason("probe", None)

    save_labels_sight(storage.folder, SourceFile("labels.csv", 10, "1"))
    make(storage, Freshness(storage, steps, []), "probe", None, "figures")
    assert reason() is None
    save_labels_sight(storage.folder, SourceFile("labels.csv", 10, "2"))
    assert reason() == "input labels changed"
    save_labels_sight(storage.folder, SourceFile("labels.csv", 10, "1"))
    assert reason() is None


def test_a_report_follows_what_the_listing_leaves_out(tmp_path: Path) -> None:
    storage = PoolStorage(str(tmp_path), "p")
    steps = {"report": whole("report", extra_inputs=(ExtraInput.LEFT_OUT,))}

    def reason() -> str | None:
        return Freshness(storage, steps, []).reason("report", None)

    make(storage, Freshness(storage, steps, []), "report", None, "page")
    assert reason() is None
    save_left_out(storage.folder, {"without a known extension": {".jp2": 8}})
    assert reason() == "input left_out changed"
    save_left_out(storage.folder, {"named like an unfinished download": {".part": 3}})
    assert reason() is None, "downloads come and go"
    save_left_out(storage.folder, {})
    assert reason() is None


def test_facts_of_many_shards_are_read_together_and_those_of_few_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = [shard(f"{i:02}") for i in range(12)]
    storage = made_pool(tmp_path, shards)
    whole: list[str] = []
    real = storage.shard_facts
    monkeypatch.setattr(storage, "shard_facts", lambda step: whole.append(step) or real(step))
    few, many = Freshness(storage, STEPS, shards), Freshness(storage, STEPS, shards)
    few.read_facts("assign", ["00", "01"])
    assert not whole
    many.read_facts("assign", ["00", "01", "02"])
    assert whole == ["assign", "raw_pool"]
    for key in ("00", "11"):
        assert many.recipe("assign", key) == few.recipe("assign", key)
        assert many.facts("assign", key) == few.facts("assign", key) is not None
        assert many.reason("assign", key) is None
