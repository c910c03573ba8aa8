"""What the samples rule out is refused as soon as the files are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curation_assets.errors import CurationError, PoolSpecError
from curation_assets.formats import build_reader
from curation_assets.pools import PoolSpec
from curation_assets.steps.context import PoolAccess
from curation_assets.steps.feasibility import (
    require_encodable_pool,
    require_feasible_pool,
    require_sound_evaluation_sets,
    require_sound_start,
)
from curation_assets.steps.registry import STEPS
from curation_assets.steps.soundness import require_admissible_tokens
from curation_assets.storage.outputs import Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import group_files
from curation_assets.storage.tables import Embedded, TokenCounts
from curation_assets_tests.steps.making import make


def pool_of(folder: Path, rows: list[dict[str, Any]], **changes: Any) -> PoolAccess:
    """A pool of two files whose lines are the rows; nothing is made yet."""
    raw = folder / "raw"
    raw.mkdir(exist_ok=True)
    half = len(rows) // 2
    for name, part in (("a", rows[:half]), ("b", rows[half:])):
        (raw / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    spec = PoolSpec.model_validate(
        {
            "name": "p",
            "source": {"format": "jsonl", "path": "raw", "label_fields": ["topic"]},
            "encoder": {"kind": "sentence_transformers", "model": "m"},
            "levels": [{"n_clusters": 4}, {"n_clusters": 2}],
            "targets": [{"name": "small", "size": 5}],
            **changes,
        }
    )
    storage = PoolStorage(str(folder / "curated"), "p")
    storage.save_shards(group_files(build_reader(spec.source, folder).list_files(), 1))
    return PoolAccess(spec, storage, str(folder))


def read(pool: PoolAccess, folder: Path, *shards: str) -> PoolAccess:
    for shard in pool.storage.shards():
        if not shards or shard.key in shards:
            make(pool.spec, pool.storage, "raw_pool", shard, home=folder)
    return pool


ROWS = [{"text": f"entry {i}", "topic": "t"} for i in range(10)]


def test_steps_that_take_long_ask_first() -> None:
    assert STEPS["embeddings"].before is require_encodable_pool
    assert STEPS["contaminated"].before is STEPS["duplicates"].before is require_feasible_pool


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"levels": [{"n_clusters": 11}]}, r"levels\[0\].n_clusters is 11, but the pool has only 10 samples.* auto"),
        ({"targets": [{"name": "small", "size": 11}]}, "targets.small.size is 11, .*1 to 10, or set fraction"),
        # Ten texts of seven bytes have at most 70 tokens.
        ({"targets": [{"name": "small", "tokens": 71}]}, "targets.small.tokens is 71, .*1 to 70, or set fraction"),
    ],
)  # fmt: skip
def test_sizes_wait_for_all_shards_and_no_longer(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    pool = read(pool_of(tmp_path, ROWS, **changes), tmp_path, "a")
    require_feasible_pool(pool)
    read(pool, tmp_path)
    with pytest.raises(PoolSpecError, match=says):
        require_feasible_pool(pool)
    require_feasible_pool(read(pool_of(tmp_path, ROWS), tmp_path))


def test_counted_tokens_are_known_before_the_tree(tmp_path: Path) -> None:
    pool = read(pool_of(tmp_path, ROWS, targets=[{"name": "small", "tokens": 21}]), tmp_path)
    require_feasible_pool(pool)
    for shard in pool.storage.shards():
        output = pool.storage.output(TokenCounts.asset, shard.key)
        with output.writing(Recipe({}, {}, "1")) as writer:
            counts = TokenCounts.counts.empty().vstack(
                TokenCounts.counts.cast(rows_of(5).with_columns(n_tokens=2))
            )
            TokenCounts.counts.write(writer, counts)
            writer.summary.update(n_tokens=10)
        with pool.storage.output(Embedded.asset, shard.key).writing(Recipe({}, {}, "1")) as writer:
            Embedded.rows.write(writer, Embedded.rows.cast(embedded_rows(4)))
    with pytest.raises(PoolSpecError, match="only 20 tokens"):
        require_feasible_pool(pool)
    # Four of the five samples of each shard are embedded.
    with pytest.raises(PoolSpecError, match="only 16 tokens"):
        require_admissible_tokens(pool.spec, pool.storage)


def rows_of(n: int) -> Any:
    import polars as pl

    return pl.DataFrame({"raw_row": range(n)})


def embedded_rows(n: int) -> Any:
    import polars as pl

    return rows_of(n).with_columns(
        sample_id=pl.col("raw_row").cast(pl.String), id_hash=pl.col("raw_row").cast(pl.UInt64)
    )


def test_broken_files_are_refused_before_encoding(tmp_path: Path) -> None:
    pool = read(pool_of(tmp_path, [{"body": "x"}] * 10), tmp_path)
    with pytest.raises(CurationError, match=r"100% of the 10 samples .*missing_field: 10"):
        require_feasible_pool(pool)
    with pytest.raises(
        PoolSpecError, match=r"none of the first 5 samples of a.jsonl .*no field 'text'.* body"
    ):
        require_sound_start(pool, pool.reader.list_files())


def test_a_misspelt_label_is_refused_with_the_near_names(tmp_path: Path) -> None:
    rows = [{**row, "meta": {"lang": "en"}, "topics": None} for row in ROWS]
    source = {"format": "jsonl", "path": "raw", "label_fields": ["topic", "tpoic"]}
    pool = read(pool_of(tmp_path, rows, source=source), tmp_path)
    says = "label_fields names 'tpoic', which .* has; there are topic, meta, topics: did you mean topic"
    with pytest.raises(PoolSpecError, match=says):
        require_feasible_pool(pool)
    with pytest.raises(PoolSpecError, match=says):
        require_sound_start(pool, pool.reader.list_files())
    # A field that is there but empty may fill later, and one that the first samples lack may be in others.
    source["label_fields"] = ["topics"]
    pool = read(pool_of(tmp_path, rows, source=source), tmp_path)
    require_feasible_pool(pool)
    assert require_sound_start(pool, pool.reader.list_files()) == ""
    source["label_fields"] = ["rare"]
    pool = read(pool_of(tmp_path, [*rows[:-1], {**rows[-1], "rare": "yes"}], source=source), tmp_path)
    require_feasible_pool(pool)
    assert "'rare', which none of the first 5 samples" in require_sound_start(pool, pool.reader.list_files())


def test_the_table_of_labels_is_read_before_encoding(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("id,specis\na:0,cat\n")
    probe = {"labels": {"path": "labels.csv", "label_field": "species"}}
    pool = read(pool_of(tmp_path, ROWS, probe=probe), tmp_path)
    with pytest.raises(PoolSpecError, match=r"probe.labels.label_field is 'species', but .* id, specis"):
        require_feasible_pool(pool)


def test_an_evaluation_set_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "trivia").mkdir()
    (tmp_path / "trivia" / "a.jsonl").write_text('{"question": "why?"}\n')
    source = {"format": "jsonl", "path": "trivia"}
    pool = pool_of(
        tmp_path, ROWS, decontamination={"evaluation_sets": [{"name": "trivia", "source": source}]}
    )
    listed = {name: reader.list_files() for name, reader in pool.evaluation_readers.items()}
    with pytest.raises(PoolSpecError, match=r"evaluation set trivia: none of .* usable.* there are question"):
        require_sound_evaluation_sets(pool, listed)
