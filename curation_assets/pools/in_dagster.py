"""How a pool appears in Dagster: names, owners, tags. Nothing here changes what is curated."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator, model_validator

from curation_assets.pools.base import Settings, require_different

_NAME = re.compile(r"[A-Za-z0-9_]+")
_OWNER = re.compile(r"team:.+|[^@\s]+@[^@\s]+\.[^@\s]+")
_TAG_KEY = re.compile(r"([A-Za-z0-9_.-]{1,63}/)?[A-Za-z0-9_.-]{1,63}")
_TAG_VALUE = re.compile(r"[A-Za-z0-9_.-]{0,63}")
_PLACES = {"pool": "p", "lane": "1_ingest"}


def _sound_part(part: str) -> str:
    if not _NAME.fullmatch(part):
        raise ValueError(f"'{part}' is no part of an asset key: use letters, digits and underscores")
    return part


def _sound_owner(owner: str) -> str:
    if not _OWNER.fullmatch(owner):
        raise ValueError(f"'{owner}' is no owner: give an e-mail address, or team: and a name")
    return owner


class DagsterSettings(Settings):
    """How the pool appears in Dagster. Changes no result, and nothing becomes out of date."""

    key_prefix: tuple[Annotated[str, AfterValidator(_sound_part)], ...] = Field(
        (),
        description="What the keys of the pool's assets begin with, before the pool's name. With another prefix they "
        "are other assets to Dagster: what is stored stays up to date, and the history in the UI starts anew.",
        examples=[["ml", "curation"]],
    )
    group_name: str = Field(
        "{pool}_{lane}",
        description="Group of the pool's assets. `{pool}` is the pool's name, `{lane}` is `1_ingest`, `2_hierarchy`, "
        "`3_balance` or `4_report`.",
        examples=["curation"],
    )
    owners: Annotated[
        tuple[Annotated[str, AfterValidator(_sound_owner)], ...], AfterValidator(require_different)
    ] = Field(
        (),
        description="Owners of the pool's assets: e-mail addresses, or `team:` and a name.",
        examples=[["team:data"]],
    )
    tags: dict[str, str] = Field(
        {}, description="Tags of the pool's assets, on top of their kinds.", examples=[{"domain": "vision"}]
    )
    source_assets: bool = Field(
        False,
        description="Show the files of the pool and of its evaluation sets as external assets, which the sensor "
        "observes: files, bytes, digest. In a pool that is curated already, the UI then marks `raw_pool` as unsynced, "
        "as it has a new input there; nothing is made again.",
        examples=[True],
    )
    fresh_within_hours: Annotated[float, Field(ge=0.1, le=1_000_000.0)] | None = Field(
        None,
        description="Freshness policy of `dataset_release`: it fails if the release was last materialized longer ago. "
        "A run with nothing to do materializes nothing, so this is for pools that grow steadily. `null` sets none.",
        examples=[48],
    )

    @field_validator("group_name")
    @classmethod
    def _group_is_a_name(cls, value: str) -> str:
        try:
            name = value.format(**_PLACES)
        except (KeyError, IndexError, ValueError):
            raise ValueError(f"'{value}' may have {{pool}} and {{lane}} in braces, nothing else") from None
        if not _NAME.fullmatch(name):
            raise ValueError(f"'{value}' gives no name of a group: use letters, digits and underscores")
        return value

    @field_validator("tags")
    @classmethod
    def _tags_are_sound(cls, value: dict[str, str]) -> dict[str, str]:
        for key, text in value.items():
            if not _TAG_KEY.fullmatch(key) or not _TAG_VALUE.fullmatch(text):
                raise ValueError(
                    f"'{key}: {text}' is no tag: use at most 63 letters, digits, underscores, hyphens and dots for "
                    f"each; the key may have a prefix and a slash"
                )
        return value

    @model_validator(mode="before")
    @classmethod
    def _values_of_tags_are_texts(cls, values: Any) -> Any:
        """A version such as 1.10 would lose its zero, and yes would become True."""
        tags = values.get("tags") if isinstance(values, dict) else None
        for key, value in tags.items() if isinstance(tags, dict) else ():
            if not isinstance(value, str):
                raise ValueError(f"tags.{key} is {value!r}, which is no text: put it in quotes")
        return values

    def group_of(self, pool: str, lane: str) -> str:
        """Name of the group of a pool's assets of one lane."""
        return self.group_name.format(pool=pool, lane=lane)
