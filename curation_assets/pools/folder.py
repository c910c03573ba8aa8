"""The pools of a folder, and those of components. A file that is wrong is the problem of its own pool only."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from curation_assets.errors import PoolSpecError
from curation_assets.pools.loading import load_pool_spec
from curation_assets.pools.projects.components import ComponentPool
from curation_assets.pools.spec import POOL_NAME_PATTERN, PoolSpec
from curation_assets.pools.yaml_files import read_mapping

SUFFIX = ".yaml"
_ALIKE = (SUFFIX, ".yml")
_LONGEST_NAME = 32


@dataclass(frozen=True, slots=True)
class BrokenPool:
    """A pool file that cannot be used."""

    name: str
    """Differs from the name of every other pool. The pool's own name, if the file is the one to have it."""
    declares: str
    """The pool's name in the file, or else that of the file; another file may declare it too."""
    path: Path
    message: str
    """Names the file, the key, its value and the remedy."""


@dataclass(frozen=True, slots=True)
class PoolFolder:
    """The pools of a project."""

    folder: Path
    """Of pool files."""
    specs: Mapping[str, PoolSpec]
    """By name, those that are sound."""
    broken: Mapping[str, BrokenPool]
    """By name, the others."""
    left_out: Mapping[str, str]
    """Name of an entry (path of a component) that is probably meant as a pool, but is not read as one -> why."""

    def find(self, pool: str) -> PoolSpec:
        """A pool by name.

        Raises:
            PoolSpecError: if the pool is broken, with its message; if it does not exist, with the names of those
                that do.
        """
        if pool in self.specs:
            return self.specs[pool]
        wrong = [self.broken[pool]] if pool in self.broken else []
        if wrong := wrong or [entry for entry in self.broken.values() if entry.declares == pool]:
            raise PoolSpecError("\n".join(entry.message for entry in wrong))
        alike = [f"; {name} {why}" for name, why in self.left_out.items() if pool in _stems(name)]
        broken = f"; broken: {', '.join(self.broken)}" if self.broken else ""
        raise PoolSpecError(
            f"--pool {pool}: no such pool in {self.folder}; there are: {', '.join(self.specs) or 'none'}"
            f"{broken}{''.join(alike)}"
        )

    def problems(self) -> Iterator[str]:
        """One line for every broken pool, and for every entry that is probably meant as a pool."""
        for entry in self.broken.values():
            yield f"pool '{entry.name}' is broken: {entry.message}"
        for name, why in self.left_out.items():
            yield f"{self.folder / name} {why}"


def read_pools(folder: Path, components: Sequence[ComponentPool] = ()) -> PoolFolder:
    """The pools of a folder: its files `*.yaml`, not those whose name begins with a dot, nor those of its subfolders.

    If several files declare one name, the file that is named after the pool keeps it, and the others are broken. If
    no file is named after it, all of them are broken: which settings are meant cannot be known. The name of a file is
    never that of a component.

    Args:
        folder: of the pools. It need not exist.
        components: pools that are declared elsewhere.

    Raises:
        PoolSpecError: if the folder cannot be listed.
    """
    files, left_out = _entries(folder)
    found = {path: _load(path) for path in files}
    declared = {path: _declared_name(path, loaded) for path, loaded in found.items()}
    specs: dict[str, PoolSpec] = {}
    wrong: dict[Path, str] = {}
    for path, loaded in found.items():
        others = [other.name for other in files if other != path and declared[other] == declared[path]]
        keeps_name = not others or path.stem == declared[path]
        if isinstance(loaded, str):
            wrong[path] = loaded
        elif keeps_name:
            specs[loaded.name] = loaded
        else:
            wrong[path] = (
                f"{path}: the pool name '{loaded.name}' is also that of {', '.join(others)}: remove the file, or give "
                f"it another name with the key name"
            )
    names = {*specs, *(component.name for component in components if isinstance(component.loaded, PoolSpec))}
    broken: dict[str, BrokenPool] = {}
    # Files that are named after their pool first: no copy takes their name.
    for path in sorted(wrong, key=lambda path: (path.stem != declared[path], path)):
        name = _free_name(path.stem, names)
        names.add(name)
        broken[name] = BrokenPool(name, declared[path], path, wrong[path])
    taken = set(declared.values())
    for component in components:
        why = _why_broken(component, taken, components)
        if component.is_for_dagster:
            left_out[str(component.path)] = f"is for Dagster alone: {component.loaded}"
        elif why is None and isinstance(component.loaded, PoolSpec):
            specs[component.name] = component.loaded
        else:
            name = _free_name(component.name, names)
            names.add(name)
            broken[name] = BrokenPool(name, component.name, component.path, why or "")
    return PoolFolder(folder, specs, dict(sorted(broken.items())), left_out)


