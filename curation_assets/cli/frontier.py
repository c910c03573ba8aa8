"""`curation-assets frontier`: what subsets of ten sizes are worth."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from curation_assets.cli.terminal import say
from curation_assets.cli.up_to_date import say_if_outdated, why_outdated
from curation_assets.pools import PoolSpec
from curation_assets.project import find_spec, open_home
from curation_assets.report.comparison import MEASURES, FrontierLine, Key
from curation_assets.report.comparison_figures import panel_title
from curation_assets.report.formatting import FILTERS
from curation_assets.steps.report.comparison import read_frontier

_SUBSETS = ("random", "paper", "chosen")


def show_frontier(pool: str, *, as_json: bool) -> None:
    """Print the measures of the stored frontier, one line for each size and way to draw.

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
    console.print(_table(spec, read_frontier(storage), facts))
    say(console, "Means of a few draws; --json has their spread.")


def _table(spec: PoolSpec, lines: Sequence[FrontierLine], facts: Mapping[str, Any]) -> Table:
    """The random subset, the paper's rule and the pool's rule at every size."""
    target, total = spec.targets[0], facts["n_admissible"]
    title = f"{spec.name}: subsets of {total:,} samples; rule of target {target.name} (evenness {target.evenness:g})"
    keys = sorted(dict.fromkeys(line.key for line in lines), key=lambda key: key.field is None)
    table = Table(title=title, title_justify="left")
    for name in ("size", "share", "subset", *(panel_title(key) for key in keys)):
        table.add_column(name, justify="left" if name == "subset" else "right")
    values = {
        (line.key, line.subset, size): figure.mean
        for line in lines
        for size, figure in zip(line.sizes, line.figures, strict=True)
    }
    for size, level in sorted((int(size), level) for size, level in facts["start_levels"].items()):
        names = {"random": "random", "paper": "paper's rule", "chosen": f"from level {level}"}
        for subset in _SUBSETS:
            first = (f"{size:,}", f"{size / total:.1%}") if subset == _SUBSETS[0] else ("", "")
            found = [_value(key, values.get((key, subset, size))) for key in keys]
            style = "bold" if subset == "chosen" else None
            table.add_row(*first, names[subset], *found, style=style, end_section=subset == _SUBSETS[-1])
    return table


def _value(key: Key, value: float | None) -> str:
    return "" if value is None else str(FILTERS[MEASURES[key.measure].form](value))
