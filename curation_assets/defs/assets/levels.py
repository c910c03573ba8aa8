"""The assets of one level: initial clusters, resampled subset, clusters, and the assignment of every row."""

from collections.abc import Callable

import dagster as dg

from curation_assets.defs.assets.base import HIERARCHY, PoolGraph
from curation_assets.defs.metadata import fit_metadata
from curation_assets.defs.resources import CurationResource
from curation_assets.defs.run.step_run import Report, StepRun
from curation_assets.steps.tree.assign import AssignShard
from curation_assets.steps.tree.fit import FitIteration, LevelFit
from curation_assets.steps.tree.split import COARSE_SHARE, SplitProgress
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.tables import level_asset

_FITS: dict[str, tuple[Callable[[LevelFit, OutputWriter], None], str]] = {
    "initial": (LevelFit.initial, "k-means++ seeds and Lloyd on all inputs of the level."),
    "resampled": (
        LevelFit.resampled,
        "All resampling steps but the last fit (subset, seeds, Lloyd, re-assign), and the last resampled subset.",
    ),
    "clusters": (LevelFit.final, "The level's centroids, fitted on the last resampled subset."),
}


def build_level(graph: PoolGraph, level: int) -> list[dg.AssetsDefinition]:
    """The assets of a level; without resampling it has no initial and no resampled asset of its own.

    Args:
        graph: of the pool.
        level: 1 for the level that clusters the pool's rows, whose assets read every shard; the inputs of a
            higher level are the centroids of the level below, a small array.
    """
    fits = [_build_fit(graph, level, kind) for kind in _FITS if level_asset(level, kind) in graph.steps]
    return [*fits, _build_assign(graph, level)]


def _build_fit(graph: PoolGraph, level: int, kind: str) -> dg.AssetsDefinition:
    name = level_asset(level, kind)
    stage, what = _FITS[kind]
    is_split = graph.spec.levels[level - 1].n_coarse_clusters is not None
    inputs = "the pool's rows" if level == 1 else f"the centroids of level {level - 1}"

    @graph.asset(name, lane=HIERARCHY, kinds={"kmeans", "numpy"}, description=f"{what} Inputs are {inputs}.")
    def fit(context: dg.AssetExecutionContext, curation: CurationResource) -> dg.MaterializeResult:
        run = StepRun(context, curation, graph.spec, graph.steps[name])
        n_fits = max(1, graph.spec.levels[level - 1].steps - 1) if kind == "resampled" else 1

        def produce(writer: OutputWriter, report: Report) -> None:
            def on_progress(step: int, iteration: FitIteration) -> None:
                done = step - 1 if kind == "resampled" else 0
                share = iteration.number / (iteration.number + 8)
                report(
                    share * COARSE_SHARE if is_split else done + share,
                    f"iteration {iteration.number}, inertia {iteration.inertia:.5g}, "
                    f"{iteration.n_reassigned:,} reassigned",
                )

            def on_split(piece: SplitProgress) -> None:
                report(piece.share, piece.detail)

            stage(
                LevelFit(graph.spec, run.storage, level, on_progress, on_split, engine=run.engine),
                writer,
            )

        return run.once(produce, total=n_fits, extra_metadata=lambda: fit_metadata(run.storage.output(name)))

    return fit


def _build_assign(graph: PoolGraph, level: int) -> dg.AssetsDefinition:
    name = level_asset(level, "assign")
    how = "its nearest centroid" if level == 1 else f"the parent of its cluster at level {level - 1}"

    @graph.asset(
        name,
        lane=HIERARCHY,
        kinds={"parquet"},
        description=f"Cluster of every row at level {level} ({how}) and its distance to that centroid.",
    )
    def assign(context: dg.AssetExecutionContext, curation: CurationResource) -> dg.MaterializeResult:
        run = StepRun(context, curation, graph.spec, graph.steps[name])
        return run.over_shards(AssignShard(graph.spec, run.storage, level), spreads=True)

    return assign
