"""Entry point: commands and their options."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from curation_assets import __version__
from curation_assets.cli.numbers import Bytes, Count, Counts
from curation_assets.errors import CurationError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Balanced datasets for self-supervised learning from huge, unbalanced pools."""


@cli.command()
@click.option("--pool", required=True, help="Name of a pool: a YAML file in pools/.")
@click.option("--from", "first", metavar="STEP", help="Run this step and all after it again, e.g. level_2.")
@click.option("--shards", metavar="A..B|A,B", help="Ingest only these shards (raw_pool and embeddings).")
def run(pool: str, first: str | None, shards: str | None) -> None:
    """Run what is out of date of a pool, from its files to the report."""
    from curation_assets.cli.run import run_pool

    sys.exit(run_pool(pool, first=first, shards=shards))


@cli.command()
@click.option("--pool", required=True, help="Name of a pool: a YAML file in pools/.")
@click.option("--from", "first", metavar="STEP", help="First step to make again, e.g. level_2 or embeddings.")
@click.option("--to", "last", metavar="STEP", help="Last step to make again; all after --from if not given.")
@click.option(
    "--shards", metavar="A..B|A,B", help="Only these shards, of steps that do not read all of them."
)
@click.option("--failed", is_flag=True, help="Only shards that failed and are out of date since.")
@click.option("--missing", is_flag=True, help="Only shards that lack an output.")
@click.option("--parallel", type=click.IntRange(1), default=1, help="Processes that share the shards.")
def backfill(
    pool: str,
    first: str | None,
    last: str | None,
    shards: str | None,
    failed: bool,
    missing: bool,
    parallel: int,
) -> None:
    """Make steps again, whatever is up to date; the same command goes on where a killed one was."""
    from curation_assets.cli.backfill import backfill_pool

    sys.exit(
        backfill_pool(
            pool, first=first, last=last, shards=shards, failed=failed, missing=missing, parallel=parallel
        )
    )


@cli.command(hidden=True)
@click.option("--pool", required=True)
@click.option("--steps", required=True)
@click.option("--first", required=True)
@click.option("--last", required=True)
@click.option("--again", default="")
def work(pool: str, steps: str, first: str, last: str, again: str) -> None:
    """Run one block of shards for `backfill --parallel`."""
    from curation_assets.cli.backfill import work as run_block

    sys.exit(run_block(pool, steps.split(","), (first, last), again))


@cli.command()
@click.option("--pool", help="Name of a pool; all of them if not given.")
def status(pool: str | None) -> None:
    """Show what is up to date, and what is not and why."""
    from curation_assets.cli.status import show_status

    show_status(pool)


@cli.command()
@click.argument("sample_id")
@click.option("--pool", help="Name of a pool; all of them if not given.")
@click.option("--json", "as_json", is_flag=True, help="Print the same as JSON.")
def explain(sample_id: str, pool: str | None, as_json: bool) -> None:
    """Tell what became of a sample and why: its fate, its clusters, the quotas above it, its twin, its files."""
    from curation_assets.cli.explain import explain_sample

    explain_sample(sample_id, pool, as_json=as_json)


@cli.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--rows", type=click.IntRange(1), help="Samples to plan for, if the pool is not ingested yet.")
@click.option("--dim", type=click.IntRange(1), help="Length of an embedding to plan for.")
def validate(path: Path, rows: int | None, dim: int | None) -> None:
    """Check a pool's YAML file, list its files and show the planned levels and their cost."""
    from curation_assets.cli.validate import validate_pool

    validate_pool(path, rows, dim)


@cli.command()
@click.option(
    "--pool", help="Name of a pool: a YAML file in pools/; its levels and settings are planned for."
)
@click.option("--rows", type=Count(), help="Samples, e.g. 743e6 or 743M; those embedded if not given.")
@click.option("--dim", "dimension", type=Count(), help="Length of an embedding; that of the stored ones.")
@click.option("--clusters", type=Counts(), help="Without a pool: of each level, e.g. 10M,500k,50k,10k.")
@click.option("--coarse", type=Count(), help="Without a pool: coarse clusters into which level 1 is split.")
@click.option("--steps", type=click.IntRange(0), help="Without a pool: resampling steps; 10 if not given.")
@click.option("--iterations", type=click.IntRange(1), help="Without a pool: at most so many a fit; 50.")
@click.option("--fit-rows", type=Count(), help="Rows of the sample that level 1 is fitted on.")
@click.option("--gpus", type=click.IntRange(1), help="GPUs; without, this machine's speed is measured.")
@click.option(
    "--tflops", type=click.FloatRange(0, min_open=True), help="Peak of a GPU, bfloat16; 312 (A100)."
)
@click.option(
    "--utilisation",
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of the peak that is reached; 0.4, an assumption.",
)
@click.option("--workers", type=click.IntRange(1), help="Processes that share the rows; as many as GPUs.")
@click.option(
    "--memory", type=Bytes(), help="Budget of a worker, e.g. '80 GB'; the pool's, or 80 GB of a GPU."
)
@click.option(
    "--disk-gbps",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Gigabytes that a worker reads or writes in a second.",
)
@click.option(
    "--network-gbps",
    type=click.FloatRange(0, min_open=True),
    default=3.0,
    show_default=True,
    help="Gigabytes that a worker sends in a second.",
)
@click.option(
    "--embed-rate",
    type=click.FloatRange(0, min_open=True),
    help="Samples that a device embeds in a second: counts embedding, too.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the same as JSON, in bytes and seconds.")
def plan(**options: Any) -> None:
    """Show what curating a pool will cost: distances, memory, disk, network and time of every stage."""
    from curation_assets.cli.plan import PlanOptions, show_plan

    show_plan(PlanOptions(**options))


@cli.command()
@click.argument("demo", type=click.Choice(["openmoji", "docstrings"]))
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Where to write; below data/raw if not given."
)
@click.option("--limit", type=click.IntRange(1), help="Only the first so many samples, for a quick look.")
def prepare(demo: str, folder: Path | None, limit: int | None) -> None:
    """Write the raw shards of a demo pool."""
    from curation_assets.cli.prepare import prepare_docstrings, prepare_openmoji

    {"openmoji": prepare_openmoji, "docstrings": prepare_docstrings}[demo](folder, limit)


@cli.command("ray-demo")
@click.option("--pool", default="emoji", show_default=True, help="A pool that was curated already.")
@click.option("--nodes", type=click.IntRange(3), default=3, show_default=True, help="Simulated nodes.")
def ray_demo(pool: str, nodes: int) -> None:
    """Curate a pool again on a simulated Ray cluster, kill a node meanwhile, and compare the selections."""
    from curation_assets.cli.ray_demo import run_ray_demo

    sys.exit(run_ray_demo(pool, nodes))


def main() -> None:
    """Run the command line; errors that a user can mend are one message, without a traceback."""
    try:
        cli()
    except CurationError as error:
        click.secho(f"error: {error}", fg="red", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
