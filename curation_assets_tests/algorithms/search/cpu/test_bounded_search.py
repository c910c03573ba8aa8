"""The compiled search among centroids that bounds leave open."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms.search.codebook import Codebook
from curation_assets.algorithms.search.cpu.bounded_search import (
    Answers,
    RowLimits,
    _key,
    _leader,
    _make_sortable,
    _marked,
    _number,
)
from curation_assets.algorithms.search.cpu.kernels import search_bounded


def limits_of(
    at_least: torch.Tensor,
    above: torch.Tensor,
    slack: torch.Tensor,
    own: torch.Tensor | None,
    left_out: torch.Tensor | None = None,
) -> RowLimits:
    own = torch.full_like(at_least, -torch.inf) if own is None else own
    left_out = torch.full((len(at_least),), -1) if left_out is None else left_out
    return RowLimits(*(tensor.numpy() for tensor in (at_least, above, slack, own, left_out)))


Numbers = st.floats(width=32, allow_nan=False)


@given(st.lists(Numbers, min_size=2, max_size=20), st.booleans())
def test_keys_sort_as_numbers_do(numbers: list[float], is_half: bool) -> None:
    kind, bits = (torch.bfloat16, torch.int16) if is_half else (torch.float32, torch.int32)
    values = torch.tensor(numbers).to(kind)
    keys = values.view(bits).numpy().copy()
    _make_sortable(keys, is_half)
    wide = values.float().numpy()
    for i in range(len(keys)):
        assert _number(keys[i], is_half) == wide[i]
        assert _key(wide[i], is_half) == (-1 if wide[i] == 0 else keys[i])
        # All that is no less than a number has no lower key, also if the number has more bits than keys tell apart.
        limit = _key(np.float32(numbers[i]), is_half)
        assert (keys[wide >= np.float32(numbers[i])] >= limit).all()
        assert (keys[wide < _number(limit, is_half)] < limit).all()


@given(
    st.integers(0, 1000), st.sampled_from([1, 3, 255, 256, 300, 1000]), st.sampled_from(["int16", "int32"])
)
def test_the_leader_has_the_largest_key(seed: int, n: int, kind: str) -> None:
    keys = np.random.default_rng(seed).integers(-50, 50, size=n).astype(kind)
    leader = _leader(keys, np.empty(min(256, n), dtype=kind))
    assert keys[leader] == keys.max()


def test_marks_are_listed_in_order() -> None:
    is_marked = np.zeros(32, dtype=np.uint8)
    is_marked[[0, 7, 8, 30]] = 1
    columns = np.empty(33, dtype=np.int64)
    n_marked = _marked(is_marked, columns)
    assert columns[:n_marked].tolist() == [0, 7, 8, 30]


@settings(deadline=None)
@given(st.integers(0, 1000), st.booleans(), st.booleans(), st.sampled_from([0.01, 0.3]))
def test_whatever_the_bounds_the_best_is_found(
    seed: int, is_rounded: bool, is_alone: bool, looseness: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    n_rows, k = 11, 600
    block, centroids = torch.randn(n_rows, 5, generator=generator), torch.randn(k, 5, generator=generator)
    scores = block @ centroids.T
    bounds = torch.full((n_rows, 608), -3e38)
    bounds[:, :k] = scores + looseness * torch.rand(n_rows, k, generator=generator)
    # What is rounded to the nearest may be lower by half a unit in the last place.
    kind, roundoff = (torch.bfloat16, 2.0**-7) if is_rounded else (torch.float32, 0.0)
    own = None if is_alone else scores.amax(dim=1) - 0.2
    order, slack = torch.randperm(n_rows, generator=generator), 1e-4
    column, best, others = torch.zeros(n_rows, dtype=torch.int64), torch.empty(n_rows), torch.empty(n_rows)
    limits = limits_of(
        torch.full((n_rows,), -10.0) if own is None else own - slack,
        torch.full((n_rows,), 1e-5),
        torch.full((n_rows,), slack),
        own,
    )
    answers = Answers(*(tensor.numpy() for tensor in (column, best, others)))
    book = Codebook(centroids, torch.zeros(k), 0.0)
    search_bounded(
        block, order, bounds[order].to(kind), book, limits, answers,
        runner_up=not is_alone, roundoff=roundoff,
    )  # fmt: skip
    assert (column >= 0).all()
    first, second = scores.topk(2, dim=1).values.T
    torch.testing.assert_close(best, first, rtol=0, atol=1e-5)
    torch.testing.assert_close(scores.gather(1, column[:, None])[:, 0], first, rtol=0, atol=1e-5)
    assert (others >= second - 1e-5).all()
    if is_alone:
        assert (best - others > slack)[first - second > 1.1 * slack].all(), "a clear winner shows"
    else:
        # As tight as the loosest bound allows.
        assert (others <= second + looseness + 2 * roundoff * (second.abs() + 1) + 1e-4).all()


def _search(
    bounds: list[list[float]],
    scores: list[list[float]],
    at_least: float,
    own: float | None = None,
    left_out: int | None = None,
    roundoff: float = 0.0,
    kind: torch.dtype = torch.float32,
) -> tuple[list[int], list[float], list[float], int]:
    """Search for rows that are unit vectors, so that the centroids' coordinates are their scores."""
    n_rows, k = len(scores), len(scores[0])
    padded = torch.full((n_rows, 16), -3e38, dtype=kind)
    padded[:, :k] = torch.tensor(bounds)
    found = torch.zeros(n_rows, dtype=torch.int64), torch.empty(n_rows), torch.empty(n_rows)
    limits = limits_of(
        torch.full((n_rows,), at_least),
        torch.zeros(n_rows),
        torch.full((n_rows,), 0.001),
        None if own is None else torch.full((n_rows,), own),
        None if left_out is None else torch.full((n_rows,), left_out),
    )
    book = Codebook(torch.tensor(scores).T.contiguous(), torch.zeros(k), 0.0)
    search_bounded(
        torch.eye(n_rows), torch.arange(n_rows), padded, book, limits,
        Answers(*(tensor.numpy() for tensor in found)), runner_up=own is not None, roundoff=roundoff,
    )  # fmt: skip
    n_left = int((found[0] < 0).sum())
    return found[0].tolist(), found[1].tolist(), found[2].tolist(), n_left


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_a_search_for_the_best_alone(kind: torch.dtype) -> None:
    # The first bound is the largest, but the second score is: the third is ruled out by it.
    column, best, others, n_left = _search([[0.9, 0.8, 0.5]], [[0.2, 0.7, 0.4]], at_least=-1.0, kind=kind)
    assert (column, n_left) == ([1], 0)
    assert best == pytest.approx([0.7])
    # All that is known of it is that it does not come near: scores apart by more than the slack are in order.
    assert others == pytest.approx([0.7 - 1.01 * 0.001])
    assert best[0] - others[0] > 0.001


