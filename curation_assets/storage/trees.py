"""Earlier versions of a pool's tree, each in a folder with the layout of the pool's outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from curation_assets.locations import is_local
from curation_assets.storage.atomic import link_or_copy, remove_folder
from curation_assets.storage.documents import LIST, read_document, write_document
from curation_assets.storage.outputs import FACTS, Facts, Output, timestamp
from curation_assets.storage.pool_storage import PoolStorage

TREES, HISTORY = "trees", "history.json"
_REMEDY = "`curation-assets verify --pool {pool} --repair` writes it again from the archived trees"


@dataclass(frozen=True, slots=True)
class TreeRecord:
    """The time at which a version of the tree came into use."""

    version: str
    since: str
    reason: str


class TreeArchive:
    """The trees of one pool, newest last.

    Files of an archived tree are hard links if the file system has them. Outputs are replaced by renaming and never
    changed in place, so a link keeps its content and needs no space.
    """

    def __init__(self, storage: PoolStorage) -> None:
        self._storage = storage
        self._folder = storage.folder / TREES

    def history(self) -> list[TreeRecord]:
        """Every archived tree, in the order of use.

        Raises:
            DamagedFileError: if the history is damaged.
        """
        document = read_document(self._folder / HISTORY, _REMEDY.format(pool=self._storage.pool))
        return [TreeRecord(**entry) for entry in document[LIST]] if document else []

    def rebuild_history(self) -> None:
        """Write the history again from the archived trees; each counts as in use since its level 1 was made."""
        records = []
        for folder in self._folder.iterdir():
            facts = self.storage(folder.name).clusters(1).facts() if folder.is_dir() else None
            if facts:
                records.append(TreeRecord(folder.name, facts.made_at, "its reason is lost"))
        self._write_history(sorted(records, key=lambda record: record.since))

    def previous(self, version: str) -> TreeRecord | None:
        """The tree in use before `version`."""
        others = [record for record in self.history() if record.version != version]
        return others[-1] if others else None

    def storage(self, version: str) -> PoolStorage:
        """The outputs of an archived tree: level_t_clusters, and level_1_assign by shard."""
        return PoolStorage(str(self._folder), version)

    def keep(
        self,
        version: str,
        clusters: Sequence[str],
        assign: str,
        shards: Sequence[str],
        *,
        reason: str,
        most: int,
    ) -> int:
        """Archive the current tree, or its new outputs, and remove versions beyond the newest `most`.

        `clusters` names the unpartitioned outputs, `assign` the output with the clusters of the rows.

        Returns:
            Number of newly archived outputs.
        """
        archived = self.storage(version)
        n_new = sum(_link(self._storage.output(name), archived.output(name)) for name in clusters)
        n_new += sum(_link(self._storage.output(assign, key), archived.output(assign, key)) for key in shards)
        history = self.history()
        if not history or history[-1].version != version:
            earlier = [record for record in history if record.version != version]
            history = [*earlier, TreeRecord(version, timestamp(), reason)]
            dropped, history = history[:-most], history[-most:]
            self._write_history(history)
            for record in dropped:
                remove_folder(self._folder / record.version)
        return n_new

    def _write_history(self, history: Sequence[TreeRecord]) -> None:
        write_document(self._folder / HISTORY, {LIST: [asdict(record) for record in history]})


def _link(source: Output, target: Output) -> bool:
    """Link the files of `source` from `target`; False if they are linked already."""
    facts, there = source.require_facts(), target.facts()
    if there is not None and there.digest == facts.digest and there.fingerprint == facts.fingerprint:
        return False
    if not is_local(source.folder):
        _copy(source, facts, target)
        return True
    target.path(FACTS).unlink(missing_ok=True)
    target.folder.mkdir(parents=True, exist_ok=True)
    # Facts last: an output with facts is complete.
    for name in [*facts.files, FACTS]:
        new = Path(str(target.path(name)))
        new.unlink(missing_ok=True)
        link_or_copy(source.path(name), new)
    return True


def _copy(source: Output, facts: Facts, target: Output) -> None:
    """Copy inside a store exactly the files that these facts name, even if another writer has replaced the output."""
    there = target.facts()
    for name in facts.files:
        old, new = source.path_in(facts.version, name), target.path_in(facts.version, name)
        old.fs.copy(old.path, new.path)
    target.store_facts(facts)
    if there is not None and there.version != facts.version:
        target.remove_files(there)
