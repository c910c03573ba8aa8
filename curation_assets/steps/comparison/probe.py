"""probe: what is learnt from each subset of a target's size, by two probes and by the pool's own command."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from curation_assets.errors import CurationError
from curation_assets.pools import ProbeSettings
from curation_assets.steps.comparison.candidates import Candidates
from curation_assets.steps.comparison.labels import LabelField, read_label_field
from curation_assets.steps.comparison.labels_table import join_labels, read_labels_table
from curation_assets.steps.comparison.probe_command import describe_command, read_figures, run_command
from curation_assets.steps.comparison.probe_draws import ProbeDraws, ProbedSubset
from curation_assets.steps.comparison.probe_lists import write_lists
from curation_assets.steps.context import StepContext
from curation_assets.steps.dataset.shard_tables import shard_tables
from curation_assets.storage.clusters import read_preprocessing
from curation_assets.storage.tables import Probe

if TYPE_CHECKING:
    from curation_assets.algorithms.preprocessing import Preprocessing
    from curation_assets.storage.embeddings import ShardedEmbeddings

MOST_ROWS = 20_000
"""Rows that a probe is trained on, and rows that it is tested on; of more as many are taken."""
MOST_LABELS = 1_000
"""Labels that probes learn, the most frequent ones; a linear probe takes memory for each label and row."""
NEAREST_NEIGHBOUR, LINEAR = "nearest_neighbour", "linear"
_COMMAND_SHARE = 0.5
"""Of the progress of a step with a command, that of the probes."""

Draws = Mapping[tuple[ProbedSubset, int], np.ndarray]


def probe(step: StepContext) -> None:
    """Train probes on the subsets of every target and test them on samples that are in none, then run the command.

    The test samples are set aside first, equally many of each label; quotas of the same tree are computed for the
    rest. Of more than 1,000 labels the most frequent are learnt. Without labels nothing is set aside, and only the
    command judges.

    Writes accuracies by probe and by label, and the command's figures. Peak memory: about 50 bytes a row of the pool,
    and the embeddings of at most 20,000 training and 20,000 test rows; with a command 8 bytes for each row of every
    draw.

    Raises:
        PoolSpecError: if the table of labels cannot be used.
        CurationError: if no label of those that were asked for has two samples, or the command fails or returns
            something else than figures.
    """
    spec, writer = step.spec, step.writer
    settings = spec.probe
    if settings is None:
        raise CurationError(f"pool '{spec.name}' has probe: null: remove the key to probe subsets")
    candidates = Candidates.read(spec, step.storage)
    labels = _learnable(step, settings, _read_labels(step, candidates))
    held_out = (
        np.zeros(0, dtype=np.int64) if labels is None else _hold_out(labels, candidates, settings, spec.seed)
    )
    draws = ProbeDraws.of(spec, candidates, held_out)
    writer.summary.update(
        n_held_out=len(held_out), sizes={target.name: draws.size(target).amount for target in spec.targets}
    )
    accuracy, by_label = Probe.accuracy.empty(), Probe.labels.empty()
    if labels is not None:
        accuracy, by_label = _train(step, draws, labels, held_out)
        writer.summary.update(
            label_field=labels.name,
            n_labels=len(labels.labels),
            n_tested_labels=len(np.unique(labels.codes[held_out])),
        )
    Probe.accuracy.write(writer, accuracy)
    Probe.labels.write(writer, by_label)
    Probe.figures.write(writer, _command_figures(step, settings, draws, held_out))


def _read_labels(step: StepContext, candidates: Candidates) -> LabelField | None:
    """The labels that probes learn; what a table does not match is counted and named."""
    spec = step.spec
    table = spec.probe.labels if spec.probe else None
    if table is None:
        return read_label_field(step.storage, candidates, spec.probe_label) if spec.probe_label else None
    joined = join_labels(
        read_labels_table(table, Path(step.pool.home_folder)), shard_tables(spec, step.storage)
    )
    for line in joined.lines(table):
        step.log(line)
    step.writer.summary["labels_table"] = {
        "n_samples_without_row": joined.n_samples_without_row,
        "samples_without_row": ", ".join(joined.samples_without_row),
        "n_rows_without_sample": joined.n_rows_without_sample,
        "rows_without_sample": ", ".join(joined.rows_without_sample),
    }
    codes = np.where(candidates.available, joined.codes, np.int32(-1))
    in_pool = np.bincount(codes[codes >= 0], minlength=len(joined.names))
    n_rows = int(np.count_nonzero(candidates.available))
    return LabelField(table.label_field, joined.names, codes, in_pool, n_rows)


def _learnable(step: StepContext, settings: ProbeSettings, labels: LabelField | None) -> LabelField | None:
    """The labels that are learnt, at most 1,000; samples of the others count as having none.

    Captions, of which each is another, are no reason to stop a pool that did not ask for a probe.
    """
    if labels is None:
        return None
    if not (labels.in_pool > 1).any():
        text = f"no label of '{labels.name}' has two samples that may be drawn, so no probe can be tested"
        asked = (
            settings.labels or settings.label_field or any(target.asks_probe for target in step.spec.targets)
        )
        if asked:
            raise CurationError(f"{text}: name another probe.label_field, or set probe to null")
        step.log(text)
        return None
    if len(labels.labels) <= MOST_LABELS:
        return labels
    frequent = np.sort(np.argsort(-labels.in_pool, kind="stable")[:MOST_LABELS])
    place = np.full(len(labels.labels) + 1, -1, dtype=np.int16)
    place[frequent] = np.arange(len(frequent))
    # A code of -1 finds the last place, which stays -1.
    names = [labels.labels[code] for code in frequent.tolist()]
    return replace(labels, labels=names, codes=place[labels.codes], in_pool=labels.in_pool[frequent])


def _hold_out(labels: LabelField, candidates: Candidates, settings: ProbeSettings, seed: int) -> np.ndarray:
    """Pool rows, ascending, that test the probes: as many of each label as asked, at most half of its samples."""
    from curation_assets.algorithms.measures.probes import class_balanced_held_out

    n_testable, each = int((labels.in_pool > 1).sum()), settings.held_out
    if isinstance(each, float):
        each = max(1, round(each * int(labels.in_pool.sum()) / n_testable))
    return class_balanced_held_out(
        labels.codes,
        n_per_label=max(1, min(each, MOST_ROWS // n_testable)),
        seed=seed,
        # Hashes of ids decide, so that the order of shards does not matter.
        keys=candidates.index.id_hashes,
    )


@dataclass(slots=True)
class _Results:
    """Accuracies of one kind of subset, by probe: one array (n_labels,) for each draw, NaN for labels not tested."""

    of_probe: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def lines(self, probed: ProbedSubset, label_field: str) -> Iterator[dict[str, Any]]:
        from curation_assets.algorithms.measures.probes import balanced_accuracy

        for name, by_draw in self.of_probe.items():
            yield _line(probed, list(map(balanced_accuracy, by_draw))) | {
                "field": label_field,
                "probe": name,
            }

    def label_table(
        self, probed: ProbedSubset, labels: LabelField, n_test: np.ndarray
    ) -> Iterator[pl.DataFrame]:
        tested = np.flatnonzero(n_test)
        names = pl.Series(labels.labels, dtype=pl.String).gather(tested)
        for name, by_draw in self.of_probe.items():
            columns = {"label": names, "accuracy": np.mean(by_draw, axis=0)[tested], "n_test": n_test[tested]}
            yield pl.DataFrame(columns).select(
                pl.lit(probed.target.name).alias("target"),
                pl.lit(probed.subset).alias("subset"),
                "label",
                pl.lit(name).alias("probe"),
                "accuracy",
                "n_test",
            )


def _line(probed: ProbedSubset, values: list[float]) -> dict[str, Any]:
    """What all tables say of one kind of subset: the mean over its draws and their standard deviation."""
    return {
        "target": probed.target.name,
        "subset": probed.subset,
        "level": probed.level,
        "mean": float(np.mean(values)),
        "spread": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "n_seeds": len(values),
    }


def _train(
    step: StepContext, draws: ProbeDraws, labels: LabelField, held_out: np.ndarray
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both tables of accuracies."""
    from curation_assets.algorithms.measures.probes import linear_probe, nearest_neighbour_probe

    probes = {NEAREST_NEIGHBOUR: nearest_neighbour_probe, LINEAR: linear_probe}
    storage, spec = step.storage, step.spec
    embeddings, preprocessing = storage.embeddings(), read_preprocessing(storage.clusters(1))
    test, test_codes = _rows(embeddings, preprocessing, held_out), labels.codes[held_out].astype(np.int64)
    n_test = np.bincount(test_codes, minlength=len(labels.labels))
    subsets = list(draws.subsets(spec.targets))
    lines: list[dict[str, Any]] = []
    tables = [Probe.labels.empty()]
    share = _COMMAND_SHARE if spec.probe and spec.probe.command else 1.0
    for number, probed in enumerate(subsets):
        step.report(share * number / len(subsets), f"{probed.target.name}: {probed.subset}")
        results = _Results()
        for seed in range(draws.n_draws):
            rows = draws.draw(probed, seed)
            if rows is None:
                break
            rows = _training_rows(rows, labels, draws, seed)
            train = _rows(embeddings, preprocessing, rows)
            codes = labels.codes[rows].astype(np.int64)
            for name, learn in probes.items():
                values = learn(train, codes, test, test_codes, n_labels=len(labels.labels))
                results.of_probe.setdefault(name, []).append(values)
        lines += results.lines(probed, labels.name)
        tables += results.label_table(probed, labels, n_test)
    return pl.DataFrame(lines, schema=Probe.accuracy.schema), pl.concat(tables)


