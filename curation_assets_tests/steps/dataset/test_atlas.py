"""The export for Embedding Atlas: its rows, and that Embedding Atlas itself opens it."""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from curation_assets.errors import CurationError
from curation_assets.pools.atlas import AtlasSettings
from curation_assets.steps.dataset.atlas import atlas_command
from curation_assets_tests.steps.drawn_pool import RECIPE, Pool, png, write_tar
from curation_assets_tests.steps.making import make
from curation_assets_tests.steps.text_pool import TextPool


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> TextPool:
    made = TextPool(tmp_path_factory.mktemp("texts"))
    made.run()
    return made


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    folder = tmp_path_factory.mktemp("images")
    (folder / "raw").mkdir()
    for number, name in enumerate("ab"):
        write_tar(
            folder / "raw" / f"{name}.tar", {f"{name}{i}": png(None, 50 * number + i) for i in range(15)}
        )
    made = Pool(folder)
    made.run()
    return made


def export(pool: Pool, **settings: Any) -> pl.DataFrame:
    spec = pool.spec.model_copy(update={"atlas": AtlasSettings(**settings)})
    make(spec, pool.storage, "atlas", reader=pool.reader)
    return pool.storage.atlas().samples.read()


def test_every_embedded_row_is_shown_with_what_became_of_it(texts: TextPool) -> None:
    table = export(texts)
    assert table.height == 59
    assert table.columns == [
        "id", "text", "fate", "targets", "level_2", "level_1", "label_topic", "distance", "reason", "twin_set",
        "twin_id", "similarity", "shard", "file", "projection_x", "projection_y", "neighbors",
    ]  # fmt: skip
    fates = dict(table.group_by("fate").len().rows())
    assert fates == {"selected": 12, "not_selected": 42, "duplicate": 4, "contaminated": 1}
    copy = table.row(by_predicate=pl.col("id") == "b01", named=True)
    assert (copy["fate"], copy["twin_set"], copy["twin_id"]) == ("duplicate", "a", "a00")
    assert copy["similarity"] == pytest.approx(0.97)
    assert set(table.filter(fate="selected")["targets"]) == {"small"}
    assert table["text"].null_count() == 0
    assigned = texts.storage.output("level_2_assign", "a").table("parquet")["cluster"].cast(pl.String)
    assert table.filter(shard="a")["level_2"].to_list() == assigned.to_list()


def test_neighbours_are_positions_in_the_table(texts: TextPool) -> None:
    table = export(texts, n_neighbours=4)
    neighbours = table["neighbors"].struct.unnest()
    assert neighbours["ids"].list.len().unique().to_list() == [4]
    place = {name: i for i, name in enumerate(table["id"])}
    first = neighbours.row(place["a01"], named=True)
    assert first["ids"][0] == place["c01"]
    assert first["distances"][0] == pytest.approx(0, abs=1e-6)
    assert all(row == sorted(row) for row in neighbours["distances"].to_list())


def test_of_a_large_pool_a_sample_of_every_fate_is_shown(texts: TextPool) -> None:
    table = export(texts, max_rows=12)
    assert table.height == 12
    assert set(table["fate"]) == {"selected", "not_selected", "duplicate", "contaminated"}
    assert table["neighbors"].struct.field("ids").explode().max() < 12  # type: ignore[operator]
    facts = texts.storage.output("atlas").require_facts()
    assert (facts.summary["n_rows"], facts.summary["n_pool_rows"]) == (12, 59)
    assert export(texts, max_rows=12).equals(table)
    assert set(table["id"]) <= set(export(texts, max_rows=30)["id"]), "a larger sample holds the smaller one"


def test_images_are_thumbnails_in_the_form_of_hugging_face(images: Pool) -> None:
    table = export(images, thumbnail_pixels=5)
    assert "text" not in table.columns
    picture = table.row(3, named=True)["image"]
    assert picture["path"] == f"{table['id'][3]}.webp"
    with Image.open(io.BytesIO(picture["bytes"])) as image:
        assert image.size == (5, 5)
    # Colours survive: the thumbnail is of this very row.
    with Image.open(io.BytesIO(png(None, 3))) as original, Image.open(io.BytesIO(picture["bytes"])) as small:
        means = [np.asarray(each.convert("RGB")).mean() for each in (original, small)]
    assert means[0] == pytest.approx(means[1], abs=8)


def test_a_ledger_of_other_rows_is_refused(texts: TextPool) -> None:
    output = texts.storage.output("ledger", "a")
    whole, facts = output.table("parquet"), output.require_facts()
    try:
        with output.writing(RECIPE) as writer:
            writer.table("parquet", whole.reverse())
            writer.summary.update(facts.summary)
        with pytest.raises(CurationError, match="shard 'a': the ledger is of other rows"):
            export(texts)
    finally:
        with output.writing(RECIPE) as writer:
            writer.table("parquet", whole)
            writer.summary.update(facts.summary)


def test_the_command_names_the_columns_that_there_are(texts: TextPool, images: Pool) -> None:
    for pool, last in ((texts, ["--text", "text"]), (images, ["--image", "image"])):
        words = shlex.split(atlas_command(pool.storage.atlas(), pool.spec))
        assert words[0] == "embedding-atlas"
        assert words[1].endswith("/atlas/atlas.parquet")
        assert words[2:] == ["--x", "projection_x", "--y", "projection_y", "--neighbors", "neighbors", *last]
        assert set(words[3::2]) <= set(export(pool).columns)


def test_embedding_atlas_opens_it(texts: TextPool, images: Pool, tmp_path: Path) -> None:
    """With its own command line: loads the table, resolves the columns and exports the application's data."""
    # Beside this Python, or anywhere on the path: it may well live in an environment of its own.
    folders = [str(Path(sys.executable).parent), *os.environ["PATH"].split(os.pathsep)]
    program = shutil.which("embedding-atlas", path=os.pathsep.join(folders))
    if program is None:
        pytest.skip("embedding-atlas is not installed: pip install curation-assets[atlas]")
    for pool in (texts, images):
        table = export(pool)
        words = shlex.split(atlas_command(pool.storage.atlas(), pool.spec))[1:]
        target = tmp_path / pool.spec.name
        command = [program, *words, "--export-application", str(target)]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        shown = pl.read_parquet(target / "data" / "dataset.parquet")
        assert shown["id"].to_list() == table["id"].to_list()
        props = json.loads((target / "data" / "metadata.json").read_text())["props"]["data"]
        assert props["projection"] == {"x": "projection_x", "y": "projection_y"}
        assert (props["neighbors"], props["id"]) == ("neighbors", "__row_index__")
        content = "text" if pool is texts else "image"
        assert props[content] == content
        ids = np.stack([np.array(row["ids"]) for row in shown["neighbors"]])
        assert ids.shape == (table.height, 10)
        if pool is images:
            assert shown["pagerank"].is_finite().all(), "its graph metrics read our neighbours"
