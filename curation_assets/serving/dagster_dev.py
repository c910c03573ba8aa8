"""`python -m curation_assets.serving.dagster_dev`: `dagster dev` with its options, its web server behind the guard."""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Sequence
from typing import Any

import dagster as dg

from curation_assets.errors import CurationError

try:
    # Private: `dagster dev` has no setting for its web server.
    from dagster._cli import dev
except ImportError as error:
    # The stock server instead would be open to every page of the browser.
    raise SystemExit(
        f"Dagster {dg.__version__} starts its web server in another way ({error}), which every page of the "
        f"browser could use: install a release that curation-assets allows"
    ) from error

_start_process = dev.open_ipc_subprocess
_WEBSERVER, _GUARDED = "dagster_webserver", "curation_assets.serving.webserver"
_DAEMON = "dagster._daemon"


def start_guarded(parts: Sequence[str], **kwargs: Any) -> subprocess.Popen[Any]:
    """Start a process of `dagster dev`, the guarded web server instead of Dagster's.

    Raises:
        CurationError: if the process is neither the web server nor the daemon.
    """
    python, flag, module, *rest = parts
    if flag != "-m" or module not in (_WEBSERVER, _DAEMON):
        raise CurationError(
            f"this release of Dagster starts its web server in another way ({flag} {module}), which would be open to "
            f"every page of the browser: install a release that pyproject.toml allows"
        )
    return _start_process([python, flag, _GUARDED if module == _WEBSERVER else module, *rest], **kwargs)


if __name__ == "__main__":
    # Its successor `dg dev` is a package of its own, and takes the same web server.
    warnings.filterwarnings("ignore", category=dg.SupersessionWarning)
    dev.open_ipc_subprocess = start_guarded
    dev.dev_command(prog_name="dagster dev")
