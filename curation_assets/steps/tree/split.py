"""The fit of a split level, piece by piece: coarse clusters, bucketed runs, splits. A killed fit resumes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from curation_assets.engines import Engine, LocalEngine
from curation_assets.errors import CurationError
from curation_assets.graph.steps import FIT_VERSION
from curation_assets.steps.tree.fit_workers import held_inputs
from curation_assets.storage import clusters
from curation_assets.storage.fingerprint import fingerprint
from curation_assets.storage.split_runs import SplitRuns
from curation_assets.storage.split_work import SplitChunk, SplitWork, StoredCoarse

if TYPE_CHECKING:
    from curation_assets.algorithms.hierarchy import LevelFitter
    from curation_assets.algorithms.preprocessing import PreparedRows, Preprocessing
    from curation_assets.algorithms.rows import Rows
    from curation_assets.storage.outputs import OutputWriter


COARSE_SHARE = 0.5
"""Share of the coarse fit in the progress bar of the whole fit."""


@dataclass(frozen=True, slots=True)
class SplitProgress:
    """A finished piece of a split level."""

    stage: Literal["coarse", "run", "bucket"]
    done: int
    """Finished pieces of the stage, including this one."""
    total: int
    resumed: bool
    """Whether an earlier run of the fit made it."""
    clusters: tuple[int, int] = (0, 0)
    """The coarse clusters of a bucket: the first, and the one after the last."""

    @property
    def share(self) -> float:
        """Share of the whole fit that is done, 0 to 1, for the progress bar."""
        before, width = {
            "coarse": (0.0, COARSE_SHARE),
            "run": (COARSE_SHARE, 0.1),
            "bucket": (COARSE_SHARE + 0.1, 0.9 - COARSE_SHARE),
        }[self.stage]
        return before + width * self.done / self.total

    @property
    def detail(self) -> str:
        """One line for people."""
        what = {"coarse": "coarse fit", "run": "run", "bucket": "bucket"}[self.stage]
        found = " kept from an earlier run" if self.resumed else ""
        of_all = f" {self.done:,} of {self.total:,}" if self.total > 1 else ""
        inside = f", coarse clusters {self.clusters[0]:,} to {self.clusters[1] - 1:,}"
        return f"{what}{of_all}{found}{inside if self.stage == 'bucket' else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitFit:
    """A split level of a pool, fitted through files: each run and each bucket is an item for the engine.

    Disk: one copy of the rows as float16 while it runs. Memory: the coarse fit's, then 12 bytes a row and about
    two buckets. A coarse cluster larger than a bucket is streamed from its runs.

    Args:
        fitter: of the level; its `bucket_bytes` decides how much is split, and sorted into a run, at a time.
        inputs: the pool's rows, prepared; runs hold them as they are stored.
        work: the working folder; every worker of the engine must be able to reach it.
        on_split: called for every finished piece.
        engine: where the pieces are made.
        n_workers: parts of the coarse fit, see `n_fit_workers`.
        device: as the pool names it.
    """

    fitter: LevelFitter
    inputs: PreparedRows
    work: SplitWork
    on_split: Callable[[SplitProgress], None] | None = None
    engine: Engine = field(default_factory=LocalEngine)
    n_workers: int = 0
    device: str = "auto"

    def fit(self, writer: OutputWriter) -> None:
        """Fit the missing pieces and store the level; then remove the working folder."""
        from curation_assets.algorithms.splitting import bucket_bounds

        coarse = self._coarse()
        bounds = bucket_bounds(coarse.counts, self._row_bytes, self.fitter.bucket_bytes).tolist()
        buckets = list(pairwise(bounds))
        missing = [bucket for bucket in buckets if not self.work.has_chunk(*bucket)]
        present = [bucket for bucket in buckets if bucket not in set(missing)]
        for number, bucket in enumerate(present, start=1):
            self._report("bucket", number, len(buckets), True, bucket)
        if missing:
            split = SplitBucketTask(self._runs(coarse), self.inputs.preprocessing, self._quiet, self.device)
            for number, (item, _) in enumerate(self.engine.map(split, missing), start=len(present) + 1):
                self._report("bucket", number, len(buckets), False, missing[item])
        clusters.write_split_level(
            writer,
            coarse.centroids,
            coarse.inertias,
            [self.work.chunk_of_cluster(*bucket) for bucket in buckets],
            (self.work.chunk(*bucket).centroids for bucket in buckets),
        )
        writer.when_stored(self.work.remove)

    @property
    def _row_bytes(self) -> int:
        return 4 * max(1, self.inputs.dimension)

    @property
    def _quiet(self) -> LevelFitter:
        """The fitter without what cannot travel to other processes."""
        return replace(self.fitter, on_progress=None, checkpoints=None)

    def _coarse(self) -> StoredCoarse:
        found = self.work.coarse()
        resumed = found is not None
        if found is None:
            with held_inputs(
                self.engine, self.inputs, self.fitter, n_workers=self.n_workers, device=self.device
            ) as held:
                fit = self.fitter.fit_coarse(held)
            self.work.save_coarse(fit.centroids, fit.assignments, fit.inertias)
            del fit
            found = self.work.coarse()
        if found is None:
            raise CurationError(f"{self.work.folder} was removed during the fit: run it again")
        self._report("coarse", 1, 1, resumed)
        return found

    def _runs(self, coarse: StoredCoarse) -> SplitRuns:
        """All runs. Missing ones are written, each in one pass over its rows."""
        runs = SplitRuns(self.work, self.inputs.n_rows, max(1, self.fitter.bucket_bytes // self._row_bytes))
        missing = runs.missing()
        self._require_space(sum(stop - start for start, stop in missing))
        n_present = len(runs.bounds()) - len(missing)
        for number in range(1, n_present + 1):
            self._report("run", number, len(runs.bounds()), True)
        write = WriteRun(runs, self.inputs.source, len(coarse.centroids))
        for number, _ in enumerate(self.engine.map(write, missing), start=n_present + 1):
            self._report("run", number, len(runs.bounds()), False)
        return runs

    def _require_space(self, n_rows: int) -> None:
        needed, free = 2 * n_rows * self.inputs.dimension, shutil.disk_usage(self.work.folder).free
        if needed > free:
            raise CurationError(
                f"splitting level {self.fitter.level} needs {needed / 1e9:.1f} GB for a copy of the rows in "
                f"{self.work.folder}, where {free / 1e9:.1f} GB are free: make room and run it again"
            )

    def _report(
        self,
        stage: Literal["coarse", "run", "bucket"],
        done: int,
        total: int,
        resumed: bool,
        of: tuple[int, int] = (0, 0),
    ) -> None:
        if self.on_split:
            self.on_split(SplitProgress(stage, done, total, resumed, of))


@dataclass(frozen=True, slots=True)
class WriteRun:
    """Writes one run (its first row, and the one after its last) of rows as they are stored."""

    runs: SplitRuns
    rows: Rows
    n_clusters: int

    def __call__(self, run: tuple[int, int]) -> None:
        """See the class."""
        coarse = self.runs.work.coarse()
        if coarse is None:
            raise CurationError(
                f"{self.runs.work.folder} has no coarse fit: every worker must see that folder; set "
                f"engine.work_folder to one that all machines share"
            )
        self.runs.write(self.rows, *run, np.array(coarse.assignments[slice(*run)]), self.n_clusters)


@dataclass(frozen=True, slots=True)
class SplitBucketTask:
    """Splits one bucket (its first coarse cluster, and the one after its last) and stores the sub-clusters."""

    runs: SplitRuns
    preprocessing: Preprocessing
    fitter: LevelFitter
    device: str

    def __call__(self, bucket: tuple[int, int]) -> None:
        """See the class."""
        from curation_assets.algorithms.preprocessing import PreparedRows
        from curation_assets.algorithms.rows import ArrayRows
        from curation_assets.algorithms.splitting import split_bucket
        from curation_assets.pools.device import resolve_device

        fitter = replace(self.fitter, device=resolve_device(self.device, "fit_device"))
        stored, of_row = self.runs.bucket(*bucket)
        streamed = 4 * stored.n_rows * stored.dimension > fitter.bucket_bytes
        rows = PreparedRows(stored if streamed else ArrayRows(stored.load()), self.preprocessing)
        split = split_bucket(
            rows,
            of_row,
            fitter.spec.per_coarse_cluster,
            fitter.fit_cluster,
            together=fitter.grouped_fits,
            device=fitter.device,
        )
        self.runs.work.save_chunk(*bucket, SplitChunk(split.centroids, split.of_cluster))


def split_recipe(fitter: LevelFitter, inputs: PreparedRows, content: str) -> str:
    """Fingerprint of everything that decides the working files of a split level; `content` is of the embeddings."""
    preprocessing = inputs.preprocessing
    mean = None if preprocessing.mean is None else preprocessing.mean.tolist()
    rows = [preprocessing.metric, mean, preprocessing.grid_step, inputs.n_rows, content]
    return fingerprint([asdict(fitter.spec), fitter.level, fitter.seed, rows, FIT_VERSION])
