"""`curation-assets dev`: the Dagster UI, its daemon and the reports, for the browser of this machine."""

from __future__ import annotations

import os
import subprocess
import sys

from curation_assets.defs.run.origin import workspace_file
from curation_assets.project import LOOPBACK, open_home


def open_ui(port: int) -> None:
    """Become `dagster dev` behind a guard, with the server of reports beside it; both end together."""
    home = open_home()
    environment = os.environ | home.environment
    subprocess.Popen(
        [sys.executable, "-m", "curation_assets.cli.main", "serve", "--with-parent"], env=environment
    )
    command = [
        sys.executable, "-m", "curation_assets.serving.dagster_dev", "--workspace", str(workspace_file(home)),
        "--host", LOOPBACK, "--port", str(port),
    ]  # fmt: skip
    os.execve(sys.executable, command, environment)  # noqa: S606 - no shell
