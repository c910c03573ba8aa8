"""A shard's samples as the encoder takes them: decoded, prepared and in windows."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from curation_assets.formats.base import RawSample, RejectedSampleError
from curation_assets.formats.decoding import decode_sample
from curation_assets.steps.ingest.accepted import windows
from curation_assets.steps.ingest.pixel_room import PixelRoom
from curation_assets.steps.ingest.read_ahead import map_in_order

if TYPE_CHECKING:
    from curation_assets.encoders import Encoder
    from curation_assets.pools import SourceSettings


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A sample that was accepted by its header or its bytes, but cannot be decoded."""

    raw_row: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class DecodedWindow:
    """What the encoder gets at once. It has no samples if it only reports rejections after the last sample."""

    raw_rows: list[int]
    samples: list[Any]
    """As `Encoder.prepare` leaves them."""
    signatures: list[np.ndarray]
    """Of images, each uint8 (1, 192); empty for texts."""
    blank: list[bool]
    """Of images, whether each shows one colour only; empty for texts."""
    rejected: list[Undecodable]
    """Found on the way to the last sample of the window, in order."""


@dataclass(frozen=True, slots=True)
class _Decoded:
    raw_row: int
    sample: Any
    signature: np.ndarray | None
    is_blank: bool


def decoded_windows(
    samples: Iterable[tuple[int, RawSample]],
    encoder: Encoder,
    source: SourceSettings,
    *,
    n_threads: int,
    room: PixelRoom,
) -> Generator[DecodedWindow, None, None]:
    """Decode samples and group them. The result does not depend on the number of threads.

    Several threads decode and prepare images, as many as there is room for. Only what the encoder needs of an image is
    kept. Texts are decoded as they come, because Python's lock lets only one thread do so.

    Args:
        samples: each with its row of the raw pool, as from `accepted_samples`.
        encoder: prepares the samples, and says how many make a window. Texts end a window at 64 Mi characters.
        source: settings of the pool's source, which say how a sample is decoded.
        n_threads: for images; below 2 the caller's own thread decodes them.
        room: for whole images.

    Raises:
        ShardError: as `samples` does.
    """
    from curation_assets.formats.images import pixel_signatures
    from curation_assets.formats.pixels.grounds import is_near_constant

    is_image = source.modality == "image"

    def decode(numbered: tuple[int, RawSample]) -> _Decoded | Undecodable:
        with room.place() as take:
            # The whole image is gone with the frame of the call, before the room is.
            return decode_in_room(*numbered, take)

    def decode_in_room(row: int, raw: RawSample, take: Callable[[int], None]) -> _Decoded | Undecodable:
        try:
            sample = decode_sample(raw, source, before_pixels=take, least_side=encoder.least_side)
        except RejectedSampleError as error:
            return Undecodable(row, error.reason.value, error.detail)
        if not is_image:
            return _Decoded(row, encoder.prepare(sample), None, False)
        signature, is_blank = pixel_signatures([sample]), is_near_constant(sample)
        return _Decoded(row, encoder.prepare(sample), signature, is_blank)

    rejected: list[Undecodable] = []
    signatures: list[np.ndarray] = []
    blank: list[bool] = []

    def usable() -> Iterator[tuple[int, Any]]:
        for outcome in map_in_order(decode, samples, n_threads if is_image else 1):
            if isinstance(outcome, Undecodable):
                rejected.append(outcome)
                continue
            if outcome.signature is not None:
                signatures.append(outcome.signature)
                blank.append(outcome.is_blank)
            yield outcome.raw_row, outcome.sample

    for window in windows(usable(), encoder.window):
        rows, prepared = [row for row, _ in window], [sample for _, sample in window]
        yield DecodedWindow(rows, prepared, signatures, blank, rejected)
        rejected, signatures, blank = [], [], []
    if rejected:
        yield DecodedWindow([], [], [], [], rejected)


def resolve_decode_threads(setting: int | Literal["auto"]) -> int:
    """Turn the `decode_threads` setting into a number: 'auto' takes the cores that this process may use.

    The workers of the command line share the cores; OMP_NUM_THREADS tells each its part.
    """
    if setting != "auto":
        return setting
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    share = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(share)) if share.isdecimal() and int(share) > 0 else cores
