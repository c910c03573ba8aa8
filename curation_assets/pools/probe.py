"""Probes: what is trained on candidate subsets of a target's size, to see how good each is to learn from."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Final

from pydantic import Field, PositiveInt, field_validator, model_validator

from curation_assets.pools.base import Settings

LABELS_SUFFIXES: Final = (".parquet", ".csv", ".tsv", ".jsonl")


class LabelsTable(Settings):
    """A table of labels beside the pool, joined by sample id."""

    path: str = Field(
        description="File with one row per sample: Parquet, CSV or TSV with a header, or JSON lines, by its suffix. A "
        "relative path counts from the project.",
        examples=["data/labels.csv"],
    )
    id_field: str = Field("id", description="Column of sample ids.", examples=["url"])
    label_field: str = Field("label", description="Column of labels.", examples=["species"])

    @field_validator("path")
    @classmethod
    def _is_a_table(cls, value: str) -> str:
        if PurePosixPath(value).suffix.lower() not in LABELS_SUFFIXES:
            raise ValueError(f"a table of labels ends in {', '.join(LABELS_SUFFIXES)}, got '{value}'")
        return value

    @model_validator(mode="after")
    def _columns_differ(self) -> LabelsTable:
        if self.id_field == self.label_field:
            raise ValueError(f"id_field and label_field are both '{self.id_field}': name two columns")
        return self


class ProbeSettings(Settings):
    """What the probes learn, and a command of your own that judges the same subsets. `probe: null` leaves them out.

    Without labels and without a command there is no probe.
    """

    label_field: str | None = Field(
        None,
        description="The label that probes learn, one of `source.label_fields`. `null` takes the first.",
        examples=["species"],
    )
    labels: LabelsTable | None = Field(
        None,
        description="Labels from a table of their own instead of `source.label_fields`.",
        examples=[{"path": "data/labels.csv", "id_field": "id", "label_field": "species"}],
    )
    held_out: Annotated[float, Field(gt=0.0, le=0.5)] | Annotated[int, Field(ge=1, strict=True)] = Field(
        0.1,
        description="Samples that test the probes and are in no candidate subset, equally many of each label: a share "
        "of the labelled samples (at most 0.5), or a number for each label. At most half of a label's samples.",
        examples=[20],
    )
    n_seeds: PositiveInt = Field(
        3, description="Draws of each candidate subset, whose mean and spread are shown.", examples=[5]
    )
    command: Annotated[str, Field(min_length=1)] | tuple[str, ...] | None = Field(
        None,
        description="A program that gets the ids of every candidate subset and returns figures as JSON. A list is "
        "started without a shell; a text is given to `/bin/sh -c`. It runs in the project's folder. Put no secrets "
        "into it: the report shows it.",
        examples=[["python", "train.py", "--epochs", "10"]],
    )
    timeout_seconds: PositiveInt = Field(
        3600, description="The command is stopped after this many seconds.", examples=[86_400]
    )
    figure: str | None = Field(
        None,
        min_length=1,
        description="The command's figure by which `balance_from: {by: probe}` chooses; higher is better. `null` "
        "chooses by the mean of both probes.",
        examples=["accuracy"],
    )

    @field_validator("command")
    @classmethod
    def _command_names_a_program(cls, value: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        if value is not None and not (
            value.strip() if isinstance(value, str) else value and value[0].strip()
        ):
            raise ValueError("the command is empty: name a program, e.g. [python, train.py], or use null")
        return value

    @model_validator(mode="after")
    def _settings_agree(self) -> ProbeSettings:
        if self.labels is not None and self.label_field is not None:
            raise ValueError(
                f"label_field is '{self.label_field}', but labels names a column of its own: remove one of them"
            )
        if self.figure is not None and self.command is None:
            raise ValueError(
                f"figure is '{self.figure}', but there is no command that returns it: add command or remove figure"
            )
        return self
