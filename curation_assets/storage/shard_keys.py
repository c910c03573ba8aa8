"""Names of shards, made of the names of their files: short enough for any file system, and each of its own."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Sequence

from curation_assets.formats.image_extensions import IMAGE_EXTENSIONS
from curation_assets.formats.rows import ROW_FILE_SUFFIXES

MOST_BYTES = 224
"""Of a key: names of files that are made of it, such as `<key>.rejected.parquet`, may have 255."""
_CUT_BYTES = 60
_KNOWN_ENDINGS = (
    *ROW_FILE_SUFFIXES, ".tar", ".npy", ".txt", ".md", *(f".{extension}" for extension in IMAGE_EXTENSIONS),
)  # fmt: skip
Group = Sequence[str]
"""Paths of the files of a shard."""


def new_keys(groups: Sequence[Group], taken: Collection[str]) -> list[str]:
    """A key for each group, different from all others.

    The first and the last name up to their first dot, if no other shard is named so; else the names without their known
    endings; else these shortened, with a digest of all paths.

    Args:
        groups: paths of each new shard.
        taken: keys of the shards that exist.
    """
    keys: dict[int, str] = {}
    used = set(taken)
    for make in (_short_key, _whole_key, _digest_key):
        proposed = {i: make(group) for i, group in enumerate(groups) if i not in keys}
        counts = Counter(proposed.values())
        fine = {
            i: key for i, key in proposed.items() if counts[key] == 1 and key not in used and _is_sound(key)
        }
        keys |= fine
        used |= set(fine.values())
    for i, group in enumerate(groups):
        if i not in keys:
            # A shard may be named after files that it has lost since.
            keys[i] = next(
                key for n in range(len(used) + 1) if (key := f"{_digest_key(group)}-{n}") not in used
            )
            used.add(keys[i])
    return [keys[i] for i in range(len(groups))]


def _is_sound(key: str) -> bool:
    return len(key.encode()) <= MOST_BYTES and key.isprintable()


def _short_key(group: Group) -> str:
    return _joined(group, lambda name: name.split(".", 1)[0] or name)


def _whole_key(group: Group) -> str:
    return _joined(group, _without_endings)


def _digest_key(group: Group) -> str:
    digest = hashlib.sha256("\n".join(group).encode()).hexdigest()[:10]
    first, last = (_cut(_named(path, _without_endings)) for path in (group[0], group[-1]))
    return f"{first}-{digest}" if len(group) == 1 else f"{first}-{last}-{digest}"


def _joined(group: Group, stem: Callable[[str], str]) -> str:
    first, last = (_named(path, stem) for path in (group[0], group[-1]))
    return first if len(group) == 1 else f"{first}-{last}"


def _named(path: str, stem: Callable[[str], str]) -> str:
    *folders, name = path.split("/")
    return "__".join([*folders, stem(name)])


def _without_endings(name: str) -> str:
    stem = name
    while stem.lower().endswith(_KNOWN_ENDINGS):
        stem = stem[: stem.rindex(".")]
    # An output's file is named `<key>.<name>`, and its name may have dots.
    return (stem or name).replace(".", "_")


def _cut(text: str) -> str:
    printable = "".join(character if character.isprintable() else "_" for character in text)
    return printable.encode()[:_CUT_BYTES].decode(errors="ignore")
