"""The directions of import: every room lists the rooms it may use, and no room is reached from itself."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "curation_assets"
MODULES = sorted(PACKAGE.rglob("*.py"))
KERNELS = {
    *(PACKAGE / "algorithms/search/cuda").glob("*kernels.py"),
    PACKAGE / "algorithms/search/cuda/row_loads.py",
}
MOST_FILES, MOST_LINES = 25, 400

_BASE = {"algorithms/settings", "algorithms/rows", "algorithms/threads", "algorithms/compiled"}
_STORED = {"storage", "pools", "errors", "locations", "graph", "formats"}
_STEPS = _STORED | {"devices", "engines", "encoders", "algorithms", "steps/context", "steps/soundness"}
# A room is a folder or a module, by its path in the package; a module belongs to the longest that it lies in. A room
# may use what it lists, and what lies inside that.
ROOMS: dict[str, set[str]] = {
    # When it is asked for the component, and not before.
    "__init__": {"components"},
    "errors": set(),
    "locations": set(),
    "progress": set(),
    "algorithms/__init__": {"algorithms"},
    "algorithms/settings": set(),
    "algorithms/rows": set(),
    "algorithms/threads": set(),
    "algorithms/compiled": set(),
    "algorithms/randomness": set(),
    "algorithms/balance": set(),
    "algorithms/drift": set(),
    "algorithms/representatives": set(),
    "algorithms/preprocessing": {"algorithms/settings", "algorithms/rows"},
    "algorithms/resampling": {"algorithms/settings"},
    "algorithms/search": _BASE,
    "algorithms/kmeans": {*_BASE, "algorithms/search"},
    "algorithms/kmeans/grouped": {*_BASE, "algorithms/search", "algorithms/kmeans"},
    "algorithms/tree": {*_BASE, "algorithms/search", "algorithms/preprocessing", "algorithms/resampling"},
    "algorithms/splitting": {*_BASE, "algorithms/kmeans", "algorithms/tree"},
    "algorithms/hierarchy": {
        *_BASE, "algorithms/kmeans", "algorithms/preprocessing", "algorithms/randomness", "algorithms/resampling",
        "algorithms/splitting", "algorithms/tree",
    },
    "algorithms/sampling": {
        "algorithms/settings", "algorithms/rows", "algorithms/randomness", "algorithms/resampling", "algorithms/tree",
        "algorithms/measures",
    },
    "algorithms/measures": {
        *_BASE, "algorithms/balance", "algorithms/kmeans", "algorithms/preprocessing", "algorithms/randomness",
        "algorithms/search",
    },
    "algorithms/neighbours": {*_BASE, "algorithms/search"},
    "algorithms/duplicates": {
        *_BASE, "algorithms/kmeans", "algorithms/neighbours", "algorithms/preprocessing", "algorithms/search",
    },
    "algorithms/costs": {
        *_BASE, "algorithms/hierarchy", "algorithms/kmeans", "algorithms/search", "algorithms/splitting",
    },
    "algorithms/atlas": {*_BASE, "algorithms/neighbours", "algorithms/search"},
    "devices": set(),
    "pools": {"algorithms/settings", "devices", "errors"},
    "formats": {"pools", "errors", "locations"},
    "encoders/packages": {"pools", "errors"},
    "encoders": {"encoders/packages", "pools", "errors"},
    "demo": {"storage", "errors"},
    "report": set(),
    "release": {"storage", "errors", "locations"},
    "storage": {"algorithms", "formats", "errors", "locations"},
    "engines": {"algorithms", "pools", "errors"},
    "graph": {"algorithms", "formats", "storage", "pools", "errors"},
    "project": {"formats", "storage", "pools", "errors"},
    "faults": {"project"},
    "serving": {"project", "storage", "pools", "errors", "locations"},
    "steps/__init__": set(),
    "steps/soundness": {*_STORED, "steps/damage"},
    "steps/context": {*_STORED, "engines", "encoders"},
    "steps/damage": _STORED,
    "steps/feasibility": {
        *_STORED, "encoders/packages", "steps/context", "steps/soundness", "steps/comparison", "steps/ingest",
    },
    "steps/listing": {*_STORED, "steps/context", "steps/cleaning", "steps/comparison"},
    "steps/packing": {*_STORED, "steps/context"},
    "steps/shard_task": {*_STORED, "steps/context", "faults"},
    "steps/ingest": _STEPS,
    "steps/cleaning": {*_STEPS, "steps/ingest"},
    "steps/tree": _STEPS,
    "steps/dataset": {*_STEPS, "steps/ingest", "steps/cleaning", "steps/tree", "report"},
    "steps/comparison": {*_STEPS, "steps/tree", "steps/dataset", "report"},
    "steps/report": {
        *_STEPS, "steps/damage", "steps/ingest", "steps/cleaning", "steps/tree", "steps/dataset", "steps/comparison",
        "report",
    },
    "steps/registry": {
        *_STORED, "steps/context", "steps/ingest", "steps/cleaning", "steps/tree", "steps/dataset",
        "steps/comparison", "steps/report", "steps/feasibility",
    },
    "defs/__init__": set(),
    "defs/io_managers": {"release", "storage"},
    "defs/keys": {"pools"},
    "defs/access": {"pools", "project", "steps/context"},
    "defs/metadata": {"algorithms", "report", "storage"},
    "defs/partitions": {*_STORED, "defs/keys"},
    "defs/run": {
        *_STORED, "engines", "progress", "project", "steps", "defs/access", "defs/keys", "defs/metadata",
        "defs/partitions",
    },
    "defs/event_log": {"defs/run"},
    "defs/standard_metadata": {*_STORED, "project", "steps/registry", "defs/keys"},
    "defs/broken_pools": {"pools"},
    "defs/shown": {"formats", "storage", "steps", "project", "defs/metadata", "defs/run"},
    "defs/assets": {
        "errors", "faults", "graph", "pools", "project", "storage", "defs/access", "defs/keys", "defs/partitions",
        "defs/run", "defs/shown", "defs/sources", "defs/standard_metadata",
    },
    "defs/checks": {
        *_STORED, "project", "steps", "defs/access", "defs/keys", "defs/metadata", "defs/removals", "defs/run",
    },
    "defs/removals": {"steps", "defs/metadata"},
    "defs/curate": {"errors", "faults", "pools", "project", "defs/keys", "defs/run"},
    "defs/jobs": {"graph", "pools", "project", "defs/curate", "defs/keys", "defs/run"},
    "defs/sources": {*_STORED, "project", "defs/keys", "defs/standard_metadata"},
    "defs/watch": {*_STORED, "project", "defs/curate", "defs/keys", "defs/run", "defs/sources"},
    "defs/sensors": {"pools", "project", "defs/jobs", "defs/run", "defs/sources", "defs/watch"},
    "defs/schedules": {"pools", "project", "defs/run"},
    "defs/pool_definitions": {"defs", "pools", "project"},
    "definitions": {"defs/pool_definitions", "defs/run", "pools", "project"},
    "components": {"defs/pool_definitions", "errors", "pools", "project"},
    "cli": {
        "algorithms", "defs", "demo", "devices", "encoders", "engines", "errors", "faults", "formats", "graph", "pools",
        "progress", "project", "report", "serving", "steps", "storage", "__init__",
    },
}  # fmt: skip


def room_of(module: Path) -> str:
    """The longest room that a module of the package lies in."""
    parts = module.relative_to(PACKAGE).with_suffix("").parts
    for length in range(len(parts), 0, -1):
        if (name := "/".join(parts[:length])) in ROOMS:
            return name
    raise AssertionError(
        f"{module.relative_to(PACKAGE)} lies in no room: add it to ROOMS with what it may use"
    )


def imports(path: Path) -> Iterator[str]:
    """Dotted names of everything that a module imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_of(name: str) -> Path | None:
    """The module of the package that a dotted name is, or is defined in."""
    parts = name.split(".")[1:]
    for length in range(len(parts), -1, -1):
        path = PACKAGE.joinpath(*parts[:length])
        if length and path.with_suffix(".py").exists():
            return path.with_suffix(".py")
        if path.is_dir():
            return path / "__init__.py"
    return None


