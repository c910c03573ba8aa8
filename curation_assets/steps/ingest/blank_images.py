"""Images that show one colour only: they are kept, counted and named."""

from __future__ import annotations

from collections.abc import Iterator

from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import Embedded

_EXAMPLES = 3


def blank_lines(storage: PoolStorage) -> Iterator[str]:
    """How many images show one colour only, with examples; nothing if none does."""
    facts = storage.shard_facts(Embedded.asset)
    keys = [shard.key for shard in storage.shards() if shard.key in facts]
    counts = {key: int(facts[key].summary.get("n_blank", 0)) for key in keys}
    n_blank, n_rows = sum(counts.values()), sum(int(facts[key].summary["n_rows"]) for key in keys)
    names: list[str] = []
    for key in keys:
        if counts[key] and len(names) < _EXAMPLES:
            embedded = storage.embedded(key)
            names += embedded.rows.column("sample_id")[embedded.blank_rows()[:_EXAMPLES]].to_list()
    if n_blank:
        shown = ", ".join(names[:_EXAMPLES]) + (", ..." if n_blank > _EXAMPLES else "")
        yield (
            f"blank_image: {n_blank:,} of {n_rows:,} images show one colour only ({shown}): they are kept, and are "
            f"duplicates only of equal bytes"
        )
