"""The verdict on a target: gain and loss against the best baseline, each with its noise, in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import polars as pl

from curation_assets.report.formatting import decimal, percent
from curation_assets.steps.comparison.candidates import CHOSEN, FLAT, RANDOM
from curation_assets.steps.comparison.estimates import Difference, Estimate, difference
from curation_assets.steps.comparison.measuring import EFFECTIVE_LABELS, LABEL_COVERAGE

Outcome = Literal["better", "level", "same", "behind", "worse"]
"""Against the best baseline: `level` is as good as flat k-means and better than random, `behind` worse than flat
k-means and better than random."""
NOTABLE = 0.02
"""A smaller relative difference is not worth a word, however clear it is."""
LEAST_PARTITION = 0.95
"""Of a random subset's effective number of independent clusters; below it is an alarm."""
LEAST_SHARE = 0.01
"""Of the pool that a label must have to be named when it got no sample."""
SAFER_EVENNESS = 0.5
_BASELINES = {RANDOM: "a random subset", FLAT: "flat k-means"}
_NAMED = 5

Key = tuple[str | None, str]
Estimates = Mapping[str, Mapping[Key, Estimate]]
"""By subset, then by label field and measure."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the comparison of one target says."""

    outcome: Outcome
    sentence: str
    """Gain or loss in the headline measure."""
    costs: list[str]
    """Sentences about what balancing cost."""
    alarms: list[str]
    unsampled: list[str]
    """Sentences that name frequent labels without a sample."""
    remedy: str
    """What to change; empty if nothing is lost."""
    gain: float
    """Relative difference to the best baseline in the headline measure."""
    noise: float
    """Of the gain: half of its 95 % interval."""
    beats_baselines: bool
    """Better than a random subset with no less label coverage, and no baseline is clearly better."""

    def to_facts(self) -> dict[str, Any]:
        """As the summary of the asset stores it."""
        return asdict(self)


def judge(
    lines: Sequence[Mapping[str, Any]], labels: pl.DataFrame, *, level: int, evenness: float
) -> Verdict:
    """Compare the chosen subset of a target with the best of its baselines.

    Args:
        lines: of the table `measures`, about one target.
        labels: of the table `labels`, about the same target.
        level: at which the quotas of the target start.
        evenness: of the target.
    """
    found = _by_subset(lines)
    headline = _headline(found[CHOSEN])
    best, gain = _against_best(found, headline)
    over_random = _notable(difference(found[CHOSEN][headline], found[RANDOM][headline]))
    outcome = _outcome(best, _notable(gain), over_random)
    coverage = [key for key in found[CHOSEN] if key[1] == LABEL_COVERAGE]
    costs = [cost for key in coverage if (cost := _coverage_cost(found, key))]
    costs += _other_costs(found, headline)
    # Less coverage than flat k-means is a cost; less than a random subset is what no target should come to.
    loses_coverage = any(_notable(difference(found[CHOSEN][key], found[RANDOM][key])) < 0 for key in coverage)
    alarms = _alarms(found)
    # Without labels, more diversity may be more outliers: being behind flat k-means is no loss yet.
    is_behind = outcome == "behind" and headline[0] is not None
    loses = outcome == "worse" or is_behind or loses_coverage or bool(alarms)
    return Verdict(
        outcome=outcome,
        sentence=_sentence(found, headline, outcome, best),
        costs=costs,
        alarms=alarms,
        unsampled=_unsampled(labels),
        remedy=_remedy(found, headline, outcome, level, evenness) if loses else "",
        gain=gain.relative,
        noise=gain.noise,
        beats_baselines=not loses and outcome != "same",
    )


def verdict_lines(verdict: Mapping[str, Any]) -> list[str]:
    """A stored verdict as sentences: what came out first, the remedy last."""
    others = [*verdict["alarms"], *verdict["costs"], *verdict["unsampled"]]
    return [verdict["sentence"], *others, *([verdict["remedy"]] if verdict["remedy"] else [])]


def _by_subset(lines: Sequence[Mapping[str, Any]]) -> dict[str, dict[Key, Estimate]]:
    found: dict[str, dict[Key, Estimate]] = {}
    for line in lines:
        estimate = Estimate(line["mean"], line["spread"], line["n_draws"])
        found.setdefault(line["subset"], {})[line["field"], line["measure"]] = estimate
    return found


def _headline(chosen: Mapping[Key, Estimate]) -> Key:
    """Effective labels of the first label field; the Vendi score of a pool without labels."""
    return next((key for key in chosen if key[1] == EFFECTIVE_LABELS), (None, "vendi"))


def _against_best(found: Estimates, key: Key) -> tuple[str, Difference]:
    best = max((name for name in _BASELINES if name in found), key=lambda name: found[name][key].mean)
    return best, difference(found[CHOSEN][key], found[best][key])


def _notable(found: Difference) -> int:
    """-1, 0 or 1: the sign of a difference that is clear and worth a word."""
    if not found.is_clear or abs(found.relative) < NOTABLE:
        return 0
    return 1 if found.relative > 0 else -1


def _outcome(best: str, over_best: int, over_random: int) -> Outcome:
    if over_best > 0:
        return "better"
    if best == FLAT and over_random > 0:
        return "behind" if over_best < 0 else "level"
    return "worse" if over_best < 0 else "same"


