"""`curation-assets probe`: what is learnt from each kind of subset, and which labels lose."""

from __future__ import annotations

import json

import click
import polars as pl
from rich.console import Console
from rich.markup import escape

from curation_assets.cli.tables import Sheet
from curation_assets.cli.terminal import say
from curation_assets.cli.up_to_date import say_if_outdated, why_outdated
from curation_assets.errors import PoolSpecError
from curation_assets.project import find_spec, open_home
from curation_assets.report.comparison import Figure, ProbeSummary, subset_words
from curation_assets.report.formatting import compact, percent
from curation_assets.steps.report.comparison import read_probes

_PROBES = {"nearest_neighbour": "nearest neighbour", "linear": "linear"}


def show_probe(pool: str, *, as_json: bool) -> None:
    """Print the stored figures of probes, one table for each target, and the labels that lose against random.

    Raises:
        PoolSpecError: if there is no such pool, or it has no probe.
        StaleInputError: if its probe was never made.
    """
    home = open_home()
    spec = find_spec(home, pool)
    if not spec.is_probed:
        raise PoolSpecError(
            f"pool '{spec.name}' is not probed: name labels with source.label_fields or probe.labels, or add a "
            f"probe.command"
        )
    storage = home.storage(spec.name)
    reason, stored = why_outdated(spec, storage, "probe"), storage.probe()
    if as_json:
        tables: dict[str, pl.DataFrame] = {
            "accuracy": stored.accuracy.read(), "labels": stored.labels.read(), "figures": stored.figures.read(),
        }  # fmt: skip
        document = {
            "pool": spec.name,
            "out_of_date": reason,
            **stored.require_facts().summary,
            **{name: table.to_dicts() for name, table in tables.items()},
        }
        click.echo(json.dumps(document, indent=1, ensure_ascii=False))
        return
    console = Console()
    say_if_outdated(console, spec, "probe", reason)
    for probe in read_probes(storage):
        _sheet(spec.name, probe).show(console)
        for line in _losses(probe):
            say(console, line)


def _sheet(pool: str, probe: ProbeSummary) -> Sheet:
    sheet = Sheet(
        ("subset", *(escape(_PROBES.get(name, name)) for name in probe.names)),
        title=f"{pool}: subsets of the size of target {probe.target}",
        texts=("subset",),
    )
    for row in probe.rows:
        words = subset_words(row.subset) + (" (the target)" if row.is_chosen else "")
        values = [_value(name, figure) for name, figure in zip(probe.names, row.figures, strict=True)]
        sheet.add(words, *values, style="bold" if row.is_chosen else None)
    return sheet


def _value(name: str, figure: Figure | None) -> str:
    if figure is None:
        return ""
    write = percent if name in _PROBES else compact
    return write(figure.mean) + (f" ± {write(figure.spread)}" if figure.spread is not None else "")


def _losses(probe: ProbeSummary) -> list[str]:
    if not probe.losses:
        return []
    first = (
        f"{probe.n_losses} of {probe.n_labels} labels have a lower nearest-neighbour accuracy than with a random "
        f"subset. The largest losses:"
    )
    return [
        first,
        *(
            f"  {loss.label}: {percent(loss.chosen)} against {percent(loss.random)} ({loss.n_test} test samples)"
            for loss in probe.losses
        ),
    ]
