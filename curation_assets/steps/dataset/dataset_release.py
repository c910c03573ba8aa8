"""dataset_release: each target as a folder to publish, with its card, ids, weights and manifest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import polars as pl

from curation_assets.errors import CurationError
from curation_assets.steps.context import StepContext
from curation_assets.steps.dataset.embedding_dataset import conformed, unified_schema
from curation_assets.steps.dataset.release_card import dataset_card
from curation_assets.steps.dataset.shard_tables import shard_tables
from curation_assets.steps.dataset.weights import write_weights
from curation_assets.storage.outputs import Facts, Output, OutputWriter
from curation_assets.storage.tables import BalancedDataset, DatasetRelease, Selection

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class ReleasedFile:
    """One file of a release, as its manifest lists it."""

    path: str
    """Below the target's folder."""
    rows: int | None
    sha256: str


def write_release(step: StepContext) -> None:
    """Make the folder of every target: `data/`, `ids.txt`, `weights.parquet`, `README.md`, `manifest.json`.

    The Parquet files of `balanced_dataset` are linked, not copied. If the shards of a pool of embeddings differ in
    their columns, the differing files are rewritten. Nothing depends on time or machine.

    Raises:
        CurationError: if ids cannot be written as asked, or the weights do not add up.
    """
    spec, storage, writer = step.spec, step.storage, step.writer
    step.report(0.0, f"{len(spec.targets)} targets")
    selection, tables = storage.selection(), shard_tables(spec, storage)
    facts = selection.require_facts()
    written = storage.shard_facts(BalancedDataset.asset)
    datasets = [(storage.balanced_dataset(s.key), written[s.key]) for s in tables if s.key in written]
    tree_version = str(facts.summary.get("tree_version") or "")
    for target in spec.targets:
        files: list[ReleasedFile] = []
        if "parquet" in spec.output_formats:
            files += _link_data(datasets, target.name, writer, may_differ=spec.modality == "embedding")
        if "ids" in spec.output_formats:
            files.append(_write_ids(selection, target.name, writer))
        if "weights" in spec.output_formats:
            path = writer.file(f"{target.name}/{DatasetRelease.WEIGHTS}")
            n_rows = write_weights(tables, selection, target, path)
            files.append(_listed(writer, target.name, DatasetRelease.WEIGHTS, n_rows))
        size = int(facts.summary["targets"][target.name])
        about = {
            "pool": spec.name,
            "target": target.name,
            "requested": target.model_dump(
                mode="json", include={"size", "fraction", "tokens"}, exclude_none=True
            ),
            "strategy": target.strategy,
            "balance_from": f"level_{facts.summary['balance_from'][target.name]}",
            "chosen_by": facts.summary["chosen_by"][target.name],
            "evenness": target.evenness,
            "seed": facts.summary["seed"][target.name],
            "size": size,
            "tree_version": tree_version,
            "fingerprint": facts.digest,
        }
        card = dataset_card(spec, about, facts.summary, {file.path for file in files})
        writer.text(f"{target.name}/{DatasetRelease.CARD}", card)
        files.append(_listed(writer, target.name, DatasetRelease.CARD, None))
        manifest = about | {"files": [asdict(file) for file in files]}
        text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
        writer.text(f"{target.name}/{DatasetRelease.MANIFEST}", text)
        writer.summary[target.name] = {"n_samples": size, "n_files": len(files) + 1}


def _listed(writer: OutputWriter, target: str, path: str, rows: int | None) -> ReleasedFile:
    return ReleasedFile(path, rows, writer.digest(f"{target}/{path}"))


def _write_ids(selection: Selection, target: str, writer: OutputWriter) -> ReleasedFile:
    ids = selection.selected.part("target", target, "sample_id")["sample_id"]
    broken = ids.filter(ids.str.contains("[\n\r]"))
    if len(broken):
        raise CurationError(
            f"target '{target}': the id {broken[0]!r} has a line break, so does not fit a list of one id per "
            f"line: leave 'ids' out of outputs, or name another source.id_field"
        )
    pl.DataFrame({"sample_id": ids}).write_csv(
        writer.file(f"{target}/{DatasetRelease.IDS}"), include_header=False, quote_style="never"
    )
    return _listed(writer, target, DatasetRelease.IDS, len(ids))


def _link_data(
    datasets: Sequence[tuple[BalancedDataset, Facts]], target: str, writer: OutputWriter, *, may_differ: bool
) -> list[ReleasedFile]:
    """The Parquet files of the shards with selected samples, under the names that Hugging Face gives to splits."""
    suffix = BalancedDataset.file(target, "parquet")
    found = [(output, facts) for output, facts in datasets if suffix in facts.files]
    schemas = [_schema(output, suffix) for output, _ in found] if may_differ else []
    common = unified_schema(schemas) if schemas else None
    files = []
    for number, (output, facts) in enumerate(found):
        path = f"data/train-{number:05}-of-{len(found):05}.parquet"
        if common is None or schemas[number].equals(common):
            writer.link(f"{target}/{path}", output.path(suffix), facts.files[suffix])
        else:
            _rewrite(output, suffix, common, writer, f"{target}/{path}")
        files.append(_listed(writer, target, path, int(facts.summary["n_written"][target])))
    return files


def _schema(output: Output, name: str) -> pa.Schema:
    import pyarrow.parquet as pq

    path = output.path(name)
    with path.fs.open(path.path, "rb") as file:
        return pq.read_schema(file)


def _rewrite(output: Output, name: str, schema: pa.Schema, writer: OutputWriter, new_name: str) -> None:
    """Copy a Parquet file, row group by row group, into a wider schema."""
    import pyarrow.parquet as pq

    path = output.path(name)
    with (
        path.fs.open(path.path, "rb") as file,
        pq.ParquetFile(file) as parquet,
        pq.ParquetWriter(writer.file(new_name), schema, compression="zstd") as rewritten,
    ):
        for group in range(parquet.num_row_groups):
            rewritten.write_table(conformed(parquet.read_row_group(group), schema))
