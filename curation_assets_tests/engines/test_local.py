"""The local engine: in order, one at a time, and nothing to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

from curation_assets.engines import LocalEngine, build_engine
from curation_assets.engines.ray import session
from curation_assets.errors import PoolSpecError
from curation_assets.pools import EngineSettings


def test_an_item_is_taken_when_the_one_before_is_done() -> None:
    events = []

    def items() -> object:
        for number in range(3):
            events.append(f"take {number}")
            yield number

    for number, result in LocalEngine().map(lambda item: item * 10, items()):  # type: ignore[arg-type]
        events.append(f"done {number}: {result}")
    assert events == ["take 0", "done 0: 0", "take 1", "done 1: 10", "take 2", "done 2: 20"]


def test_the_only_worker_lives_in_this_process() -> None:
    engine = LocalEngine()
    with engine.hold(lambda number: [number, "worker"], 1) as pool:
        assert pool.n_workers == 1
        assert pool.ask("index", [("worker",)]) == [1]
    with pytest.raises(ValueError, match="n_workers is 2"), engine.hold(list, 2):
        pass
    assert engine.describe() == {"kind": "local", "workers": 1}


def test_the_local_engine_imports_no_ray() -> None:
    code = (
        "import sys\n"
        "from curation_assets.engines import build_engine\n"
        "from curation_assets.pools import EngineSettings\n"
        "assert build_engine(EngineSettings(), 10**9).is_local\n"
        "assert 'ray' not in sys.modules and 'torch' not in sys.modules\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_the_extra_the_ray_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "find_spec", lambda name: None)
    with pytest.raises(PoolSpecError, match=r"pip install 'curation-assets\[ray\]'"):
        build_engine(EngineSettings(kind="ray"), 10**9)
