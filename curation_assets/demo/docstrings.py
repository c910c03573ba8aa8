"""The text demo's pool: docstrings of installed packages as JSON lines."""

from __future__ import annotations

import ast
import gzip
import hashlib
import importlib.util
import inspect
import json
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any

from upath import UPath

from curation_assets.demo.pool_files import json_bytes, prepare_folder
from curation_assets.errors import CurationError
from curation_assets.storage.atomic import write_bytes

PACKAGES: dict[str, str] = {
    # Module -> distribution. Every installation has them as dependencies.
    "PIL": "pillow",
    "alembic": "alembic",
    "click": "click",
    "dagster": "dagster",
    "dagster_graphql": "dagster-graphql",
    "fontTools": "fonttools",
    "fsspec": "fsspec",
    "graphql": "graphql-core",
    "huggingface_hub": "huggingface-hub",
    "jinja2": "jinja2",
    "joblib": "joblib",
    "matplotlib": "matplotlib",
    "mpmath": "mpmath",
    "networkx": "networkx",
    "numba": "numba",
    "numpy": "numpy",
    "open_clip": "open-clip-torch",
    "polars": "polars",
    "pyarrow": "pyarrow",
    "pydantic": "pydantic",
    "pygments": "pygments",
    "rich": "rich",
    "scipy": "scipy",
    "sentence_transformers": "sentence-transformers",
    "sklearn": "scikit-learn",
    "sqlalchemy": "sqlalchemy",
    "starlette": "starlette",
    "sympy": "sympy",
    "timm": "timm",
    "tokenizers": "tokenizers",
    "torch": "torch",
    "torchvision": "torchvision",
    "transformers": "transformers",
    "urllib3": "urllib3",
    "watchdog": "watchdog",
}
DEFAULT_LIMIT = 20_000
_SHORTEST = 40
"""Characters; a shorter docstring says little more than the name of its object."""
_ORDER_SEED = 0
_GENERATED = re.compile(r"\d{5}\.jsonl\.gz")
_ATTRIBUTION_FILE = "ATTRIBUTION.txt"
_NOT_DOCUMENTATION = {"tests", "test", "testing", "_vendor", "vendored"}


def write_docstring_pool(
    folder: Path,
    *,
    limit: int = DEFAULT_LIMIT,
    samples_per_shard: int = 1500,
    packages: Sequence[str] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write docstrings of installed packages as gzipped JSON lines.

    Each line has `id` (the documented object's full name), `text`, `package`, `module` and `kind`. Sources are
    parsed, not imported. Files are read in an order shuffled by hashes of their names until `limit` docstrings are
    found, so packages keep their very unequal shares and repeated docstrings stay repeated. The same versions of the
    packages give the same bytes; with other versions the pool is rebuilt.

    Args:
        folder: created if missing.
        limit: most docstrings in total.
        samples_per_shard: docstrings per file.
        packages: keys of `PACKAGES`; None takes all that are installed.
        on_progress: called with the number of docstrings so far and `limit`.

    Returns:
        The files in order.

    Raises:
        CurationError: if a setting is out of range, a package is unknown, none is installed, or the folder has
            shards that this function did not write.
    """
    for name, value in (("limit", limit), ("samples_per_shard", samples_per_shard)):
        if value < 1:
            raise CurationError(f"{name} is {value}: choose 1 or more")
    roots = _package_folders(list(PACKAGES) if packages is None else packages)
    versions = {package: _version(PACKAGES[package]) for package in sorted(roots)}
    settings = {
        "source": "docstrings",
        "limit": limit,
        "samples_per_shard": samples_per_shard,
        "order_seed": _ORDER_SEED,
        "packages": versions,
    }
    prepare_folder(folder, settings, generated=_GENERATED, shards="*.jsonl.gz")
    write_bytes(UPath(folder / _ATTRIBUTION_FILE), _attribution(versions).encode())
    complete = folder / "_complete.json"
    if complete.exists() and complete.read_bytes() == json_bytes(settings):
        return sorted(folder.glob("*.jsonl.gz"))
    shards: list[Path] = []
    lines: list[str] = []
    for n_found, sample in enumerate(islice(_docstrings(roots), limit), start=1):
        lines.append(json.dumps(sample, ensure_ascii=False))
        if len(lines) == samples_per_shard or n_found == limit:
            shards.append(_write_shard(folder, len(shards), lines))
            lines = []
            if on_progress is not None:
                on_progress(n_found, limit)
    if lines:
        shards.append(_write_shard(folder, len(shards), lines))
    write_bytes(UPath(complete), json_bytes(settings))
    return shards


def _package_folders(packages: Sequence[str]) -> dict[str, Path]:
    if unknown := sorted(set(packages) - set(PACKAGES)):
        raise CurationError(f"packages has '{unknown[0]}': choose from {', '.join(PACKAGES)}")
    found: dict[str, Path] = {}
    for package in packages:
        # For a top-level package this runs none of its code.
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            found[package] = Path(next(iter(spec.submodule_search_locations)))
    if not found:
        raise CurationError(
            "none of the packages is installed: run in the environment that make setup builds"
        )
    return found


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown"


def _docstrings(roots: dict[str, Path]) -> Iterator[dict[str, str]]:
    files = [
        (package, path.relative_to(root).as_posix(), path)
        for package, root in roots.items()
        for path in root.rglob("*.py")
        if not _NOT_DOCUMENTATION & set(path.relative_to(root).parts)
    ]
    files.sort(key=lambda file: hashlib.sha256(f"{_ORDER_SEED}:{file[0]}/{file[1]}".encode()).digest())
    for package, relative, path in files:
        module = ".".join([package, *relative.removesuffix(".py").split("/")]).removesuffix(".__init__")
        yield from _docstrings_of(path, package, module)


def _docstrings_of(path: Path, package: str, module: str) -> Iterator[dict[str, str]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about invalid escape sequences in other packages
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError):
        # Some files are templates, or for other Python versions.
        return
    seen: Counter[str] = Counter()
    waiting: list[tuple[ast.AST, str]] = [(tree, module)]
    while waiting:
        node, name = waiting.pop()
        children = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
        for child in reversed(children):
            inner = getattr(child, "name", None)
            waiting.append((child, f"{name}.{inner}" if isinstance(inner, str) else name))
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        text = inspect.cleandoc(ast.get_docstring(node, clean=False) or "")
        if len(text) < _SHORTEST or not _is_encodable(text):
            continue
        seen[name] += 1
        # Overloads and branches define a name more than once.
        sample_id = name if seen[name] == 1 else f"{name}#{seen[name]}"
        yield {"id": sample_id, "text": text, "package": package, "module": module, "kind": _kind(node)}


def _is_encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _kind(node: ast.AST) -> str:
    if isinstance(node, ast.Module):
        return "module"
    return "class" if isinstance(node, ast.ClassDef) else "function"


def _write_shard(folder: Path, number: int, lines: list[str]) -> Path:
    path = folder / f"{number:05d}.jsonl.gz"
    # Without a timestamp, so that the same docstrings give the same bytes.
    write_bytes(UPath(path), gzip.compress(("\n".join(lines) + "\n").encode(), compresslevel=6, mtime=0))
    return path


def _attribution(versions: dict[str, Any]) -> str:
    listed = "".join(f"  {PACKAGES[package]} {version}\n" for package, version in versions.items())
    return (
        "The texts of this pool are docstrings of Python packages installed on this machine:\n"
        f"{listed}"
        "Each stays under the licence of its package. The pool is made for your own use; it is not distributed.\n"
    )
