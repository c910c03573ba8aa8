"""The library's face, and what start-up reads of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from curation_assets import algorithms


def test_everything_that_is_offered_is_there() -> None:
    assert all(getattr(algorithms, name).__name__ == name for name in algorithms.__all__)
    with pytest.raises(AttributeError, match="no attribute 'kmeans_of_all'"):
        algorithms.kmeans_of_all  # noqa: B018 - asked for by its name


def test_settings_load_no_libraries() -> None:
    code = (
        "import sys, curation_assets.algorithms.settings\n"
        "assert not {'torch', 'numba', 'numpy'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
