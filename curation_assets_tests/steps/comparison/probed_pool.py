"""A copy of a drawn pool with other settings, for steps that write beside its outputs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from curation_assets.pools import PoolSpec
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets_tests.steps.drawn_pool import Pool


def copy_pool(drawn: Pool, folder: Path, **changes: Any) -> tuple[PoolSpec, PoolStorage]:
    """The settings, changed, and a copy of the outputs, which need not be made again for them."""
    shutil.copytree(drawn.folder / "curated", folder / "curated")
    settings = drawn.spec.model_dump(exclude_unset=True)
    return PoolSpec.model_validate({**settings, **changes}), PoolStorage(
        str(folder / "curated"), drawn.spec.name
    )
