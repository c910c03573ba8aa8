"""The card that a fit runs on: what it took there, and what to do if there was not enough."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from curation_assets.errors import DeviceMemoryError
from curation_assets.storage.outputs import OutputWriter


@contextmanager
def named_card(device: str, device_memory: int | Literal["auto"]) -> Iterator[None]:
    """Within the block the peak of a card's memory is measured, and a lack of it is told with a remedy.

    Args:
        device: torch device.
        device_memory: the pool's setting.

    Raises:
        DeviceMemoryError: instead of torch's error.
    """
    import torch

    if _is_card(device):
        torch.cuda.reset_peak_memory_stats(device)
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        # What is free once the tensors of the block are gone is not known before that.
        raise DeviceMemoryError(_no_room(device, device_memory)) from error


def note_card(writer: OutputWriter, device: str, keeps_rows: bool | None) -> None:
    """Put the card, its peak since `named_card` and whether rows stayed on it into a summary; nothing for the CPU.

    Args:
        writer: of the output.
        device: torch device.
        keeps_rows: see `FitInputs.keeps_rows`.
    """
    import torch

    if keeps_rows is None or not _is_card(device):
        return
    writer.summary["card"] = {
        "name": torch.cuda.get_device_name(device),
        "peak_bytes": torch.cuda.max_memory_allocated(device),
        "rows": "resident" if keeps_rows else "streamed",
    }


def _no_room(device: str, device_memory: int | Literal["auto"]) -> str:
    setting = "auto" if device_memory == "auto" else f"{device_memory / 1e9:g} GB"
    return (
        f"{_described(device)} has no memory left (device_memory is {setting}): end other processes on it, set a "
        f"smaller device_memory, with which rows are copied there in every pass, or set fit_device to another card or "
        f"to cpu; finished work is kept, and the same command goes on"
    )


def _described(device: str) -> str:
    """A card with its name, and what is free on it for new tensors."""
    import torch

    if not _is_card(device):
        return device
    free, total = torch.cuda.mem_get_info(device)
    return f"{device} ({torch.cuda.get_device_name(device)}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free)"


def _is_card(device: str) -> bool:
    return device.startswith("cuda")
