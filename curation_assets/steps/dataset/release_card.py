"""The dataset card of a release, for people, for Hugging Face's hub and for `datasets`."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import yaml

from curation_assets.formats import ROW_FORMATS
from curation_assets.pools import PoolSpec
from curation_assets.storage.tables import DatasetRelease

PAPER = "https://arxiv.org/abs/2405.15613"


def dataset_card(
    spec: PoolSpec, about: Mapping[str, Any], summary: Mapping[str, Any], names: Set[str]
) -> str:
    """Markdown with YAML front matter; the user names the licence.

    Args:
        spec: the pool.
        about: pool, target, requested, strategy, balance_from, chosen_by, evenness, seed, size, tree_version and
            fingerprint, as in the manifest.
        summary: of the selection: n_rows, n_admissible, n_duplicate_ids.
        names: of the release's files so far.
    """
    [(measure, value)] = about["requested"].items()
    lines = [
        "---",
        _front_matter(spec, about, names) + "# license: name the licence of your data here",
        "---",
        "",
        f"# {spec.name}, {about['target']}",
        "",
        *([spec.description.strip(), ""] if spec.description.strip() else []),
        _sentence(spec, about["size"]),
        "",
        "| | |",
        "|---|---|",
        f"| pool | {spec.name}: {summary['n_rows']:,} embedded samples, {summary['n_admissible']:,} admissible |",
        f"| target | {measure}: {value:,}, {about['strategy']} inside a level-1 cluster |",
        f"| balance | {_balance(spec, about)} |",
        f"| samples | {about['size']:,} |",
        f"| tree version | {about['tree_version'] or 'unknown'} |",
        f"| selection | {about['fingerprint']} |",
        "",
        *_contents(spec, about["target"], names),
    ]
    return "\n".join(lines) + "\n"


_CHOSEN_BY = {
    "name": "named by the pool",
    "measures": "chosen without labels",
    "probe": "chosen by the probe",
}


def _balance(spec: PoolSpec, about: Mapping[str, Any]) -> str:
    level = about["balance_from"].replace("_", " ")
    return (
        f"from {level} of {spec.n_levels} ({_CHOSEN_BY[about['chosen_by']]}), evenness {about['evenness']:g}, "
        f"seed {about['seed']}"
    )


def _sentence(spec: PoolSpec, size: int) -> str:
    return (
        f"A balanced subset of {size:,} samples, drawn evenly down a tree of hierarchical k-means with "
        f"{spec.n_levels} levels ([arXiv 2405.15613]({PAPER})) on embeddings by {spec.encoder_name}."
    )


def _front_matter(spec: PoolSpec, about: Mapping[str, Any], names: Set[str]) -> str:
    configs = []
    if any(name.startswith("data/") for name in names):
        data_files = [{"split": "train", "path": "data/train-*.parquet"}]
        configs.append({"config_name": "default", "data_files": data_files})
    if DatasetRelease.WEIGHTS in names:
        data_files = [{"split": "train", "path": DatasetRelease.WEIGHTS}]
        configs.append({"config_name": "weights", "data_files": data_files})
    document = {
        "pretty_name": f"{spec.name} {about['target']}",
        "tags": ["data-curation", "self-supervised-learning"],
        **({"configs": configs} if configs else {}),
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def _contents(spec: PoolSpec, target: str, names: Set[str]) -> list[str]:
    lines = ["## Files", ""]
    if any(name.startswith("data/") for name in names):
        lines.append(
            "- `data/`: the samples with their source and clusters: `datasets.load_dataset(FOLDER)`."
        )
    if DatasetRelease.IDS in names:
        lines.append("- `ids.txt`: the id of every sample, one per line.")
    if DatasetRelease.WEIGHTS in names:
        lines.append("- `weights.parquet`: of every admissible sample of the pool its weight for a sampler.")
    lines.append("- `manifest.json`: rows and SHA-256 of each file.")
    if ROW_FORMATS[0] in spec.output_formats:
        lines.append(
            f"- WebDataset tars of the same samples lie in `balanced_dataset/{target}/` of the pool."
        )
    return lines
