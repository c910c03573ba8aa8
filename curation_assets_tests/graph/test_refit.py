"""The tree that stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets.errors import StaleInputError
from curation_assets.graph.refit import standing_tree
from curation_assets.pools import PoolSpec
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets_tests.projects import SMALL_POOL


def test_without_a_fit_there_is_no_tree(tmp_path: Path) -> None:
    spec = PoolSpec.model_validate({"name": "p", **SMALL_POOL})
    with pytest.raises(StaleInputError, match="pool 'p' has no current tree: materialize level 1 first"):
        standing_tree(spec, PoolStorage(str(tmp_path), "p"))