def _why_broken(
    component: ComponentPool, taken: Collection[str], components: Sequence[ComponentPool]
) -> str | None:
    if isinstance(component.loaded, str):
        return _printable(component.loaded)
    n_alike = sum(other.name == component.name for other in components)
    if component.name not in taken and n_alike == 1:
        return None
    other = "a file of the folder of the pools" if component.name in taken else "another component"
    return (
        f"{component.path}: the pool name '{component.name}' is also that of {other}: remove one, or give it another "
        f"name with the key name"
    )


def _entries(folder: Path) -> tuple[list[Path], dict[str, str]]:
    """Pool files in the order of their names, and what is probably meant as one."""
    try:
        entries = sorted(folder.iterdir()) if folder.exists() else []
    except OSError as error:
        raise PoolSpecError(f"{folder}: cannot list the folder of the pools: {error.strerror}") from error
    files: list[Path] = []
    left_out: dict[str, str] = {}
    for path in entries:
        if path.name.startswith(".") or path.suffix.lower() not in _ALIKE:
            continue
        if path.is_dir():
            left_out[path.name] = "is a folder, not a pool: give it a name without .yaml or .yml"
        elif path.suffix != SUFFIX:
            left_out[path.name] = f"is not read as a pool: name it {path.stem}{SUFFIX}"
        elif path.exists() and not path.is_file():
            left_out[path.name] = "is not a file that can be read as a pool: remove it"
        else:
            files.append(path)
    return files, left_out


def _load(path: Path) -> PoolSpec | str:
    """A pool, or what is wrong with its file."""
    try:
        return load_pool_spec(path)
    except PoolSpecError as error:
        return _printable(str(error))
    # Whatever a strange file sets off, the other pools must load.
    except Exception as error:
        return _printable(f"{path}: cannot read it as a pool: {type(error).__name__}: {error}")


def _declared_name(path: Path, loaded: PoolSpec | str) -> str:
    if isinstance(loaded, PoolSpec):
        return loaded.name
    try:
        name = read_mapping(path).get("name", path.stem)
    except PoolSpecError:
        return path.stem
    return name if isinstance(name, str) else path.stem


def _free_name(stem: str, taken: Collection[str]) -> str:
    """A valid name of a pool that is not taken and resembles the name of a file."""
    name = re.sub(r"[^a-z0-9_]+", "_", stem.lower())[:_LONGEST_NAME].strip("_")
    name = name if POOL_NAME_PATTERN.fullmatch(name) else f"pool_{name}".rstrip("_")
    numbered = (f"{name}_{number}" for number in range(2, len(taken) + 3))
    return next(candidate for candidate in (name, *numbered) if candidate not in taken)


def _stems(entry: str) -> tuple[str, str]:
    """Names that a pool would have by a file or by its folder."""
    return Path(entry).stem, Path(entry).parent.name


def _printable(text: str) -> str:
    """File names may hold bytes that no text has."""
    return text.encode("utf-8", "replace").decode()
