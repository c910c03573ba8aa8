"""The main job on real images through the command line: result, re-run, resume, bad input."""

from __future__ import annotations

import io
import json
import shutil
import signal
import tarfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from curation_assets.algorithms.costs import planning
from curation_assets.algorithms.kmeans.tiles import FitMemory
from curation_assets.algorithms.search import choose
from curation_assets_tests.projects import (
    SMALL_POOL,
    Project,
    copy_project,
    curate,
    make_project,
    materialized,
)


def test_every_sample_has_one_fate_and_the_checks_passed(finished: Project) -> None:
    ledgers = [
        finished.storage.output("ledger", shard.key).table("parquet") for shard in finished.storage.shards()
    ]
    ledger = pl.concat(ledgers)
    assert ledger.height == ledger["sample_id"].n_unique() == 72
    taken = ledger.filter(pl.col("fate") == "selected")
    by_target = Counter(target for targets in taken["targets"] for target in targets)
    assert by_target == {"small": 20, "typical": 7}
    with finished.instance() as instance:
        checks = [
            ("embeddings", "embeddings_are_sound"),
            ("drift", "shards_resemble_the_fit"),
            ("selection", "targets_are_exact"),
            ("selection", "row_counts_add_up"),
            ("ledger", "ledger_adds_up"),
            ("comparison", "beats_baselines"),
            ("curation_report", "nothing_is_out_of_date"),
        ]
        import dagster as dg

        for asset, check in checks:
            key = dg.AssetCheckKey(dg.AssetKey(["emoji", asset]), check)
            [record] = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
            evaluation = record.evaluation
            assert evaluation is not None
            if check != "beats_baselines":
                assert evaluation.passed, (check, evaluation.description)


