"""Names, owners and tags that Dagster would refuse are refused with the pool's file."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from curation_assets.graph.base import Lane
from curation_assets.pools.in_dagster import DagsterSettings


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"key_prefix": ["a/b"]}, "'a/b' is no part of an asset key"),
        ({"key_prefix": ["a", ""]}, "no part of an asset key"),
        ({"group_name": "{step}"}, "may have {pool} and {lane} in braces, nothing else"),
        ({"group_name": "{"}, "may have {pool} and {lane}"),
        ({"group_name": "my group"}, "gives no name of a group"),
        ({"owners": ["data"]}, "'data' is no owner: give an e-mail address, or team: and a name"),
        ({"owners": ["team:a", "team:a"]}, "names 'team:a' twice"),
        ({"tags": {"a b": "c"}}, "'a b: c' is no tag"),
        ({"tags": {"a": "b c"}}, "'a: b c' is no tag"),
        ({"tags": {"version": 1.1}}, "tags.version is 1.1, which is no text: put it in quotes"),
        ({"fresh_within_hours": 0}, "greater than or equal to 0.1"),
        ({"prefix": ["a"]}, "Extra inputs are not permitted"),
    ],
)
def test_what_dagster_would_refuse_is_named(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as error:
        DagsterSettings.model_validate(settings)
    assert says in str(error.value)


def test_groups_are_filled_in() -> None:
    assert DagsterSettings().group_of("web", Lane.INGEST) == "web_1_ingest"
    assert DagsterSettings(group_name="{pool}").group_of("web", Lane.REPORT) == "web"
    assert DagsterSettings(group_name="ml").group_of("web", Lane.REPORT) == "ml"
