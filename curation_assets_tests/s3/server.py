"""An S3 server of the tests' own (moto), in a process of its own on loopback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from curation_assets.project import Home
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets_tests.projects import Project

_START_SECONDS = 60.0


@contextmanager
def s3_server(log: Path) -> Iterator[dict[str, str]]:
    """What the environment must say to use the server.

    Args:
        log: file for what the server says.
    """
    with (
        log.open("wb") as told,
        subprocess.Popen(
            [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", "0"],
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            yield {
                "AWS_ENDPOINT_URL": _url(process, log),
                "AWS_ACCESS_KEY_ID": "testing",
                "AWS_SECRET_ACCESS_KEY": "testing",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_EC2_METADATA_DISABLED": "true",
                "AWS_CONFIG_FILE": os.devnull,
                "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            }
        finally:
            process.kill()


def _url(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        said = log.read_text(errors="replace")
        if found := re.search(r"Running on (http://127\.0\.0\.1:\d+)", said):
            return found[1]
        assert process.poll() is None, said
        assert time.monotonic() < deadline, said
        time.sleep(0.1)


@dataclass(frozen=True)
class S3Project(Project):
    """A project whose outputs lie in a bucket."""

    bucket: str
    server: tuple[tuple[str, str], ...]

    @property
    def home(self) -> Home:
        return Home(self.folder, f"s3://{self.bucket}/curated", self.folder / "data" / "dagster")

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, **dict(self.server)}

    def objects(self) -> dict[str, str]:
        """Entity tag of every object of the pool, by its path below the pool's folder."""
        folder = PoolStorage(self.home.storage_root, "emoji").folder
        folder.fs.invalidate_cache()
        found = folder.fs.find(folder.path, detail=True)
        return {path.removeprefix(f"{folder.path}/"): facts["ETag"] for path, facts in found.items()}
