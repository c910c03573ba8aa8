"""Deduplication of stored shards: what is removed, for whose sake, and what stands when shards come and go."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curation_assets.graph.freshness import Freshness
from curation_assets.graph.refit import choose_fit_rows
from curation_assets.graph.steps import pool_steps
from curation_assets.steps.cleaning.duplicate_groups import largest_groups
from curation_assets.steps.tree.fit import LevelFit
from curation_assets.storage.tables import Duplicates
from curation_assets_tests.steps.drawn_pool import RECIPE, Pool, png, write_tar
from curation_assets_tests.steps.duplicate_pool import (
    IMAGE,
    DuplicatePool,
    Sample,
    at,
    image_spec,
    make_spec,
    text_spec,
)
from curation_assets_tests.steps.making import make


def test_equal_bytes_and_equal_texts_leave_the_first(tmp_path: Path) -> None:
    pool = DuplicatePool(tmp_path, text_spec(keep="first"))
    pool.put("a", [Sample("a0", "A cat.", at(0)), Sample("a1", "a  CAT.", at(90))])
    pool.put("b", [Sample("b0", "A cat.", at(180)), Sample("b1", "A dog.", at(270))])
    assert pool.deduplicate() == {"a1": ("a0", "normalized_text"), "b0": ("a0", "exact")}
    evidence = pool.evidence()
    assert evidence.schema == Duplicates.evidence.schema
    assert evidence.row(0) == ("a", 1, 1, "a1", "normalized_text", "a", "a0", 1.0)
    assert pool.summary()["removed"] == {"exact": 1, "normalized_text": 1, "semantic": 0}
    assert pool.summary()["largest_group"] == 3


def test_images_have_no_normalised_text(tmp_path: Path) -> None:
    pool = DuplicatePool(tmp_path, image_spec())
    pool.put("a", [Sample("a0", "x", at(0)), Sample("a1", "X", at(90)), Sample("a2", "x", at(0))])
    assert pool.deduplicate() in ({"a2": ("a0", "exact")}, {"a0": ("a2", "exact")})


# cos(25.8 degrees) = 0.9: rows 20 degrees apart are near duplicates, 40 apart are not.
CHAIN = [Sample("a0", "1", at(0)), Sample("a1", "22", at(20)), Sample("a2", "333", at(41))]


def test_a_chain_does_not_collapse(tmp_path: Path) -> None:
    pool = DuplicatePool(tmp_path, image_spec(keep="first"))
    pool.put("a", CHAIN)
    assert pool.deduplicate() == {"a1": ("a0", "semantic")}
    [similarity] = pool.evidence()["similarity"]
    assert similarity == pytest.approx(np.cos(np.radians(20)), abs=1e-3)


def test_the_keep_rule_decides_who_stays(tmp_path: Path) -> None:
    largest = DuplicatePool(tmp_path / "largest", image_spec(keep="largest"))
    largest.put("a", CHAIN[:2])
    assert largest.deduplicate() == {"a0": ("a1", "semantic")}
    closest = DuplicatePool(tmp_path / "closest", image_spec(keep="closest", n_clusters=1))
    closest.put("a", CHAIN)
    assert closest.deduplicate() == {"a0": ("a1", "semantic"), "a2": ("a1", "semantic")}


def test_the_nearest_kept_twin_is_named(tmp_path: Path) -> None:
    pool = DuplicatePool(tmp_path, image_spec(keep="first"))
    pool.put("a", [Sample("a0", "1", at(0)), Sample("a1", "2", at(40)), Sample("a2", "3", at(25))])
    assert pool.deduplicate() == {"a2": ("a1", "semantic")}


def test_each_pass_can_be_switched_off(tmp_path: Path) -> None:
    samples = [Sample("a0", "1", at(0)), Sample("a1", "1", at(90)), Sample("a2", "2", at(5))]
    exact = DuplicatePool(tmp_path / "exact", image_spec(keep="first", semantic=False))
    exact.put("a", samples)
    assert exact.deduplicate() == {"a1": ("a0", "exact")}
    semantic = DuplicatePool(tmp_path / "semantic", image_spec(keep="first", exact=False))
    semantic.put("a", samples)
    assert semantic.deduplicate() == {"a2": ("a0", "semantic")}


def test_a_group_whose_sample_falls_names_a_sample_that_stays(tmp_path: Path) -> None:
    pool = DuplicatePool(tmp_path, image_spec(keep="largest"))
    pool.put("a", [Sample("a0", "1", at(0)), Sample("a1", "1", at(0)), Sample("a2", "22", at(10))])
    removed = pool.deduplicate()
    assert removed == {"a0": ("a2", "semantic"), "a1": ("a2", "semantic")}
    assert pool.evidence()["similarity"].n_unique() == 1
    groups = largest_groups(pool.evidence(), 5)
    assert groups.select("twin_set", "twin_id", "n_removed").rows() == [("a", "a2", 2)]
    assert [member["sample_id"] for member in groups["members"][0]] == ["a0", "a1"]


def test_contaminated_samples_take_no_part(tmp_path: Path) -> None:
    decontamination = {"evaluation_sets": [{"name": "test", "source": {"path": "test"}}]}
    spec = make_spec(IMAGE, {"keep": "first"}, decontamination=decontamination)
    pool = DuplicatePool(tmp_path, spec)
    pool.put("a", [Sample("a0", "1", at(0)), Sample("a1", "1", at(0))])
    pool.put("b", [Sample("b0", "1", at(0))])
    pool.contaminate("a", [0])
    assert pool.deduplicate() == {"b0": ("a1", "exact")}
    pool.contaminate("a", [0, 1])
    assert pool.deduplicate() == {}, "its twin is contaminated now"
    pool.contaminate("a", [])
    assert pool.deduplicate() == {"a0": ("b0", "exact"), "a1": ("b0", "exact")}, "b0 stays, as was decided"


def test_a_new_shard_is_compared_with_what_stays_and_with_itself(tmp_path: Path) -> None:
    pool = DuplicatePool(tmp_path, image_spec(keep="largest"))
    pool.put("b", [Sample("b0", "1", at(0)), Sample("b1", "1", at(90))])
    assert pool.deduplicate() in ({"b1": ("b0", "exact")}, {"b0": ("b1", "exact")})
    stays = "b0" if pool.evidence()["sample_id"].to_list() == ["b1"] else "b1"
    before = dict(pool.parts())
    pool.put(
        "a",
        [
            Sample("a0", "much longer", at(5 if stays == "b0" else 95)),
            Sample("a1", "2", at(200)),
            Sample("a2", "33", at(205)),
        ],
    )
    removed = pool.deduplicate()
    assert removed["a0"] == (stays, "semantic"), "what was decided stands, though a0 is larger"
    assert removed["a1"] == ("a2", "semantic")
    assert pool.summary()["n_judged"] == 3
    assert pool.parts()["b"] == before["b"], "the old shard need not be admitted again"
    anew = pool.deduplicate(anew=True)
    assert anew[stays] == ("a0", "semantic"), "asked to, all is decided anew"
    assert pool.summary()["n_judged"] == 5


def test_nothing_new_costs_nothing_and_changes_nothing(tmp_path: Path) -> None:
    pool = DuplicatePool(tmp_path, image_spec(keep="first"))
    pool.put("a", CHAIN)
    pool.put("b", [Sample("b0", "1", at(3))])
    first = pool.deduplicate()
    digest = pool.storage.output("duplicates").require_facts().digest
    assert pool.deduplicate() == first
    assert pool.storage.output("duplicates").require_facts().digest == digest
    assert (pool.summary()["n_judged"], pool.summary()["n_comparisons"]) == (0, 0)


def test_a_removed_sample_is_judged_anew_when_its_twin_goes(tmp_path: Path) -> None:
    pool = DuplicatePool(tmp_path, image_spec(keep="first"))
    pool.put("a", [Sample("a0", "1", at(0))])
    pool.put("b", [Sample("b0", "1", at(0)), Sample("b1", "2", at(5)), Sample("b2", "3", at(100))])
    pool.put("c", [Sample("c0", "4", at(105))])
    assert pool.deduplicate() == {
        "b0": ("a0", "exact"),
        "b1": ("a0", "semantic"),
        "c0": ("b2", "semantic"),
    }
    pool.drop("a")
    assert pool.deduplicate() == {"b1": ("b0", "semantic"), "c0": ("b2", "semantic")}
    assert pool.summary()["n_judged"] == 2, "b2 and c0 stand"
    assert set(pool.parts()) == {"b", "c"}


def test_a_changed_shard_is_judged_anew(tmp_path: Path) -> None:
    pool = DuplicatePool(tmp_path, image_spec(keep="first"))
    pool.put("a", [Sample("a0", "1", at(0)), Sample("a1", "2", at(180))])
    pool.put("b", [Sample("b0", "3", at(5)), Sample("b1", "4", at(185))])
    assert pool.deduplicate() == {"b0": ("a0", "semantic"), "b1": ("a1", "semantic")}
    pool.put("a", [Sample("a0", "1", at(90)), Sample("a1", "2", at(180))])
    assert pool.deduplicate() == {"b1": ("a1", "semantic")}, "b1 lost its twin, so both are open"


def test_other_settings_decide_anew(tmp_path: Path) -> None:
    pool = DuplicatePool(tmp_path, image_spec(keep="first"))
    pool.put("a", CHAIN)
    pool.deduplicate()
    pool.spec = image_spec(keep="first", threshold=0.7)
    assert pool.deduplicate() == {"a1": ("a0", "semantic"), "a2": ("a0", "semantic")}


def random_shards(seed: int, n_rows: int = 600) -> list[list[Sample]]:
    """Rows around few directions, some of equal content, in four parts."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(60, 8))
    rows = centres[rng.integers(60, size=n_rows)] + 0.25 * rng.normal(size=(n_rows, 8))
    samples: list[Sample] = []
    for number, row in enumerate(rows.tolist()):
        content, vector = "x" * int(rng.integers(1, 400)) + str(number), tuple(row)
        if number % 10 == 9:
            content, vector = samples[number - 7].content, samples[number - 7].vector
        samples.append(Sample(f"s{seed}-{number}", content, vector))
    return [samples[part::4] for part in range(4)]


