"""Outputs: the files of one asset, or of one shard of it, and the facts of how they were made."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from upath import UPath

from curation_assets.errors import StaleInputError
from curation_assets.formats.npy import load_array
from curation_assets.locations import is_local
from curation_assets.storage.atomic import Leftovers, StagedFiles, link_or_copy, read_whole
from curation_assets.storage.documents import unsealed, write_document
from curation_assets.storage.fingerprint import canonical, combined_digest, file_digest, text_digest
from curation_assets.storage.presence import StoredFiles, place_of
from curation_assets.storage.versions import new_version

FACTS = "facts.json"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides an output: the same recipe gives the same output."""

    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    """Input asset -> digest of its content."""
    code_version: str

    @property
    def fingerprint(self) -> str:
        """Digest of the whole recipe."""
        return self.fingerprint_with(canonical(self.settings))

    def fingerprint_with(self, settings_text: str) -> str:
        """`fingerprint` from the settings' canonical text, which thousands of shards share."""
        inputs = canonical(dict(self.inputs))
        return text_digest(f"[{settings_text},{inputs},{canonical(self.code_version)}]")


@dataclass(frozen=True, slots=True)
class Facts:
    """The JSON beside an output; an output with facts is complete."""

    fingerprint: str
    digest: str
    """Of the content: the same bytes give the same digest, however they were made."""
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    code_version: str
    files: Mapping[str, str]
    """File name -> SHA-256."""
    summary: Mapping[str, Any] = field(default_factory=dict)
    """Counts and figures for people and later steps; not part of the digest."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """Shard -> digest of what the shard depends on, in an output for many shards; `step/shard` for a step that depends
    on more or less than other steps. In an output of one shard, name of a part of the content -> its digest."""
    made_at: str = ""
    version: str = ""
    """Folder of the files inside the asset's, in object stores: see `Output`."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """File name -> bytes. A file without a size is only expected to be there."""

    def digest_of(self, part: str) -> str:
        """Digest of a part of the content; of the whole if the part has none of its own."""
        return self.parts.get(part, self.digest)


def parse_facts(content: bytes) -> Facts | None:
    """Facts from the bytes of their file; None if they are not valid facts, or not what was written."""
    try:
        return Facts(**unsealed(content))
    except (TypeError, ValueError):
        return None


def timestamp(unix_time: float | None = None) -> str:
    """A time (by default now) in UTC as text, which sorts by time."""
    moment = datetime.now(UTC) if unix_time is None else datetime.fromtimestamp(unix_time, UTC)
    return moment.isoformat(timespec="microseconds")


