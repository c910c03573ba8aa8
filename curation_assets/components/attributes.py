"""What a component's YAML may say: the settings of a pool, checked with the messages of pool files."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from curation_assets.components.schema import attributes_schema
from curation_assets.pools import PoolSpec
from curation_assets.pools.loading import problems_of
from curation_assets.pools.projects.templates import has_template

_NAME = (
    "Name of the pool, and of its folder below the storage. By default the name of the component's folder."
)


class PoolAttributes(PoolSpec):
    """The settings of a pool, as in a pool file; the name may be left out.

    Values with templates are checked when Dagster has rendered them.
    """

    name: str = Field("", description=_NAME, examples=["web_images"])

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The schema by which `dg` checks a YAML, whatever form of one is asked for."""
        return attributes_schema()

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, values: Any, check: ModelWrapValidatorHandler[PoolAttributes]) -> PoolAttributes:
        if isinstance(values, dict) and has_template(values):
            return cls.as_written(values)
        try:
            check(values)
        except ValidationError as error:
            raise ValidationError.from_exception_data(error.title, _line_errors(error)) from None
        return cls.as_written(values)

    @classmethod
    def as_written(cls, values: Any) -> PoolAttributes:
        """The keys that are written, and no defaults: the name is still to come, and messages show what was written."""
        return cls.model_construct(_fields_set=set(values), **values)

    def written(self) -> dict[str, Any]:
        """The keys and values of the YAML."""
        return {name: getattr(self, name) for name in self.model_fields_set}


def _line_errors(error: ValidationError) -> list[InitErrorDetails]:
    """The same problems at the places of their keys in the YAML, which pydantic mixes with names of types.

    Dagster names the line of the place, and prints the input, which may be a secret: the words show it where they may.
    """
    return [
        InitErrorDetails(
            type="value_error",
            loc=problem.place,
            input=None,
            ctx={"error": ValueError(problem.words)},
        )
        for problem in problems_of(error)
    ]
