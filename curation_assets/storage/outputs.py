"""Outputs: the files of one asset (or one shard of it), with the facts of how they were made beside them."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic_core import from_json
from upath import UPath

from curation_assets.errors import StaleInputError
from curation_assets.storage.atomic import Leftovers, StagedFiles, is_local, write_text
from curation_assets.storage.fingerprint import canonical, combined_digest, file_digest, text_digest

FACTS = "facts.json"


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides an output: if none of it changed, neither would the output."""

    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    """Input asset -> digest of the content it was read with."""
    code_version: str

    @property
    def fingerprint(self) -> str:
        """Digest of the whole recipe."""
        return self.fingerprint_with(canonical(self.settings))

    def fingerprint_with(self, settings_text: str) -> str:
        """The same, with the settings' canonical text at hand: one text serves thousands of shards."""
        inputs = canonical(dict(self.inputs))
        return text_digest(f"[{settings_text},{inputs},{canonical(self.code_version)}]")


@dataclass(frozen=True, slots=True)
class Facts:
    """The JSON beside an output; its presence says that the output is complete."""

    fingerprint: str
    digest: str
    """Of the content: the same bytes give the same digest, however they came about."""
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    code_version: str
    files: Mapping[str, str]
    """File name -> SHA-256."""
    summary: Mapping[str, Any] = field(default_factory=dict)
    """Counts and figures for people and for later steps; not part of the digest."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """Shard -> digest of what concerns that shard, where an output serves many shards; `step/shard` for a step that
    rests on more or less of it than others."""
    made_at: str = ""


def parse_facts(content: bytes) -> Facts | None:
    """Facts from the bytes of their file; None if they are not those of a complete output."""
    try:
        # Twice as fast as json, which counts when the facts of ten thousand shards are read.
        return Facts(**from_json(content))
    except (TypeError, ValueError):
        return None


def timestamp(unix_time: float | None = None) -> str:
    """A time (now if not given) in UTC; later times sort after earlier ones as text."""
    moment = datetime.now(UTC) if unix_time is None else datetime.fromtimestamp(unix_time, UTC)
    return moment.isoformat(timespec="microseconds")


class Output:
    """Files of one asset; `shard` is None for an asset that is not partitioned."""

    def __init__(self, folder: UPath, shard: str | None) -> None:
        self.folder = folder
        self.shard = shard

    def path(self, name: str) -> UPath:
        """Where the output's file `name` lies.

        With a shard its key comes first, inside the name's folder if it has one: embeddings/00003.npy,
        balanced_dataset/small/00003.tar; without one the name stands alone: level_1_clusters/centroids.npy.
        """
        folder, _, last = name.rpartition("/")
        return self.folder / folder / (last if self.shard is None else f"{self.shard}.{last}")

    def facts(self) -> Facts | None:
        """Facts of the stored output; None if there is none, or it is not complete."""
        try:
            return parse_facts(self.path(FACTS).read_bytes())
        except FileNotFoundError:
            return None

    def require_facts(self) -> Facts:
        """Facts of the stored output.

        Raises:
            StaleInputError: if the output was never made or is incomplete.
        """
        facts = self.facts()
        if facts is None:
            shard = f", shard '{self.shard}'" if self.shard is not None else ""
            raise StaleInputError(f"{self.folder.name}{shard} has not been made yet: materialize it first")
        return facts

    def array(self, name: str) -> np.ndarray:
        """A stored array, memory-mapped where it lies on this machine."""
        path = self.path(name)
        if is_local(path):
            return np.load(str(path), mmap_mode="r", allow_pickle=False)
        return np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)

    def table(self, name: str, columns: list[str] | None = None) -> pl.DataFrame:
        """A stored Parquet table, or some of its columns."""
        path = self.path(name)
        source = Path(str(path)) if is_local(path) else io.BytesIO(path.read_bytes())
        return pl.read_parquet(source, columns=columns)

    @contextmanager
    def writing(self, recipe: Recipe, leftovers: Leftovers | None = None) -> Iterator[OutputWriter]:
        """Stage the output's files; when the block ends without an error they replace the old ones.

        The old facts go first and the new ones come last, so that a process killed in between leaves an
        output that counts as missing, never one that mixes old and new files.

        Args:
            recipe: what the output is made of.
            leftovers: what killed processes left in its folders; to be shared by the shards of a step.
        """
        leftovers = leftovers or Leftovers()
        staged = StagedFiles(leftovers)
        try:
            writer = OutputWriter(self, staged)
            yield writer
            old = self.facts()
            writer.seal()
            staged.flush()
            self.path(FACTS).unlink(missing_ok=True)
            staged.replace()
        finally:
            staged.discard()
        for name in set(old.files if old else ()) - set(writer.files):
            self.path(name).unlink(missing_ok=True)
        facts = Facts(
            recipe.fingerprint,
            combined_digest(writer.files),
            recipe.settings,
            recipe.inputs,
            recipe.code_version,
            writer.files,
            writer.summary,
            writer.parts,
            timestamp(),
        )
        write_text(self.path(FACTS), json.dumps(asdict(facts), indent=1, sort_keys=True), leftovers)
        writer.facts = facts
        writer.clear_up()


class OutputWriter:
    """Collects the files of one output before they are renamed into place together."""

    def __init__(self, output: Output, files: StagedFiles) -> None:
        self.files: dict[str, str] = {}
        self.summary: dict[str, Any] = {}
        self.parts: dict[str, str] = {}
        self.facts: Facts | None = None
        self._output = output
        self._files = files
        self._staged: dict[str, Path] = {}
        self._digests: dict[str, str] = {}
        self._when_stored: list[Callable[[], None]] = []

    def when_stored(self, clear_up: Callable[[], None]) -> None:
        """Have something done once the output is complete: what it was made from may go then, not before."""
        self._when_stored.append(clear_up)

    def clear_up(self) -> None:
        """Do it."""
        for clear_up in self._when_stored:
            clear_up()

    def file(self, name: str) -> Path:
        """A local path to write the output's file `name` to."""
        self._staged[name] = self._files.stage(self._output.path(name))
        return self._staged[name]

    def stored(self) -> Facts:
        """The output's facts, once everything is in its place."""
        if self.facts is None:
            raise RuntimeError("the output is not stored before the block of `writing` has ended")
        return self.facts

    def array(self, name: str, array: np.ndarray) -> None:
        """Store an array as .npy."""
        with self.file(name).open("wb") as file:
            np.save(file, np.ascontiguousarray(array), allow_pickle=False)

    def table(self, name: str, table: pl.DataFrame) -> None:
        """Store a table as Parquet."""
        table.write_parquet(self.file(name), compression="zstd", statistics=True)

    def text(self, name: str, text: str) -> None:
        """Store a text file."""
        self.file(name).write_text(text, encoding="utf-8")

    def link(self, name: str, source: UPath, digest: str) -> None:
        """Store a file that another output holds already: a hard link, or a copy where there can be none.

        Outputs are replaced by renaming, never changed in place, so the link keeps what it names.

        Args:
            name: of the output's file.
            source: the file.
            digest: its SHA-256, as the facts beside it say: it is not read again.
        """
        staged = self.file(name)
        if not is_local(source):
            source.fs.get_file(source.path, str(staged))
        else:
            staged.unlink()
            try:
                os.link(str(source), staged)
            except OSError:
                shutil.copyfile(str(source), staged)
        self._digests[name] = digest

    def digest(self, name: str) -> str:
        """SHA-256 of a file that is written completely."""
        if name not in self._digests:
            self._digests[name] = file_digest(self._staged[name])
        return self._digests[name]

    def seal(self) -> None:
        """Digest what was staged."""
        self.files = {name: self.digest(name) for name in sorted(self._staged)}
