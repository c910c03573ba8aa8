"""Fits that are interrupted: they go on from the iteration, or the step, where they were, to the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from curation_assets.algorithms.hierarchy import FitProgress
from curation_assets.steps.tree.fit import LevelFit
from curation_assets.storage.outputs import Output
from curation_assets_tests.steps.drawn_pool import RECIPE
from curation_assets_tests.steps.other_pools import EmbeddedPool, make_embedded_pool

LEVELS = [
    {"n_clusters": 40, "resampling_steps": 4, "tolerance": 0.0},
    {"n_clusters": 5, "resampling_steps": 0},
]
Iterations = list[tuple[int, int]]


class InterruptedFitError(Exception):
    """Stands for the end of the process: nothing of the fit is left but its files."""


@pytest.fixture
def pool(tmp_path: Path) -> EmbeddedPool:
    pool = make_embedded_pool(tmp_path)
    pool.spec = type(pool.spec).model_validate(pool.spec.model_dump() | {"levels": LEVELS})
    return pool


def run(pool: EmbeddedPool, kind: str, until: tuple[int, int] | None = None) -> Iterations:
    """Run a stage of level 1; returns (step, iteration) of what it computed."""
    done: Iterations = []

    def note(progress: FitProgress) -> None:
        place = (progress.step, progress.iteration.number)
        if place == until:
            raise InterruptedFitError
        done.append(place)

    fit = LevelFit(pool.spec, pool.storage, 1, on_progress=note, seconds_between=0.0)
    stage: dict[str, Callable] = {"initial": fit.initial, "resampled": fit.resampled, "clusters": fit.final}
    with output(pool, kind).writing(RECIPE) as writer:
        stage[kind](writer)
    return done


def output(pool: EmbeddedPool, kind: str) -> Output:
    return pool.storage.output(f"level_1_{kind}")


def working(pool: EmbeddedPool, kind: str) -> list[Path]:
    return list(Path(str(output(pool, kind).folder)).glob(".fit-*"))


def interrupt(pool: EmbeddedPool, kind: str, until: tuple[int, int]) -> None:
    with pytest.raises(InterruptedFitError):
        run(pool, kind, until)
    assert working(pool, kind)


def test_every_stage_goes_on_where_it_was(pool: EmbeddedPool) -> None:
    whole = {kind: run(pool, kind) for kind in ("initial", "resampled", "clusters")}
    expected = {kind: output(pool, kind).require_facts() for kind in whole}
    assert not any(working(pool, kind) for kind in whole)

    interrupt(pool, "initial", (0, 4))
    assert run(pool, "initial") == whole["initial"][3:]
    interrupt(pool, "resampled", (3, 2))
    assert run(pool, "resampled") == [(step, number) for step, number in whole["resampled"] if step == 3][1:]
    interrupt(pool, "clusters", (4, 3))
    assert run(pool, "clusters") == whole["clusters"][2:]

    for kind, facts in expected.items():
        assert output(pool, kind).require_facts().digest == facts.digest
        assert output(pool, kind).require_facts().summary == facts.summary
        assert not working(pool, kind)


def test_between_two_steps_only_centroids_are_kept(pool: EmbeddedPool) -> None:
    run(pool, "initial")
    whole = run(pool, "resampled")
    expected = output(pool, "resampled").require_facts().digest
    interrupt(pool, "resampled", (3, 1))
    [folder] = working(pool, "resampled")
    # The seeds of step 3 were kept before its first iteration.
    assert sorted(path.name for path in folder.iterdir()) == ["state-3-0.npz", "step-2.npz"]
    (folder / "state-3-0.npz").unlink()
    assert run(pool, "resampled") == [(step, number) for step, number in whole if step == 3]
    assert output(pool, "resampled").require_facts().digest == expected


def test_other_settings_begin_anew(pool: EmbeddedPool) -> None:
    interrupt(pool, "initial", (0, 3))
    pool.spec = pool.spec.model_copy(update={"seed": 3})
    assert run(pool, "initial")[0] == (0, 1)
