"""`curation-assets prepare`: the raw shards of the demo pools."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from curation_assets.cli.project import open_home
from curation_assets.cli.terminal import TerminalSink


def prepare_openmoji(folder: Path | None, limit: int | None) -> None:
    """Render the OpenMoji drawings into WebDataset shards; finished shards are kept."""
    from curation_assets.demo.openmoji import write_openmoji_pool

    target = folder or open_home().folder / "data" / "raw" / "emoji"
    console = Console()
    with TerminalSink(console) as sink:
        sink.begin("render_emoji", limit or 1)

        def report(done: int, total: int) -> None:
            sink.update("render_emoji", done / max(1, total) * (limit or 1), f"{done:,} of {total:,} images")

        shards = write_openmoji_pool(target, limit=limit, on_progress=report)
        sink.end("render_emoji")
    console.print(f"{len(shards)} shards in {target}", highlight=False, soft_wrap=True)
