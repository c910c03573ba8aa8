"""The labels that the samples of a pool have, beside those that its settings ask for."""

from __future__ import annotations

from curation_assets.errors import CurationError
from curation_assets.formats.base import RawSample, ShardReader
from curation_assets.pools import PoolSpec
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import LABEL_PREFIX


def unknown_labels(spec: PoolSpec, storage: PoolStorage) -> list[str]:
    """Entries of `source.label_fields` that no sample of the raw pool has; reads shards until all are found."""
    missing, n_samples = list(spec.source.label_fields), 0
    for shard in storage.shards():
        raw = storage.raw_pool(shard.key)
        if not missing or raw.facts() is None:
            continue
        # A shard that was read before the settings changed does not have the new columns.
        kept = raw.samples.columns()
        for name in [name for name in missing if LABEL_PREFIX + name in kept]:
            values = raw.samples.column(LABEL_PREFIX + name)
            n_samples += len(values)
            if values.null_count() < len(values):
                missing.remove(name)
    # Without samples there is nothing to be said about labels.
    return missing if n_samples else []


def label_names(storage: PoolStorage, reader: ShardReader) -> list[str]:
    """Names of what the first sample of the pool says about itself, as labels could name it; sorted."""
    for shard in storage.shards():
        for file in shard.files:
            try:
                found = next((item for item in reader.read(file.path) if isinstance(item, RawSample)), None)
            except CurationError:
                continue
            if found is not None:
                return sorted(found.attributes)
    return []
