"""Wrong clicks after files of the pool, or of what the graph made, were damaged or removed behind its back."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

from curation_assets.storage.outputs import FACTS
from curation_assets_tests.wrong_clicks.hand import SHARDS, Hand, Shown, Wrong

AGAIN = {"again": True}
ONE = ["00001"]
GONE_AGAIN = "no longer in its files: run raw_pool again, with everything downstream of it"
RECLUSTER = (
    "materialize level_2_clusters and everything downstream of it first, or run the job emoji_recluster"
)

Damage = Callable[[bytes], bytes | None]


def cut(content: bytes) -> bytes:
    return content[: len(content) * 6 // 10]


def random_bytes(content: bytes) -> bytes:
    return random.Random(1).randbytes(len(content))


def other_pixels(content: bytes) -> bytes:
    """The same names, sizes and places, but the first picture has another content."""
    start = content.index(b"IDAT") + 8
    return content[:start] + bytes(32) + content[start + 32 :]


def empty(_: bytes) -> bytes:
    return b""


def gone(_: bytes) -> None:
    return None


def damaged(
    damage: Damage, says: str, *names: str, shards: list[str] | None = None, again: bool = False
) -> Wrong:
    """Damage the files of some shards, the second one as a rule, then materialize assets one after the other."""

    def do(hand: Hand) -> Shown:
        for shard in shards or ONE:
            content = damage(hand.raw(shard).read_bytes())
            hand.raw(shard).unlink()
            if content is not None:
                hand.raw(shard).write_bytes(content)
        shown = Shown()
        for name in names:
            chosen = (shards or ONE) if hand.steps[name].partitioned else []
            shown += hand.materialize(name, shards=chosen, config=AGAIN if again else None)
        return shown

    return Wrong(says, do, put_back)


def put_back(hand: Hand) -> None:
    """Restore the files of the pool."""
    folder = hand.raw("00000").parent
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(hand.finished.folder / "data" / "raw" / "emoji", folder)


def without(remove: Callable[[Path], object], says: str, name: str) -> Wrong:
    """Do something to the folder of what was made, then materialize an asset."""

    def do(hand: Hand) -> Shown:
        remove(Path(str(hand.project.storage.folder)))
        return hand.materialize(name, shards=SHARDS if hand.steps[name].partitioned else [])

    return Wrong(says, do)


def _folder_gone(hand: Hand) -> Shown:
    shutil.rmtree(hand.raw("00000").parent)
    return hand.materialize("raw_pool", shards=SHARDS)


def _by_hand(hand: Hand) -> Shown:
    hand.instance.add_dynamic_partitions("emoji_shards", ["typo"])
    return hand.materialize("raw_pool", shards=["typo"])


ON_FILES: dict[str, Wrong] = {
    "read a shard whose file was deleted": damaged(
        gone, "none of its files is left (00001.tar): put them back, or `curation-assets run", "raw_pool"
    ),
    "read a shard whose file was cut": damaged(
        cut, "1 file is damaged or empty: 00001.tar (truncated_file", "raw_pool"
    ),
    "read a shard of random bytes": damaged(
        random_bytes, "1 file is damaged or empty: 00001.tar (unreadable_file", "raw_pool"
    ),
    "read an empty file": damaged(empty, "00001 (100%; empty_file: 1)", "raw_pool"),
    "read a pool whose files are all deleted": damaged(
        gone, "which matches no file in", "raw_pool", shards=SHARDS
    ),
    "read a pool whose folder was moved away": Wrong(
        "which is not a folder: create it or correct the path", _folder_gone, put_back
    ),
    "draw after one shard was read again": damaged(
        cut, "selection reads embeddings of shard '00001', which is out of date", "raw_pool", "selection"
    ),
    "draw after one shard of the fit was embedded again": damaged(
        cut, "selection reads level_1_assign of shard '00001'", "raw_pool", "embeddings", "selection"
    ),
    "embed a changed file that was not read again": damaged(
        other_pixels, GONE_AGAIN, "embeddings", again=True
    ),
    "write the dataset from a cut file": damaged(cut, GONE_AGAIN, "balanced_dataset", again=True),
    "write the dataset from a deleted file": damaged(gone, "no such file", "balanced_dataset", again=True),
    "make the report of changed files": damaged(
        other_pixels, GONE_AGAIN, "curation_report", again=True, shards=SHARDS
    ),
    "make the atlas of changed files": damaged(other_pixels, GONE_AGAIN, "atlas", again=True, shards=SHARDS),
    "add a partition by hand and read it": Wrong("'typo' is no longer a shard of pool 'emoji'", _by_hand),
    "delete an output and make what follows it": without(
        lambda made: (made / "level_2_clusters" / "centroids.npy").unlink(),
        f"which is out of date (stored file centroids.npy is missing): {RECLUSTER}",
        "level_2_assign",
    ),
    "cut an output and make what follows it": without(
        lambda made: (made / "selection" / "selected.parquet").write_bytes(b"PAR1"),
        "stored file selected.parquet has another size than recorded): materialize selection",
        "balanced_dataset",
    ),
    "delete what was embedded of one shard and draw": without(
        lambda made: next((made / "embeddings").glob("00001*npy")).unlink(),
        "selection reads embeddings of shard '00001', which is out of date (stored file",
        "selection",
    ),
    "delete the facts of a step and make what follows it": without(
        lambda made: (made / "selection" / FACTS).unlink(),
        "balanced_dataset reads selection, which does not exist yet: materialize selection",
        "balanced_dataset",
    ),
    "delete everything made and draw": without(
        shutil.rmtree, "have not been listed yet: run the job emoji_curate", "selection"
    ),
}
