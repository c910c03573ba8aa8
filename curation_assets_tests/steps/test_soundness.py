"""Counts along the graph, sound embeddings, and the gates that stop a broken pool."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curation_assets.errors import CurationError
from curation_assets.pools import PoolSpec
from curation_assets.steps.soundness import miscounted_shards, require_usable_pool, unsound_embeddings
from curation_assets.steps.tree.fit import LevelFit
from curation_assets.storage.documents import unsealed
from curation_assets_tests.steps.drawn_pool import RECIPE, Pool, png, write_tar


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    (folder / "raw").mkdir()
    for shard in "ab":
        write_tar(folder / "raw" / f"{shard}.tar", {f"{shard}{i}": png(None, i) for i in range(16)})
    pool = Pool(folder)
    pool.ingest()
    pool.embed()
    pool.cluster()
    return folder


@pytest.fixture
def pool(clustered: Path, tmp_path: Path) -> Pool:
    shutil.copytree(clustered, tmp_path / "pool")
    return Pool(tmp_path / "pool")


def test_a_sound_pool_has_nothing_to_say(pool: Pool) -> None:
    assert miscounted_shards(pool.spec, pool.storage) == {}
    assert unsound_embeddings(pool.spec, pool.storage) == {}
    require_usable_pool(pool.spec, pool.storage)


def test_rows_that_do_not_add_up_are_found_in_the_files(pool: Pool) -> None:
    path = Path(str(pool.storage.output("embeddings", "a").path("npy")))
    np.save(path, np.load(path)[:-1])
    assert miscounted_shards(pool.spec, pool.storage) == {"a": "15 embedded, but 16 assigned at level 2"}
    pool.storage.output("raw_pool", "b").path("facts.json").unlink()
    assert miscounted_shards(pool.spec, pool.storage)["b"] == "not ingested"


@pytest.mark.parametrize(("value", "words"), [(np.nan, "not finite"), (0.0, "length zero")])
def test_unsound_embeddings_are_found_in_the_files(pool: Pool, value: float, words: str) -> None:
    path = Path(str(pool.storage.output("embeddings", "b").path("npy")))
    rows = np.load(path)
    rows[3] = value
    np.save(path, rows)
    assert unsound_embeddings(pool.spec, pool.storage) == {"b": words}


def test_shards_of_other_weights_are_named_and_stop_fit_and_draw(pool: Pool) -> None:
    for shard, weights in (("a", "1111"), ("b", "2222")):
        path = Path(str(pool.storage.output("embeddings", shard).path("facts.json")))
        facts = unsealed(path.read_bytes())
        facts["summary"]["encoder"] = {"model": "m", "weights_sha256": weights}
        path.write_text(json.dumps(facts))
    assert unsound_embeddings(pool.spec, pool.storage) == {
        "b": "embedded with weights 2222, most shards with 1111"
    }
    with pytest.raises(
        CurationError, match=r"1 shards .* backfill --pool drawn --from embeddings --shards b$"
    ):
        pool.select()
    with pytest.raises(CurationError, match="embedded with other weights"):
        LevelFit(pool.spec, pool.storage, 1).initial(None)  # type: ignore[arg-type]


def test_a_draw_from_an_assignment_of_other_rows_is_stopped(pool: Pool) -> None:
    output = pool.storage.output("level_1_assign", "a")
    table = output.table("parquet").head(9)
    with output.writing(RECIPE) as writer:
        writer.table("parquet", table)
    with pytest.raises(
        CurationError, match=r"shard 'a': 16 rows are embedded, 9 assigned: run level_1_assign"
    ):
        pool.select()
    assert pool.storage.output("selection").facts() is None


def test_no_tree_is_fitted_on_what_a_broken_source_left(pool: Pool) -> None:
    output = pool.storage.output("raw_pool", "a")
    table = output.table("parquet").with_columns(reason=pl.lit("corrupt_image"))
    with output.writing(RECIPE) as writer:
        writer.table("parquet", table)
        writer.summary.update(n_rows=16, n_accepted=0, n_rejected=16, rejections={"corrupt_image": 16})
    strict = PoolSpec.model_validate(
        pool.spec.model_dump() | {"source": pool.spec.source.model_dump() | {"max_rejected_share": 0.4}}
    )
    with pytest.raises(
        CurationError,
        match=r"50% of the 32 samples of pool 'drawn' are rejected \(corrupt_image: 16\), more than "
        r"source.max_rejected_share = 40%",
    ):
        LevelFit(strict, pool.storage, 1).initial(None)  # type: ignore[arg-type]
