"""How fast embeddings are made, and what limits the speed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from curation_assets.steps.ingest.read_ahead import ReadTimes
from curation_assets.storage.outputs import Facts

Bottleneck = Literal["decode", "encode", "write"]
_LEAST_SECONDS = 1e-9


@dataclass(slots=True)
class Throughput:
    """Where the wall time of one shard goes.

    There are two lines of work. One reads and decodes, or waits while a finished window is not taken. The other
    encodes and writes, or waits for a window.
    """

    reading: ReadTimes
    overlapped: bool
    """Whether both lines run at the same time."""
    encode_seconds: float = 0.0
    write_seconds: float = 0.0
    began: float = field(default_factory=time.perf_counter)

    @contextmanager
    def encoding(self) -> Iterator[None]:
        """Count the time of the block."""
        began = time.perf_counter()
        yield
        self.encode_seconds += time.perf_counter() - began

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Count the time of the block."""
        began = time.perf_counter()
        yield
        self.write_seconds += time.perf_counter() - began

    def bottleneck(self) -> Bottleneck:
        """The slowest part, which the rest waits for.

        If the two lines overlap, it is the one that was waited for, even if the wait was short. Nothing overlaps before
        the second window; then it is the part that takes longest.
        """
        own: Bottleneck = "encode" if self.encode_seconds >= self.write_seconds else "write"
        if self.overlapped and self.reading.n_items > 1:
            return "decode" if self.reading.later_wait > self.reading.lay_ready else own
        return "decode" if self.reading.making > max(self.encode_seconds, self.write_seconds) else own

    def line(self, n_samples: int) -> str:
        """Speed and bottleneck so far, in a few words."""
        return f"{self._rate(n_samples):,.0f}/s, bottleneck: {self.bottleneck()}"

    def summary(self, n_samples: int) -> dict[str, Any]:
        """Figures for an output's summary: seconds, and as shares of the whole time.

        `n_samples` were read, whether they got an embedding or not.
        """
        total = time.perf_counter() - self.began
        parts = {
            "read_and_decode": self.reading.making,
            "encode": self.encode_seconds,
            "write": self.write_seconds,
            "encoder_waited": self.reading.first_wait + self.reading.later_wait,
            "decoder_waited": self.reading.lay_ready,
        }
        return {
            "samples_per_second": round(self._rate(n_samples), 1),
            "bottleneck": self.bottleneck(),
            "seconds": {"total": round(total, 3), **{name: round(part, 3) for name, part in parts.items()}},
            "share": {name: round(part / max(total, _LEAST_SECONDS), 3) for name, part in parts.items()},
        }

    def _rate(self, n_samples: int) -> float:
        return n_samples / max(time.perf_counter() - self.began, _LEAST_SECONDS)


@dataclass(frozen=True, slots=True)
class RunThroughput:
    """The shards of a run, or of a pool, together."""

    n_samples: int
    seconds: float
    shares: Mapping[str, float]
    """Of `seconds`, as in `Throughput.summary`."""
    bottleneck: str
    """Of the shards that took most of the time."""

    @classmethod
    def of(cls, summaries: Iterable[Mapping[str, Any]]) -> RunThroughput | None:
        """Add up those summaries of shards that have figures; None if there are none."""
        seconds: Counter[str] = Counter()
        by_bottleneck: Counter[str] = Counter()
        n_samples = 0
        for summary in summaries:
            if "bottleneck" not in summary:
                continue
            n_samples += summary["n_rows"] + summary["n_rejected"]
            seconds.update(summary["seconds"])
            by_bottleneck[summary["bottleneck"]] += summary["seconds"]["total"]
        if not by_bottleneck:
            return None
        total = max(seconds.pop("total"), _LEAST_SECONDS)
        shares = {name: part / total for name, part in seconds.items()}
        return cls(n_samples, total, shares, by_bottleneck.most_common(1)[0][0])

    def line(self) -> str:
        """Everything in one sentence."""
        shares = ", ".join(f"{name.replace('_', ' ')} {share:.0%}" for name, share in self.shares.items())
        return (
            f"{self.n_samples:,} samples in {self.seconds:,.1f} s, {self.n_samples / self.seconds:,.1f}/s; "
            f"{shares}; bottleneck: {self.bottleneck}"
        )


def throughput_line(made: Iterable[Facts]) -> str:
    """The throughput of the embeddings of a run in one sentence; empty if there are no figures."""
    throughput = RunThroughput.of(facts.summary for facts in made)
    return throughput.line() if throughput else ""