def test_nothing_of_interest() -> None:
    column, best, others, n_left = _search([[0.4, 0.3]], [[0.35, 0.2]], at_least=0.5)
    assert (column, n_left) == ([0], 0)
    assert best == pytest.approx([0.35])
    assert others == pytest.approx([0.5])


def test_bounds_that_rounding_has_lowered_rule_out_less() -> None:
    # The second bound was 0.71 before it lost a tenth: it is below what the first one scores, but may not be.
    assert _search([[0.9, 0.64]], [[0.7, 0.705]], at_least=-1.0)[0] == [0]
    column, best, others, _ = _search([[0.9, 0.64]], [[0.7, 0.705]], at_least=-1.0, roundoff=0.125)
    assert column == [1]
    assert best == pytest.approx([0.705])
    assert others == pytest.approx([0.705 - 1.01 * 0.001])
    # Beside an own centroid the bound of what is not looked at is handed on as it may have been; negative ones were
    # lowered away from zero.
    beside = {"at_least": 0.5, "own": 0.6, "roundoff": 0.125}
    assert _search([[0.9, 0.4]], [[0.7, 0.2]], **beside)[2] == pytest.approx([0.45])
    assert _search([[0.9, -0.4]], [[0.7, -0.5]], **beside)[2] == pytest.approx([-0.35])
    assert _search([[-0.1, -0.5]], [[-0.5, -0.45]], at_least=-1.0, roundoff=0.125)[0] == [1]


def test_rows_of_which_most_stays_open_are_left() -> None:
    scores = [[0.1 * number for number in range(12)]] * 5
    column, _, _, n_left = _search([[0.95] + [0.9] * 10 + [0.0]] * 5, scores, at_least=0.5)
    assert column == [10] * 5, "11 of 16 are fewer than 0.7"
    assert n_left == 0
    column, _, _, n_left = _search([[0.95] + [0.9] * 11] * 5, scores, at_least=0.5)
    assert column == [-1] * 5
    assert n_left == 5


def test_a_search_beside_an_own_centroid_goes_on_to_the_second_best() -> None:
    # Own scores 0.6, so a rival of 0.45 has to be known though it cannot win.
    column, best, others, _ = _search([[0.5, 0.46, 0.3]], [[0.4, 0.45, 0.1]], at_least=0.0, own=0.6)
    assert column == [1]
    assert best == pytest.approx([0.45])
    assert others == pytest.approx([0.4])


def test_the_one_that_is_left_out_does_not_count() -> None:
    column, best, _, _ = _search([[0.9, 0.8, 0.5]], [[0.8, 0.7, 0.4]], at_least=-1.0, own=0.8, left_out=0)
    assert column == [1]
    assert best == pytest.approx([0.7])


def test_rows_that_do_not_come_by_fours() -> None:
    scores = [[0.1 * ((row + column) % 7) for column in range(7)] for row in range(6)]
    column, best, _, _ = _search(scores, scores, at_least=-1.0)
    assert column == [(6 - row) % 7 for row in range(6)]
    assert best == pytest.approx([0.6] * 6)
