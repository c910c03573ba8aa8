"""One S3 server for all tests of this folder, known to this process too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from curation_assets_tests.s3.server import s3_server


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    pytest.importorskip("moto", reason="needs moto[server]")
    s3fs = pytest.importorskip("s3fs", reason="needs the extra `s3`")
    with (
        s3_server(tmp_path_factory.mktemp("s3") / "log") as environment,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in environment.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        yield environment
    s3fs.S3FileSystem.clear_instance_cache()
