"""One PostgreSQL server for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from curation_assets_tests.postgres.server import postgres_server


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    pytest.importorskip("dagster_postgres", reason="needs the extra `postgres`")
    with postgres_server() as url:
        yield url