@pytest.mark.parametrize("keep", ["closest", "largest"])
def test_the_names_and_order_of_shards_do_not_matter(tmp_path: Path, keep: str) -> None:
    found = []
    for number, names in enumerate(("abcd", "dcba", "cadb")):
        pool = DuplicatePool(tmp_path / str(number), image_spec(keep=keep, n_clusters=9))
        for name, samples in zip(names, random_shards(1), strict=True):
            pool.put(name, samples)
        found.append(pool.deduplicate())
    assert found[0] == found[1] == found[2]
    assert {kind for _, kind in found[0].values()} == {"exact", "semantic"}


def test_shards_that_came_one_by_one_leave_no_twin_unnamed(tmp_path: Path) -> None:
    pool = DuplicatePool(tmp_path, image_spec(n_clusters=1))
    vectors: dict[str, np.ndarray] = {}
    for name, samples in zip("cabd", random_shards(2), strict=True):
        pool.put(name, samples)
        vectors |= {s.sample_id: np.float64(np.float16(s.vector)) for s in samples}
        removed = pool.deduplicate()
    unit = {key: row / np.linalg.norm(row) for key, row in vectors.items()}
    kept = sorted(unit.keys() - removed.keys())
    cosines = np.array([unit[key] for key in kept]) @ np.array([unit[key] for key in kept]).T
    assert np.triu(cosines, 1).max() < 0.9 + 1e-6
    for sample, (twin, kind) in removed.items():
        assert twin in kept
        if kind == "semantic":
            assert unit[sample] @ unit[twin] >= 0.9 - 1e-6


