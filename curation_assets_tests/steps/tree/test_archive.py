"""What is damaged in an archived tree is left out of the comparison, and stops nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from upath import UPath

from curation_assets.steps.tree.archive import _fitted_rows, _whole_facts
from curation_assets.storage.outputs import Output, Recipe
from curation_assets.storage.pool_storage import PoolStorage


@pytest.mark.parametrize(
    ("content", "says"), [("thE rows", "other bytes"), ("the", "another size"), (None, "is missing")]
)
def test_damaged_files_of_the_old_tree_are_named_and_left_out(
    content: str | None, says: str, tmp_path: Path
) -> None:
    output, lines = Output(UPath(tmp_path / "level_1_assign"), "a"), list[str]()
    with output.writing(Recipe({}, {}, "1")) as writer:
        writer.text("npy", "the rows")
    assert _whole_facts(output, lines.append) == output.facts()
    assert not lines
    path = Path(str(output.path("npy")))
    path.unlink()
    if content is not None:
        path.write_text(content)
    assert _whole_facts(output, lines.append) is None
    assert len(lines) == 1
    assert "level_1_assign is left out of the comparison" in lines[0]
    assert says in lines[0]


def test_lost_facts_of_the_old_tree_are_no_error(tmp_path: Path) -> None:
    old = PoolStorage(str(tmp_path), "p")
    assert _fitted_rows(old) is None
    assert _whole_facts(old.clusters(1), lambda _: None) is None
