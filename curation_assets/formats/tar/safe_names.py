"""Names that are safe to unpack: inside the folder, on every file system, and no two the same there."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import PurePosixPath

MOST_BYTES = 140
"""Of one component of a key. File systems end at 255, and extensions need room."""
_MOST_BYTES_OF_PATH = 1024
_MOST_EXTENSION_BYTES = 100
# Backslashes and drives are paths on Windows; control characters hide names, or break lists of them.
_UNSAFE_CHARACTERS = re.compile(r"[\x00-\x1f\x7f\\]+")
_DRIVE = re.compile(r"[A-Za-z]:")
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])", re.IGNORECASE)
_MOST_OF_LAST_PIECE = 8
_DIGEST_BYTES = 6


def is_safe(key: str) -> bool:
    """Whether a key of a tar can be a path below the folder that it is unpacked into.

    It leads nowhere else: it is relative, and has neither `..` nor an empty component. No component is too long, a
    device of Windows, or holds control characters, backslashes or bytes that are no UTF-8. A leading `./` is safe.
    """
    parts = key.removeprefix("./").split("/")
    try:
        n_bytes = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:
        return False
    return (
        sum(n_bytes) + len(parts) <= _MOST_BYTES_OF_PATH
        and max(n_bytes) <= MOST_BYTES
        and not _UNSAFE_CHARACTERS.search(key)
        and not _DRIVE.match(key)
        and not any(part in ("", ".", "..") or _DEVICES.fullmatch(part) for part in parts)
    )


def folded(name: str) -> str:
    """The name as file systems see it that ignore case or compose accents: equal ones would overwrite each other."""
    plain = unicodedata.normalize("NFC", name.removeprefix("./"))
    return unicodedata.normalize("NFC", plain.casefold())


def digest_of(name: str) -> str:
    """A short digest that tells names apart which look the same once they are made safe."""
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()


def safe_extension(extension: str) -> str:
    """The extension of a sample's part, or a made one if it is long, or holds control characters or backslashes.

    Its last piece stays, since it says what the part is.
    """
    if not _UNSAFE_CHARACTERS.search(extension) and len(extension.encode()) <= _MOST_EXTENSION_BYTES:
        return extension
    last = _UNSAFE_CHARACTERS.sub("_", extension.rpartition(".")[2])[:_MOST_OF_LAST_PIECE]
    return f"{digest_of(extension)}.{last}"


def safe_file_name(path: str) -> str:
    """The path itself if it is safe; otherwise a name with the same ending."""
    if is_safe(path):
        return path
    suffix = safe_extension(PurePosixPath(path.replace("\\", "/")).suffix.lstrip("."))
    return f"sample-{digest_of(path)}" + (f".{suffix}" if suffix else "")
