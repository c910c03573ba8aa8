"""What an asset tells under Dagster's own keys before it is made."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from curation_assets.defs.pool_definitions import build_definitions
from curation_assets.defs.standard_metadata import uri_of
from curation_assets.project import Home
from curation_assets_tests.projects import Project, spec_of


@pytest.fixture
def assets(tmp_path: Path) -> dict[str, dg.AssetSpec]:
    (tmp_path / "pools").mkdir()
    (tmp_path / "pools" / "p.yaml").write_text("# not read here\n")
    spec = spec_of(dagster={"key_prefix": ["ml"], "fresh_within_hours": 48})
    definitions = build_definitions([spec], Home(tmp_path, "memory://curated", tmp_path))
    return {found.key.path[-1]: found for found in definitions.resolve_all_asset_specs()}


def test_every_asset_names_its_place_and_its_code(assets: dict[str, dg.AssetSpec], tmp_path: Path) -> None:
    for name, asset in assets.items():
        assert asset.metadata["dagster/uri"] == f"memory://curated/p/{name}"
        code, settings = asset.metadata["dagster/code_references"].code_references
        assert Path(code.file_path).exists()
        assert settings.file_path == str(tmp_path / "pools" / "p.yaml")
    [code, _] = assets["level_2_assign"].metadata["dagster/code_references"].code_references
    lines = Path(code.file_path).read_text().splitlines()
    assert lines[code.line_number - 1].startswith("def assign_shard(")


def test_tables_name_their_columns(assets: dict[str, dg.AssetSpec]) -> None:
    raw = {
        column.name: column.type for column in assets["raw_pool"].metadata["dagster/column_schema"].columns
    }
    assert (raw["sample_id"], raw["width"], raw["label_group"]) == ("String", "Int32", "String")
    for name, column in {
        "selection": "quota",
        "level_1_assign": "cluster",
        "atlas": "fate",
        "probe": "mean",
    }.items():
        if name != "selection":
            columns = [entry.name for entry in assets[name].metadata["dagster/column_schema"].columns]
            assert column in columns
    names = [asset.metadata.get("dagster/table_name") for asset in assets.values()]
    known = [name for name in names if name]
    assert "ml.p.raw_pool" in known
    assert len(set(known)) == len(known)
    assert "dagster/column_schema" not in assets["level_1_clusters"].metadata


def test_the_release_has_the_freshness_policy(assets: dict[str, dg.AssetSpec]) -> None:
    policies = {name: asset.freshness_policy for name, asset in assets.items() if asset.freshness_policy}
    assert policies == {"dataset_release": dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=48))}
    definitions = build_definitions([spec_of()], Home(Path("/nowhere"), "memory://curated", Path("/nowhere")))
    assert not any(asset.freshness_policy for asset in definitions.resolve_all_asset_specs())


def test_rows_are_counted_under_the_key_of_the_whole_or_of_the_part(finished: Project) -> None:
    with finished.instance() as instance:
        events = {
            name: instance.get_latest_materialization_event(dg.AssetKey(["emoji", name]))
            for name in ("embeddings", "drift", "selection")
        }
    metadata = {name: event.asset_materialization.metadata for name, event in events.items() if event}  # type: ignore[union-attr]
    assert metadata["embeddings"]["dagster/partition_row_count"].value == 24
    assert not any("dagster/partition_row_count" in metadata[name] for name in ("drift", "selection"))


@pytest.mark.parametrize(
    ("location", "uri"),
    [
        ("s3://bucket/curated/", "s3://bucket/curated"),
        ("/data/curated", "file:///data/curated"),
        ("data/a b", "file:///home/data/a%20b"),
    ],
)
def test_a_place_becomes_a_uri(location: str, uri: str) -> None:
    assert uri_of(location, Path("/home")) == uri
