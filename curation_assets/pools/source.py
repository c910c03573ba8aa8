"""Where a pool's samples lie: one class per file format."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Discriminator, Field, PositiveInt, Tag, field_validator

from curation_assets.pools.base import Modality, Settings

_AUTHORITY = re.compile(r"([\w+.-]*)://([^@]*)@")
# In `abfs://container@account.dfs.core.windows.net` the part before the @ is no secret.
_CONTAINER_SCHEMES = ("abfs", "abfss", "wasb", "wasbs")
_HOST_AND_PORT = re.compile(r"[^:]*:\d+")


def holds_credentials(uri: str) -> bool:
    """Whether a URI, or one that a chained URI wraps, has a user or a password before its host.

    Secret keys may have slashes, so a password is looked for beyond the first of them.
    """
    for scheme, before_at in _AUTHORITY.findall(uri):
        first, slash, _ = before_at.partition("/")
        if slash:
            if ":" in first and not _HOST_AND_PORT.fullmatch(first):
                return True
        elif scheme not in _CONTAINER_SCHEMES or ":" in before_at:
            return True
    return False


class _Source(Settings):
    path: str = Field(description="Folder or fsspec URI of the pool; a relative one counts from the project.")
    files_per_shard: PositiveInt = Field(
        1,
        description="Files that make one shard (a Dagster partition); keep a pool at or below 1,000 shards.",
    )
    label_fields: tuple[str, ...] = Field(
        (), description="Fields of each sample kept as labels; the first is used for balance metrics."
    )
    max_rejected_share: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        0.5, description="If more of the samples are rejected, no tree is fitted on the rest."
    )

    @field_validator("path")
    @classmethod
    def _path_has_no_credentials(cls, value: str) -> str:
        if holds_credentials(value):
            # The value itself would show the secret once more, in a log.
            raise ValueError(
                "the URI holds credentials: leave them out and set the variables that its storage reads, "
                "e.g. AWS_ACCESS_KEY_ID"
            )
        return value


class _SamplesSource(_Source):
    max_image_pixels: PositiveInt = Field(
        89_478_485, description="Images with more pixels are rejected before they are decoded."
    )
    max_text_bytes: PositiveInt = Field(
        10_000_000, description="Texts with more bytes of UTF-8 are rejected."
    )


class WebDatasetSource(_SamplesSource):
    """Tars whose members of one key are a sample, as webdataset and img2dataset write them."""

    format: Literal["webdataset"] = "webdataset"
    pattern: str = Field("*.tar", description="Glob of the tars below `path`.")
    modality: Literal["image", "text"] = Field(
        "image", description="Whether a sample is its image member or its .txt member."
    )


class ParquetSource(_SamplesSource):
    """Parquet with a row per sample, as Hugging Face datasets have it."""

    format: Literal["parquet"]
    pattern: str = Field("**/*.parquet", description="Glob of the files below `path`.")
    modality: Literal["image", "text"]
    id_field: str | None = Field(
        None, description="Column of unique ids; null makes them of file and row number."
    )
    image_field: str = Field(
        "image", description="Column of images: a struct of bytes and path, or plain bytes."
    )
    text_field: str = Field("text", description="Column of texts.")


class JsonlSource(_SamplesSource):
    """JSON lines, plain or compressed as .gz or .zst: an object per sample."""

    format: Literal["jsonl"]
    pattern: str = Field("**/*.jsonl*", description="Glob of the files below `path`.")
    modality: Literal["text"] = "text"
    id_field: str | None = Field(
        None, description="Field of unique ids; null makes them of file and line number."
    )
    text_field: str = Field("text", description="Field of texts.")


class FolderSource(_SamplesSource):
    """A file per sample in a folder of folders; its id is its path."""

    format: Literal["folder"]
    pattern: str = Field("**/*", description="Glob of the files below `path`; other kinds are left out.")
    modality: Literal["image", "text"]
    files_per_shard: PositiveInt = Field(
        1000, description="Files, so samples, that make one shard (a Dagster partition)."
    )
    label_fields: tuple[Literal["folder"], ...] = Field(
        (), description="`folder` keeps the name of a file's folder as its label."
    )


class EmbeddingsSource(_Source):
    """Samples that are embedded already: arrays in .npy, with a row of Parquet for each of their rows."""

    format: Literal["embeddings"]
    layout: Literal["clip_retrieval", "folder"] = Field(
        "clip_retrieval",
        description="'clip_retrieval': img_emb/img_emb_0.npy beside metadata/metadata_0.parquet; 'folder': "
        "a .npy beside a .parquet of the same name.",
    )
    pattern: str = Field("**/*.npy", description="Glob of the arrays below `path`, for the layout 'folder'.")
    modality: Literal["embedding"] = "embedding"
    encoder: str = Field(description="Name of the model that made the embeddings, for the record.")
    dimension: PositiveInt | None = Field(
        None, description="Length that every embedding must have; null takes that of the first shard."
    )
    id_field: str | None = Field(
        None, description="Column of unique ids; null makes them of file and row number."
    )
    text_field: str | None = Field(None, description="Column shown as a sample's text in the report.")
    token_count_field: str | None = Field(
        None, description="Column with the tokens of each sample, for targets in tokens."
    )


def _format_of(value: Any) -> str:
    """The format that a source names; WebDataset if it names none."""
    if isinstance(value, Mapping):
        return str(value.get("format", "webdataset"))
    return str(getattr(value, "format", "webdataset"))


SourceSettings = Annotated[
    Annotated[WebDatasetSource, Tag("webdataset")]
    | Annotated[ParquetSource, Tag("parquet")]
    | Annotated[JsonlSource, Tag("jsonl")]
    | Annotated[FolderSource, Tag("folder")]
    | Annotated[EmbeddingsSource, Tag("embeddings")],
    Discriminator(_format_of),
]
SamplesSource = WebDatasetSource | ParquetSource | JsonlSource | FolderSource
"""Sources that hold samples themselves."""
SOURCES: Mapping[str, type[Settings]] = {
    tag.tag: source for source, tag in map(get_args, get_args(get_args(SourceSettings)[0]))
}
"""By format, which is also the name of the module in `curation_assets.formats`."""

__all__ = [
    "SOURCES",
    "EmbeddingsSource",
    "FolderSource",
    "JsonlSource",
    "Modality",
    "ParquetSource",
    "SamplesSource",
    "SourceSettings",
    "WebDatasetSource",
]
