"""The fits of a level: initial clusters, resampled subset, clusters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from curation_assets.errors import PoolSpecError
from curation_assets.level_plan import level_specs
from curation_assets.lineage import level_asset
from curation_assets.pools import PoolSpec
from curation_assets.steps.fit_sample import choose_sample, read_sample, write_sample
from curation_assets.steps.soundness import require_usable_pool
from curation_assets.steps.split import SplitFit, SplitProgress, split_recipe
from curation_assets.storage import clusters
from curation_assets.storage.array_files import StoredRows
from curation_assets.storage.outputs import Output, OutputWriter
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.split_work import SplitWork, remove_split_work

if TYPE_CHECKING:
    from curation_assets.algorithms.hierarchy import FitProgress, LevelFitter, LevelSpec
    from curation_assets.algorithms.preprocessing import PreparedRows, Preprocessing
    from curation_assets.algorithms.rows import Rows
    from curation_assets.algorithms.tiles import FitMemory
    from curation_assets.algorithms.tree import Level


class FitIteration(Protocol):
    """A Lloyd iteration as progress shows it (see algorithms.kmeans.Iteration)."""

    @property
    def number(self) -> int:
        """1 for the first."""

    @property
    def inertia(self) -> float:
        """After the iteration."""

    @property
    def n_reassigned(self) -> int:
        """Rows that changed cluster."""


@dataclass(frozen=True, slots=True)
class LevelFit:
    """One level of one pool, ready to be fitted stage by stage.

    Args:
        spec: the pool.
        storage: its outputs.
        level: 1 for the level that clusters the pool's rows.
        on_progress: called with the resampling step (0 is the initial fit) after every Lloyd iteration.
        on_split: called for every piece of a split level.
        bucket_bytes: see `LevelFitter.bucket_bytes`; None goes by the pool's `memory_budget`.
    """

    spec: PoolSpec
    storage: PoolStorage
    level: int
    on_progress: Callable[[int, FitIteration], None] | None = None
    on_split: Callable[[SplitProgress], None] | None = None
    bucket_bytes: int | None = None

    def initial(self, writer: OutputWriter) -> None:
        """Seeds and Lloyd on all inputs; stores the clusters of the inputs, from which step 1 resamples."""
        inputs, preprocessing = self._measured_inputs(writer)
        level = self._fitter().fit_initial(inputs)
        clusters.write_level(writer, level, with_inputs=True)
        self._describe(writer, level, preprocessing)

    def resampled(self, writer: OutputWriter) -> None:
        """Resampling steps 1 to m - 1, and the subset of step m."""
        fitter = self._fitter()
        inputs = fitter.inputs(self._prepared_inputs(self._output("initial"))[0])
        level = clusters.read_level(self._output("initial"))
        inertias: list[list[float]] = []
        for step in range(1, fitter.spec.steps):
            level = fitter.refit(inputs, fitter.resample(level, step), step)
            inertias.extend(list(fit) for fit in level.inertias)
        clusters.write_subset(writer, fitter.resample(level, fitter.spec.steps))
        n_inputs = inputs.n_inputs
        writer.summary.update(
            inertias=inertias,
            resampling_steps=fitter.spec.steps,
            samples_per_cluster=fitter.spec.kept_per_cluster(n_inputs),
            n_inputs=n_inputs,
        )

    def final(self, writer: OutputWriter) -> None:
        """The level's clusters: step m fitted on its subset, or the initial fit where nothing is resampled."""
        fitter = self._fitter()
        if fitter.spec.n_coarse_clusters:
            self._split(fitter, writer)
            return
        remove_split_work(self._output("clusters"))
        if fitter.spec.steps:
            inputs, preprocessing = self._prepared_inputs(self._output("initial"))
            subset = clusters.read_subset(self._output("resampled"))
            # The pool's rows find their level-1 cluster shard by shard, in level_1_assign: once is enough.
            stage = fitter.fit_subset if self.level == 1 else fitter.refit
            level = stage(inputs, subset, fitter.spec.steps)
        else:
            inputs, preprocessing = self._measured_inputs(writer)
            level = fitter.fit_initial(inputs)
        clusters.write_level(writer, level, with_inputs=self.level > 1)
        self._describe(writer, level, preprocessing)
        writer.summary["n_inputs"] = inputs.n_rows

    def _split(self, fitter: LevelFitter, writer: OutputWriter) -> None:
        measured, preprocessing = self._measured_inputs(writer)
        # Only level 1 is split, and its inputs are the pool's rows.
        inputs = cast("PreparedRows", measured)
        recipe = split_recipe(fitter, inputs, self.storage.fitted_content())
        work = SplitWork.of(self._output("clusters"), recipe)
        SplitFit(fitter=fitter, inputs=inputs, work=work, on_split=self.on_split).fit(writer)
        clusters.write_preprocessing(writer, preprocessing)
        writer.summary.update(n_rows_fitted=inputs.n_rows, n_inputs=inputs.n_rows)
        self._note_sample(writer)

    def _measured_inputs(self, writer: OutputWriter) -> tuple[Rows, Preprocessing]:
        """The level's inputs; at level 1 their preprocessing is measured in one pass over the rows of the fit.

        What the fit is on, if only a sample of the pool, is stored with it.
        """
        if self.level > 1:
            return self._prepared_inputs(self._below())
        from curation_assets.algorithms.preprocessing import PreparedRows, fit_preprocessing

        require_usable_pool(self.spec, self.storage)
        sample = choose_sample(self.spec, self.storage)
        write_sample(writer, sample)
        settings, embeddings = self.spec.preprocessing, self.storage.fitted_embeddings(sample)
        preprocessing = fit_preprocessing(embeddings, metric=settings.metric, centring=settings.centring)
        return PreparedRows(embeddings, preprocessing), preprocessing

    def _prepared_inputs(self, stored: Output) -> tuple[Rows, Preprocessing]:
        """The level's inputs as they were prepared for an output that is stored."""
        from curation_assets.algorithms.hierarchy import centroid_inputs
        from curation_assets.algorithms.preprocessing import PreparedRows

        preprocessing = clusters.read_preprocessing(stored)
        if self.level == 1:
            embeddings = self.storage.fitted_embeddings(read_sample(self.storage, stored))
            return PreparedRows(embeddings, preprocessing), preprocessing
        centroids = StoredRows(self._below().path(clusters.CENTROIDS))
        return centroid_inputs(centroids, preprocessing.metric), preprocessing

    def _fitter(self) -> LevelFitter:
        from curation_assets.algorithms.hierarchy import LevelFitter
        from curation_assets.algorithms.planning import bucket_bytes
        from curation_assets.encoders import resolve_device

        specs = level_specs(self.spec, self.storage.n_fitted_rows())
        memory = self._memory(specs[self.level - 1])
        return LevelFitter(
            level=self.level,
            spec=specs[self.level - 1],
            metric=self.spec.preprocessing.metric,
            seed=self.spec.seed,
            device=resolve_device(self.spec.fit_device),
            on_progress=self._report,
            memory=memory,
            bucket_bytes=self.bucket_bytes or bucket_bytes(memory),
        )

    def _memory(self, settings: LevelSpec) -> FitMemory:
        """How this fit keeps within the pool's `memory_budget`."""
        from curation_assets.algorithms.planning import fit_memory

        if self.level == 1:
            embeddings = self.storage.fitted_embeddings()
            n_inputs, dimension = self.spec.n_rows_of_fit(embeddings.n_rows), embeddings.dimension
        else:
            below = StoredRows(self._below().path(clusters.CENTROIDS))
            n_inputs, dimension = below.n_rows, below.dimension
        try:
            return fit_memory(self.spec.memory_budget, n_inputs, dimension, settings)
        except ValueError as error:
            raise PoolSpecError(f"pool '{self.spec.name}', level {self.level}: {error}") from error

    def _describe(self, writer: OutputWriter, level: Level, preprocessing: Preprocessing) -> None:
        clusters.write_preprocessing(writer, preprocessing)
        writer.summary["n_rows_fitted"] = len(level.assignments)
        self._note_sample(writer)

    def _note_sample(self, writer: OutputWriter) -> None:
        if self.level == 1 and self.spec.fit_rows is not None:
            writer.summary["n_rows_sampled_from"] = self.storage.n_fitted_rows()

    def _report(self, progress: FitProgress) -> None:
        if self.on_progress:
            self.on_progress(progress.step, progress.iteration)

    def _output(self, kind: str) -> Output:
        return self.storage.output(level_asset(self.level, kind))

    def _below(self) -> Output:
        return self.storage.output(level_asset(self.level - 1, "clusters"))
