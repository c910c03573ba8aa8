"""Rows on a card as they are stored: two bytes a value, prepared inside the kernels that need exact values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

PIECE = 64
"""Dimensions multiplied at a time: float16 rows and centroids are padded with zeros to a multiple of it."""
# Rows and dimensions that one program prepares.
_ROWS, _ROWS_PIECE = 16, 128


@dataclass(frozen=True, slots=True)
class Preparation:
    """How stored rows x become prepared rows p, as `Preprocessing.apply` does it.

        p = step * rint(float32((x - mean) / length) / step)

    with a division in float64. Rows without lengths (metric l2) are not divided.
    """

    dimension: int
    """d."""
    mean: torch.Tensor | None
    """float32 (d,) on the device of the rows; None takes nothing away."""
    step: float
    """Of the grid, a power of two."""


@dataclass(frozen=True, slots=True)
class CompactBlock:
    """Rows as they are stored. Stands where a float32 tensor (n, d) of prepared rows would, with the same values."""

    values: torch.Tensor
    """float16 (n, d'), d' the next multiple of `PIECE`, zeros from d on."""
    lengths: torch.Tensor | None
    """float64 (n,): lengths of the rows after the mean is taken away, 1 for a row of zeros; None divides none."""
    preparation: Preparation

    def __len__(self) -> int:
        return len(self.values)

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return self.values.device

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return len(self.values), self.preparation.dimension

    def __getitem__(self, rows: slice) -> CompactBlock:
        """Some of the rows, without a copy."""
        lengths = None if self.lengths is None else self.lengths[rows]
        return CompactBlock(self.values[rows], lengths, self.preparation)

    def index_select(self, dim: int, index: torch.Tensor) -> CompactBlock:
        """Copies of the rows of some numbers, int64 (m,); `dim` is 0."""
        lengths = None if self.lengths is None else self.lengths.index_select(dim, index)
        return CompactBlock(self.values.index_select(dim, index), lengths, self.preparation)

    def prepared(self, numbers: torch.Tensor | None = None) -> torch.Tensor:
        """Prepared rows, float32 (m, d): those of some numbers, int64 (m,), or all."""
        from curation_assets.algorithms.search.cuda.row_loads import prepared_rows_kernel

        n_rows = len(self) if numbers is None else len(numbers)
        out = torch.empty(n_rows, self.preparation.dimension, dtype=torch.float32, device=self.device)
        if n_rows:
            pointers, constants = as_loaded(self)
            del constants["IS_COMPACT"]
            with torch.cuda.device_of(self.values):
                prepared_rows_kernel[(-(-n_rows // _ROWS),)](
                    self.values, self.values if numbers is None else numbers.contiguous(), *pointers, out, n_rows,
                    HAS_NUMBERS=numbers is not None, ROWS=_ROWS, PIECE=_ROWS_PIECE, num_warps=4, **constants,
                )  # fmt: skip
        return out


Block = torch.Tensor | CompactBlock
"""Rows: a float32 tensor (b, d), or as they are stored."""


def is_its_own_view(block: Block) -> bool:
    """Whether the rows of a block are multiplied as they are held, without a copy."""
    return isinstance(block, CompactBlock) and block.preparation.mean is None


def prepared(block: Block) -> torch.Tensor:
    """The rows of a block, float32 (b, d)."""
    return block.prepared() if isinstance(block, CompactBlock) else block


def values_of(block: Block) -> torch.Tensor:
    """What the kernels read of the rows of a block: without gaps, copied only where there are some."""
    return (block.values if isinstance(block, CompactBlock) else block).contiguous()


def as_loaded(block: Block) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What kernels that use `row_loads.load_rows` take beside the values of a block.

    Returns:
        Mean, lengths, dimension, width, inverse step and step, in this order; and the constants by name.
    """
    if not isinstance(block, CompactBlock):
        dimension = block.shape[1]
        flags = {"IS_COMPACT": False, "HAS_MEAN": False, "HAS_LENGTHS": False}
        return (block, block, dimension, dimension, 1.0, 1.0), flags
    preparation, lengths = block.preparation, block.lengths
    mean = block.values if preparation.mean is None else preparation.mean
    return (
        (
            mean,
            block.values if lengths is None else lengths.contiguous(),
            preparation.dimension,
            block.values.shape[1],
            1 / preparation.step,
            preparation.step,
        ),
        {
            "IS_COMPACT": True,
            "HAS_MEAN": preparation.mean is not None,
            "HAS_LENGTHS": lengths is not None,
        },
    )


def padded(size: int, multiple: int = PIECE) -> int:
    """The next multiple."""
    return -(-size // multiple) * multiple


def compact_row_bytes(dimension: int, *, is_centred: bool) -> int:
    """Bytes of a row on a card, its view for products included, at most.

    Args:
        dimension: of the row.
        is_centred: whether a mean is taken away; then a second copy in float16 is multiplied.
    """
    # With a length in float64, and a scale and a residual in float32.
    return 2 * padded(dimension) * (2 if is_centred else 1) + 16
