"""The schema by which `dg check yaml` checks components."""

from __future__ import annotations

from typing import Any

from curation_assets.components.pool import CurationPool
from curation_assets.components.schema import attributes_schema


def case(choice: dict[str, Any], **keys: Any) -> str:
    """The settings that a choice leads to for some keys."""
    [found] = [
        entry["then"]["$ref"]
        for entry in choice["allOf"]
        if all(entry["if"].get("properties", {}).get(key) == {"const": value} for key, value in keys.items())
        and bool(keys) == ("properties" in entry["if"])
    ]
    return str(found.rsplit("/")[-1])


def test_it_is_the_schema_that_dg_asks_for() -> None:
    assert CurationPool.get_model_cls().model_json_schema() == attributes_schema()  # type: ignore[union-attr]
    assert attributes_schema()["additionalProperties"] is False
    assert "name" not in attributes_schema()["required"]


def test_a_key_tells_settings_apart() -> None:
    source = attributes_schema()["properties"]["source"]
    assert case(source, format="folder") == "FolderSource"
    assert source["properties"]["format"]["enum"][0] == "webdataset"
    assert "oneOf" not in source
    without = [entry["then"] for entry in source["allOf"] if "not" in entry["if"]]
    assert without == [{"$ref": "#/$defs/WebDatasetSource"}]


def test_a_choice_without_a_usual_case_requires_its_key() -> None:
    encoder = attributes_schema()["properties"]["encoder"]
    assert encoder["if"] == {"not": {"type": "null"}}
    assert case(encoder["then"], kind="timm") == "TimmEncoderSettings"
    assert encoder["then"]["allOf"][-1]["then"] == {"required": ["kind"]}


def test_a_template_may_stand_for_a_number() -> None:
    schema = attributes_schema()
    assert schema["properties"]["seed"]["if"]["not"]["type"] == "string"
    assert schema["properties"]["seed"]["then"]["minimum"] == 0
    fraction = schema["$defs"]["TargetSettings"]["properties"]["fraction"]
    assert fraction["then"]["then"]["maximum"] == 1.0
    n_clusters = schema["$defs"]["LevelSettings"]["properties"]["n_clusters"]
    assert n_clusters["anyOf"][-1]["type"] == "string"
