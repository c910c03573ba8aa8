"""What becomes of parts of Dagster that it does not export, in a release that has changed them.

Each module that uses such a part imports it in a `try`, and does without it if that fails: runs work, and lose a
convenience. A line in the log says which.
"""

from __future__ import annotations

import dagster as dg


def without(convenience: str, error: Exception) -> None:
    """Log that this release of Dagster lacks a part, and what is lost with it.

    Args:
        convenience: what is lost, in words.
        error: of the import.
    """
    dg.get_dagster_logger("curation_assets").warning(
        f"{convenience}: Dagster {dg.__version__} lacks what this needs ({error}). Everything else works; another "
        f"release that curation-assets allows has it"
    )