def test_a_pool_that_grows_gets_more_coarse_clusters(tmp_path: Path) -> None:
    pool = DuplicatePool(tmp_path, image_spec(threshold=0.99))
    pool.put(
        "a", [Sample(f"a{i}", f"a{i}", tuple(np.random.default_rng(i).normal(size=4))) for i in range(50)]
    )
    first = pool.deduplicate()
    rng = np.random.default_rng(0)
    pool.put("b", [Sample(f"b{i}", f"b{i}", tuple(rng.normal(size=4))) for i in range(3000)])
    second = pool.deduplicate()
    assert pool.summary()["n_clusters"] == 3
    assert {key: twin for key, twin in second.items() if key.startswith("a")} == first


def test_a_drawn_pool_is_fitted_on_what_is_left(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    images = {f"a{i}": png(None, i) for i in range(30)}
    write_tar(tmp_path / "raw" / "a.tar", images)
    copies = {f"b{i}": images[f"a{i}"] for i in range(4)}
    write_tar(tmp_path / "raw" / "b.tar", {**copies, **{f"c{i}": png(None, 100 + i) for i in range(10)}})
    pool = Pool(tmp_path, deduplication={"keep": "first", "threshold": 0.999})
    pool.ingest()
    pool.embed()
    make(pool.spec, pool.storage, "duplicates")
    for shard in pool.storage.shards():
        make(pool.spec, pool.storage, "admitted", shard)
    freshness = Freshness(pool.storage, pool_steps(pool.spec), pool.storage.shards())
    assert choose_fit_rows(pool.storage, freshness)
    assert pool.storage.output("duplicates").table("evidence.parquet")["twin_id"].to_list() == [
        f"a{i}" for i in range(4)
    ]
    assert pool.storage.n_fitted_rows() == 40
    fit = LevelFit(pool.spec, pool.storage, 1)
    with pool.storage.output("level_1_initial").writing(RECIPE) as writer:
        fit.initial(writer)
    assert len(pool.storage.output("level_1_initial").array("assignments.npy")) == 40