def test_the_dataset_opens_in_the_libraries_people_use(
    finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    import datasets
    import webdataset

    folder = Path(str(finished.storage.output("balanced_dataset").folder)) / "small"
    tars = sorted(str(path) for path in folder.glob("*.tar"))
    samples = list(webdataset.WebDataset(tars, shardshuffle=False).decode("pil"))
    rows = datasets.load_dataset(
        "parquet", data_files=str(folder / "*.parquet"), split="train", cache_dir=str(tmp_path)
    )
    assert len(samples) == len(rows) == 20
    by_id = {row["sample_id"]: row for row in rows}
    for sample in samples:
        record = sample["curation.json"]
        row = by_id[record["sample_id"]]
        assert sample["png"].size == row["image"].size == (128, 128)
        for name in ("source_file", "source_member", "level_1", "level_2", "level_3", "label_subgroup"):
            assert record[name] == row[name]
        assert record["distance"] == pytest.approx(row["distance"])
    with tarfile.open(finished.folder / "data" / "raw" / "emoji" / record["source_file"]) as raw:
        member = raw.extractfile(record["source_member"])
        assert member is not None
        with tarfile.open(tars[-1]) as balanced:
            assert balanced.extractfile(record["source_member"]).read() == member.read()  # type: ignore[union-attr]


def test_the_report_shows_the_result(finished: Project) -> None:
    output = finished.storage.output("curation_report")
    page = output.path("curation_report.html").read_text()
    assert page.count("<img") > 60
    assert "http://" not in page
    measures = finished.storage.comparison().measures.read()
    chosen = measures.filter(pl.col("subset") == "chosen", pl.col("measure") == "effective_labels")
    assert f"{chosen['mean'][0]:.1f}" in page
    verdicts = finished.storage.comparison().require_facts().summary["verdicts"]
    assert verdicts["small"]["sentence"] in page


def test_running_again_does_nothing_and_says_so(finished: Project) -> None:
    before = finished.modified_times()
    with finished.instance() as instance:
        n_runs = instance.get_runs_count()
        code, output = finished.run("run", "--pool", "emoji")
        assert code == 0
        assert "nothing to do" in output
        assert instance.get_runs_count() == n_runs
    assert finished.modified_times() == before


def test_changing_level_2_leaves_embeddings_and_level_1_alone(finished: Project, tmp_path: Path) -> None:
    project = copy_project(finished, tmp_path / "changed")
    settings = json.loads(json.dumps(SMALL_POOL))
    settings["levels"][1]["n_clusters"] = 7
    project.write_pool(settings)
    code, output = project.run("status", "--pool", "emoji")
    assert "n_clusters changed from 8 to 7" in " ".join(output.split())
    before = project.modified_times()
    with project.instance() as instance:
        old_runs = {run.run_id for run in instance.get_runs()}
        code, output = project.run("run", "--pool", "emoji")
        assert code == 0, output
        made = materialized(
            instance, [run.run_id for run in instance.get_runs() if run.run_id not in old_runs]
        )
    assets = {asset for asset, _ in made}
    untouched = {"raw_pool", "embeddings"} | {
        f"level_1_{kind}" for kind in ("initial", "resampled", "clusters", "assign")
    }
    assert not assets & untouched
    assert {"level_2_initial", "level_2_assign", "level_3_clusters", "selection", "curation_report"} <= assets
    after = project.modified_times()
    for path, modified in before.items():
        if path.split("/")[0] in untouched:
            assert after[path] == modified, path


def test_another_label_embeds_and_fits_nothing(finished: Project, tmp_path: Path) -> None:
    project = copy_project(finished, tmp_path / "labelled")
    settings = json.loads(json.dumps(SMALL_POOL))
    settings["source"]["label_fields"].append("annotation")
    project.write_pool(settings)
    before = project.modified_times()
    code, output = project.run("run", "--pool", "emoji")
    assert code == 0, output
    after = project.modified_times()
    changed = {path.split("/")[0] for path, modified in after.items() if modified != before.get(path)}
    assert {"raw_pool", "balanced_dataset", "curation_report"} <= changed
    kept = {"embeddings", "tree", "drift", "selection", "ledger"}
    assert not changed & kept
    assert not [asset for asset in changed if asset.startswith("level_")]
    code, output = project.run("run", "--pool", "emoji")
    assert "nothing to do" in output, output


def test_an_unchanged_level_stops_the_propagation(finished: Project, tmp_path: Path) -> None:
    project = copy_project(finished, tmp_path / "cut_off")
    settings = json.loads(json.dumps(SMALL_POOL))
    # More iterations than any fit needs: level 1 is fitted again and comes out the same.
    settings["levels"][0]["max_iterations"] = 60
    project.write_pool(settings)
    before = project.modified_times()
    code, output = project.run("run", "--pool", "emoji")
    assert code == 0, output
    after = project.modified_times()
    changed = {path.split("/")[0] for path in before if before[path] != after.get(path)}
    assert changed == {"level_1_initial", "level_1_resampled", "level_1_clusters"}


def test_from_runs_a_level_and_its_descendants_again_with_the_same_bytes(
    finished: Project, tmp_path: Path
) -> None:
    project = copy_project(finished, tmp_path / "again")
    before = project.modified_times()
    code, output = project.run("run", "--pool", "emoji", "--from", "level_3")
    assert code == 0, output
    after = project.modified_times()
    changed = {path.split("/")[0] for path in before if before[path] != after[path]}
    assert changed == {
        "level_3_clusters", "level_3_assign", "tree", "drift", "probe", "selection", "comparison", "frontier",
        "atlas", "curation_report",
    }, "output shards of which no row changed are not written again"  # fmt: skip
    assert project.selection_bytes() == finished.selection_bytes()


def test_rows_from_disk_and_other_arithmetic_and_threads_give_the_same_selection(
    finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = copy_project(finished, tmp_path / "streamed")
    before = project.modified_times()
    # Every pass reads the rows again in tiny chunks, and every search compares whole rows in bfloat16 first.
    fits: list[object] = []
    tiny = FitMemory(resident_bytes=0, chunk_bytes=8192)
    monkeypatch.setattr(planning, "fit_memory", lambda *about: fits.append(about) or tiny)
    rounded = choose.Choice(
        is_rounded=True, fewest_rounded=10**9, fewest_rows=1, fewest_values=1, fewest_whole_pairs=1
    )
    monkeypatch.setattr(choose, "MEASURED", rounded)
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1 if n_threads > 1 else 2)
    try:
        curate(project, again=True)
    finally:
        torch.set_num_threads(n_threads)
    assert fits
    after = project.modified_times()
    assert before["level_1_initial/facts.json"] != after["level_1_initial/facts.json"]
    assert project.selection_bytes() == finished.selection_bytes()


def test_shards_with_a_refit_are_refused(finished: Project) -> None:
    code, output = finished.run("run", "--pool", "emoji", "--from", "level_2", "--shards", "00001")
    assert code == 2
    assert "would mix clusters" in output
    code, output = finished.run("run", "--pool", "emoji", "--shards", "00009")
    assert code == 2
    assert "no such shard" in output


@pytest.mark.parametrize(
    "kill_points",
    [("embeddings/00001.npy", "level_1_initial/facts.json", "balanced_dataset/00000.facts.json")],
)
def test_a_killed_run_continues_to_the_same_selection(
    finished: Project, tmp_path: Path, kill_points: tuple[str, ...]
) -> None:
    project = make_project(tmp_path / "killed")
    for point in kill_points:
        process = project.start("run", "--pool", "emoji")
        deadline = time.monotonic() + 120
        while not (Path(str(project.storage.folder)) / point).exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    code, output = project.run("run", "--pool", "emoji")
    assert code == 0, output
    assert project.selection_bytes() == finished.selection_bytes()
    assert not list(Path(str(project.storage.folder)).rglob(".tmp-*"))


def _damage(project: Project) -> None:
    """Spoil a pool in every way the format allows."""
    raw = project.folder / "data" / "raw" / "emoji"
    whole = (raw / "00000.tar").read_bytes()
    (raw / "00010.tar").write_bytes(whole[: len(whole) // 2 + 700])  # also repeats the ids of 00000
    (raw / "00011.tar").write_bytes(b"")
    with tarfile.open(raw / "00012.tar", "w") as archive:
        for name, content in (
            ("no_image.jpg", b"not an image"),
            ("bomb.png", _bomb()),
            ("good.png", _drawn_png()),
            ("orphan.txt", b"text alone"),
            ("broken.png", _drawn_png()[:200]),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    (raw / "00013.tar").write_bytes(bytes(10240))


def _drawn_png() -> bytes:
    from PIL import Image

    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _bomb() -> bytes:
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def test_bad_input_is_recorded_and_the_rest_is_curated(finished: Project, tmp_path: Path) -> None:
    project = copy_project(finished, tmp_path / "damaged")
    _damage(project)
    code, output = project.run("run", "--pool", "emoji")
    assert code == 0, output
    shards = [shard.key for shard in project.storage.shards()]
    ledger = pl.concat([project.storage.output("ledger", shard).table("parquet") for shard in shards])
    assert ledger.filter(pl.col("reason").is_null() == (pl.col("fate") == "rejected")).is_empty()
    reasons = Counter(ledger["reason"].drop_nulls().to_list())
    expected = {
        "not_an_image", "image_too_large", "no_image_member", "corrupt_image", "truncated_file", "empty_file",
        "duplicate_id",
    }  # fmt: skip
    assert set(reasons) == expected
    selected = ledger.filter(pl.col("fate") == "selected")
    assert selected["sample_id"].n_unique() == selected.height
    # Work on the shards that were fine before was not repeated.
    old, new = finished.modified_times(), project.modified_times()
    assert all(new[path] == old[path] for path in old if path.startswith("embeddings/"))


def test_a_missing_file_fails_its_shard_only(finished: Project, tmp_path: Path) -> None:
    project = copy_project(finished, tmp_path / "broken_link")
    raw = project.folder / "data" / "raw" / "emoji"
    (raw / "00020.tar").symlink_to(raw / "gone.tar")
    shutil.copy(raw / "00000.tar", raw / "00021.tar")
    code, output = project.run("run", "--pool", "emoji")
    assert code == 1
    assert "1 of 2 shards failed" in output
    assert "00020" in output
    assert project.storage.output("raw_pool", "00021").facts() is not None
    with project.instance() as instance:
        import dagster as dg

        assert "00021" in instance.get_materialized_partitions(dg.AssetKey(["emoji", "raw_pool"]))
    (raw / "00020.tar").unlink()
    curate(project)
    assert project.storage.output("level_1_assign", "00021").facts() is not None


def test_impossible_sizes_are_refused_before_encoding(tmp_path: Path) -> None:
    project = make_project(tmp_path / "impossible", n_images=24)
    project.write_pool({**SMALL_POOL, "levels": [{"n_clusters": 500}, {"n_clusters": 10}]})
    code, output = project.run("run", "--pool", "emoji")
    assert code == 1
    assert "levels[0].n_clusters is 500, but the pool has only 24 samples" in " ".join(output.split())
    assert project.storage.output("embeddings", "00000").facts() is None
    with project.instance() as instance:
        events = [event for run in instance.get_runs() for event in instance.all_logs(run.run_id)]
    kinds = [event.dagster_event.event_type_value for event in events if event.dagster_event]
    assert "STEP_FAILURE" in kinds
    # What the settings rule out is not tried again.
    assert "STEP_UP_FOR_RETRY" not in kinds


def test_a_vanished_shard_leaves_nothing_behind(finished: Project, tmp_path: Path) -> None:
    project = copy_project(finished, tmp_path / "vanished")
    (project.folder / "data" / "raw" / "emoji" / "00002.tar").unlink()
    code, output = project.run("run", "--pool", "emoji")
    assert code == 0, output

    def left() -> set[str]:
        return {
            path.split("/")[0] for path in project.modified_times() if Path(path).name.startswith("00002.")
        }

    assert left() == {"trees", "raw_pool", "embeddings"}, "kept for a week, in case the file comes back"
    code, output = project.run("run", "--pool", "emoji", "--accept-removals")
    assert code == 0, output
    assert left() == {"trees"}, "only earlier trees remember it"
    with project.instance() as instance:
        assert sorted(instance.get_dynamic_partitions("emoji_shards")) == ["00000", "00001"]


def test_deleted_outputs_are_made_again_and_nothing_else(finished: Project, tmp_path: Path) -> None:
    project = copy_project(finished, tmp_path / "lost")
    folder = Path(str(project.storage.folder))
    [table] = folder.glob("balanced_dataset/small/00001.parquet")
    lost = [
        folder / "curation_report" / "curation_report.html",
        folder / "level_1_clusters" / "centroids.npy",
        folder / "level_2_clusters" / "centroids.npy",
        folder / "drift" / "shards.parquet",
        folder / "raw_pool" / "00002.parquet",
        table,
    ]
    contents = [path.read_bytes() for path in lost]
    before = project.modified_times()
    for path in lost:
        path.unlink()
    table.write_bytes(contents[-1][:-10])
    code, output = project.run("status", "--pool", "emoji")
    assert "stored file centroids.npy is missing" in " ".join(output.split())
    code, output = project.run("run", "--pool", "emoji")
    assert code == 0, output
    assert [path.read_bytes() for path in lost[1:]] == contents[1:]
    assert lost[0].exists()
    after = project.modified_times()
    assets = {path.split("/")[0] for path, modified in after.items() if modified != before.get(path)}
    assert assets <= {
        "curation_report",
        "level_1_clusters",
        "level_2_clusters",
        "drift",
        "raw_pool",
        "balanced_dataset",
    }
    code, output = project.run("run", "--pool", "emoji")
    assert "nothing to do" in output
