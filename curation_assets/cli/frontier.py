"""`curation-assets frontier`: what subsets of ten sizes are worth."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Console

from curation_assets.cli.tables import Sheet
from curation_assets.cli.terminal import say
from curation_assets.cli.up_to_date import say_if_outdated, why_outdated
from curation_assets.project import find_spec, open_home
from curation_assets.report.comparison import MEASURES, FrontierLine, Key
from curation_assets.report.comparison_figures import panel_title
from curation_assets.report.formatting import FILTERS
from curation_assets.steps.report.comparison import read_frontier

_SUBSETS = ("random", "paper", "chosen")
_FIRST_SHOWN = ("effective_labels", "label_coverage", "pool_distance")
_FIRST_SHOWN_WITHOUT_LABELS = ("vendi", "effective_partition", "pool_distance")


def show_frontier(pool: str, *, every_measure: bool, as_json: bool) -> None:
    """Print the measures of the stored frontier, a table for each with a line for each size.

    Without `every_measure` the most telling three are printed: those of the first label field, if there is one.

    Raises:
        PoolSpecError: if there is no such pool.
        StaleInputError: if its frontier was never made.
    """
    home = open_home()
    spec = find_spec(home, pool)
    storage = home.storage(spec.name)
    reason = why_outdated(spec, storage, "frontier")
    facts = storage.frontier().require_facts().summary
    if as_json:
        measures = storage.frontier().measures.read().to_dicts()
        document = {"pool": spec.name, "out_of_date": reason, **facts, "measures": measures}
        click.echo(json.dumps(document, indent=1, ensure_ascii=False))
        return
    console = Console()
    say_if_outdated(console, spec, "frontier", reason)
    target, total = spec.targets[0], facts["n_admissible"]
    say(console, f"{spec.name}: subsets of {total:,} samples; rule of target {target.name}")
    lines = read_frontier(storage)
    keys = sorted(dict.fromkeys(line.key for line in lines), key=lambda key: key.field is None)
    shown = keys if every_measure else _most_telling(keys)
    for key in shown:
        say(console, f"\n{panel_title(key)}: {MEASURES[key.measure].explanation}")
        _sheet(key, [line for line in lines if line.key == key], facts, target.evenness).show(console)
    hidden = len(keys) - len(shown)
    say(
        console,
        "Means of a few draws."
        + (
            f" --all shows {hidden} more measures, --json all with their spread."
            if hidden
            else " --json has their spread."
        ),
    )


def _most_telling(keys: Sequence[Key]) -> list[Key]:
    fields = [key.field for key in keys if key.field]
    wanted = _FIRST_SHOWN if fields else _FIRST_SHOWN_WITHOUT_LABELS
    return [key for key in keys if key.measure in wanted and key.field in (None, *fields[:1])]


def _sheet(key: Key, lines: Sequence[FrontierLine], facts: Mapping[str, Any], evenness: float) -> Sheet:
    """One measure of the random subset, the paper's rule and the pool's rule, at every size."""
    sheet = Sheet(("size", "share", "random", "paper's rule", f"evenness {evenness:g}", "from level"))
    values = {
        (line.subset, size): figure.mean
        for line in lines
        for size, figure in zip(line.sizes, line.figures, strict=True)
    }
    for size, level in sorted((int(size), level) for size, level in facts["start_levels"].items()):
        found = [_value(key, values.get((subset, size))) for subset in _SUBSETS]
        sheet.add(f"{size:,}", f"{size / facts['n_admissible']:.1%}", *found, str(level))
    return sheet


def _value(key: Key, value: float | None) -> str:
    return "" if value is None else str(FILTERS[MEASURES[key.measure].form](value))
