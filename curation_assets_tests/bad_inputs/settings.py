"""Pool files that cannot be carried out."""

from __future__ import annotations

from curation_assets.errors import PoolSpecError
from curation_assets_tests.bad_inputs.row import TEXT_ENCODER, BadInput, Refused, load, pool

BAD_SETTINGS = [
    BadInput(
        "an unknown key of the pool",
        pool(colour=1),
        Refused(PoolSpecError, ("unknown key colour", "valid keys are: name")),
    ),
    BadInput(
        "an unknown key of a source",
        pool(source={"glob": "*"}),
        Refused(PoolSpecError, ("unknown key source.glob", "pattern")),
    ),
    BadInput(
        "a key of another format",
        pool(source={"text_field": "x"}),
        Refused(PoolSpecError, ("unknown key source.text_field", "modality")),
    ),
    BadInput(
        "an unknown format",
        pool(source={"format": "csv"}),
        Refused(PoolSpecError, ("source", "csv", "'parquet', 'jsonl'")),
    ),
    BadInput("no path", pool(source=None), Refused(PoolSpecError, ("source is missing",))),
    BadInput(
        "Parquet without modality",
        pool(source={"format": "parquet"}),
        Refused(PoolSpecError, ("source.modality is missing",)),
    ),
    BadInput(
        "images of JSON lines",
        pool(source={"format": "jsonl", "modality": "image"}),
        Refused(PoolSpecError, ("source.modality", "'text'", "'image'")),
    ),
    BadInput(
        "texts for an image encoder",
        pool(source={"modality": "text"}),
        Refused(PoolSpecError, ("encoder.kind 'bundled' reads images", "source.modality is 'text'")),
    ),
    BadInput(
        "images for a text encoder",
        pool(encoder=TEXT_ENCODER, source={}),
        Refused(
            PoolSpecError, ("encoder.kind 'sentence_transformers' reads text", "source.modality is 'image'")
        ),
    ),
    BadInput(
        "a text pool without encoder",
        pool(encoder=None, source={"format": "jsonl"}),
        Refused(
            PoolSpecError, ("encoder is missing", "a source of texts needs one", "sentence_transformers")
        ),
    ),
    BadInput(
        "an encoder for embeddings",
        pool(source={"format": "embeddings", "encoder": "clip"}),
        Refused(PoolSpecError, ("a source of embeddings needs no encoder", "remove the key `encoder`")),
    ),
    BadInput(
        "a label of a folder that is not its name",
        pool(source={"format": "folder", "modality": "image", "label_fields": ["topic"]}),
        Refused(PoolSpecError, ("source.label_fields[0]", "'folder'", "'topic'")),
    ),
    BadInput(
        "a limit of zero bytes",
        pool(source={"max_text_bytes": 0}),
        Refused(PoolSpecError, ("source.max_text_bytes", "greater than 0")),
    ),
    BadInput(
        "a share above one",
        pool(source={"max_rejected_share": 50}),
        Refused(PoolSpecError, ("source.max_rejected_share", "less than or equal to 1", "50")),
    ),
    BadInput(
        "credentials in the URI",
        pool(source={"path": "s3://AKIAX:hunter2@bucket/x"}),
        Refused(
            PoolSpecError, ("source.path", "holds credentials", "AWS_ACCESS_KEY_ID"), ("hunter2", "AKIAX")
        ),
    ),
    BadInput(
        "a secret key with slashes in the URI",
        pool(source={"path": "s3://AKIAX:hun/ter2@bucket/x"}),
        Refused(PoolSpecError, ("holds credentials",), ("ter2", "AKIAX")),
    ),
    BadInput(
        "credentials in a chained URI",
        pool(source={"path": "simplecache::ftp://me:hunter2@host/x"}),
        Refused(PoolSpecError, ("holds credentials",), ("hunter2",)),
    ),
    BadInput(
        "a token in the URI",
        pool(source={"path": "https://ghp_hunter2@host/x"}),
        Refused(PoolSpecError, ("holds credentials",), ("hunter2",)),
    ),
    BadInput(
        "credentials beside another mistake",
        pool(source={"path": "s3://a:hunter2@b", "glob": "*"}),
        Refused(PoolSpecError, ("unknown key source.glob", "holds credentials"), ("hunter2",)),
    ),
    BadInput(
        "a file that is no YAML",
        lambda folder: load(folder, "source: ["),
        Refused(PoolSpecError, ("web.yaml", "cannot read it as YAML")),
    ),
]
