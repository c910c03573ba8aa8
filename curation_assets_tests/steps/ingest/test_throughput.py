"""What is called the bottleneck: the side that the other one waits for."""

from __future__ import annotations

import pytest

from curation_assets.steps.ingest.read_ahead import ReadTimes
from curation_assets.steps.ingest.throughput import RunThroughput, Throughput


@pytest.mark.parametrize(
    ("reading", "overlapped", "encode", "write", "expected"),
    [
        # Decoding takes 1.5 times as long as encoding: the encoder waits, although it worked most of the time.
        (
            ReadTimes(making=15, first_wait=1.5, later_wait=4, lay_ready=0, n_items=10),
            True,
            10,
            0.1,
            "decode",
        ),
        (ReadTimes(making=9, first_wait=1, later_wait=0, lay_ready=3, n_items=10), True, 12, 0.1, "encode"),
        (ReadTimes(making=9, first_wait=1, later_wait=0, lay_ready=3, n_items=10), True, 2, 5, "write"),
        # The wait for the first window says nothing.
        (ReadTimes(making=5, first_wait=5, later_wait=0, lay_ready=0.1, n_items=2), True, 1, 0.1, "encode"),
        (ReadTimes(making=5, first_wait=5, later_wait=0, lay_ready=0, n_items=1), True, 1, 0.1, "decode"),
        (ReadTimes(making=5, first_wait=5, later_wait=0, lay_ready=0, n_items=1), True, 7, 0.1, "encode"),
        # In turn each waits for the others all the time: what takes longest counts.
        (ReadTimes(making=5, first_wait=1, later_wait=4, n_items=9), False, 7, 0.1, "encode"),
        (ReadTimes(making=9, first_wait=1, later_wait=8, n_items=9), False, 7, 0.1, "decode"),
        (ReadTimes(making=1, first_wait=1, later_wait=0, n_items=9), False, 0, 2, "write"),
    ],
)
def test_the_bottleneck_is_what_is_waited_for(
    reading: ReadTimes, overlapped: bool, encode: float, write: float, expected: str
) -> None:
    throughput = Throughput(reading, overlapped, encode_seconds=encode, write_seconds=write)
    assert throughput.bottleneck() == expected
    assert throughput.line(100).endswith(f"/s, bottleneck: {expected}")


def test_a_summary_has_seconds_and_shares_of_the_whole_time() -> None:
    throughput = Throughput(ReadTimes(), overlapped=False)
    with throughput.encoding():
        pass
    throughput.began -= 10
    throughput.encode_seconds, throughput.write_seconds = 6.0, 1.0
    throughput.reading.making = throughput.reading.later_wait = 3.0
    summary = throughput.summary(500)
    assert summary["samples_per_second"] == pytest.approx(50, abs=0.5)
    assert summary["seconds"]["total"] == pytest.approx(10, abs=0.1)
    assert summary["share"] == {
        "read_and_decode": pytest.approx(0.3, abs=0.01),
        "encode": pytest.approx(0.6, abs=0.01),
        "write": pytest.approx(0.1, abs=0.01),
        "encoder_waited": pytest.approx(0.3, abs=0.01),
        "decoder_waited": 0,
    }


def shard(bottleneck: str, total: float, encode: float, n_rows: int) -> dict[str, object]:
    seconds = {"total": total, "encode": encode}
    return {"bottleneck": bottleneck, "seconds": seconds, "n_rows": n_rows, "n_rejected": 10}


def test_a_run_counts_its_shards_by_their_time() -> None:
    shards = [shard("decode", 1, 0.5, 90), shard("decode", 1, 0.5, 90), shard("encode", 6, 5, 290)]
    run = RunThroughput.of([*shards, {"n_rows": 5, "seconds": {"encode": 3.0}}])
    assert run is not None
    assert (run.n_samples, run.seconds, run.bottleneck) == (500, 8, "encode")
    assert run.line() == "500 samples in 8.0 s, 62.5/s; encode 75%; bottleneck: encode"
    assert RunThroughput.of([{"n_rows": 5}]) is None