def _training_rows(rows: np.ndarray, labels: LabelField, draws: ProbeDraws, seed: int) -> np.ndarray:
    """The labelled rows of a draw, in an order that does not depend on shards; of many, as many as are trained on."""
    from curation_assets.algorithms.randomness import Purpose, keyed_priorities

    rows = rows[labels.codes[rows] >= 0]
    hashes = draws.candidates.index.id_hashes[rows]
    order = np.argsort(keyed_priorities(hashes, draws.seed, Purpose.HELD_OUT, 1, seed), kind="stable")
    return rows[order[:MOST_ROWS]]


def _rows(embeddings: ShardedEmbeddings, preprocessing: Preprocessing, rows: np.ndarray) -> np.ndarray:
    block = embeddings.take(rows)
    return preprocessing.apply(block, out=block)


def _command_figures(
    step: StepContext, settings: ProbeSettings, draws: ProbeDraws, held_out: np.ndarray
) -> pl.DataFrame:
    """The table of what the command returned; empty without one."""
    if settings.command is None:
        return Probe.figures.empty()
    every: dict[tuple[ProbedSubset, int], np.ndarray] = {}
    for probed in draws.subsets(step.spec.targets):
        for number in range(draws.n_draws):
            if (rows := draws.draw(probed, number)) is not None:
                every[probed, number] = rows
    step.log(describe_command(settings.command))

    def report(seconds: float) -> None:
        step.report(_COMMAND_SHARE, f"probe.command runs for {seconds:,.0f} s")

    # Removed whatever happens, and after the command has ended with all that it started.
    with tempfile.TemporaryDirectory(prefix="curation_probe_", ignore_cleanup_errors=True) as folder:
        path = write_lists(
            Path(folder), step.storage, draws.candidates.index, every, held_out, seed=step.spec.seed
        )
        text = run_command(
            settings.command,
            path,
            home=Path(step.pool.home_folder).resolve(),
            timeout_seconds=settings.timeout_seconds,
            report=report,
        )
    found = read_figures(text, [probed.name(number) for probed, number in every])
    figures = sorted(next(iter(found.values())))
    if settings.figure is not None and settings.figure not in figures:
        # No error: the command may have run for hours, and another name does not run it again.
        step.log(
            f"probe.figure is '{settings.figure}', but probe.command returned {', '.join(figures)}: name one of them"
        )
    step.writer.summary["command"] = {name: dict(values) for name, values in found.items()}
    return _figure_table(every, found, figures)


def _figure_table(every: Draws, found: Mapping[str, Mapping[str, float]], figures: list[str]) -> pl.DataFrame:
    lines = []
    for probed in dict.fromkeys(probed for probed, _ in every):
        names = [probed.name(number) for other, number in every if other == probed]
        lines += [
            _line(probed, [found[name][figure] for name in names]) | {"figure": figure} for figure in figures
        ]
    return pl.DataFrame(lines, schema=Probe.figures.schema)
