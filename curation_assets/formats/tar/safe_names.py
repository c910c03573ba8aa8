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
# Backslashes and drives are paths on Windows, which refuses the others; control characters hide names, or break lists.
_UNSAFE_CHARACTERS = re.compile(r'[\x00-\x1f\x7f-\x9f\\<>:"|?*]+')
# With any extension, and digits as superscripts, too.
_DEVICES = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9\u00b9\u00b2\u00b3]) *(\..*)?", re.IGNORECASE)
_MOST_OF_LAST_PIECE = 8
_DIGEST_BYTES = 6


def is_safe(key: str) -> bool:
    """Whether a key of a tar can be a path below the folder that it is unpacked into.

    It leads nowhere else: it is relative, and has neither `..` nor an empty component. No component is too long, a
    device of Windows, ends in a dot or a space, which Windows drops, or holds control characters, characters that
    Windows refuses, or bytes that are no UTF-8. A leading `./` is safe.
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
        and not any(not part or part.endswith((".", " ")) or _DEVICES.fullmatch(part) for part in parts)
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
    if (
        not _UNSAFE_CHARACTERS.search(extension)
        and not extension.endswith((".", " "))
        and len(extension.encode()) <= _MOST_EXTENSION_BYTES
    ):
        return extension
    last = _UNSAFE_CHARACTERS.sub("_", extension.rpartition(".")[2])[:_MOST_OF_LAST_PIECE].rstrip() or "bin"
    return f"{digest_of(extension)}.{last}"


def safe_file_name(path: str) -> str:
    """The path itself if it is safe; otherwise a name with the same ending."""
    if is_safe(path):
        return path
    suffix = safe_extension(PurePosixPath(path.replace("\\", "/")).suffix.lstrip("."))
    return f"sample-{digest_of(path)}" + (f".{suffix}" if suffix else "")
