"""Counts how often the host waits for the card, without one."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

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
