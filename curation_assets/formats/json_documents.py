"""Parses untrusted JSON; whether a document is readable depends on nothing but its bytes."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from curation_assets.formats.base import RejectedSampleError, RejectionReason

MOST_LEVELS = 200
"""Of nesting. Python's own limit depends on how deep its caller is."""
MOST_OPENINGS = 2**20
"""Lists and objects of a document: each takes Python some 60 bytes, and 3 in the file."""
_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_OPENING, _CLOSING = b"[{", b"]}"


def parse_json(content: bytes, of: str = "") -> Any:
    """The value of a JSON document; NaN and infinity, which Python writes although JSON lacks them, count as null.

    Args:
        content: of the document, without byte order mark.
        of: what the document is, in messages, e.g. ` of the line`.

    Raises:
        RejectedSampleError: INVALID_UTF8, or INVALID_JSON for other faults, for a lone surrogate, which no table can
            hold, and for more than 200 levels or a million lists and objects.
    """
    _require_modest(content)
    try:
        value = json.loads(content.decode("utf-8"), parse_constant=_no_number)
        if b"\\u" in content:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        detail = f"invalid UTF-8 at byte {error.start:,}{of}: {error.reason}"
        raise RejectedSampleError(RejectionReason.INVALID_UTF8, detail) from error
    except UnicodeEncodeError as error:
        detail = f"a text has the lone surrogate {error.object[error.start]!a}, which no UTF-8 has"
        raise RejectedSampleError(RejectionReason.INVALID_JSON, detail) from error
    except (ValueError, RecursionError) as error:
        raise RejectedSampleError(RejectionReason.INVALID_JSON, f"not JSON: {error}") from error
    return value


def _require_modest(content: bytes) -> None:
    """Refuse too many levels or brackets, counted in the bytes."""
    if sum(content.count(bracket) for bracket in (b"[", b"{")) <= MOST_LEVELS:
        return
    outside = b"".join(_ESCAPE.sub(b"", content).split(b'"')[::2])
    characters = np.frombuffer(outside, dtype=np.uint8)
    brackets = characters[np.isin(characters, list(_OPENING + _CLOSING))]
    opens = np.isin(brackets, list(_OPENING))
    if (n_openings := int(opens.sum())) > MOST_OPENINGS:
        detail = f"{n_openings:,} lists and objects, more than {MOST_OPENINGS:,}"
        raise RejectedSampleError(RejectionReason.INVALID_JSON, detail)
    levels = np.cumsum(np.where(opens, np.int8(1), np.int8(-1)), dtype=np.int32)
    if (depth := int(levels.max(initial=0))) > MOST_LEVELS:
        detail = f"nested {depth:,} levels deep, more than {MOST_LEVELS}"
        raise RejectedSampleError(RejectionReason.INVALID_JSON, detail)


def _no_number(_name: str) -> None:
    """NaN and infinity."""
