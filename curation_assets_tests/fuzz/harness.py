"""What holds for every input of a reader, whatever its bytes."""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import hashlib
import itertools
import re
import resource
import shutil
import signal
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.strategies import SearchStrategy
from pydantic import TypeAdapter

from curation_assets.errors import CurationError
from curation_assets.formats import build_reader
from curation_assets.formats.accounts import Account
from curation_assets.formats.attributes import attributes_json
from curation_assets.formats.base import RawSample, RejectedSampleError, Rejection, SourceFile
from curation_assets.formats.decoding import decode_sample
from curation_assets.pools import SourceSettings
from curation_assets.pools.source import EmbeddingsSource
from curation_assets.steps.ingest.raw_pool import _row
from curation_assets.storage.tables import LABEL_PREFIX, RawPool

INPUTS_OF_A_ROUND = 2_000
SECONDS = 10.0
"""For an input, read three times; most take a hundredth."""
MOST_GROWTH = 400 * 2**20
"""Of the process's resident memory while an input of a few kilobytes is read."""
MOST_ADDRESSES = 3 * 2**30
"""Of address space beyond what the process has: what a length field of the input asks for is never reserved."""
_STATUS, _RESET_PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_REMEDY = re.compile(
    r"\b(write|written|save|copy|correct|choose|compress|embed|add|run|rename|remove|set|mend|convert|pack|use|"
    r"decompress|cut it)\b"
)
_OF_THE_PROCESS = re.compile(
    r" at 0x[0-9a-f]{6,}|/site-packages/|\.(?:py|cc|h|c):\d+|Traceback|MemoryError|bad_alloc|[Mm]alloc|out of memory"
)
_SOURCE: TypeAdapter[Any] = TypeAdapter(SourceSettings)


class HangError(BaseException):
    """An input took too long; no `except Exception` of a reader takes it for a fault of the input."""


class Arena:
    """A folder in which inputs are read one after the other.

    An input stays in its folder until the next one comes: after a crash of the process, what is there is the input.

    Args:
        folder: to write to.
        round_number: seeds the inputs.
        name: of the test, which seeds them too.
    """

    def __init__(self, folder: Path, round_number: int, name: str) -> None:
        self._seed = zlib.crc32(name.partition("[")[0].encode()) + 1_000_003 * round_number
        self.folder = folder
        self.n_inputs = 0

    def explore(self, inputs: SearchStrategy[Any], n_inputs: int, check: Callable[[Any], None]) -> None:
        """Check some inputs, the same ones in every run of this round."""

        @seed(self._seed)
        @settings(
            max_examples=n_inputs,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
            verbosity=Verbosity.normal,
        )
        @given(inputs)
        def run(case: Any) -> None:
            self.n_inputs += 1
            with watched():
                check(case)

        run()

    def put(self, files: Mapping[str, bytes]) -> Path:
        """A folder with these files only."""
        pool = self.folder / "pool"
        shutil.rmtree(pool, ignore_errors=True)
        for name, content in files.items():
            path = pool / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return pool

    def read(
        self,
        source: Mapping[str, Any],
        files: Mapping[str, bytes],
        file: str,
        *,
        otherwise: contextlib.AbstractContextManager[Any] | None = None,
        n_seen: int | None = None,
        n_beside: int = 1,
    ) -> Told:
        """Read a file twice, and once more with other sizes of chunks, and check all that holds for it.

        Args:
            source: settings of the pool's source, without `path`.
            files: of the pool.
            file: the one to read.
            otherwise: changes sizes of chunks.
            n_seen: how many members, lines or rows the file has; None if it may be damaged.
            n_beside: most rejections that are of no member, line or row: one for damage, and those of files beside.
        """
        pool = self.put(files)
        spec = _SOURCE.validate_python({"path": str(pool), **source})
        first = told(pool, spec, file)
        self._check(first, pool, file, n_seen, n_beside)
        require_same(told(pool, spec, file), first, "read twice")
        with otherwise or contextlib.nullcontext():
            require_same(told(pool, spec, file), first, "read in other chunks")
        return first

    def _check(self, found: Told, pool: Path, file: str, n_seen: int | None, n_beside: int) -> None:
        if found.error is not None:
            assert file.rpartition(".")[0] in found.error or "source." in found.error, found.error
            assert _REMEDY.search(found.error), found.error
            assert "fault of curation-assets" not in found.error, found.error
        for text in [found.error or "", *found.details]:
            require_repeatable(text, pool)
        if found.error is None:
            assert found.n_samples == found.account.n_rows
            assert 0 <= found.n_rejections - found.account.n_rejected <= n_beside, found
            n_told = sum(found.fates)
            assert n_told == found.account.n_seen or not found.account.n_seen, found
            if n_seen is not None:
                assert n_told == n_seen, found


