"""Kinds of storage by their fsspec protocol: this machine, object stores, the rest."""

from __future__ import annotations

from upath import UPath

OBJECT_STORES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss")
"""Stores without folders, in which a file becomes visible when its upload is complete."""


def is_local(path: UPath) -> bool:
    """Whether a path is on this machine's file system."""
    return path.protocol in ("", "file", "local")


def shows_whole_files(path: UPath) -> bool:
    """Whether a file can be seen only once it is complete."""
    return path.protocol in (*OBJECT_STORES, "memory")


def full_path(root: UPath, file: str) -> str:
    """Path of a file below `root` as the file system of `root` names it."""
    return f"{root.path.rstrip('/')}/{file}"
