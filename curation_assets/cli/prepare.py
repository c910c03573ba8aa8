"""`curation-assets prepare`: writes the raw shards of the demo pools."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from rich.console import Console

from curation_assets.cli.terminal import TerminalSink, say
from curation_assets.project import open_home


def prepare_demo(demo: str, folder: Path | None, limit: int | None) -> None:
    """Render the OpenMoji drawings, or gather docstrings of the installed packages; existing files are kept.

    The project gets the demo's pool, planned for the limit if there is one, unless it has a pool of that name.
    """
    from curation_assets.demo.demo_pools import write_demo_pool
    from curation_assets.demo.docstrings import DEFAULT_LIMIT, write_docstring_pool
    from curation_assets.demo.openmoji import write_openmoji_pool

    if demo == "openmoji":
        pool, task, what, write = "emoji", "render_emoji", "images", partial(write_openmoji_pool, limit=limit)
    else:
        pool, task, what = "docstrings", "gather_docstrings", "docstrings"
        write = partial(write_docstring_pool, limit=limit or DEFAULT_LIMIT)
    home = open_home()
    target = folder or home.folder / "data" / "raw" / pool
    console = Console()
    with TerminalSink(console) as sink:
        sink.begin(task, 1)

        def report(done: int, total: int) -> None:
            sink.update(task, done / max(1, total), f"{done:,} of {total:,} {what}")

        shards = write(target, on_progress=report)
        sink.end(task)
    say(console, f"{len(shards)} shards in {target}")
    if folder is None and (path := write_demo_pool(home.pools_folder, pool, limit)):
        size = "the demo" if limit is None else f"{limit:,} {what}"
        say(console, f"settings of {size} in {path}")
