"""What a project has stored, in a form in which two projects with the same data are equal."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from curation_assets.storage.atomic import TEMPORARY_PREFIX
from curation_assets_tests.kills.embeddings_pool import EmbeddingsProject

# When something was made, how long that took, and the seal over a document with such values.
_TIMES = {
    "made_at", "since", "gone_since", "decided_at", "seal", "seconds", "share", "samples_per_second", "bottleneck",
}  # fmt: skip
# The report shows these times, so its own size and digests follow them.
_REPORT_FACTS = "curation_report/facts.json"
_REPORT_PAGE = "curation_report.html"
_SPEED = re.compile(r"\d[\d,]* samples in .{1,200}?bottleneck: [a-z_ ]+")
_DAY = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d)?")


def stored_files(project: EmbeddingsProject) -> dict[str, Any]:
    """Content of every stored file by its path: bytes, or a document without its times."""
    files = sorted(path for path in project.stored.rglob("*") if path.is_file())
    return {str(path.relative_to(project.stored)): _comparable(project, path) for path in files}


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """One line for each file that is missing, unexpected or different."""
    lines = [f"missing: {name}" for name in sorted(expected.keys() - found.keys())]
    lines += [f"unexpected: {name}" for name in sorted(found.keys() - expected.keys())]
    same = sorted(expected.keys() & found.keys())
    return lines + [f"different: {name}" for name in same if expected[name] != found[name]]


def left_over(project: EmbeddingsProject) -> list[str]:
    """Temporary files below the folder of outputs."""
    return sorted(str(path) for path in project.stored.parent.rglob(f"{TEMPORARY_PREFIX}*"))


def _comparable(project: EmbeddingsProject, path: Path) -> Any:
    content = path.read_bytes()
    name = str(path.relative_to(project.stored))
    if path.suffix == ".json":
        document = _without_times(json.loads(content))
        if name == _REPORT_FACTS:
            del document["digest"], document["files"][_REPORT_PAGE], document["sizes"][_REPORT_PAGE]
        return document
    if path.name == _REPORT_PAGE:
        page = content.decode().replace(str(project.folder), "FOLDER")
        return _DAY.sub("DAY", _SPEED.sub("SPEED", page))
    return content


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(inner) for key, inner in value.items() if key not in _TIMES}
    if isinstance(value, list):
        return [_without_times(inner) for inner in value]
    return value
