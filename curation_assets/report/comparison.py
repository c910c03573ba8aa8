"""What a report says of a target beside other subsets of its size, of other sizes, and of probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

BASELINES = ("random", "flat k-means")
CHOSEN = "chosen"


class Key(NamedTuple):
    """A measure of subsets."""

    field: str | None
    """The label field; None for measures that need no labels."""
    measure: str


class Figure(NamedTuple):
    """A mean over draws or seeds."""

    mean: float
    spread: float | None
    """Standard deviation; None for a single draw."""


@dataclass(frozen=True, slots=True)
class MeasureText:
    """How the page names and writes a measure."""

    name: str
    explanation: str
    form: str
    """The template filter that writes its values."""
    higher_is_better: bool | None
    """None for a measure that is neither good nor bad."""


MEASURES: Mapping[str, MeasureText] = {
    "effective_labels": MeasureText(
        "Effective labels", "equally frequent labels with the same diversity", "decimal", True
    ),
    "label_coverage": MeasureText("Label coverage", "share of the pool's labels that occur", "percent", True),
    "vendi": MeasureText("Vendi score", "fully different samples with the same diversity", "decimal", True),
    "effective_partition": MeasureText(
        "Effective flat clusters", "of a flat partition of the pool that no tree has seen", "decimal", True
    ),
    "pool_distance": MeasureText(
        "Distance to pool", "mean over the pool to the nearest sample; lower covers more", "ratio", False
    ),
    "isolation": MeasureText(
        "Isolation", "mean distance to the 10th neighbour in the pool; higher is more outliers", "ratio", None
    ),
}


@dataclass(frozen=True, slots=True)
class ComparedSubset:
    """One way to draw a subset."""

    name: str
    """`random`, `flat k-means`, `level_1` and so on, or `chosen`."""
    level: int | None
    """At which quotas start; None for baselines."""
    figures: Mapping[Key, Figure]


@dataclass(frozen=True, slots=True)
class VerdictSummary:
    """The verdict on a target, in sentences."""

    sentence: str
    outcome: str
    gain: float
    """Relative difference to the best baseline in the headline measure."""
    noise: float
    costs: Sequence[str] = ()
    alarms: Sequence[str] = ()
    unsampled: Sequence[str] = ()
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class ComparisonSummary:
    """One target beside other subsets of its size."""

    subsets: Sequence[ComparedSubset]
    """In the order random, flat k-means, levels, chosen."""
    verdict: VerdictSummary

    @property
    def keys(self) -> list[Key]:
        """The measures, those of labels first."""
        found = dict.fromkeys(key for subset in self.subsets for key in subset.figures)
        order = list(MEASURES)
        return sorted(
            found, key=lambda key: (key.field is None, order.index(key.measure) if key.field is None else 0)
        )

    @property
    def headline(self) -> Key:
        """Effective labels of the first label field; the Vendi score without labels."""
        labelled = (key for key in self.keys if key.measure == "effective_labels")
        return next(labelled, Key(None, "vendi"))

    def subset(self, name: str) -> ComparedSubset | None:
        """A subset by name."""
        return next((subset for subset in self.subsets if subset.name == name), None)

    def best_baseline(self, key: Key) -> str | None:
        """The better baseline in a measure; None for a measure that is neither good nor bad."""
        higher = MEASURES[key.measure].higher_is_better
        values = {
            subset.name: subset.figures[key].mean
            for subset in self.subsets
            if subset.name in BASELINES and key in subset.figures
        }
        if higher is None or not values:
            return None
        return max(values, key=lambda name: values[name] if higher else -values[name])


@dataclass(frozen=True, slots=True)
class StartLevelSummary:
    """What one level of the tree scored when the start level was chosen."""

    level: int
    score: float
    noise: float
    collapsed: bool


@dataclass(frozen=True, slots=True)
class FrontierLine:
    """One measure of one way to draw, by size."""

    key: Key
    subset: str
    """`random`, `paper` or `chosen`."""
    sizes: Sequence[int]
    """Samples, ascending."""
    figures: Sequence[Figure]


@dataclass(frozen=True, slots=True)
class LabelLoss:
    """A label that a probe knows less well from the chosen subset than from a random one."""

    label: str
    random: float
    chosen: float
    n_test: int


@dataclass(frozen=True, slots=True)
class ProbeSummary:
    """What probes learn from subsets of one target's size."""

    target: str
    names: Sequence[str]
    """The probes, and the figures of the pool's own command."""
    rows: Sequence[ProbeRow]
    losses: Sequence[LabelLoss] = field(default_factory=tuple)
    """By the nearest-neighbour probe, the largest first."""
    n_losses: int = 0
    """Of all labels that were tested."""
    n_labels: int = 0


@dataclass(frozen=True, slots=True)
class ProbeRow:
    """The figures of one subset."""

    subset: str
    is_chosen: bool
    figures: Sequence[Figure | None]
    """One for each name."""


def subset_words(name: str) -> str:
    """A subset's name as the page writes it."""
    return name.replace("level_", "from level ")
