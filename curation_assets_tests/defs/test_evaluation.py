"""Decontamination as Dagster runs it: real drawings, real features, and evaluation files that change."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Iterator

import dagster as dg
import polars as pl
import pytest
from rich.console import Console

from curation_assets.cli.runner import Runner
from curation_assets.defs.checks import CHECKS, build_checks
from curation_assets.defs.pool_definitions import build_definitions
from curation_assets.defs.run.driver import Driver
from curation_assets.defs.watch import Cursor, Watcher
from curation_assets.steps.context import PoolAccess
from curation_assets.storage.evaluation import load_evaluation_digest
from curation_assets.storage.tables import Selection
from curation_assets_tests.projects import SMALL_POOL, Project, make_project
from curation_assets_tests.steps.drawn_pool import RECIPE, write_tar
from curation_assets_tests.steps.evaluation_pool import resized

INGESTED = ["raw_pool", "embeddings", "evaluation_sets", "contaminated", "admitted"]


def drawings(project: Project, shard: str) -> dict[str, bytes]:
    with tarfile.open(project.folder / "data" / "raw" / "emoji" / f"{shard}.tar") as archive:
        members = [member for member in archive if member.name.endswith(".png")]
        return {m.name.removesuffix(".png"): archive.extractfile(m).read() for m in members}  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Sixteen drawings; the evaluation set has copies of four of them, at half and twice the size."""
    made = make_project(tmp_path_factory.mktemp("clean"), n_images=16, samples_per_shard=8)
    first, second = list(drawings(made, "00000").values()), list(drawings(made, "00001").values())
    hidden = {
        "exact": first[0],
        "half": resized(first[1], 0.5),
        "double": resized(second[2], 2.0),
        "half_jpeg": resized(second[3], 0.5, "JPEG"),
    }
    (made.folder / "hidden").mkdir()
    write_tar(made.folder / "hidden" / "h.tar", hidden)
    sets = [{"name": "hidden", "source": {"path": "hidden"}}]
    small = {"levels": [{"n_clusters": 4}], "targets": [{"name": "small", "size": 4}]}
    made.write_pool({**SMALL_POOL, **small, "decontamination": {"evaluation_sets": sets}})
    return made


def runner(project: Project, instance: dg.DagsterInstance) -> Runner:
    made = Runner(Driver(project.home, project.spec, instance), Console(file=io.StringIO()))
    made.sync_shards()
    return made


def evidence(project: Project) -> list[tuple[str, str]]:
    outputs = [project.storage.output("contaminated", shard) for shard in ("00000", "00001")]
    tables = [output.table("evidence.parquet", ["twin_id", "kind"]) for output in outputs]
    return sorted(pl.concat(tables).rows())


def test_copies_at_other_sizes_are_found_among_real_drawings(
    project: Project, instance: dg.DagsterInstance
) -> None:
    run = runner(project, instance)
    assert run.bring_up_to_date(INGESTED)
    found = [("double", "pixels"), ("exact", "exact"), ("half", "pixels"), ("half_jpeg", "pixels")]
    assert evidence(project) == found
    key = dg.AssetKey(["emoji", "contaminated"])
    records = instance.fetch_materializations(dg.AssetRecordsFilter(key, asset_partitions=["00000"]), limit=1)
    metadata = records.records[0].asset_materialization.metadata  # type: ignore[union-attr]
    assert metadata["n_contaminated"].value == metadata["sets/hidden"].value == 2
    rows = metadata["evidence"].records  # type: ignore[union-attr]
    assert {record.data["twin_id"] for record in rows} == {"exact", "half"}
    kept = [project.storage.output("admitted", shard).array("kept.npy") for shard in ("00000", "00001")]
    assert [len(rows) for rows in kept] == [6, 6]


def test_the_check_fails_when_a_contaminated_row_is_smuggled_in(
    project: Project, instance: dg.DagsterInstance
) -> None:
    [check] = [
        made
        for made in build_checks(project.spec, project.home)
        if "selection_is_clean" in str(made.check_keys)
    ]
    assert next(iter(check.check_specs)).blocking
    storage = project.storage
    pool = PoolAccess(project.spec, storage, str(project.folder))
    twin = storage.output("contaminated", "00001").table("evidence.parquet").row(0, named=True)
    rows = storage.output("embeddings", "00001").table("rows.parquet").with_row_index("row")
    rows = rows.select(pl.lit("small").alias("target"), pl.lit("00001").alias("shard"), pl.all())
    clean = rows[storage.output("admitted", "00001").array("kept.npy").tolist()]
    smuggled = pl.concat([clean[1:], rows.filter(pl.col("sample_id") == twin["sample_id"])])
    for selected, passes in ((clean, True), (smuggled, False)):
        with storage.output("selection").writing(RECIPE) as writer:
            Selection.selected.write(writer, selected)
        result = CHECKS["selection_is_clean"].evaluate(pool)
        assert result.passed is passes
        assert result.metadata["comparisons"].value == 6 * 4
        assert result.metadata["closest_cosine"].value < 0.98  # type: ignore[operator]
        assert result.metadata["contaminated_samples"].value == (0 if passes else 1)
    assert f"'{twin['sample_id']}' of shard '00001' (pixels: '{twin['twin_id']}'" in str(result.description)
    storage.output("selection").path("facts.json").unlink()


def test_a_change_of_the_evaluation_files_is_noticed(project: Project, instance: dg.DagsterInstance) -> None:
    run = runner(project, instance)
    assert not run.driver.freshness().outdated().keys() & {*INGESTED}
    fourth = list(drawings(project, "00001").values())[5]
    write_tar(project.folder / "hidden" / "h.tar", {"other": resized(fourth, 0.5)})
    # The sensor sees it at its next tick, and the command line with its next listing.
    look = Watcher(project.spec, project.home, instance, Cursor()).look(time.time())
    assert look.request is not None
    assert look.summary == "evaluation_sets: input source changed"
    outdated = runner(project, instance).driver.freshness().outdated()
    assert outdated["evaluation_sets"] == {None: "input source changed"}
    assert outdated["contaminated"].keys() == {"00000", "00001"}
    assert not {"raw_pool", "embeddings"} & outdated.keys()
    assert run.bring_up_to_date(["evaluation_sets", "contaminated", "admitted"])
    assert evidence(project) == [("other", "pixels")]


def test_without_a_listing_the_step_lists_itself(project: Project, instance: dg.DagsterInstance) -> None:
    storage = project.storage
    before = load_evaluation_digest(storage.folder)
    storage.folder.joinpath("evaluation_sets.json").unlink()
    assert load_evaluation_digest(storage.folder) is None
    definitions = build_definitions([project.spec], project.home)
    asset = definitions.get_assets_def(dg.AssetKey(["emoji", "evaluation_sets"]))
    assert dg.materialize([asset], instance=instance, resources=definitions.resources).success
    assert load_evaluation_digest(storage.folder) == before
    assert storage.output("evaluation_sets").require_facts().inputs == {"source": before}


def test_only_decontaminated_pools_have_the_check(project: Project) -> None:
    plain = project.spec.model_copy(update={"decontamination": None})
    names = [str(check.check_keys) for check in build_checks(plain, project.home)]
    assert not any("selection_is_clean" in name for name in names)
