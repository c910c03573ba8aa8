"""How much of a card's memory may be used."""

from __future__ import annotations

from dataclasses import dataclass

import torch

FREE_SHARE = 0.8
"""Of what is free on a card when a fit begins, if nothing else is said. The rest is for CUDA itself, for gaps between
tensors, and for other processes."""


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Memory of a card that a fit may take; results do not depend on it."""

    budget: int | None = None
    """Bytes; None is `FREE_SHARE` of what is free."""
    fixed_bytes: int = 0
    """What a fit takes of it beside its rows."""

    def room(self, device: str) -> int | None:
        """Bytes for rows on a card, 0 if there is no room; None if the device is no card."""
        if not device.startswith("cuda"):
            return None
        budget = int(FREE_SHARE * free_bytes(device)) if self.budget is None else self.budget
        return max(0, budget - self.fixed_bytes)


def free_bytes(device: str) -> int:
    """Bytes of a card that nobody uses, those that torch keeps for its next tensors included."""
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept
