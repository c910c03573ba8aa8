"""Entry point: commands and their options."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from curation_assets import __version__
from curation_assets.cli.numbers import Bytes, Count, Counts
from curation_assets.errors import CurationError, PoolBusyError

_POOL_HELP = "Name of the pool; its settings are in pools/NAME.yaml, or in a component of this name."
_SHARDS_EXAMPLE = "for example 00000..00009 or 00003,00007"
_INT: dict[str, Any] = {"metavar": "N", "type": click.IntRange(1)}
_FLOAT: dict[str, Any] = {"metavar": "X", "type": click.FloatRange(0, min_open=True)}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Curate balanced datasets for self-supervised learning from large, unbalanced pools.

    A pool is a YAML file in the folder pools/. It names the source files, the encoder and the datasets to make.
    `init` writes one, with the project around it. Check it with `validate`, estimate its cost with `plan`, and curate
    it with `run`.
    """


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=".")
@click.option(
    "--source",
    "kind",
    type=click.Choice(["images", "text", "embeddings"]),
    default="images",
    show_default=True,
    help="What the pool holds.",
)
@click.option("--path", help="Folder or fsspec URI of its files (default: data/raw/NAME).")
@click.option("--name", help="Name of the pool (default: that of the path's last folder).")
def init(folder: Path, kind: Any, path: str | None, name: str | None) -> None:
    """Write a new project to FOLDER: a commented pool, and what Dagster needs.

    FOLDER is the current one by default. Nothing is overwritten.
    """
    from curation_assets.cli.init import init_project

    init_project(folder, kind, path, name)


@cli.command()
@click.option("--pool", metavar="NAME", required=True, help=_POOL_HELP)
@click.option(
    "--from", "first", metavar="STEP", help="Rebuild this step and all steps after it, e.g. level_2."
)
@click.option("--shards", metavar="SHARDS", help=f"Only read and embed these shards, {_SHARDS_EXAMPLE}.")
@click.option(
    "--accept-removals",
    is_flag=True,
    help="Confirm that files which are no longer listed are gone for good, and remove what is stored of them.",
)
def run(pool: str, first: str | None, shards: str | None, accept_removals: bool) -> None:
    """Bring a pool up to date, from its files to the report.

    Skips everything that is up to date. If the run is interrupted, start it again: finished work is kept.
    """
    from curation_assets.cli.run import run_pool

    sys.exit(run_pool(pool, first=first, shards=shards, accept_removals=accept_removals))


@cli.command()
@click.option("--pool", metavar="NAME", required=True, help=_POOL_HELP)
@click.option("--from", "first", metavar="STEP", help="First step to rebuild, e.g. embeddings or level_2.")
@click.option("--to", "last", metavar="STEP", help="Last step to rebuild (default: all steps after --from).")
@click.option("--shards", metavar="SHARDS", help=f"Rebuild only these shards, {_SHARDS_EXAMPLE}.")
@click.option("--failed", is_flag=True, help="Run only shards that failed and are still out of date.")
@click.option("--missing", is_flag=True, help="Run only shards that lack an output.")
@click.option("--parallel", default=1, show_default=True, **_INT, help="Processes that share the shards.")
def backfill(**options: Any) -> None:
    """Rebuild steps even if they are up to date.

    Give --from to rebuild steps for all shards. To choose shards, give --shards, --failed or --missing. If the
    command is interrupted, run the same command again to resume.
    """
    from curation_assets.cli.backfill import backfill_pool

    sys.exit(backfill_pool(**options))


@cli.command(hidden=True)
@click.option("--pool", required=True)
@click.option("--steps", required=True)
@click.option("--first", required=True)
@click.option("--last", required=True)
@click.option("--again", "forced", default="")
@click.option("--parent", default="")
@click.option("--wave", default="")
def work(pool: str, steps: str, first: str, last: str, forced: str, parent: str, wave: str) -> None:
    """Run one block of shards for `backfill --parallel`."""
    from curation_assets.cli.backfill import work as run_block

    sys.exit(run_block(pool, steps.split(","), (first, last), forced, parent, wave))


@cli.command()
@click.option("--pool", metavar="NAME", help="Name of the pool (default: all pools).")
@click.option(
    "--listing/--no-listing",
    "listing",
    default=None,
    help="List the files, or only show the state of the last listing. Default: list pools of up to 200,000 files.",
)
def status(pool: str | None, listing: bool | None) -> None:
    """Show what is up to date, and why the rest is not.

    Lists the files of the pool and of its evaluation sets, and shows what the next run will take in. Changes nothing.
    """
    from curation_assets.cli.status import show_status

    show_status(pool, list_files=listing)


