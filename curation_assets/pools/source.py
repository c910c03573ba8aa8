"""Where the samples of a pool lie: one class per file format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    Discriminator,
    Field,
    PositiveInt,
    SerializerFunctionWrapHandler,
    Tag,
    field_validator,
    model_serializer,
)

from curation_assets.pools.base import Settings, require_different

_LATER_KEYS = {
    "ids": "key",
    "check": "size_and_time",
    "follow_links": None,
    "manifest": None,
    "max_gone_share": 0.1,
}
_FORMAT = "Format of the files; `webdataset` if the key is missing."


class _Source(Settings):
    path: str = Field(
        description="Folder or fsspec URI of the files. A relative folder counts from the project. Credentials belong "
        "in the environment.",
        examples=["s3://my-bucket/laion"],
    )
    files_per_shard: PositiveInt = Field(
        1,
        description="Files per shard (a Dagster partition). Keep a pool at or below about 1,000 shards.",
        examples=[100],
    )
    label_fields: tuple[str, ...] = Field(
        (),
        description="Fields of each sample to keep as labels. Balance metrics use the first one.",
        examples=[["language", "domain"]],
    )
    max_rejected_share: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        0.5,
        description="Stop before the first fit if a larger share of the samples is rejected.",
        examples=[0.1],
    )
    max_gone_share: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        0.1,
        description="If a larger share of the files or shards leaves the listing at once, and more than one shard is "
        "concerned, `run` and the sensor change nothing until it is confirmed. `1` takes any number of files out.",
        examples=[0.3],
    )
    check: Literal["size_and_time", "digest"] = Field(
        "size_and_time",
        description="What a changed file is known by: size and times (on this machine also the inode; in object "
        "stores the ETag), or `digest`, for which every look at the files reads them whole.",
        examples=["digest"],
    )
    follow_links: Literal["inside", "anywhere"] | None = Field(
        None,
        description="Links that lead out of `path`: `anywhere` reads them, `inside` leaves them out. `null` leaves out "
        "links to files and counts them, and stops at links to folders.",
        examples=["anywhere"],
    )

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Pools that were curated before these keys existed stay up to date."""
        return {
            name: value
            for name, value in serialize(self).items()
            if name not in _LATER_KEYS or value != _LATER_KEYS[name]
        }

    @field_validator("label_fields")
    @classmethod
    def _labels_differ(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return require_different(value)


class _SamplesSource(_Source):
    manifest: str | None = Field(
        None,
        description="Table below `path` that names the files; the folder is not listed then. Parquet or CSV (.csv, "
        ".csv.gz) with the columns `path`, `size`, and `version`, `etag` or `modified`.",
        examples=["files.parquet"],
    )
    max_image_pixels: PositiveInt = Field(
        89_478_485,
        description="Images with more pixels are rejected before they are decoded.",
        examples=[20_000_000],
    )
    max_text_bytes: PositiveInt = Field(
        10_000_000, description="Texts with more bytes of UTF-8 are rejected.", examples=[1_000_000]
    )

    @field_validator("manifest")
    @classmethod
    def _manifest_is_below_path(cls, value: str | None) -> str | None:
        if value is None:
            return value
        if "://" in value or value.startswith("/") or ".." in value.split("/"):
            raise ValueError(f"manifest is '{value}': name a file below source.path")
        if not value.endswith((".parquet", ".csv", ".csv.gz")):
            raise ValueError(f"manifest is '{value}': name a .parquet, .csv or .csv.gz file")
        return value


class WebDatasetSource(_SamplesSource):
    """Tar files as webdataset and img2dataset write them: the members with one key are a sample."""

    format: Literal["webdataset"] = Field("webdataset", description=_FORMAT, examples=["webdataset"])
    pattern: str = Field("*.tar", description="Glob of the tar files below `path`.", examples=["**/*.tar"])
    modality: Literal["image", "text"] = Field(
        "image", description="Whether a sample is its image member or its .txt member.", examples=["text"]
    )
    ids: Literal["key", "file_and_key"] = Field(
        "key",
        description="`file_and_key` puts the name of the tar before the key, for tars that repeat each other's keys, "
        "as two downloads of img2dataset do.",
        examples=["file_and_key"],
    )


class ParquetSource(_SamplesSource):
    """Parquet files with one row per sample, as Hugging Face datasets store them."""

    format: Literal["parquet"] = Field(description=_FORMAT, examples=["parquet"])
    pattern: str = Field(
        "**/*.parquet", description="Glob of the files below `path`.", examples=["en/*.parquet"]
    )
    modality: Literal["image", "text"] = Field(
        description="Whether a sample is an image or a text.", examples=["text"]
    )
    id_field: str | None = Field(
        None, description="Column of unique ids. `null` uses file and row number.", examples=["url"]
    )
    image_field: str = Field(
        "image",
        description="Column of images: structs of `bytes` and `path`, or plain bytes.",
        examples=["jpg"],
    )
    text_field: str = Field("text", description="Column of texts.", examples=["body"])


class JsonlSource(_SamplesSource):
    """JSON lines, plain or compressed (.gz, .zst), with one object per sample."""

    format: Literal["jsonl"] = Field(description=_FORMAT, examples=["jsonl"])
    pattern: str = Field(
        "**/*.jsonl*", description="Glob of the files below `path`.", examples=["en/*.json.gz"]
    )
    modality: Literal["text"] = Field("text", description="JSON lines hold texts.", examples=["text"])
    id_field: str | None = Field(
        None, description="Field of unique ids. `null` uses file and line number.", examples=["url"]
    )
    text_field: str = Field("text", description="Field of texts.", examples=["body"])


class FolderSource(_SamplesSource):
    """A folder, with subfolders, of one file per sample. The id of a sample is its path."""

    format: Literal["folder"] = Field(description=_FORMAT, examples=["folder"])
    pattern: str = Field(
        "**/*",
        description="Glob of the files below `path`. Files of other kinds are ignored.",
        examples=["train/**/*"],
    )
    modality: Literal["image", "text"] = Field(
        description="Whether a sample is an image or a text.", examples=["image"]
    )
    files_per_shard: PositiveInt = Field(
        1000,
        description="Files, and so samples, per shard (a Dagster partition).",
        examples=[5000],
    )
    label_fields: tuple[Literal["folder"], ...] = Field(
        (),
        description="`[folder]` keeps the name of a file's folder as its label.",
        examples=[["folder"]],
    )


class EmbeddingsSource(_Source):
    """Embeddings that exist already: .npy arrays, each beside a Parquet file with a row for each of its rows."""

    format: Literal["embeddings"] = Field(description=_FORMAT, examples=["embeddings"])
    layout: Literal["clip_retrieval", "folder"] = Field(
        "clip_retrieval",
        description="`clip_retrieval`: img_emb/img_emb_0.npy and metadata/metadata_0.parquet. `folder`: a .npy beside "
        "a .parquet of the same name.",
        examples=["folder"],
    )
    pattern: str = Field(
        "**/*.npy",
        description="Glob of the arrays below `path`; only for the layout `folder`.",
        examples=["train/*.npy"],
    )
    modality: Literal["embedding"] = Field(
        "embedding", description="Only the vectors are known.", examples=["embedding"]
    )
    encoder: str = Field(
        description="Name of the model that made the embeddings. It is recorded; nothing is loaded.",
        examples=["open_clip ViT-L-14 laion2b_s32b_b82k"],
    )
    dimension: PositiveInt | None = Field(
        None,
        description="Length of every embedding. `null` takes the length in the first shard.",
        examples=[768],
    )
    id_field: str | None = Field(
        None, description="Column of unique ids. `null` uses file and row number.", examples=["image_path"]
    )
    text_field: str | None = Field(
        None, description="Column that the report shows as a sample's text.", examples=["caption"]
    )
    token_count_field: str | None = Field(
        None,
        description="Column with the number of tokens of each sample, for targets in tokens.",
        examples=["n_tokens"],
    )


def _format_of(value: Any) -> str:
    """The format that a source names, or webdataset."""
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
"""Sources that hold the samples themselves."""
SOURCES: Mapping[str, type[Settings]] = {
    tag.tag: source for source, tag in map(get_args, get_args(get_args(SourceSettings)[0]))
}
"""By format, which is also the name of the module in `curation_assets.formats`."""