class Output:
    """Files of one asset; `shard` is None for an asset that is not partitioned.

    On a local file system new files are renamed over the old ones. An object store cannot replace several files at
    once: every writer uploads them into a folder of its own, and then the facts, which name the folder. Files of two
    writers never mix, and the last writer wins. After an `Output` has read facts it uses the files that they name,
    until it reads facts again.
    """

    def __init__(self, folder: UPath, shard: str | None) -> None:
        self.folder = folder
        self.shard = shard
        self._version: str | None = "" if is_local(folder) else None

    def path(self, name: str) -> UPath:
        """Path of the output's file `name`.

        A shard's key is a prefix of the name, inside the name's folder if it has one: embeddings/00003.npy,
        balanced_dataset/small/00003.tar. Without a shard the name is unchanged: level_1_clusters/centroids.npy. In an
        object store the folder of the version is inserted before it.
        """
        if name == FACTS:
            return self.path_in("", name)
        if self._version is None:
            self.facts()
        return self.path_in(self._version or "", name)

    def path_in(self, version: str, name: str) -> UPath:
        """Path of the file `name` of a version."""
        return self.folder / place_of(name, self.shard, version)

    def facts(self) -> Facts | None:
        """Facts of the stored output; None if there is no complete output."""
        try:
            facts = parse_facts(read_whole(self.path(FACTS)))
        except FileNotFoundError:
            facts = None
        if not is_local(self.folder):
            self._version = facts.version if facts else None
        return facts

    def whole_facts(self) -> Facts | None:
        """Facts of the stored output if all its files are there: what a step builds on that reuses its own output."""
        facts = self.facts()
        return facts if facts and StoredFiles(self.folder).lost(self.shard, facts) is None else None

    def store_facts(self, facts: Facts, leftovers: Leftovers | None = None) -> None:
        """Replace the facts; the files that they name must exist already."""
        document = asdict(facts)
        if not facts.version:
            del document["version"]
        write_document(self.path(FACTS), document, leftovers)
        if not is_local(self.folder):
            self._version = facts.version

    def remove_files(self, facts: Facts) -> None:
        """Remove the files that facts name; the facts themselves must be removed or replaced already."""
        for name in facts.files:
            self.path_in(facts.version, name).unlink(missing_ok=True)

    def require_facts(self) -> Facts:
        """Facts of the stored output.

        Raises:
            StaleInputError: if there is no complete output.
        """
        facts = self.facts()
        if facts is None:
            shard = f", shard '{self.shard}'" if self.shard is not None else ""
            raise StaleInputError(f"{self.folder.name}{shard} has not been made yet: materialize it first")
        return facts

    def array(self, name: str) -> np.ndarray:
        """A stored array, memory-mapped if it is on this machine."""
        return load_array(self.path(name))

    def table(self, name: str, columns: list[str] | None = None) -> pl.DataFrame:
        """A stored Parquet table, or some of its columns."""
        path = self.path(name)
        source = Path(str(path)) if is_local(path) else io.BytesIO(path.fs.cat_file(path.path))
        # A key may have brackets, which polars would take for a pattern.
        return pl.read_parquet(source, columns=columns, glob=False)

    @contextmanager
    def writing(self, recipe: Recipe, leftovers: Leftovers | None = None) -> Iterator[OutputWriter]:
        """Stage the output's files; when the block ends without an error, they replace the old ones.

        Locally the old facts are removed first and the new ones written last: if the process is killed in between, the
        output counts as missing and never mixes old and new files. In an object store the old output stays complete
        until the new facts are written.
        """
        leftovers = leftovers or Leftovers()
        staged = StagedFiles(leftovers)
        version = ""
        try:
            writer = OutputWriter(self, staged)
            yield writer
            old = self.facts()
            writer.seal()
            staged.flush()
            if is_local(self.folder):
                self.path(FACTS).unlink(missing_ok=True)
                staged.replace()
            else:
                # Named at the end, since a fit may take days: clean-up removes old folders that no facts name.
                version = new_version()
                staged.replace(writer.places(version))
        finally:
            staged.discard()
        if not version:
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
            version,
            writer.sizes,
        )
        self.store_facts(facts, leftovers)
        if version and old is not None:
            # A process that still reads them finds a missing file, never a file of another writer.
            self.remove_files(old)
        writer.facts = facts
        writer.clear_up()


class OutputWriter:
    """Collects the files of one output, which then replace the old ones together."""

    def __init__(self, output: Output, files: StagedFiles) -> None:
        self.files: dict[str, str] = {}
        self.sizes: dict[str, int] = {}
        self.summary: dict[str, Any] = {}
        self.parts: dict[str, str] = {}
        self.facts: Facts | None = None
        self._output = output
        self._files = files
        self._staged: dict[str, Path] = {}
        self._digests: dict[str, str] = {}
        self._when_stored: list[Callable[[], None]] = []

    def when_stored(self, clear_up: Callable[[], None]) -> None:
        """Register an action for when the output is complete, such as removing its working files."""
        self._when_stored.append(clear_up)

    def clear_up(self) -> None:
        """Run the registered actions."""
        for clear_up in self._when_stored:
            clear_up()

    def file(self, name: str) -> Path:
        """A local path at which to write the output's file `name`."""
        self._staged[name] = self._files.stage(self._output.path_in("", name))
        return self._staged[name]

    def places(self, version: str) -> dict[Path, UPath]:
        """Path of each staged file in a version's folder."""
        return {staged: self._output.path_in(version, name) for name, staged in self._staged.items()}

    def stored(self) -> Facts:
        """The output's facts, after the block of `writing`."""
        if self.facts is None:
            raise RuntimeError("the output is not stored yet: ask for its facts after the block of `writing`")
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
        """Store a file of another output: as a hard link, or as a copy if linking is not possible.

        Outputs are replaced by renaming and never changed in place, so the link keeps its content.

        Args:
            name: of the output's file.
            source: the file.
            digest: its SHA-256 by the facts of its output; the file is not read for it.
        """
        staged = self.file(name)
        if not is_local(source):
            source.fs.get_file(source.path, str(staged))
        else:
            staged.unlink()
            link_or_copy(source, staged)
        self._digests[name] = digest

    def digest(self, name: str) -> str:
        """SHA-256 of a file that is completely written."""
        if name not in self._digests:
            self._digests[name] = file_digest(self._staged[name])
        return self._digests[name]

    def seal(self) -> None:
        """Compute the digests and sizes of all staged files."""
        self.files = {name: self.digest(name) for name in sorted(self._staged)}
        self.sizes = {name: self._staged[name].stat().st_size for name in self.files}
