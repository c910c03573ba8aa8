"""Pool files: what is refused, and that the message says file, key, value and what would be valid."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from curation_assets.errors import PoolSpecError
from curation_assets.graph.steps import pool_steps
from curation_assets.pools import EngineSettings, load_pool_spec, resolve_engine
from curation_assets.pools.yaml_files import read_mapping
from curation_assets_tests.projects import SMALL_POOL

REPOSITORY = Path(__file__).parent.parent.parent


def load(folder: Path, document: Any) -> Any:
    path = folder / "web.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return load_pool_spec(path)


def changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    document = copy.deepcopy(SMALL_POOL)
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return document


def test_the_pools_of_the_repository_are_valid() -> None:
    files = [*REPOSITORY.glob("pools/*.yaml"), *REPOSITORY.glob("pools/examples/*.yaml")]
    assert len(files) >= 3
    for path in files:
        assert load_pool_spec(path).name == path.stem


def test_a_wrong_target_is_the_only_complaint(tmp_path: Path) -> None:
    with pytest.raises(PoolSpecError) as refused:
        load(tmp_path, changed(("targets",), [{"name": "small", "size": 5, "evenness": 2}]))
    assert len(str(refused.value).splitlines()) == 1
    assert "targets[0].evenness" in str(refused.value)
    with pytest.raises(PoolSpecError, match="targets: Tuple should have at least 1 item"):
        load(tmp_path, changed(("targets",), []))


def test_defaults_are_those_of_the_paper(tmp_path: Path) -> None:
    spec = load(tmp_path, {key: SMALL_POOL[key] for key in ("source", "encoder", "targets")})
    assert spec.n_levels == 4
    assert [settings.steps_at(t) for t, settings in enumerate(spec.levels, start=1)] == [0, 10, 10, 10]
    assert {level.n_clusters for level in spec.levels} == {"auto"}
    assert spec.preprocessing.metric == "cosine"


@pytest.mark.parametrize(
    ("document", "parts"),
    [
        (changed(("colour",), 1), ["unknown key colour", "value 1", "valid keys are: name, description"]),
        (changed(("source", "glob"), "x"), ["unknown key source.glob", "'x'", "pattern"]),
        (changed(("levels", 1, "k"), 5), ["unknown key levels[1].k", "n_clusters"]),
        (changed(("targets", 0, "rows"), 5), ["unknown key targets[0].rows", "fraction"]),
        (changed(("encoder", "weights"), "x"), ["unknown key encoder.weights", "batch_size"]),
        (changed(("encoder", "kind"), "magic"), ["encoder", "magic", "'open_clip'"]),
        (
            changed(("targets", 0, "balance_from"), "level_9"),
            ["target 'small' has balance_from: level_9", "the tree has 3 levels: choose level_1 to level_3"],
        ),
        (
            changed(("targets", 0, "balance_from"), "top"),
            ["targets[0].balance_from: choose auto, a level such as level_2, or {by: probe}, got 'top'"],
        ),
        (
            changed(("targets", 0, "balance_from"), {"by": "labels"}),
            ["targets[0].balance_from", "{by: probe}, got {'by': 'labels'}"],
        ),
        (changed(("targets", 0, "evenness"), 1.5), ["targets[0].evenness", "less than or equal to 1", "1.5"]),
        (changed(("targets", 1, "seed"), -1), ["targets[1].seed", "greater than or equal to 0", "-1"]),
        (changed(("levels", 1, "n_clusters"), 24), ["levels", "level 2", "n_clusters=24", "from 1 to 23"]),
        (
            changed(("memory_budget",), "2 gigs"),
            ["memory_budget", "cannot read '2 gigs' as a size", "'1.5 GiB'"],
        ),
        (changed(("memory_budget",), "1100 MB"), ["memory_budget", "1,100,000,000 bytes", "at least 1.2 GB"]),
        (changed(("device_memory",), "much"), ["device_memory", "cannot read 'much' as a size", "or auto"]),
        (
            changed(("device_memory",), "20 MB"),
            ["device_memory", "20,000,000 bytes", "at least 0.1 GB, or auto"],
        ),
        (changed(("device_memory",), True), ["device_memory", "cannot read True as a size"]),
        (changed(("memory_budget",), True), ["memory_budget", "cannot read True as a size"]),
        (changed(("memory_budget",), float("nan")), ["memory_budget", "cannot read nan as a size"]),
        (changed(("fit_rows",), 23), ["fit_rows is 23", "n_clusters=24", "at least as many rows"]),
        (changed(("levels", 0, "n_clusters"), 0), ["levels[0].n_clusters", "0"]),
        (changed(("levels", 0, "n_clusters"), "auto"), ["auto at every level"]),
        (changed(("levels", 0, "n_coarse_clusters"), 7), ["levels[0]", "multiple", "n_coarse_clusters=7"]),
        (changed(("levels", 1, "n_coarse_clusters"), 2), ["levels[1]", "resampling_steps to 0, got 2"]),
        (
            changed(("targets", 0, "fraction"), 0.5),
            ["targets[0]", "exactly one of size, fraction and tokens"],
        ),
        (changed(("targets", 1, "name"), "small"), ["targets", "share the name 'small'"]),
        (changed(("targets", 1, "fraction"), 1.5), ["targets[1].fraction", "1.5", "less than or equal to 1"]),
        (changed(("preprocessing", "metric"), "dot"), ["preprocessing.metric", "'dot'", "'cosine' or 'l2'"]),
        (changed(("name",), "Bad-Name"), ["name", "'Bad-Name'", "lower-case"]),
        (changed(("seed",), -1), ["seed", "-1"]),
        (changed(("source", "format"), "csv"), ["source", "csv", "'jsonl'"]),
        (
            changed(("source",), {"format": "jsonl", "path": "x", "column": 1}),
            ["unknown key source.column", "text_field"],
        ),
        (
            changed(("source",), {"format": "jsonl", "path": "x"}),
            ["encoder.kind 'bundled' reads images, but source.modality is 'text'"],
        ),
        (changed(("source", "path"), "s3://me:secret@bucket/x"), ["source.path", "holds credentials"]),
        (
            changed(("source",), {"format": "embeddings", "path": "x", "encoder": "clip"}),
            ["needs no encoder", "remove the key `encoder`"],
        ),
        (changed(("encoder",), None), ["encoder is missing", "open_clip"]),
        (changed(("targets", 0), {"name": "budget", "tokens": 9}), ["target 'budget' is in tokens", "image"]),
        (changed(("tokenizer",), "words"), ["tokenizer is set", "image"]),
        (changed(("outputs",), ["csv"]), ["outputs[0]", "'csv'", "weights"]),
        (changed(("deduplication",), {"keep": "last"}), ["deduplication.keep", "'last'", "'closest'"]),
        (changed(("deduplication",), {"threshold": 1.5}), ["deduplication.threshold", "1.5"]),
        (changed(("deduplication",), {"treshold": 0.9}), ["unknown key deduplication.treshold", "threshold"]),
        (changed(("engine",), {"worker": 2}), ["unknown key engine.worker", "valid keys are: kind, address"]),
        (changed(("decontamination",), {"evaluation_sets": []}), ["decontamination.evaluation_sets"]),
        (
            changed(
                ("decontamination",), {"evaluation_sets": [{"name": "a", "source": {"path": "x", "y": 1}}]}
            ),
            ["unknown key decontamination.evaluation_sets[0].source.y", "pattern"],
        ),
        (
            changed(("decontamination",), {"evaluation_sets": [{"name": "a", "source": {"path": "x"}}] * 2}),
            ["two evaluation sets share the name 'a'"],
        ),
        ({"encoder": SMALL_POOL["encoder"]}, ["source is missing", "targets is missing"]),
        ("- a\n- b\n", ["expected keys such as source"]),
        (
            changed(("watch",), {"nightly": "61 25 * * *"}),
            ["watch.nightly", "the minute '61'", "from 0 to 59"],
        ),
        ("a: [", ["cannot read it as YAML"]),
        ("a: 2025-13-45", ["cannot read it as YAML"]),
        ("a: " + "[" * 5000, ["nested too deeply"]),
        ("a: 1\nb: 2\na: 3\n", ["key a is written in line 1 and again in line 3: keep one of them"]),
        ("a: {b: 1, b: 2}\n", ["key b is written twice in line 1"]),
    ],
)
def test_a_bad_file_is_refused_with_file_key_value_and_remedy(
    tmp_path: Path, document: Any, parts: list[str]
) -> None:
    with pytest.raises(PoolSpecError) as caught:
        load(tmp_path, document)
    for part in ["web.yaml", *parts]:
        assert part in str(caught.value)


def test_a_secret_in_a_uri_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(PoolSpecError) as caught:
        load(tmp_path, changed(("source", "path"), "s3://me:hunter2@bucket/x"))
    assert "hunter2" not in str(caught.value)


def test_sizes_that_the_pool_rules_out(tmp_path: Path) -> None:
    spec = load(tmp_path, SMALL_POOL)
    spec.require_feasible(24)
    with pytest.raises(
        PoolSpecError, match=r"levels\[0\].n_clusters is 24, but the pool has only 23 samples"
    ):
        spec.require_feasible(23)
    spec = load(tmp_path, changed(("targets", 0, "size"), 100))
    with pytest.raises(PoolSpecError, match=r"targets.small.size is 100, .* choose a size from 1 to 99"):
        spec.require_feasible(99)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PoolSpecError, match="no such pool file"):
        load_pool_spec(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    ("written", "size"),
    [
        (2 * 10**9, 2 * 10**9),
        (2e9, 2 * 10**9),
        ("2 GB", 2 * 10**9),
        ("1.5 GiB", 1610612736),
        ("3000mb", 3 * 10**9),
    ],
)
def test_a_memory_budget_is_a_number_or_a_text_with_a_unit(tmp_path: Path, written: Any, size: int) -> None:
    assert load(tmp_path, changed(("memory_budget",), written)).memory_budget == size


def test_a_memory_budget_decides_nothing_and_fit_rows_decides_level_1(tmp_path: Path) -> None:
    plain = pool_steps(load(tmp_path, SMALL_POOL))
    assert pool_steps(load(tmp_path, changed(("memory_budget",), "9 GB"))) == plain
    assert pool_steps(load(tmp_path, changed(("device_memory",), "9 GB"))) == plain
    sampled = pool_steps(load(tmp_path, changed(("fit_rows",), 1000)))
    differ = {name for name, step in sampled.items() if step != plain[name]}
    assert differ == {"level_1_initial", "level_1_resampled", "level_1_clusters"}


def test_the_environment_names_the_machines() -> None:
    pool = EngineSettings(kind="local", cpus_per_worker=2)
    assert resolve_engine(pool, {}) == pool
    given = {
        "CURATION_ENGINE": "ray",
        "CURATION_RAY_ADDRESS": "head:6379",
        "CURATION_RAY_WORKERS": "12",
        "CURATION_WORK_FOLDER": "",
    }
    engine = resolve_engine(pool, given)
    assert (engine.kind, engine.address, engine.workers, engine.work_folder) == ("ray", "head:6379", 12, None)
    assert engine.cpus_per_worker == 2


@pytest.mark.parametrize(
    ("variable", "value"), [("CURATION_ENGINE", "spark"), ("CURATION_RAY_WORKERS", "many")]
)
def test_a_variable_that_makes_no_sense_is_named(variable: str, value: str) -> None:
    with pytest.raises(PoolSpecError, match=f"{variable} is '{value}'"):
        resolve_engine(EngineSettings(), {variable: value})


def test_the_engine_decides_no_output(tmp_path: Path) -> None:
    local = pool_steps(load(tmp_path, SMALL_POOL))
    ray = pool_steps(load(tmp_path, SMALL_POOL | {"engine": {"kind": "ray", "workers": 3}}))
    assert {name: step.config_fingerprint for name, step in local.items()} == {
        name: step.config_fingerprint for name, step in ray.items()
    }


def test_merge_keys_repeat_nothing(tmp_path: Path) -> None:
    text = "first: {deep: &b {<<: &a {x: 1, y: 2}, x: 3}}\nsecond: {<<: *b, y: 4}\n"
    path = tmp_path / "merged.yaml"
    path.write_text(text)
    assert read_mapping(path) == yaml.safe_load(text)
