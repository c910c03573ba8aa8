"""`curation-assets pack`: loose files of a folder pool as tars beside it."""

from __future__ import annotations

from pathlib import Path

import yaml
from rich.console import Console

from curation_assets import progress
from curation_assets.cli.terminal import TerminalSink, say
from curation_assets.errors import PoolSpecError
from curation_assets.formats.listing import resolve_location
from curation_assets.pools.memory import parse_bytes
from curation_assets.project import find_spec, open_home
from curation_assets.steps.context import PoolAccess
from curation_assets.steps.packing import pack, source_of_tars

_SMALLEST_TAR = 10_000
_NAMES_SHOWN = 3


def pack_pool(pool: str, folder: str, size: str) -> None:
    """Pack the files of a pool into tars, and print the settings of a pool that reads them.

    Raises:
        PoolSpecError: if the pool does not exist, has another format than `folder`, or an option is invalid.
        ShardError: if a file cannot be read.
    """
    try:
        tar_bytes = parse_bytes(size)
    except ValueError as error:
        raise PoolSpecError(f"--size is '{size}': {error}") from error
    if tar_bytes < _SMALLEST_TAR:
        raise PoolSpecError(f"--size is '{size}': give at least {_SMALLEST_TAR:,} bytes")
    home, console = open_home(), Console()
    spec = find_spec(home, pool)
    access = PoolAccess(spec, home.storage(pool), str(home.folder))
    out = resolve_location(folder, Path.cwd())
    with (
        TerminalSink(console) as sink,
        progress.shown_in(sink),
        progress.task("pack", 1, lambda _: None) as report,
    ):
        packed = pack(access, out, tar_bytes, report)
    many = "" if len(packed.tars) == 1 else "s"
    kept = f", {packed.n_kept:,} of them from before" if packed.n_kept else ""
    say(
        console,
        f"{packed.n_files:,} files, {packed.n_bytes / 1e6:,.1f} MB: {len(packed.tars):,} tar{many} in {out}{kept}",
        "green",
    )
    n_captions = sum(tar.n_captions for tar in packed.tars)
    n_attributes = sum(tar.n_attributes for tar in packed.tars)
    if n_captions or n_attributes:
        say(
            console, f"with {n_captions:,} captions and the fields of {n_attributes:,} JSON files beside them"
        )
    if unreadable := [path for tar in packed.tars for path in tar.unreadable]:
        named = ", ".join(unreadable[:_NAMES_SHOWN]) + (", ..." if len(unreadable) > _NAMES_SHOWN else "")
        say(console, f"not packed: {len(unreadable):,} JSON files that hold no object ({named})", "yellow")
    say(
        console,
        "The files are as they were. Ids lose their extension, so the tars are the source of another pool:",
    )
    settings = {"source": source_of_tars(spec, str(out))}
    say(console, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True).rstrip())
