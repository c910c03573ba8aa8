"""The directions of import: a layer may use what lies below it, never above."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "curation_assets"
ALLOWED = {
    "algorithms": {"algorithms"},
    "formats": {"formats", "pools", "errors"},
    "encoders": {"encoders", "pools", "errors"},
    "demo": {"demo", "errors"},
    "report": {"report"},
    "storage": {"storage", "formats", "algorithms", "errors"},
    "engines": {"engines", "algorithms", "pools", "errors"},
    "steps": {
        "steps", "engines", "storage", "formats", "encoders", "report", "algorithms", "lineage", "level_plan", "pools",
        "errors",
    },
    "lineage.py": {"pools", "storage"},
    "freshness.py": {"lineage", "storage"},
    "run_plan.py": {"freshness", "lineage"},
    "refit.py": {"freshness", "storage"},
    "defs": {
        "defs", "steps", "storage", "formats", "encoders", "report", "algorithms", "lineage", "level_plan", "pools",
        "engines", "errors", "home", "progress", "freshness", "run_plan", "refit", "pool_lock",
    },
}  # fmt: skip
MODULES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    layer = path.relative_to(PACKAGE).parts[0]
    for name in imports(path):
        top, _, rest = name.partition(".")
        assert top not in ("pickle", "dill", "cloudpickle"), "no stored format uses pickle"
        if layer not in ("defs", "cli", "definitions.py"):
            assert top != "dagster", f"{path} imports Dagster"
        if path.parent.relative_to(PACKAGE).parts != ("engines", "ray"):
            assert top != "ray", f"{path} imports Ray"
        if top == "curation_assets" and layer in ALLOWED:
            assert rest.split(".")[0] in ALLOWED[layer], f"{layer} imports {name}"


def test_algorithms_open_no_files() -> None:
    for path in (PACKAGE / "algorithms").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                opens = {
                    "open",
                    "read_text",
                    "read_bytes",
                    "write_text",
                    "write_bytes",
                    "memmap",
                    "load",
                    "save",
                }
                assert called not in opens, f"{path.name}:{node.lineno} calls {called}"
            if isinstance(node, ast.ImportFrom | ast.Import):
                names = (
                    [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
                )
                assert not {"pathlib", "upath", "fsspec", "os"} & set(names)


def test_nothing_reads_pickled_arrays() -> None:
    for path in MODULES:
        assert "allow_pickle=True" not in path.read_text(encoding="utf-8")
