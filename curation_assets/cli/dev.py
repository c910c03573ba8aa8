"""`curation-assets dev`: the Dagster UI, its daemon and the reports, for the browser of this machine."""

from __future__ import annotations

import os
import subprocess
import sys

from curation_assets.project import LOOPBACK, open_home

_LOCATION = "curation_assets.definitions"


def open_ui(port: int) -> None:
    """Become `dagster dev` behind a guard, with the server of reports beside it; both end together."""
    home = open_home()
    workspace = home.folder / "workspace.yaml"
    target = ["--workspace", str(workspace)] if workspace.exists() else ["--module-name", _LOCATION]
    environment = os.environ | home.environment
    subprocess.Popen(
        [sys.executable, "-m", "curation_assets.cli.main", "serve", "--with-parent"], env=environment
    )
    command = [sys.executable, "-m", "curation_assets.serving.dagster_dev", *target]
    os.execve(  # noqa: S606 - no shell
        sys.executable, [*command, "--host", LOOPBACK, "--port", str(port)], environment
    )
