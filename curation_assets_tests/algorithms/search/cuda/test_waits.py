"""How often the host waits for the card, counted without one."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from curation_assets.algorithms.kmeans.lloyd import Lloyd
from curation_assets.algorithms.kmeans.tiles import TiledRows
from curation_assets.algorithms.search import choose
from curation_assets_tests.algorithms.search.cuda.kernels_here import (
    device_of_kernels,
    use_kernels,
    use_small_searches,
)
from curation_assets_tests.algorithms.search.cuda.stored_cases import prepared_rows

# What asks a device for a number, or for a size that depends on values.
_OPERATIONS = {"aten._local_scalar_dense.default", "aten.nonzero.default", "aten.masked_select.default"}


class _Operations(TorchDispatchMode):
    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__()
        self._note = note

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        masks = str(func).startswith("aten.index") and any(
            isinstance(index, torch.Tensor) and index.dtype == torch.bool
            for part in args
            if isinstance(part, list | tuple)
            for index in part
        )
        if str(func) in _OPERATIONS or masks:
            self._note(str(func))
        return func(*args, **(kwargs or {}))


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Counts waits in the block by the lines that ask, those of the interpreter left out."""
    from triton.runtime.interpreter import GridExecutor

    waits: Counter[str] = Counter()

    def note(what: str) -> None:
        frames = [frame for frame in traceback.extract_stack() if "/curation_assets/" in frame.filename]
        if not any("interpreter.py" in frame.filename for frame in traceback.extract_stack()):
            waits[f"{frames[-1].name}: {frames[-1].line} ({what})"] += 1

    def noting(name: str) -> Callable[..., Any]:
        original = getattr(torch.Tensor, name)

        def call(self: torch.Tensor, *arguments: Any, **options: Any) -> Any:
            note(name)
            return original(self, *arguments, **options)

        return call

    launch = GridExecutor.__call__

    def unseen(self: Any, *arguments: Any, **options: Any) -> Any:
        with torch.utils._python_dispatch._disable_current_modes():
            return launch(self, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(GridExecutor, "__call__", unseen)
        for name in ("cpu", "tolist"):
            patched.setattr(torch.Tensor, name, noting(name))
        with _Operations(note):
            yield waits


def waits_of_a_step(n_rows: int, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    rng = np.random.default_rng(0)
    stored = rng.normal(size=(n_rows, 6)).astype(np.float16)
    tiled = TiledRows(prepared_rows(stored, "cosine", False), "cpu")
    centroids = tiled.take(np.arange(8))
    lloyd = Lloyd(tiled, centroids)
    lloyd.all_rows()
    moved = centroids.clone()
    # Three move a little, so that some rows change cluster and others stay open.
    moved[:3] = torch.nn.functional.normalize(moved[:3] + 0.3 * moved[5:])
    with counted(monkeypatch) as waits:
        _, n_reassigned = lloyd.step(moved)
    assert n_reassigned
    return waits


def test_an_iteration_waits_a_few_times_however_many_rows_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    device_of_kernels()
    use_small_searches(monkeypatch)
    use_kernels(monkeypatch)
    monkeypatch.setattr(choose, "_pays_for_kernels", lambda *_: True)
    few, many = (waits_of_a_step(n_rows, monkeypatch) for n_rows in (60, 240))
    assert few.total() <= many.total() <= 17, many
