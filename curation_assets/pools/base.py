"""The base class and the types that all groups of settings share."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from curation_assets.pools.secrets import REMEDY, secret_of

Auto = Literal["auto"]
Modality = Literal["image", "text", "embedding"]
"""What a sample is. An 'embedding' sample has no bytes, only its vector and its metadata."""
Similarity = Annotated[float, Field(gt=0.0, le=1.0)]
"""A cosine similarity; two samples at or above it count as the same."""
# A command may have empty arguments; its own check names what is missing.
_FREE_TEXTS = ("description", "command")
# The check of a size in bytes has better words for a truth value.
_SAYS_MORE = ("memory_budget", "device_memory")
_LARGEST = 2**63 - 1


class Settings(BaseModel):
    """Base of all settings: frozen, and unknown keys are refused.

    So are values that no step can work with: blank texts, yes or no for a number, infinities, and integers of more
    than 64 bits; and URIs that hold a secret, which the report would show.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _value_makes_sense(cls, value: Any, info: ValidationInfo) -> Any:
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, str) and not part.strip() and info.field_name not in _FREE_TEXTS:
                raise ValueError("the text is empty: give a value, or remove the key to use its default")
            if isinstance(part, str) and (secret := secret_of(part)):
                # Do not repeat the value: it would put the secret into a log.
                raise ValueError(f"the URI holds credentials ({secret}): {REMEDY}")
            if isinstance(part, int) and abs(part) > _LARGEST:
                raise ValueError(f"the number is too large: choose at most {_LARGEST}")
        return value

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_numbers(cls, values: Any) -> Any:
        """A bare yes is true in YAML, and true would count as 1."""
        for name, value in values.items() if isinstance(values, dict) else ():
            field = cls.model_fields.get(name)
            if field is None or not isinstance(value, bool) or name in _SAYS_MORE:
                continue
            if bool not in (field.annotation, *get_args(field.annotation)):
                raise ValueError(f"{name} is {str(value).lower()}, which is no value of this key")
        return values


def require_different(values: tuple[str, ...]) -> tuple[str, ...]:
    """Check that a list names nothing twice.

    Raises:
        ValueError: naming what is there twice.
    """
    if twice := sorted({value for value in values if values.count(value) > 1}):
        raise ValueError(f"the list names '{twice[0]}' twice: remove one")
    return values
