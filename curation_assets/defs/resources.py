"""Resources: where the project keeps its data."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from curation_assets.formats import build_reader
from curation_assets.formats.base import ShardReader
from curation_assets.pools import EncoderSettings, PoolSpec
from curation_assets.steps.cleaning.evaluation_sets import evaluation_readers
from curation_assets.storage.pool_storage import PoolStorage

if TYPE_CHECKING:
    from curation_assets.encoders import Encoder
    from curation_assets.encoders.tokenizers import TokenCounter


class CurationResource(dg.ConfigurableResource):
    """Gives the steps their storage, readers and encoders."""

    home_folder: str = Field(description="Project folder: relative paths of pools count from here.")
    storage_root: str = Field(description="Folder or fsspec URI of everything the graph makes.")

    def storage(self, pool: str) -> PoolStorage:
        """Outputs of a pool."""
        return PoolStorage(self.storage_root, pool)

    def reader(self, spec: PoolSpec) -> ShardReader:
        """Reader of a pool's source files."""
        return build_reader(spec.source, Path(self.home_folder))

    def evaluation_readers(self, spec: PoolSpec) -> dict[str, ShardReader]:
        """Readers of a pool's evaluation sets, by name."""
        return evaluation_readers(spec, Path(self.home_folder))

    def encoder(self, spec: PoolSpec) -> Encoder:
        """The pool's encoder; its weights are loaded once per process (see `load_encoder`)."""
        from curation_assets.encoders.loading import load_encoder

        if spec.encoder is None:
            raise ValueError(f"pool '{spec.name}' has no encoder: its source already holds embeddings")
        return load_encoder(spec.encoder)

    def token_counter(self, spec: PoolSpec) -> TokenCounter | None:
        """Counter of the pool's tokens, loaded once per process; None if the source already holds embeddings."""
        return None if spec.encoder is None else _loaded_counter(spec.tokenizer, spec.encoder)


@lru_cache(maxsize=1)
def _loaded_counter(name: str | None, encoder: EncoderSettings) -> TokenCounter:
    from curation_assets.encoders.tokenizers import build_tokenizer

    return build_tokenizer(name, encoder)