def _sentence(found: Estimates, key: Key, outcome: Outcome, best: str) -> str:
    chosen, other = found[CHOSEN][key], found[best][key]
    name = _BASELINES[best]
    against = f"{_change(difference(chosen, other))} than {name} ({decimal(other.mean)})"
    words = f"{decimal(chosen.mean)} {_measure_words(key)}"
    random = found[RANDOM][key]
    over_random = f"{_change(difference(chosen, random))} than a random subset ({decimal(random.mean)})"
    if outcome == "better":
        also = f", and {over_random}" if best == FLAT else ""
        return f"Balancing worked: {words}, {against}, the best baseline{also}."
    if outcome == "level":
        return f"Balancing worked as well as flat k-means ({decimal(other.mean)}): {words}, {over_random}."
    if outcome == "behind":
        return f"Balancing helped less than flat k-means: {words}, {against}, though {over_random}."
    if outcome == "worse" and _notable(difference(chosen, random)) < 0:
        also = f", and {against}" if best == FLAT else ""
        return f"Balancing made it worse: {words}, {over_random}{also}."
    if outcome == "worse":
        return f"Balancing did not help: {words}, {against}, and no clear difference from a random subset."
    return f"Balancing did not help: {words}, no clear difference from {name} ({_estimate(other)})."


def _coverage_cost(found: Estimates, key: Key) -> str:
    """What balancing cost in labels that occur, against the best baseline; empty for nothing."""
    best, change = _against_best(found, key)
    if _notable(change) >= 0:
        return ""
    chosen, other = found[CHOSEN][key].mean, found[best][key].mean
    return (
        f"It costs coverage: {percent(chosen)} of the labels ({key[0]}) occur, against {percent(other)} in "
        f"{_BASELINES[best]}."
    )


def _other_costs(found: Estimates, headline: Key) -> list[str]:
    costs = []
    for key, chosen in found[CHOSEN].items():
        if key[1] == EFFECTIVE_LABELS and key != headline:
            best, change = _against_best(found, key)
            if _notable(change) < 0:
                other = found[best][key]
                costs.append(
                    f"In {_measure_words(key)} it has {decimal(chosen.mean)}, {_change(change)} than "
                    f"{_BASELINES[best]} ({decimal(other.mean)})."
                )
    distance = (None, "pool_distance")
    if distance in found[CHOSEN] and distance in found[RANDOM]:
        change = difference(found[CHOSEN][distance], found[RANDOM][distance])
        if _notable(change) > 0:
            costs.append(
                f"Samples of the pool are {_number(change)} farther from their nearest chosen sample than from that "
                f"of a random subset."
            )
    return costs


def _alarms(found: Estimates) -> list[str]:
    key = (None, "effective_partition")
    if key not in found[CHOSEN] or key not in found[RANDOM]:
        return []
    chosen, random = found[CHOSEN][key].mean, found[RANDOM][key].mean
    if chosen >= LEAST_PARTITION * random:
        return []
    words = (
        f"It covers the pool less evenly than a random subset: {decimal(chosen)} effective clusters of an independent "
        f"partition, against {decimal(random)}."
    )
    return [words]


def _unsampled(labels: pl.DataFrame) -> list[str]:
    from curation_assets.algorithms.measures.labels import uncovered_labels

    sentences = []
    for (name,), table in labels.partition_by("field", as_dict=True, maintain_order=True).items():
        in_pool = table["in_pool"].to_numpy()
        missing = uncovered_labels(in_pool, table["chosen"].to_numpy(), least_share=LEAST_SHARE).tolist()
        if not missing:
            continue
        shares = [
            f"{table['label'][code]} ({percent(in_pool[code] / in_pool.sum())} of the pool)"
            for code in missing[:_NAMED]
        ]
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        sentences.append(f"No sample has the {name} {', '.join(shares)}{more}.")
    return sentences


def _remedy(found: Estimates, headline: Key, outcome: Outcome, level: int, evenness: float) -> str:
    """What does better by the same table; then what costs no fit; then another tree."""
    levels = {
        int(name.removeprefix("level_")): estimates[headline]
        for name, estimates in found.items()
        if name.startswith("level_") and headline in estimates
    }
    advice = []
    if levels:
        start, value = max(levels.items(), key=lambda item: item[1].mean)
        if start != level and _notable(difference(value, found[CHOSEN][headline])) > 0:
            words = f"({decimal(value.mean)} in the same measure)"
            advice.append(f"set balance_from: level_{start} for this target {words}")
    if outcome == "behind":
        advice.append(
            "set balance_from: level_1 and evenness: 1, which is flat k-means unless level 1 is resampled"
        )
    elif evenness > 0:
        lower = "to 0.5, or further" if evenness > SAFER_EVENNESS else "further"
        advice.append(f"lower evenness (now {evenness:g}) {lower}; 0 is a proportional draw")
    else:
        advice.append("take a random subset of the pool")
    advice.append("change the levels of the tree (curation-assets plan shows others)")
    return f"To mend it, {'; or '.join(advice[:2])}."


def _measure_words(key: Key) -> str:
    label_field, measure = key
    if measure == EFFECTIVE_LABELS:
        return f"effective labels ({label_field})"
    return "effective samples (Vendi score)"


def _change(change: Difference) -> str:
    return f"{_number(change)} {'more' if change.relative >= 0 else 'fewer'}"


def _number(change: Difference) -> str:
    """`21 ± 3 %`, without the sign."""
    size, noise = 100 * abs(change.relative), 100 * change.noise
    digits = 0 if noise >= 0.95 and size >= 2 * noise else 1
    return f"{size:.{digits}f} ± {noise:.{digits}f} %"


def _estimate(estimate: Estimate) -> str:
    return decimal(estimate.mean) + ("" if estimate.spread is None else f" ± {decimal(estimate.spread)}")
