"""The comparison of a target, and its probes, as the templates show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from curation_assets.report import comparison_figures
from curation_assets.report.comparison import (
    CHOSEN,
    MEASURES,
    ComparisonSummary,
    Figure,
    Key,
    ProbeSummary,
    StartLevelSummary,
    subset_words,
)
from curation_assets.report.formatting import FILTERS, change, decimal, percent


@dataclass(frozen=True, slots=True)
class Cell:
    """A mean with its spread, as text."""

    value: str
    spread: str
    is_best: bool = False
    """The better baseline in this column."""


@dataclass(frozen=True, slots=True)
class Row:
    """One subset."""

    name: str
    note: str
    is_chosen: bool
    cells: Sequence[Cell | None]


@dataclass(frozen=True, slots=True)
class Column:
    """One measure."""

    name: str
    field: str
    """The label field; empty for others."""


@dataclass(frozen=True, slots=True)
class TableView:
    """Subsets as rows, measures as columns."""

    columns: Sequence[Column]
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Headline:
    """The result of one target in the most telling measure."""

    measure: str
    values: Sequence[tuple[str, float]]
    """Subset -> mean: the baselines, and the chosen one."""
    gain: float
    noise: float

    @property
    def widest(self) -> float:
        """The largest of the values, for bars on a common scale."""
        return max(1e-9, *(value for _, value in self.values))

    @property
    def change(self) -> str:
        """The gain with its sign."""
        return change(self.gain)

    @property
    def spread(self) -> str:
        """The noise of the gain."""
        return f"± {percent(self.noise)}"


@dataclass(frozen=True, slots=True)
class ComparisonView:
    """The comparison of one target."""

    table: TableView
    panels: Sequence[str]
    """SVG, one for each measure."""
    headline: Headline
    explanation: str
    """Of every measure."""


def view_comparison(comparison: ComparisonSummary, name: str) -> ComparisonView:
    """The table, figures and headline of one target; the name begins the ids of its figures."""
    keys = comparison.keys
    best = {key: comparison.best_baseline(key) for key in keys}
    rows = [
        Row(
            subset_words(subset.name),
            f"from level {subset.level}" if subset.name == CHOSEN and subset.level else "",
            subset.name == CHOSEN,
            [
                _cell(subset.figures.get(key), MEASURES[key.measure].form, is_best=best[key] == subset.name)
                for key in keys
            ],
        )
        for subset in comparison.subsets
    ]
    columns = [_column(key) for key in keys]
    panels = comparison_figures.comparison_svgs(comparison, name)
    texts = [MEASURES[name] for name in dict.fromkeys(key.measure for key in keys)]
    explanation = " ".join(f"{text.name}: {text.explanation}." for text in texts)
    return ComparisonView(TableView(columns, rows), panels, _headline(comparison), explanation)


def view_probe(probe: ProbeSummary) -> TableView:
    """Accuracies of probes, and the figures of the pool's own command, by subset."""
    words = {
        "nearest_neighbour": Column("Nearest neighbour", "accuracy"),
        "linear": Column("Linear", "accuracy"),
    }
    columns = [words.get(name, Column(name, "own command")) for name in probe.names]
    forms = ["percent" if name in words else "compact" for name in probe.names]
    rows = [
        Row(
            subset_words(row.subset),
            "the chosen level" if row.is_chosen else "",
            row.is_chosen,
            [_cell(figure, form) for figure, form in zip(row.figures, forms, strict=True)],
        )
        for row in probe.rows
    ]
    return TableView(columns, rows)


def start_level_sentence(balance_from: int | None, levels: Sequence[StartLevelSummary]) -> str:
    """Where quotas start, and what the levels scored; empty if it is not known."""
    if balance_from is None:
        return ""
    if not levels:
        return f"Quotas start at level {balance_from}."
    scores = [
        f"{decimal(level.score)} for level {level.level}{' (collapsed)' if level.collapsed else ''}"
        for level in levels
    ]
    return (
        f"Quotas start at level {balance_from}, chosen without labels by diversity and evenness: "
        f"{', '.join(scores)}."
    )


def _cell(figure: Figure | None, form: str, *, is_best: bool = False) -> Cell | None:
    if figure is None:
        return None
    write = FILTERS[form]
    return Cell(write(figure.mean), "" if figure.spread is None else f"± {write(figure.spread)}", is_best)


def _column(key: Key) -> Column:
    return Column(MEASURES[key.measure].name, key.field or "")


def _headline(comparison: ComparisonSummary) -> Headline:
    key = comparison.headline
    measure = f"effective labels ({key.field})" if key.field else "Vendi score"
    names = ("random", "flat k-means", CHOSEN)
    values = [
        (name, subset.figures[key].mean)
        for name in names
        if (subset := comparison.subset(name)) and key in subset.figures
    ]
    return Headline(measure, values, comparison.verdict.gain, comparison.verdict.noise)
