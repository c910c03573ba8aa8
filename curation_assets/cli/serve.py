"""`curation-assets serve`: opens reports in the browser of this machine."""

from __future__ import annotations

from rich.console import Console

from curation_assets.cli.terminal import say
from curation_assets.project import open_home, report_url


def serve(*, with_parent: bool) -> None:
    """Serve the reports until interrupted, or until the process that started this one ends.

    Raises:
        PoolSpecError: if the port is taken.
    """
    from curation_assets.serving.reports import open_listener, serve_reports

    home = open_home()
    with open_listener(home.report_port) as listener:
        say(Console(), f"reports are on {report_url('POOL')}")
        serve_reports(home.storage_root, listener, with_parent=with_parent)
