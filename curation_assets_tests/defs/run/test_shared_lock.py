"""Without PostgreSQL there is no lock to share; with it see curation_assets_tests/postgres."""

from pathlib import Path

import dagster as dg

from curation_assets.defs.run.shared_lock import only_runner_of_all


def test_sqlite_has_no_such_lock(tmp_path: Path) -> None:
    with (
        dg.DagsterInstance.local_temp(str(tmp_path)) as instance,
        only_runner_of_all(instance, "p"),
        only_runner_of_all(instance, "p"),
    ):
        assert instance.get_runs_count() == 0
