"""Labels from a table beside the pool, joined by sample id."""

from __future__ import annotations

import glob
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from upath import UPath

from curation_assets.errors import PoolSpecError, ShardError
from curation_assets.formats.base import SourceFile
from curation_assets.formats.listing import list_one_file, resolve_location
from curation_assets.formats.opening import storage_errors
from curation_assets.locations import is_local
from curation_assets.pools import LabelsTable
from curation_assets.steps.context import PoolAccess
from curation_assets.steps.dataset.shard_tables import ShardTables
from curation_assets.storage.labels import save_labels_sight

_NAMED = 5


@dataclass(frozen=True, slots=True)
class JoinedLabels:
    """The label of every embedded row of the pool, in canonical order, and what did not find its counterpart."""

    names: list[str]
    """The labels, sorted."""
    codes: np.ndarray
    """int32 (n,): place of each row's label in `names`, -1 for none."""
    n_samples_without_row: int
    samples_without_row: list[str]
    """The first of them."""
    n_rows_without_sample: int
    rows_without_sample: list[str]
    """The ids of the first of them."""

    def lines(self, settings: LabelsTable) -> list[str]:
        """What did not match, for people; nothing if all did."""
        lines = []
        if self.n_samples_without_row:
            lines.append(
                f"{self.n_samples_without_row:,} of {len(self.codes):,} samples have no row in {settings.path}, e.g. "
                f"{', '.join(self.samples_without_row)}"
            )
        if self.n_rows_without_sample:
            lines.append(
                f"{self.n_rows_without_sample:,} rows of {settings.path} belong to no embedded sample, e.g. "
                f"{', '.join(self.rows_without_sample)}"
            )
        return lines


def find_labels_table(pool: PoolAccess) -> SourceFile | None:
    """The table of labels as it is now; None for a pool without one.

    Raises:
        PoolSpecError: if the table does not exist.
    """
    settings = pool.spec.probe.labels if pool.spec.probe else None
    if settings is None:
        return None
    path = resolve_location(settings.path, Path(pool.home_folder))
    file = list_one_file(path)
    if file is None:
        raise PoolSpecError(
            f"probe.labels.path is '{settings.path}', but there is no such file ({path}): correct the path, or remove "
            f"probe.labels"
        )
    return file


def take_labels_sight(pool: PoolAccess) -> None:
    """Record the table of labels as it is now, so that a change makes the probe out of date.

    Raises:
        PoolSpecError: if the table does not exist.
    """
    if (file := find_labels_table(pool)) is not None:
        save_labels_sight(pool.storage.folder, file)


def read_labels_table(settings: LabelsTable, home: Path) -> pl.DataFrame:
    """The table as sample_id and label, both text, without rows that lack either; equal rows count once.

    Memory is the two columns of the table.

    Raises:
        PoolSpecError: if a column is missing, or an id has two labels.
        ShardError: if the file cannot be read.
    """
    path = resolve_location(settings.path, home)
    table = _read(path, settings)
    for key, column in (("id_field", settings.id_field), ("label_field", settings.label_field)):
        if column not in table.columns:
            raise PoolSpecError(
                f"probe.labels.{key} is '{column}', but {settings.path} has the columns {', '.join(table.columns)}"
            )
    pairs = table.select(
        sample_id=pl.col(settings.id_field).cast(pl.String),
        label=pl.col(settings.label_field).cast(pl.String),
    )
    pairs = pairs.filter(pl.all_horizontal(pl.all().is_not_null() & (pl.all() != ""))).unique(
        maintain_order=True
    )
    twice = pairs.filter(pl.col("sample_id").is_duplicated())
    if len(twice):
        first = twice["sample_id"][0]
        labels = twice.filter(pl.col("sample_id") == first)["label"].to_list()
        raise PoolSpecError(
            f"{settings.path} gives the id '{first}' two labels, '{labels[0]}' and '{labels[1]}': leave one row for "
            f"each id"
        )
    return pairs


def join_labels(table: pl.DataFrame, shards: Sequence[ShardTables]) -> JoinedLabels:
    """Give every embedded row of the pool its label, shard by shard.

    Args:
        table: sample_id and label, see `read_labels_table`.
        shards: in canonical order.
    """
    names = table["label"].unique().sort().to_list()
    codes = table["label"].replace_strict(names, range(len(names)), return_dtype=pl.Int32)
    coded = table.select("sample_id", code=codes).with_row_index("place")
    found = np.zeros(len(coded), dtype=bool)
    parts = [np.zeros(0, dtype=np.int32)]
    n_without, without = 0, list[str]()
    for shard in shards:
        ids = shard.embedded.rows.read("sample_id")
        joined = ids.join(coded, on="sample_id", how="left", maintain_order="left")
        missing = joined.filter(pl.col("place").is_null())["sample_id"]
        n_without += len(missing)
        without += missing.head(_NAMED - len(without)).to_list()
        found[joined["place"].drop_nulls().to_numpy()] = True
        parts.append(joined["code"].fill_null(-1).to_numpy())
    left_over = coded.filter(~pl.Series(found))["sample_id"]
    return JoinedLabels(
        names, np.concatenate(parts), n_without, without, len(left_over), left_over.head(_NAMED).to_list()
    )


def _read(path: UPath, settings: LabelsTable) -> pl.DataFrame:
    """The columns that are asked for, of those that exist; all if one of them does not."""
    suffix, wanted = path.suffix.lower(), [settings.id_field, settings.label_field]
    with storage_errors(settings.path):
        # polars takes brackets in the name of JSON lines for a pattern.
        is_name = is_local(path) and not (suffix == ".jsonl" and glob.has_magic(str(path)))
        source = Path(str(path)) if is_name else io.BytesIO(path.fs.cat_file(path.path))
    try:
        if suffix == ".parquet":
            table = pl.scan_parquet(source, glob=False)
        elif suffix == ".jsonl":
            table = pl.scan_ndjson(source, infer_schema_length=None)
        else:
            # Everything is text, so that the id 007 stays what it is.
            separator = "\t" if suffix == ".tsv" else ","
            table = pl.scan_csv(source, separator=separator, infer_schema=False, glob=False)
        columns = table.collect_schema().names()
        return table.select(wanted if set(wanted) <= set(columns) else columns).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        line = " ".join(str(error).split())[:300]
        raise ShardError(
            f"probe.labels.path: {settings.path} cannot be read ({line}): write it again"
        ) from error
