"""Fixtures of the algorithms' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def three_torch_threads() -> Iterator[None]:
    """Three threads for torch, however many cores there are, and the old number afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)