@dataclasses.dataclass(frozen=True)
class Told:
    """What a reader says of a file."""

    items: tuple[str, ...]
    details: tuple[str, ...]
    n_samples: int
    n_rejections: int
    account: Account
    left_out: dict[str, dict[str, int]]
    error: str | None

    @property
    def fates(self) -> tuple[int, int, int, int]:
        """Samples, rejections, parts and members that are left out."""
        account = self.account
        return (
            account.n_rows,
            account.n_rejected,
            account.n_parts,
            sum(sum(kinds.values()) for kinds in self.left_out.values()),
        )

    def parts(self) -> list[Any]:
        """All of it, one by one; of a file that is an error, the rows before it are nobody's.

        In its parentheses are words of a library, which depend on how far it has read.
        """
        if self.error is not None:
            return [re.sub(r"\(.*\)", "", self.error, flags=re.DOTALL)]
        items = zip(self.items, self.details, strict=True)
        return [*items, len(self.items), self.fates, self.account.n_seen, self.left_out]


def require_same(found: Told, expected: Told, how: str) -> None:
    """Two readings tell the same."""
    for ours, theirs in itertools.zip_longest(found.parts(), expected.parts()):
        assert ours == theirs, f"{how}: {ours} is not {theirs}"


def told(pool: Path, spec: Any, file: str) -> Told:
    """Read a file as `raw_pool` does, and decode its samples as `embeddings` does."""
    reader = build_reader(spec, pool)
    path = pool / file
    if path.exists():
        reader.is_closed(SourceFile(file, path.stat().st_size, "0"))
    account, error = Account(), None
    items: list[str] = []
    details: list[str] = []
    rows: list[dict[str, Any]] = []
    first_seen: dict[str, str] = {}
    n_samples = 0
    try:
        for item in reader.read(file, account):
            items.append(shown(item))
            rows.append(_row(item, spec, first_seen))
            if isinstance(item, Rejection):
                details.append(item.detail)
            else:
                n_samples += 1
                details.append(judged(item, spec))
                attributes_json(item.attributes)
    except CurationError as caught:
        error = str(caught)
    labels = {f"{LABEL_PREFIX}{name}": pl.String for name in spec.label_fields}
    pl.DataFrame(rows, schema={**RawPool.samples.schema, **labels}, orient="row")
    counts = account.left_out.counts()
    return Told(tuple(items), tuple(details), n_samples, len(items) - n_samples, account, counts, error)


def judged(sample: RawSample, spec: Any) -> str:
    """Why a sample cannot be decoded, or nothing."""
    if isinstance(spec, EmbeddingsSource):
        return ""
    try:
        decode_sample(sample, spec)
    except RejectedSampleError as error:
        return error.detail
    return ""


def shown(item: RawSample | Rejection) -> str:
    """Everything of a sample or rejection, short."""
    if isinstance(item, Rejection):
        return repr(item)
    parts = {ending: hashlib.sha256(content).hexdigest()[:16] for ending, content in item.parts.items()}
    digest = hashlib.sha256(item.content).hexdigest()[:16]
    return repr((item.sample_id, item.file, item.member, item.offset, digest, parts, dict(item.attributes)))


def require_repeatable(text: str, pool: Path) -> None:
    """A text of a result or an error has nothing of the process or the machine, and is one line of UTF-8."""
    text.encode("utf-8")
    assert str(pool) not in text, text
    assert not (found := _OF_THE_PROCESS.search(text)), (found, text)
    assert len(text) < 5_000, len(text)


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Limits of an input: time and resident memory.

    A library that hangs in native code ends the process after a minute, with the place.
    """
    before = _memory("VmRSS") if _reset_peak() else None
    previous = signal.signal(signal.SIGALRM, _hang)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    faulthandler.dump_traceback_later(60, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    growth = 0 if before is None else _memory("VmHWM") - before
    assert growth < MOST_GROWTH, f"memory grew by {growth:,} bytes"


@contextlib.contextmanager
def limited_memory() -> Iterator[None]:
    """A limit of the address space, so that a length field of an input cannot reserve what it asks for."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    if used := _memory("VmSize"):
        resource.setrlimit(resource.RLIMIT_AS, (used + MOST_ADDRESSES, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def _memory(name: str) -> int:
    """Bytes by a line of the process's status; 0 where there is none, as on macOS."""
    if not _STATUS.exists():
        return 0
    found = re.search(rf"{name}:\s+(\d+) kB", _STATUS.read_text())
    return int(found[1]) * 1024 if found else 0


def _reset_peak() -> bool:
    """Let the peak of the process's memory count from now; False where that is not allowed."""
    try:
        _RESET_PEAK.write_text("5")
    except OSError:
        return False
    return True


def _hang(_number: int, _frame: Any) -> None:
    raise HangError(f"the input took more than {SECONDS:.0f} seconds")
