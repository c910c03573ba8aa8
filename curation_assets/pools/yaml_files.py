"""Reads a YAML file in which every key is written once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from curation_assets.errors import PoolSpecError
from curation_assets.pools.secrets import redacted, shown

_MERGE_TAG = "tag:yaml.org,2002:merge"


class _RepeatedKey(yaml.YAMLError):
    """A mapping holds a key twice; the message names the key and both lines."""


class _UniqueKeys(yaml.SafeLoader):
    """`yaml.SafeLoader`, which keeps the last of repeated keys, but repeated keys are refused.

    Keys are compared as they are written, before merge keys (`<<`) add those of other mappings.
    """

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """The node of a mapping."""
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE_TAG:
                continue
            line, first = key.start_mark.line + 1, lines.get((key.tag, key.value))
            if first is not None:
                where = (
                    f"twice in line {line}" if line == first else f"in line {first} and again in line {line}"
                )
                raise _RepeatedKey(f"key {key.value} is written {where}: keep one of them")
            lines[key.tag, key.value] = line
        return node


def read_mapping(path: Path) -> dict[Any, Any]:
    """The keys and values of a YAML file.

    Raises:
        PoolSpecError: if the file cannot be read, is not YAML, holds a key twice, or is no mapping. The message names
            the file.
    """
    # The loader is a safe one.
    document = _read(path, lambda text: yaml.load(text, _UniqueKeys))  # noqa: S506
    if not isinstance(document, dict):
        raise PoolSpecError(
            f"{path}: expected keys such as source, encoder and targets, got {shown(document)!r}"
        )
    return document


def read_documents(path: Path) -> list[Any]:
    """The documents of a YAML file, which lines of three hyphens separate.

    Raises:
        PoolSpecError: if the file cannot be read, is not YAML, or holds a key twice. The message names the file.
    """
    documents: list[Any] = _read(path, lambda text: list(yaml.load_all(text, _UniqueKeys)))
    return documents


def _read(path: Path, load: Callable[[str], Any]) -> Any:
    try:
        return load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PoolSpecError(f"{path}: no such pool file") from None
    except OSError as error:
        raise PoolSpecError(f"{path}: cannot read it: {error.strerror or error}") from error
    except _RepeatedKey as error:
        raise PoolSpecError(f"{path}: {error}") from None
    except RecursionError:
        raise PoolSpecError(f"{path}: cannot read it as YAML: it is nested too deeply") from None
    # Dates that do not exist and bytes that are not UTF-8 are ValueErrors.
    except (yaml.YAMLError, ValueError) as error:
        raise PoolSpecError(f"{path}: cannot read it as YAML: {redacted(str(error))}") from None
