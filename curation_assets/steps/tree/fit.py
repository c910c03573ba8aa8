"""The fits of a level: initial clusters, resampled subset, clusters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, cast

from curation_assets.devices.cuda import described
from curation_assets.engines import Engine, LocalEngine
from curation_assets.errors import PoolSpecError
from curation_assets.graph.levels import level_specs, why_dropped
from curation_assets.graph.steps import FIT_VERSION
from curation_assets.locations import is_local
from curation_assets.pools import PoolSpec, resolve_engine
from curation_assets.steps.soundness import require_usable_pool
from curation_assets.steps.tree.card import named_card, note_card
from curation_assets.steps.tree.fit_sample import choose_sample, read_sample, write_sample
from curation_assets.steps.tree.fit_workers import held_inputs, n_fit_workers
from curation_assets.steps.tree.split import SplitFit, SplitProgress, split_recipe
from curation_assets.storage import clusters
from curation_assets.storage.array_files import StoredRows
from curation_assets.storage.fingerprint import fingerprint
from curation_assets.storage.fit_work import SECONDS_BETWEEN, FitWork
from curation_assets.storage.outputs import Output, OutputWriter
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.split_work import SplitWork, remove_split_work
from curation_assets.storage.tables import LevelClusters, level_asset

if TYPE_CHECKING:
    from curation_assets.algorithms.hierarchy import FitProgress, LevelFitter, LevelSpec
    from curation_assets.algorithms.kmeans.fit import Checkpoints
    from curation_assets.algorithms.kmeans.inputs import FitInputs
    from curation_assets.algorithms.kmeans.tiles import FitMemory
    from curation_assets.algorithms.preprocessing import PreparedRows, Preprocessing
    from curation_assets.algorithms.rows import Rows
    from curation_assets.algorithms.tree import Level


@dataclass(frozen=True, slots=True)
class LevelFit:
    """One level of one pool, ready to be fitted stage by stage.

    Args:
        spec: the pool.
        storage: its outputs.
        level: 1 for the level that clusters the pool's rows.
        on_progress: called after every Lloyd iteration.
        on_split: called for every piece of a split level.
        bucket_bytes: see `LevelFitter.bucket_bytes`; None derives it from the pool's `memory_budget`.
        engine: where large fits and the pieces of a split level run.
        seconds_between: the least time between two saved states; a killed fit resumes from the last one.
    """

    spec: PoolSpec
    storage: PoolStorage
    level: int
    on_progress: Callable[[FitProgress], None] | None = None
    on_split: Callable[[SplitProgress], None] | None = None
    bucket_bytes: int | None = None
    engine: Engine = field(default_factory=LocalEngine)
    seconds_between: float = SECONDS_BETWEEN

    def initial(self, writer: OutputWriter) -> None:
        """Seeds and Lloyd on all inputs; stores the clusters of the inputs, from which step 1 resamples."""
        if self._repeats_level_below(writer):
            return
        inputs, preprocessing = self._measured_inputs(writer)
        with self._held("initial", inputs, writer) as (fitter, held, _):
            level = fitter.fit_initial(held)
        clusters.write_level(writer, level, with_inputs=True)
        self._describe(writer, level, preprocessing)

    def resampled(self, writer: OutputWriter) -> None:
        """Resampling steps 1 to m - 1, and the subset of step m."""
        if why := self._why_dropped():
            clusters.write_empty_subset(writer)
            writer.summary.update(dropped=True, why_dropped=why)
            return
        inputs = self._prepared_inputs(self._initial)[0]
        with self._held("resampled", inputs, writer) as (fitter, held, work):
            inertias: list[list[float]] = []
            done = work.finished_step()
            if done is None:
                step, level = 0, clusters.read_level(self._initial)
            else:
                step, level, inertias = done.step, fitter.level_of(held, done.centroids), done.inertias
            for number in range(step + 1, fitter.n_steps):
                level = fitter.refit(held, fitter.resample(level, number), number)
                inertias.extend(list(fit) for fit in level.inertias)
                work.finish_step(number, level.centroids, inertias)
            clusters.write_subset(writer, fitter.resample(level, fitter.n_steps))
        writer.summary.update(
            inertias=inertias,
            resampling_steps=fitter.n_steps,
            samples_per_cluster=fitter.spec.kept_per_cluster(inputs.n_rows),
            n_inputs=inputs.n_rows,
        )

    def final(self, writer: OutputWriter) -> None:
        """The level's clusters: step m fitted on its subset, or the initial fit if nothing is resampled."""
        if self._repeats_level_below(writer):
            return
        spec = self._level_spec()
        if spec.n_coarse_clusters:
            self._split(writer)
            return
        remove_split_work(self._output("clusters"))
        if steps := spec.steps_at(self.level):
            inputs, preprocessing = self._prepared_inputs(self._initial)
            subset = clusters.read_subset(self.storage.resampled(self.level))
            with self._held("clusters", inputs, writer) as (fitter, held, _):
                # level_1_assign assigns the pool's rows shard by shard; once is enough.
                stage = fitter.fit_subset if self.level == 1 else fitter.refit
                level = stage(held, subset, steps)
        else:
            inputs, preprocessing = self._measured_inputs(writer)
            with self._held("clusters", inputs, writer) as (fitter, held, _):
                level = fitter.fit_initial(held)
        clusters.write_level(writer, level, with_inputs=self.level > 1)
        self._describe(writer, level, preprocessing)
        writer.summary["n_inputs"] = inputs.n_rows

    def _split(self, writer: OutputWriter) -> None:
        measured, preprocessing = self._measured_inputs(writer)
        # Only level 1 is split, and its inputs are the pool's rows.
        inputs = cast("PreparedRows", measured)
        fitter, n_workers = self._fitter(inputs)
        work = SplitWork.of(
            self._output("clusters"),
            split_recipe(fitter, inputs, self.storage.fitted_content()),
            self._work_folder(),
        )
        with self._states("clusters", inputs, fitter, writer) as (fitter, _):
            SplitFit(
                fitter=fitter,
                inputs=inputs,
                work=work,
                on_split=self.on_split,
                engine=self.engine,
                n_workers=n_workers,
                device=self.spec.fit_device,
            ).fit(writer)
        clusters.write_preprocessing(writer, preprocessing)
        writer.summary.update(n_rows_fitted=inputs.n_rows, n_inputs=inputs.n_rows)
        self._note_sample(writer)

    def _work_folder(self) -> str | None:
        """Where the working files of a split level are, if not beside its output."""
        engine = resolve_engine(self.spec.engine)
        if self.engine.is_local or engine.work_folder or is_local(self.storage.folder):
            return engine.work_folder
        raise PoolSpecError(
            f"pool '{self.spec.name}' is kept in {self.storage.folder}, but the working files of a split level need a "
            f"folder that all machines of the cluster see: set engine.work_folder (or CURATION_WORK_FOLDER)"
        )

    @contextmanager
    def _held(
        self, kind: str, inputs: Rows, writer: OutputWriter
    ) -> Iterator[tuple[LevelFitter, FitInputs, FitWork]]:
        """The level's fitter, its inputs with the workers that hold them, and its working folder, for the block."""
        fitter, n_workers = self._fitter(inputs)
        with (
            self._states(kind, inputs, fitter, writer) as (fitter, work),
            held_inputs(
                self.engine, inputs, fitter, n_workers=n_workers, device=self.spec.fit_device
            ) as held,
        ):
            yield fitter, held, work
            note_card(writer, fitter.device, held.keeps_rows)

    @contextmanager
    def _states(
        self, kind: str, inputs: Rows, fitter: LevelFitter, writer: OutputWriter
    ) -> Iterator[tuple[LevelFitter, FitWork]]:
        """The fitter with a place for its states, which are removed when the output is stored."""
        work = FitWork.of(self._output(kind), self._recipe(kind, inputs, fitter), self.seconds_between)
        with named_card(fitter.device, self.spec.device_memory):
            yield replace(fitter, checkpoints=lambda step: cast("Checkpoints", work.states(step))), work
        writer.when_stored(work.remove)
        if self.engine.is_local:
            writer.summary["device"] = described(fitter.device, self.spec.fit_device)
        else:
            writer.summary["engine"] = self.engine.describe()

    def _recipe(self, kind: str, inputs: Rows, fitter: LevelFitter) -> str:
        """Fingerprint of everything that decides a fit."""
        if self.level == 1:
            recipe = split_recipe(fitter, cast("PreparedRows", inputs), self.storage.fitted_content())
        else:
            recipe = fingerprint(
                [asdict(fitter.spec), fitter.metric, fitter.seed, self._below().require_facts().digest]
            )
        earlier = {"resampled": ["initial"], "clusters": ["initial", "resampled"]}.get(kind, [])
        digests = [facts.digest if (facts := self._output(name).facts()) else "" for name in earlier]
        return fingerprint([recipe, digests, FIT_VERSION])

    def _measured_inputs(self, writer: OutputWriter) -> tuple[Rows, Preprocessing]:
        """The level's inputs; at level 1 their preprocessing is measured in one pass over the rows of the fit.

        If the fit is on a sample of the pool, the sample is stored with it.
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

    def _prepared_inputs(self, stored: LevelClusters) -> tuple[Rows, Preprocessing]:
        """The level's inputs, prepared as they were for a stored output."""
        from curation_assets.algorithms.hierarchy import centroid_inputs
        from curation_assets.algorithms.preprocessing import PreparedRows

        preprocessing = clusters.read_preprocessing(stored)
        if self.level == 1:
            embeddings = self.storage.fitted_embeddings(read_sample(self.storage, stored))
            return PreparedRows(embeddings, preprocessing), preprocessing
        centroids = StoredRows(self._below().centroids.path)
        return centroid_inputs(centroids, preprocessing.metric), preprocessing

    def _level_specs(self) -> list[LevelSpec]:
        return level_specs(self.spec, self.storage.n_fitted_rows())

    def _level_spec(self) -> LevelSpec:
        return self._level_specs()[self.level - 1]

    def _why_dropped(self) -> str:
        """Why the level is not fitted; empty if it is."""
        levels = self._level_specs()
        return why_dropped(levels) if self.level > len(levels) else ""

    def _repeats_level_below(self, writer: OutputWriter) -> bool:
        """Store the clusters of the level below, each as its own only child, if the level is dropped."""
        why = self._why_dropped()
        if why:
            level = clusters.level_above_itself(self._below())
            clusters.write_level(writer, level, with_inputs=True)
            self._describe(writer, level, clusters.read_preprocessing(self._below()))
            writer.summary.update(n_inputs=level.n_clusters, dropped=True, why_dropped=why)
        return bool(why)

    def _fitter(self, inputs: Rows) -> tuple[LevelFitter, int]:
        """The level's fitter, and how many workers its inputs are shared out among; 0 for none."""
        from curation_assets.algorithms.costs.planning import bucket_bytes
        from curation_assets.algorithms.hierarchy import LevelFitter
        from curation_assets.pools.device import resolve_device

        spec = self._level_spec()
        work = inputs.n_rows * inputs.dimension * (spec.n_coarse_clusters or spec.n_clusters)
        least = resolve_engine(self.spec.engine).least_work
        n_workers = n_fit_workers(self.engine, inputs.n_rows, work, least)
        memory = self._memory(spec, -(-inputs.n_rows // max(1, n_workers)), inputs.dimension)
        fitter = LevelFitter(
            level=self.level,
            spec=spec,
            metric=self.spec.preprocessing.metric,
            seed=self.spec.seed,
            device=resolve_device(self.spec.fit_device, "fit_device"),
            on_progress=self.on_progress,
            memory=memory,
            bucket_bytes=self.bucket_bytes or bucket_bytes(memory),
        )
        return fitter, n_workers

    def _memory(self, settings: LevelSpec, n_rows: int, dimension: int) -> FitMemory:
        """How a process that fits `n_rows` rows stays within the pool's `memory_budget` and `device_memory`."""
        from curation_assets.algorithms.costs.device_memory import device_memory
        from curation_assets.algorithms.costs.planning import fit_memory

        allowed = None if self.spec.device_memory == "auto" else self.spec.device_memory
        n_clusters = settings.n_coarse_clusters or settings.n_clusters
        try:
            memory = fit_memory(self.spec.memory_budget, n_rows, dimension, settings)
        except ValueError as error:
            raise PoolSpecError(f"pool '{self.spec.name}', level {self.level}: {error}") from error
        return replace(memory, device=device_memory(allowed, n_rows, dimension, n_clusters))

    def _describe(self, writer: OutputWriter, level: Level, preprocessing: Preprocessing) -> None:
        clusters.write_preprocessing(writer, preprocessing)
        writer.summary["n_rows_fitted"] = len(level.assignments)
        self._note_sample(writer)

    def _note_sample(self, writer: OutputWriter) -> None:
        if self.level == 1 and self.spec.fit_rows is not None:
            writer.summary["n_rows_sampled_from"] = self.storage.n_fitted_rows()

    def _output(self, kind: str) -> Output:
        return self.storage.output(level_asset(self.level, kind))

    @property
    def _initial(self) -> LevelClusters:
        return self.storage.initial(self.level)

    def _below(self) -> LevelClusters:
        return self.storage.clusters(self.level - 1)
