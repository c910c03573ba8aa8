"""NVIDIA cards that a plan may be made for: what they can do, and where each figure comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Card:
    """One card. Rates are in operations and bytes per second."""

    title: str
    """For people."""
    memory_bytes: int
    memory_rate: float
    """Of the card's own memory."""
    peak_flops: float
    """Of dense products in float16 or bfloat16 with sums in float32."""
    link_rate: float
    """From the memory of the host, one way."""
    exact_flops: tuple[tuple[int, float], ...] = ()
    """Dimension, and the slowest exact pass measured at it; empty if the card was never measured."""

    def measured_flops(self, dimension: int) -> float | None:
        """The slowest pass measured at the largest dimension up to this one, else at the smallest."""
        if not self.exact_flops:
            return None
        return max(
            (found for found in self.exact_flops if found[0] <= dimension), default=self.exact_flops[0]
        )[1]


# Memory, rate of the memory, peak and link are of NVIDIA's data sheets: peaks are those without sparsity, links half of
# what the sheets give for both ways together. The exact passes of the H200 are those of docs/design/cuda_search.md: the
# slowest of the clustered and the tight pool, over 4,096 centroids.
CARDS = {
    "a100": Card("NVIDIA A100 SXM 80 GB", 80 * 10**9, 2.039e12, 312e12, 32e9),
    "h100": Card("NVIDIA H100 SXM", 80 * 10**9, 3.35e12, 989e12, 64e9),
    "h200": Card(
        "NVIDIA H200",
        141 * 10**9,
        4.8e12,
        989e12,
        64e9,
        ((384, 416e12), (768, 483e12), (1024, 549e12)),
    ),
    "l4": Card("NVIDIA L4", 24 * 10**9, 0.3e12, 121e12, 32e9),
}
"""By the name that `plan --gpu` takes."""
DEFAULT_CARD = "a100"
"""That of the paper."""
ASSUMED_UTILISATION = 0.42
"""Of cards that were never measured: the smallest share of its peak that a pass reached on the H200, 416 of 989."""
