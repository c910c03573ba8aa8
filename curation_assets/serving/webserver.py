"""`python -m curation_assets.serving.webserver`: Dagster's web server, with its options, behind the guard."""

from __future__ import annotations

from dagster_webserver import app
from dagster_webserver.cli import main
from dagster_webserver.webserver import DagsterWebserver
from starlette.middleware import Middleware

from curation_assets.serving.guard import LoopbackGuard


class GuardedWebserver(DagsterWebserver):
    """Dagster's web server, which refuses what other sites make a browser send."""

    def build_middleware(self) -> list[Middleware]:
        """The guard comes first."""
        return [Middleware(LoopbackGuard), *super().build_middleware()]


if __name__ == "__main__":
    # Dagster has no setting for middleware of one's own: its command builds the class that this module names.
    app.DagsterWebserver = GuardedWebserver  # type: ignore[misc]
    main()