@cli.command()
@click.option("--pool", metavar="NAME", required=True, help=_POOL_HELP)
@click.option("--size", default="1GB", show_default=True, help="Size of a tar, with its unit.")
@click.argument("out_folder")
def pack(pool: str, size: str, out_folder: str) -> None:
    """Pack the loose files of a folder pool into tars in OUT_FOLDER.

    Labels from folder names, captions (.txt) and fields (.json) beside the files are kept. Prints the settings of a
    pool that reads the tars. Removes nothing; if it is interrupted, the same command goes on.
    """
    from curation_assets.cli.files.pack import pack_pool

    pack_pool(pool, out_folder, size)


@cli.command()
@click.option("--pool", metavar="NAME", help="Name of the pool (default: all pools).")
@click.option("--repair", is_flag=True, help="Remove what is damaged, so that the next run makes it again.")
def verify(pool: str | None, repair: bool) -> None:
    """Read everything that is stored, and name what is missing, cut or changed.

    Compares each file with the digest that was recorded when it was written.
    """
    from curation_assets.cli.verify import verify as verify_pools

    sys.exit(verify_pools(pool, repair=repair))


@cli.command()
@click.argument("sample_id")
@click.option("--pool", metavar="NAME", help="Pool to search (default: all pools).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(sample_id: str, pool: str | None, as_json: bool) -> None:
    """Show what happened to a sample, and why.

    Prints the sample's fate, its clusters and their quotas, and the output files that contain it. For a duplicate,
    also names the sample that was kept.
    """
    from curation_assets.cli.explain import explain_sample

    explain_sample(sample_id, pool, as_json=as_json)


@cli.command()
@click.option("--pool", metavar="NAME", required=True, help=_POOL_HELP)
@click.option(
    "--all", "every_measure", is_flag=True, help="Print every measure, not the three most telling ones."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the spread of every figure.")
def frontier(pool: str, every_measure: bool, as_json: bool) -> None:
    """Show what subsets of ten sizes are worth, to choose a size by.

    Compares random subsets, the paper's rule and the rule of the pool's first target.
    """
    from curation_assets.cli.frontier import show_frontier

    show_frontier(pool, every_measure=every_measure, as_json=as_json)


@cli.command()
@click.option("--pool", metavar="NAME", required=True, help=_POOL_HELP)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the accuracy of every label.")
def probe(pool: str, as_json: bool) -> None:
    """Show what is learnt from subsets of each target's size, and which labels lose.

    Compares random subsets, flat k-means and every level that a target can be balanced from.
    """
    from curation_assets.cli.probe import show_probe

    show_probe(pool, as_json=as_json)


@cli.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--rows", **_INT, help="Samples to plan for (default: the number of stored embeddings).")
@click.option(
    "--dim", **_INT, help="Embedding dimension (default: that of the stored embeddings; 1024 with --rows)."
)
def validate(path: Path, rows: int | None, dim: int | None) -> None:
    """Check a pool's YAML file and its source files.

    PATH is the YAML file of a pool, or a defs.yaml of components. If the number of samples is known, also shows the
    planned levels and their cost.
    """
    from curation_assets.cli.validate import validate_pool

    validate_pool(path, rows, dim)


@cli.command()
@click.option("--pool", metavar="NAME", help="Plan for the settings of this pool, pools/NAME.yaml.")
@click.option("--rows", type=Count(), help="Samples, e.g. 743e6 or 743M (default: as many as are embedded).")
@click.option(
    "--dim", "dimension", type=Count(), help="Embedding dimension (default: that of the stored embeddings)."
)
@click.option(
    "--clusters", type=Counts(), help="Without --pool: clusters of each level, e.g. 10M,500k,50k,10k."
)
@click.option("--coarse", type=Count(), help="Without --pool: coarse clusters that level 1 is split into.")
@click.option(
    "--steps", metavar="N", type=click.IntRange(0), help="Without --pool: resampling steps (default: 10)."
)
@click.option("--iterations", **_INT, help="Without --pool: maximum Lloyd iterations per fit (default: 50).")
@click.option("--fit-rows", type=Count(), help="Rows that level 1 is fitted on (default: all rows).")
@click.option(
    "--gpu",
    type=click.Choice(["a100", "h100", "h200", "l4"]),
    help="Kind of GPU to plan for: sets speed and memory (default with --gpus: a100).",
)
@click.option(
    "--gpus", **_INT, help="GPUs to plan for (default: none; this machine, with its GPU, is measured)."
)
@click.option("--tflops", **_FLOAT, help="Peak bfloat16 TFLOP/s of a GPU (default: its data sheet's).")
@click.option(
    "--utilisation",
    metavar="X",
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of a GPU's peak that is reached (default: as measured; 0.42 for kinds never measured).",
)
@click.option("--workers", **_INT, help="Processes that share the rows (default: one per GPU, or 1).")
@click.option(
    "--memory",
    type=Bytes(),
    help="Memory of a worker, e.g. '80 GB' (default: the pool's memory_budget; with --gpu as much as its card has).",
)
@click.option(
    "--device-memory",
    type=Bytes(),
    help="Memory of a GPU that fits may take (default: the pool's device_memory; else 0.8 of what is there or free).",
)
@click.option("--disk-gbps", default=1.0, show_default=True, **_FLOAT, help="Disk speed of a worker in GB/s.")
@click.option(
    "--network-gbps", default=3.0, show_default=True, **_FLOAT, help="Network speed of a worker in GB/s."
)
@click.option(
    "--embed-rate", **_FLOAT, help="Samples a device embeds per second (default: do not count embedding)."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, in bytes and seconds.")
def plan(**options: Any) -> None:
    """Estimate the cost of curating a pool.

    Shows distance computations, disk, network and time of every stage, and the memory of every level. Give --pool
    to plan for a pool, or --rows and --dim to plan without one.
    """
    from curation_assets.cli.plan.output import show_plan
    from curation_assets.cli.plan.pricing import PlanOptions

    show_plan(PlanOptions(**options))


@cli.command()
@click.option(
    "--port",
    metavar="N",
    type=click.IntRange(1, 65535),
    default=3000,
    show_default=True,
    help="Port of the UI.",
)
def dev(port: int) -> None:
    """Open the Dagster UI for the browser of this machine.

    Starts Dagster's web server and daemon, and serves the reports that the UI links to. Pages of other sites, which
    a browser would let talk to the server, are refused.
    """
    from curation_assets.cli.dev import open_ui

    open_ui(port)


@cli.command("serve")
@click.option("--with-parent", is_flag=True, help="End when the process that started this one ends.")
def serve_reports(with_parent: bool) -> None:
    """Serve reports to the browser of this machine.

    The Dagster UI links to them. `dev` runs this command beside the UI. CURATION_REPORT_PORT sets the port.
    """
    from curation_assets.cli.serve import serve

    serve(with_parent=with_parent)


@cli.command()
@click.argument("demo", type=click.Choice(["openmoji", "docstrings"]))
@click.option("--folder", type=click.Path(path_type=Path), help="Folder to write to (default: in data/raw).")
@click.option(
    "--limit",
    **_INT,
    help="Write only the first N samples, and plan the pool for them.",
)
def prepare(demo: str, folder: Path | None, limit: int | None) -> None:
    """Write the source files of a demo pool, and its settings unless the project has them."""
    from curation_assets.cli.prepare import prepare_demo

    prepare_demo(demo, folder, limit)


@cli.command()
@click.option("--markdown", is_flag=True, help="Print the reference of all keys instead, as Markdown.")
def schema(markdown: bool) -> None:
    """Print the JSON schema of pool files.

    Editors use it to check and complete a pool's YAML file.
    """
    from curation_assets.pools.reference import json_schema, markdown_reference

    click.echo(markdown_reference().rstrip() if markdown else json.dumps(json_schema(), indent=1))


@cli.command("ray-demo")
@click.option("--pool", metavar="NAME", default="emoji", show_default=True, help="A curated pool.")
@click.option(
    "--nodes", metavar="N", type=click.IntRange(3), default=3, show_default=True, help="Simulated nodes."
)
def ray_demo(pool: str, nodes: int) -> None:
    """Show that losing a node does not change the result.

    Curates a pool again on a simulated Ray cluster, kills a node during the run, and compares the selection with
    the existing one.
    """
    from curation_assets.cli.ray_demo import run_ray_demo

    sys.exit(run_ray_demo(pool, nodes))


def main() -> None:
    """Run the command line; a `CurationError`, or a fault of the machine, is printed as one line."""
    try:
        cli()
    except CurationError as error:
        click.secho(f"error: {error}", fg="red", err=True)
        sys.exit(1 if isinstance(error, PoolBusyError) else 2)
    except Exception as error:
        # Not above: it imports what reads pools, and --help has no need of that.
        from curation_assets.faults import fault_line

        line = fault_line(error)
        if line is None:
            raise
        click.secho(f"error: {line}", fg="red", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
