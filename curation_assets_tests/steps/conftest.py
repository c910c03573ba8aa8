"""Pools that several modules read."""

from __future__ import annotations

import pytest

from curation_assets_tests.steps.drawn_pool import Pool, png, write_tar


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """A curated pool of three shards, to be read only; some samples cannot be embedded, one id occurs in two shards."""
    folder = tmp_path_factory.mktemp("drawn")
    (folder / "raw").mkdir()
    write_tar(folder / "raw" / "a.tar", {f"a{i}": png(None, i) for i in range(20)})
    odd = {
        "black": png((0, 0, 0)),
        "white": png((255, 255, 255)),
        "red": png((255, 0, 0)),
        "cut": png(None)[:70],
    }
    write_tar(folder / "raw" / "b.tar", {**{f"b{i}": png(None, 100 + i) for i in range(20)}, **odd})
    write_tar(
        folder / "raw" / "c.tar", {"a3": png(None, 500), **{f"c{i}": png(None, 200 + i) for i in range(9)}}
    )
    made = Pool(folder)
    made.run()
    return made
