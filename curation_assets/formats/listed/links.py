"""Which links of a pool's folder are followed: those that stay inside, unless the pool says otherwise."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from curation_assets.errors import PoolSpecError

FollowLinks = Literal["inside", "anywhere"]
_NAMES_SHOWN = 3
REMEDY = "set source.follow_links to anywhere to read them, or to inside to leave them out"


def admitted_targets(folder: str, follow: FollowLinks | None) -> Callable[[str], bool]:
    """Tells whether a link of a pool's folder is followed, by the path of the link.

    Links are followed to files and folders below the pool's folder, and into the stores that tools keep beside it and
    fill with links: the blobs of a Hugging Face cache, and the objects of git-annex and DVC.

    Args:
        folder: of the pool, on this machine; may be a link itself.
        follow: `source.follow_links`.
    """
    if follow == "anywhere":
        return lambda _: True
    real = os.path.realpath(folder)
    roots = tuple(f"{root.rstrip('/')}/" for root in (real, *map(os.path.realpath, _stores(Path(real)))))
    return lambda link: f"{os.path.realpath(link)}/".startswith(roots)


def _stores(folder: Path) -> Iterator[Path]:
    for parent in (folder, *folder.parents):
        beside = [parent / ".git" / "annex" / "objects", parent / ".dvc" / "cache"]
        if parent.name == "snapshots":
            beside.append(parent.parent / "blobs")
        yield from (store for store in beside if store.is_dir())


def named(links: Sequence[str]) -> str:
    """The first links, for messages."""
    more = len(links) - _NAMES_SHOWN
    return ", ".join(links[:_NAMES_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def require_inside(links: Sequence[str]) -> None:
    """No link to a folder leads out of the pool's folder: nobody knows how many samples it stands for.

    Raises:
        PoolSpecError: naming the links.
    """
    if links:
        many = len(links) > 1
        raise PoolSpecError(
            f"{len(links):,} link{'s' if many else ''} to {'folders' if many else 'a folder'} "
            f"({named(sorted(links))}) lead{'' if many else 's'} out of source.path, and {'are' if many else 'is'} not "
            f"followed unasked: {REMEDY}"
        )
