"""level_t_initial, level_t_resampled, level_t_clusters: the stages of a level's fit as steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curation_assets.graph.levels import dropped_line
from curation_assets.steps.context import StepContext
from curation_assets.steps.tree.fit import LevelFit
from curation_assets.steps.tree.split import COARSE_SHARE, SplitProgress

if TYPE_CHECKING:
    from curation_assets.algorithms.hierarchy import FitProgress

_USUAL_ITERATIONS = 8
"""Half of a fit, as the progress bar shows it: how many a fit takes is not known."""


def fit_initial(step: StepContext) -> None:
    """See `LevelFit.initial`."""
    _level_fit(step).initial(step.writer)
    _say_if_dropped(step)


def fit_resampled(step: StepContext) -> None:
    """See `LevelFit.resampled`."""
    level = step.step.level
    _level_fit(step, n_fits=step.spec.levels[level - 1].steps_at(level) - 1).resampled(step.writer)


def fit_clusters(step: StepContext) -> None:
    """See `LevelFit.final`."""
    _level_fit(step).final(step.writer)
    _say_if_dropped(step)


def _say_if_dropped(step: StepContext) -> None:
    if why := step.writer.summary.get("why_dropped"):
        step.log(dropped_line(step.step.level, step.step.level, why))


def _level_fit(step: StepContext, n_fits: int = 1) -> LevelFit:
    """The fit of the step's level, which reports to the step over all `n_fits` of the stage."""
    level = step.step.level
    whole = COARSE_SHARE if step.spec.levels[level - 1].n_coarse_clusters else 1.0

    def on_progress(progress: FitProgress) -> None:
        iteration = progress.iteration
        share = iteration.number / (iteration.number + _USUAL_ITERATIONS)
        before = progress.step - 1 if n_fits > 1 else 0
        step.report(
            whole * (before + share) / max(1, n_fits),
            f"iteration {iteration.number}, inertia {iteration.inertia:.5g}, {iteration.n_reassigned:,} reassigned",
        )

    def on_split(piece: SplitProgress) -> None:
        step.report(piece.share, piece.detail)

    return LevelFit(step.spec, step.storage, level, on_progress, on_split, engine=step.engine)
