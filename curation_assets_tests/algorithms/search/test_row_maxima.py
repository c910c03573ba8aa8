"""Row maxima by integer comparisons are those of the numbers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.search.row_maxima import row_argmax, row_maxima


@given(
    st.integers(0, 10_000),
    st.sampled_from([-3.0, 0.0, 3.0]),
    st.integers(1, 70),
    st.sampled_from([torch.bfloat16, torch.float32]),
)
def test_maxima_and_positions(seed: int, shift: float, m: int, kind: torch.dtype) -> None:
    scores = (torch.randn(9, m, generator=torch.Generator().manual_seed(seed)) + shift).to(kind)
    maxima = row_maxima(scores)
    assert maxima.dtype == torch.float32
    assert torch.equal(maxima, scores.float().amax(dim=1))
    assert torch.equal(scores.gather(1, row_argmax(scores)[:, None])[:, 0].float(), maxima)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float32])
def test_zeros_of_either_sign_and_what_was_left_out(kind: torch.dtype) -> None:
    scores = torch.tensor(
        [[-2.0, -0.0, -1.0], [-torch.inf, -5.0, -torch.inf], [-0.0, 0.0, -1.0], [-torch.inf, 2.0, 7.0]]
    ).to(kind)
    assert row_maxima(scores).tolist() == [0.0, -5.0, 0.0, 7.0]
    positions = row_argmax(scores).tolist()
    assert positions[2] in (0, 1)
    assert positions[:2] + positions[3:] == [1, 1, 2]


def test_without_rows() -> None:
    assert len(row_maxima(torch.empty(0, 3, dtype=torch.bfloat16))) == 0
    assert len(row_argmax(torch.empty(0, 3, dtype=torch.bfloat16))) == 0
