"""`curation-assets plan`, with and without a pool."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from curation_assets.algorithms.costs.cards import CARDS
from curation_assets.algorithms.costs.device_rate import DeviceRate
from curation_assets.cli.main import cli
from curation_assets.errors import PoolSpecError
from curation_assets.storage.outputs import Recipe
from curation_assets.storage.shards import Shard
from curation_assets.storage.tables import Embedded
from curation_assets_tests.projects import SMALL_POOL, Project

PAPER = [
    "--rows",
    "743e6",
    "--dim",
    "1024",
    "--gpus",
    "32",
    "--clusters",
    "10M,500k,50k,10k",
    "--coarse",
    "100k",
]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = Project(tmp_path)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "160")
    made.write_pool(SMALL_POOL)
    return made


def plan(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["plan", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def plan_json(*arguments: str) -> dict[str, Any]:
    return json.loads(plan(*arguments, "--json"))


def test_the_papers_pool_without_a_yaml() -> None:
    words = plan(*PAPER)
    assert "743,000,000 rows of 1,024 dimensions" in words
    for stage in ("seeds", "Lloyd", "runs", "splits", "resampled fits", "re-assign", "assign"):
        assert stage in words
    assert "device-hours" in words
    assert (
        "312 TFLOP/s peak of the data sheet of the NVIDIA A100 SXM 80 GB x 0.42 utilisation, assumed" in words
    )
    assert "fixed times of small steps are those of a processor" in words
    assert re.search(r"level 1: \d\d\.\d GB of 64\.0 GB, 47\.9 GB of rows stay there", words)
    assert "not counted: embedding" in words


def test_the_same_as_json_in_bytes_and_seconds() -> None:
    found = plan_json(*PAPER)
    assert (found["rows"], found["workers"], found["memory_budget"]) == (743_000_000, 32, 80 * 10**9)
    assert found["disk"]["embeddings"] == 2 * 1024 * 743_000_000
    assert sum(stage["distances"] for stage in found["stages"]) == found["distances"]
    assert sum(stage["seconds"]["total"] for stage in found["stages"]) == pytest.approx(found["seconds"])
    assert found["seconds"] < found["seconds_at_most"]
    # Kept of each cluster in a resampling step, as in the paper: 10, 5 and 3.
    subsets = [stage["n_rows"] for stage in found["stages"] if stage["stage"] == "resampled fits"]
    assert subsets == [10 * 500_000, 5 * 50_000, 3 * 10_000]


def test_more_gpus_and_a_faster_disk_take_less_time() -> None:
    slow, gpus, disk = (
        plan_json(*PAPER, *more)["seconds"] for more in ([], ["--gpus", "64"], ["--disk-gbps", "5"])
    )
    assert gpus < slow
    assert disk < slow


def test_memory_of_cards_and_their_number_decide_whether_rows_stay_there() -> None:
    assert plan_json(*PAPER)["memory"][0]["rows_resident"]
    few = (*PAPER[:5], "8", *PAPER[6:])
    assert not plan_json(*few)["memory"][0]["rows_resident"]
    assert "191.7 GB of rows read from disk and copied to it in every pass" in plan(*few)
    assert plan_json(*few, "--device-memory", "300 GB")["memory"][0]["rows_resident"]
    # The memory of the host is another budget, and has to be enough too.
    flat = ("--rows", "10M", "--dim", "768", "--clusters", "1M", "--gpus", "1")
    assert "MORE THAN THE BUDGET" in plan(*flat, "--memory", "4 GB")
    assert "MORE THAN THE BUDGET" not in plan(*flat, "--memory", "40 GB")
    assert "MORE THAN THE CARD HAS FOR FITS" in plan(*flat, "--device-memory", "4 GB")


def test_without_cards_memory_of_the_host_decides() -> None:
    pool = ("--rows", "5M", "--dim", "64", "--clusters", "1k")
    assert "rows held in memory" in plan(*pool, "--memory", "4 GB")
    assert "rows read from disk in every pass" in plan(*pool, "--memory", "2 GB")


def test_the_name_of_a_card_sets_its_speed_and_its_memory() -> None:
    size = ("--rows", "5M", "--dim", "1024", "--clusters", "50k", "--iterations", "15")
    found = plan_json(*size, "--gpu", "h200", "--gpus", "8")
    assert (found["workers"], found["card"]) == (8, "NVIDIA H200")
    assert (found["memory_budget"], found["device_memory"]) == (141 * 10**9, int(0.8 * 141e9))
    rate = found["hardware"]["rate"]
    assert (rate["search_flops"], rate["memory_rate"]) == (549e12, 4.8e12)
    assert "exact passes measured on one NVIDIA H200" in plan(*size, "--gpu", "h200")
    # One card without --gpus.
    assert plan_json(*size, "--gpu", "l4")["hardware"]["devices"] == 1
    times = [
        plan_json(*size, "--gpu", card, "--disk-gbps", "50")["seconds"]
        for card in ("h200", "h100", "a100", "l4")
    ]
    assert times == sorted(times)
    own = plan_json(*size, "--gpu", "h200", "--tflops", "100", "--utilisation", "0.5")
    assert own["hardware"]["rate"]["search_flops"] == 50e12


def test_cards_are_those_of_the_table() -> None:
    [option] = [option for option in cli.commands["plan"].params if option.name == "gpu"]
    assert list(option.type.choices) == list(CARDS)  # type: ignore[attr-defined]


def test_a_measured_fit_on_an_h200_is_met_within_a_half() -> None:
    # 15 iterations that ran to the end took 12.1 s, seeds 9.9 s (docs/design/cuda_search.md).
    size = ("--rows", "5M", "--dim", "1024", "--clusters", "50k", "--iterations", "15", "--steps", "0")
    stages = {stage["stage"]: stage for stage in plan_json(*size, "--gpu", "h200")["stages"]}
    assert stages["seeds"]["seconds"]["compute"] == pytest.approx(9.9, rel=0.2)
    every_iteration = 15 * 5e6 * 5e4 * 2 * 1024 / 549e12
    assert every_iteration == pytest.approx(12.1, rel=0.2)
    assert 6 < stages["Lloyd"]["seconds"]["compute"] < every_iteration


def test_a_card_of_this_machine_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def measured(dimension: int, device: str) -> DeviceRate:
        asked.append((dimension, device))
        return DeviceRate(
            4e14, 3e14, source=f"measured just now on '{device}'", memory_rate=4e12, link_rate=5e10
        )

    monkeypatch.setattr("curation_assets.algorithms.costs.device_rate.measure_rate", measured)
    monkeypatch.setattr("curation_assets.pools.device.resolve_device", lambda *_: "cuda")
    monkeypatch.setattr("curation_assets.algorithms.search.cuda.memory.free_bytes", lambda _: 10 * 10**9)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA L4")
    words = plan("--rows", "20k", "--dim", "32")
    assert asked == [(32, "cuda")]
    assert "measured just now on 'cuda'; slower if other processes are running" in words
    assert "each NVIDIA L4: 8.0 GB for fits (device_memory), its memory reads 4 TB/s, and 50 GB/s" in words
    assert "of rows stay there" in words


def test_a_pools_device_memory_is_planned_with(project: Project) -> None:
    project.write_pool({**SMALL_POOL, "device_memory": "10 GB"})
    size = ("--pool", "emoji", "--rows", "1000", "--dim", "64", "--gpu", "h100")
    assert plan_json(*size)["device_memory"] == 10 * 10**9
    assert plan_json(*size, "--device-memory", "20 GB")["device_memory"] == 20 * 10**9


def test_embedding_counts_if_asked_for() -> None:
    without, with_it = plan_json(*PAPER), plan_json(*PAPER, "--embed-rate", "1000")
    assert with_it["embedding_seconds"] == pytest.approx(743e6 / (1000 * 32))
    assert with_it["seconds"] - without["seconds"] == pytest.approx(with_it["embedding_seconds"])
    assert "not counted: embedding" not in plan(*PAPER, "--embed-rate", "1000")


def test_without_gpus_this_machine_is_measured() -> None:
    words = plan("--rows", "20k", "--dim", "32")
    assert "measured just now on 'cpu'" in words
    assert "level 4" in words


def test_a_wrong_fit_device_is_named(project: Project) -> None:
    project.write_pool({**SMALL_POOL, "fit_device": "gpu"})
    with pytest.raises(PoolSpecError, match=r"fit_device: choose auto, cpu, .*, got 'gpu'"):
        plan("--pool", "emoji", "--rows", "1000", "--dim", "64")


def test_a_pool_that_is_not_embedded_needs_its_size() -> None:
    with pytest.raises(PoolSpecError, match=r"pool 'emoji' is not embedded yet.*pass --rows N and --dim N"):
        plan("--pool", "emoji")
    with pytest.raises(PoolSpecError, match=r"pass --dim N"):
        plan("--pool", "emoji", "--rows", "1000")
    found = plan_json("--pool", "emoji", "--rows", "1000", "--dim", "64", "--gpus", "1")
    assert [stage["n_clusters"] for stage in found["stages"] if stage["stage"] == "Lloyd"] == [24, 8, 3]


def test_an_embedded_pool_is_planned_for_the_rows_it_has(project: Project) -> None:
    project.storage.save_shards([Shard("a", ()), Shard("b", ())])
    for key, n_rows in (("a", 30), ("b", 20)):
        with project.storage.output("embeddings", key).writing(Recipe({}, {}, "1")) as writer:
            Embedded.vectors.write(writer, np.zeros((n_rows, 12), dtype=np.float16))
            writer.summary.update(n_rows=n_rows, dimension=12)
    found = plan_json("--pool", "emoji", "--gpus", "1")
    assert (found["rows"], found["dimension"]) == (50, 12)


def test_dropped_levels_are_named_by_plan_and_validate(project: Project) -> None:
    project.write_pool({key: value for key, value in SMALL_POOL.items() if key != "levels"})
    size = ["--rows", "1000", "--dim", "16"]
    line = "levels 3 to 4 are dropped: 200 clusters at level 1 leave room for 2 levels"
    assert line in plan("--pool", "emoji", *size, "--gpus", "1")
    assert line in plan(*size, "--gpus", "1")
    assert plan_json(*size, "--gpus", "1")["dropped_levels"] == [3, 4]
    result = CliRunner().invoke(
        cli, ["validate", str(project.folder / "pools" / "emoji.yaml"), *size], catch_exceptions=False
    )
    assert line in result.output
    assert "dropped" not in plan(*size, "--gpus", "1", "--clusters", "40,30,20")


def test_a_sample_of_a_pool_is_planned_with_levels_of_its_own(project: Project) -> None:
    automatic = {key: value for key, value in SMALL_POOL.items() if key != "levels"}
    project.write_pool(automatic)
    size = ["--pool", "emoji", "--rows", "1M", "--dim", "64", "--gpus", "1"]
    whole, sample = plan_json(*size), plan_json(*size, "--fit-rows", "10k")
    assert (whole["stages"][0]["n_rows"], sample["stages"][0]["n_rows"]) == (10**6, 10**4)
    assert (whole["stages"][0]["n_clusters"], sample["stages"][0]["n_clusters"]) == (100_000, 2000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "pass --pool NAME, or --rows and --dim"),
        (["--rows", "1k"], "pass --pool NAME, or --rows and --dim"),
        (["--rows", "1k", "--dim", "8", "--tflops", "100"], "describe GPUs: also pass --gpus N"),
        (
            ["--rows", "1k", "--dim", "8", "--clusters", "10,20"],
            "--clusters: expected fewer clusters on every level, got 10,20",
        ),
        (
            ["--rows", "1k", "--dim", "8", "--clusters", "2k"],
            "n_clusters is 2,000, but the level has only 1,000",
        ),
        (["--rows", "1k", "--dim", "8", "--clusters", "10", "--coarse", "3"], "n_coarse_clusters is 3"),
        (["--pool", "web"], "--pool web: no such pool"),
        (["--pool", "emoji", "--coarse", "10"], "--coarse cannot be used with --pool emoji"),
    ],
)
def test_what_cannot_be_planned_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(PoolSpecError, match=message):
        plan(*arguments)
