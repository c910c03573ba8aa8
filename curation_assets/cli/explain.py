"""`curation-assets explain`: what became of one sample, and why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table

from curation_assets.cli.terminal import say
from curation_assets.errors import PoolSpecError
from curation_assets.graph.freshness import Freshness
from curation_assets.graph.steps import pool_steps
from curation_assets.pools import PoolSpec
from curation_assets.project import open_home, pools_of
from curation_assets.steps.ingest.sample_search import close_ids, find_sample
from curation_assets.steps.report.story import Story, tell
from curation_assets.storage.pool_storage import PoolStorage


def explain_sample(sample_id: str, pool: str | None, *, as_json: bool) -> None:
    """Print the story of every row with an id, in one pool or in all if it is None.

    Raises:
        PoolSpecError: if no pool has the id, with similar ids.
    """
    home = open_home()
    pools = pools_of(home)
    specs = [pools.find(pool)] if pool else list(pools.specs.values())
    searched = [(spec, home.storage(spec.name)) for spec in specs]
    stories = [story for spec, storage in searched for story in _stories(spec, storage, sample_id)]
    if not stories:
        close = [
            f"{name} (pool {spec.name})"
            for spec, storage in searched
            for name in close_ids(storage, sample_id)
        ]
        names = ", ".join(spec.name for spec in specs) or "none"
        hint = f"; similar ids: {', '.join(close)}" if close else ""
        broken = f"; broken and not searched: {', '.join(pools.broken)}" if pools.broken and not pool else ""
        raise PoolSpecError(f"no sample has the id '{sample_id}' (pools searched: {names}{broken}){hint}")
    if as_json:
        click.echo(json.dumps([asdict(story) for story in stories], indent=1, ensure_ascii=False))
        return
    console = Console()
    for number, story in enumerate(stories):
        if number:
            console.print()
        show_story(console, story)


def _stories(spec: PoolSpec, storage: PoolStorage, sample_id: str) -> Iterator[Story]:
    found = list(find_sample(storage, sample_id))
    if not found:
        return
    outdated = Freshness(storage, pool_steps(spec), storage.shards()).outdated().get("ledger", {})
    for shard, raw_row in found:
        yield tell(spec, storage, shard, raw_row, out_of_date=outdated.get(shard))


def show_story(console: Console, story: Story) -> None:
    """Print one story, with the sample's path through the tree as a table."""
    for line in story_lines(story):
        say(console, line)
    if story.clusters:
        console.print(_path_table(story))
    for path in story.files:
        say(console, f"output      {path}")


def story_lines(story: Story) -> Iterator[str]:
    """The lines of a story above its table and output files."""
    yield f"{story.sample_id}  (pool {story.pool}, shard {story.shard}, row {story.raw_row})"
    where = f"{story.file}: {story.member}" if story.member else story.file
    sizes = [
        f"{count:,} {unit}"
        for count, unit in (
            (story.size_bytes, "bytes"), (story.n_characters, "characters"), (story.n_tokens, "tokens"),
        )
        if count is not None
    ]  # fmt: skip
    yield f"file        {where}" + (f" ({', '.join(sizes)})" if sizes else "")
    yield f"fate        {(story.fate or 'undecided').replace('_', ' ')}: {story.why}"
    for target in story.targets:
        yield (
            f"target      {target.name}: balanced from level {target.balance_from} ({target.why_from}), evenness "
            f"{target.evenness:g}"
        )
        if target.levels:
            scores = [
                f"level {level.level} {level.score:.3f} +- {level.noise:.3f}" + " collapsed" * level.collapsed
                for level in target.levels
            ]
            yield f"            scores: {', '.join(scores)}"
    if story.out_of_date:
        yield f"warning     the ledger of this shard is out of date ({story.out_of_date}): run the pool first"


def _path_table(story: Story) -> Table:
    """The sample's cluster at every level, top level first, with the quota of each target."""
    table = Table()
    for column in ("level", "cluster", "distance"):
        table.add_column(column, justify="right", no_wrap=True)
    for target in story.targets:
        taken = ", selected" if target.selected else ""
        table.add_column(
            f"{target.name}: {target.requested:,} {target.unit}{taken}", justify="right", overflow="fold"
        )
    for step in reversed(story.clusters):
        shares = [
            f"{share.quota:,} of {share.size:,} ({'sum' if share.navigates else f'{share.share:.1%}'})"
            for target in story.targets
            for share in target.shares
            if share.level == step.level
        ]
        table.add_row(str(step.level), f"{step.cluster:,}", f"{step.distance:.4f}", *shares)
    return table
