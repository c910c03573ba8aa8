from __future__ import annotations

import logging

import pytest
import torch

from curation_assets.encoders.batch_size import BatchSize, is_out_of_memory
from curation_assets.errors import PoolSpecError


class Card:
    """Has room for so many samples at a time."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.tried: list[int] = []

    def work(self, samples: list[int]) -> list[int]:
        self.tried.append(len(samples))
        if len(samples) > self.room:
            raise torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 79 GiB. More. And more"
            )
        return [10 * sample for sample in samples]


@pytest.mark.parametrize("n_samples", [0, 1, 8, 9, 30])
def test_batches_are_full_and_in_order(n_samples):
    card = Card(room=100)
    parts = BatchSize(8, "cuda").run(card.work, range(n_samples))
    assert [value for part in parts for value in part] == [10 * i for i in range(n_samples)]
    assert card.tried == [8] * (n_samples // 8) + [n_samples % 8] * (n_samples % 8 > 0)


def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_done_twice(caplog):
    card, size = Card(room=100), BatchSize(8, "cuda:1")
    assert len(size.run(card.work, range(8))) == 1
    card.room, card.tried = 3, []
    with caplog.at_level(logging.WARNING):
        parts = size.run(card.work, range(10))
    assert [value for part in parts for value in part] == [10 * i for i in range(10)]
    assert card.tried == [8, 4, 2, 2, 2, 2, 2]
    assert [record.getMessage() for record in caplog.records] == [
        f"encoder: {n} samples at a time do not fit into the memory of cuda:1; it goes on with {n // 2}. "
        f"encoder.batch_size: {n // 2} avoids the attempt"
        for n in (8, 4)
    ]
    card.tried = []
    size.run(card.work, range(4))
    assert card.tried == [2, 2], "later shards begin with what fits"


def test_a_single_sample_that_does_not_fit_names_the_remedy():
    with pytest.raises(
        PoolSpecError, match=r"batch of one does not fit.*cuda:1.*79 GiB\): end.*encoder\.precision"
    ) as caught:
        BatchSize(4, "cuda:1").run(Card(room=0).work, range(4))
    assert caught.value.__context__ is None, "the remedy for batches would be shown instead"


def test_other_errors_pass():
    def work(samples):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        BatchSize(4, "cpu").run(work, range(4))


def test_libraries_have_words_of_their_own_for_no_memory():
    assert is_out_of_memory(
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`")
    )
    assert is_out_of_memory(RuntimeError("CUDA error: out of memory"))
    assert not is_out_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))
