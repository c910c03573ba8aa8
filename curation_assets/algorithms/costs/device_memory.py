"""Memory of a card: what a fit takes there, and whether its rows stay there or are copied to it in every pass."""

from __future__ import annotations

from dataclasses import dataclass

from curation_assets.algorithms.kmeans.uploads import TILE_BYTES
from curation_assets.algorithms.search.cuda.arithmetic import CudaArithmetic
from curation_assets.algorithms.search.cuda.compact import compact_row_bytes
from curation_assets.algorithms.search.cuda.memory import DeviceMemory
from curation_assets.algorithms.search.cuda.rounding import row_bytes

# Of a row: its length, cluster, score and rival; and of the rows of a tile what a search gives, sorts and compares.
_STATE_BYTES, _TILE_STATE_BYTES, _TILE_ROWS = 20, 120, CudaArithmetic.tile_rows
# For each value of a centroid: sums in float64 and those that changed; float32 of before and after, and of those that
# moved; float16 of all and of those that moved, and what rounding them takes.
_WIDTH_BYTES = 8 + 8 + 4 + 4 + 4 + 2 + 2 + 8
# At most: best scores of tiles and which of them count, rows that are gathered, and pairs that are compared.
_WORK_BYTES = 2**31


@dataclass(frozen=True, slots=True)
class DeviceFit:
    """What a fit takes on a card."""

    rows_bytes: int
    """Of all rows of the fit, if they stay."""
    fixed_bytes: int
    """Beside them: centroids and their sums, states of rows, and what is worked on at a time."""
    streamed_bytes: int
    """Instead of the rows, if they are copied in every pass."""
    budget: int

    @property
    def is_resident(self) -> bool:
        """Whether the rows stay."""
        return self.fixed_bytes + self.rows_bytes <= self.budget

    @property
    def total_bytes(self) -> int:
        """At the peak."""
        return self.fixed_bytes + (self.rows_bytes if self.is_resident else self.streamed_bytes)

    @property
    def fits(self) -> bool:
        """Whether the budget is enough, if need be with rows that are copied in every pass."""
        return self.total_bytes <= self.budget


def device_fit(
    budget: int,
    n_rows: int,
    dimension: int,
    n_clusters: int,
    *,
    is_centred: bool = False,
    is_level_1: bool = True,
) -> DeviceFit:
    """What a fit takes on a card.

    Args:
        budget: `device_memory` in bytes; for auto, `memory.FREE_SHARE` of what is free on the card.
        n_rows: rows of the fit, or of a worker's part.
        dimension: length of a row.
        n_clusters: k; of a split level the coarse clusters.
        is_centred: whether the pool's mean is taken away (`preprocessing.centring`).
        is_level_1: rows are embeddings, which stay as they are stored; above it they are float32 centroids.
    """
    rows = n_rows * resident_row_bytes(dimension, is_centred=is_centred, is_level_1=is_level_1)
    return DeviceFit(
        rows, device_fixed_bytes(n_rows, dimension, n_clusters), min(rows, 2 * TILE_BYTES), budget
    )


def device_memory(budget: int | None, n_rows: int, dimension: int, n_clusters: int) -> DeviceMemory:
    """What a fit may take of a card; for the arguments see `device_fit`, a budget of None is auto."""
    return DeviceMemory(budget, device_fixed_bytes(n_rows, dimension, n_clusters))


def resident_row_bytes(dimension: int, *, is_centred: bool = False, is_level_1: bool = True) -> int:
    """Bytes of a row that stays on a card, with what is kept of it for products; see `device_fit`."""
    if is_level_1:
        return compact_row_bytes(dimension, is_centred=is_centred)
    return 4 * dimension + row_bytes(dimension)


def device_fixed_bytes(n_rows: int, dimension: int, n_clusters: int) -> int:
    """Bytes on a card beside the rows of a fit; see `device_fit`."""
    state = n_rows * _STATE_BYTES + min(n_rows, _TILE_ROWS) * _TILE_STATE_BYTES
    work = min(_WORK_BYTES, n_rows * (4 * dimension + n_clusters))
    return state + _WIDTH_BYTES * dimension * n_clusters + work
