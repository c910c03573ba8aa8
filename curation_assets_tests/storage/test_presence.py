"""Whether the files that facts name are there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from curation_assets.storage.documents import unsealed
from curation_assets.storage.outputs import Output, Recipe
from curation_assets.storage.presence import StoredFiles, place_of

NAMES = st.from_regex(r"[a-z]{1,4}(/[a-z]{1,4}){0,2}", fullmatch=True)


@given(
    name=NAMES,
    shard=st.none() | st.from_regex(r"[a-z0-9_]{1,5}", fullmatch=True),
    version=st.sampled_from(["", "v-1"]),
)
def test_a_place_is_where_the_output_writes(name: str, shard: str | None, version: str) -> None:
    output = Output(UPath("/curated/p/asset"), shard)
    assert str(output.path_in(version, name)) == f"/curated/p/asset/{place_of(name, shard, version)}"


@pytest.mark.parametrize("shard", [None, "00003"])
@pytest.mark.parametrize("root", ["local", "memory://presence"])
def test_files_that_are_missing_or_cut_are_named(root: str, shard: str | None, tmp_path: Path) -> None:
    folder = UPath(tmp_path if root == "local" else f"{root}/{tmp_path.name}") / "asset"
    output = Output(folder, shard)
    with output.writing(Recipe({}, {}, "1")) as writer:
        writer.text("page.html", "a page")
        writer.text("small/txt", "rows")
    facts = output.require_facts()
    assert facts.sizes == {"page.html": 6, "small/txt": 4}
    assert StoredFiles(folder).lost(shard, facts) is None
    assert output.whole_facts() == facts
    output.path("small/txt").write_text("row")
    cut = "stored file small/txt has another size than recorded"
    assert StoredFiles(folder).lost(shard, facts) == cut
    assert StoredFiles(folder).lost(shard, replace(facts, sizes={})) is None, (
        "facts without sizes name files only"
    )
    output.path("page.html").unlink()
    missing = "stored file page.html is missing"
    assert StoredFiles(folder).lost(shard, facts) == f"{missing}, and 1 more are damaged"
    assert StoredFiles(folder).lost(shard, replace(facts, sizes={})) == missing
    assert output.whole_facts() is None


def test_facts_that_were_stored_without_sizes_are_read(tmp_path: Path) -> None:
    output = Output(UPath(tmp_path), None)
    with output.writing(Recipe({}, {}, "1")) as writer:
        writer.text("page.html", "a page")
    path = output.path("facts.json")
    document = unsealed(path.read_bytes())
    del document["sizes"]
    path.write_text(json.dumps(document))
    assert '"sizes"' not in path.read_text()
    facts = output.whole_facts()
    assert facts is not None
    assert facts.sizes == {}