@functools.cache
def used_modules(path: Path) -> frozenset[Path]:
    """Modules of the package that a module imports."""
    found = (module_of(name) for name in imports(path) if name.split(".")[0] == "curation_assets")
    return frozenset(module for module in found if module is not None)


def lies_in(room: str, allowed: set[str]) -> bool:
    return any(room == other or room.startswith(f"{other}/") for other in allowed)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    room = room_of(path)
    for module in used_modules(path):
        used = room_of(module)
        assert used == room or lies_in(used, ROOMS[room]), f"{room} imports {module.relative_to(PACKAGE)}"
    for name in imports(path):
        top = name.partition(".")[0]
        assert top not in ("pickle", "dill", "cloudpickle"), "no stored format uses pickle"
        if not lies_in(room, {"defs", "cli", "components", "serving", "definitions"}):
            assert top != "dagster", f"{path} imports Dagster"
        if path.parent.relative_to(PACKAGE).parts != ("engines", "ray"):
            assert top != "ray", f"{path} imports Ray"


def test_no_room_is_reached_from_itself() -> None:
    edges: dict[str, set[str]] = {room: set() for room in ROOMS}
    for path in MODULES:
        room = room_of(path)
        edges[room] |= {room_of(module) for module in used_modules(path)} - {room}
    done: set[str] = set()
    while ready := {room for room in edges.keys() - done if edges[room] <= done}:
        done |= ready
    assert done == set(edges), f"in a circle, or above one: {sorted(edges.keys() - done)}"


def test_every_room_is_there() -> None:
    assert {room_of(path) for path in MODULES} == set(ROOMS)


def test_folders_and_files_stay_small() -> None:
    files = Counter(path.parent.relative_to(PACKAGE) for path in MODULES)
    assert {folder: n for folder, n in files.items() if n > MOST_FILES} == {}
    lines = {
        path.relative_to(PACKAGE): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES
    }
    assert {path: n for path, n in lines.items() if n > MOST_LINES} == {}


def test_kernels_alone_import_triton() -> None:
    loaded = "import curation_assets.algorithms, curation_assets.algorithms.search.cuda.search, sys"
    command = [sys.executable, "-c", f"{loaded}; print('triton' in sys.modules)"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"
    for path in MODULES:
        nodes = ast.parse(path.read_text(encoding="utf-8")).body
        names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
        assert path in KERNELS or not any(name.partition(".")[0] == "triton" for name in names), path


def test_algorithms_open_no_files() -> None:
    opens = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "memmap", "load", "save"}
    for path in (PACKAGE / "algorithms").rglob("*.py"):
        # Kernels load from the memory of the card.
        allowed = {"load"} if path in KERNELS else set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                assert called not in opens - allowed, f"{path.name}:{node.lineno} calls {called}"
            if isinstance(node, ast.ImportFrom | ast.Import):
                names = (
                    [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
                )
                assert not {"pathlib", "upath", "fsspec", "os"} & set(names)


def test_nothing_reads_pickled_arrays() -> None:
    for path in MODULES:
        assert "allow_pickle=True" not in path.read_text(encoding="utf-8")
