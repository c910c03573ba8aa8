"""What the name of a file says: whether it goes with a dataset without being a part of it."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

_COMPANION = re.compile(
    r"(readme|licen[cs]e|copying|copyright|notice|attributions?|citation|authors|changelog)"
    r"(\.(md|txt|rst|cff|bib|html|pdf))?"
    # What curation-assets, Spark and Hugging Face write beside data, and what repositories and desktops keep.
    r"|_(complete|pool)\.json|_success|dataset_infos?\.json|\.git(attributes|ignore|keep)?|\.cache|\.ds_store|thumbs\.db"
    r"|desktop\.ini|__macosx"
)
_NUMBERED = re.compile(r"\.[0-9]+")


def is_companion(path: str) -> bool:
    """Whether a file or folder lies beside datasets everywhere, so that nobody misses it: README, LICENSE, _SUCCESS."""
    return _COMPANION.fullmatch(path[path.rfind("/") + 1 :].lower()) is not None


def has_no_extension(path: str) -> bool:
    """Whether the name says nothing of the content: `0f3a`, `frame.0001`, `a.jpg?w=3`."""
    ending = PurePosixPath(path).suffix
    return _NUMBERED.fullmatch(ending) is not None or not re.fullmatch(r"\.[A-Za-z0-9]{1,8}", ending)
