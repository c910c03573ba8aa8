"""Planted contamination is found, whatever was done to the copies; the proof does not rest on what was found."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from curation_assets.errors import CurationError
from curation_assets.pools import PoolSpec
from curation_assets.steps.dataset.clean_selection import contaminated_selection, require_clean_rows
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets_tests.steps.drawn_pool import RECIPE, MeanColours, Pool, png, write_tar
from curation_assets_tests.steps.evaluation_pool import (
    Held,
    LetterCounts,
    decontaminate,
    ingest,
    read_sets,
    resized,
)

HIDDEN = {"evaluation_sets": [{"name": "hidden", "source": {"path": "hidden"}}]}


def evaluation_images() -> dict[str, bytes]:
    return {f"e{i}": resized(png(None, 900 + i), 8, "PNG") for i in range(5)}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """Two shards of 25 drawings, five of them copies of evaluation images."""
    folder = tmp_path_factory.mktemp("pool")
    (folder / "raw").mkdir()
    e = evaluation_images()
    copies = {"exact": e["e0"], "half": resized(e["e1"], 0.5), "jpeg": resized(e["e2"], 1, "JPEG")}
    more = {"double": resized(e["e3"], 2), "half_webp": resized(e["e4"], 0.5, "WEBP")}
    write_tar(folder / "raw" / "a.tar", {**{f"a{i}": png(None, i) for i in range(20)}, **copies})
    write_tar(folder / "raw" / "b.tar", {**more, **{f"b{i}": png(None, 100 + i) for i in range(25)}})
    made = Pool(folder, decontamination=HIDDEN)
    made.ingest()
    made.embed()
    read_sets(made.spec, made.storage, {"hidden": Held({"h": e})}, MeanColours())
    decontaminate(made.spec, made.storage)
    return made


def evidence(pool: Pool, shard: str) -> pl.DataFrame:
    return pool.storage.output("contaminated", shard).table("evidence.parquet")


def test_planted_images_are_found_and_nothing_else(pool: Pool) -> None:
    found = pl.concat([evidence(pool, "a"), evidence(pool, "b")])
    twins = found.select("sample_id", "kind", "twin_set", "twin_id").rows()
    assert twins == [
        ("exact", "exact", "hidden", "e0"),
        ("half", "pixels", "hidden", "e1"),
        ("jpeg", "pixels", "hidden", "e2"),
        ("double", "pixels", "hidden", "e3"),
        ("half_webp", "pixels", "hidden", "e4"),
    ]
    assert found["similarity"].min() > 0.9  # type: ignore[operator]
    summary = pool.storage.output("contaminated", "b").require_facts().summary
    assert (summary["n_rows"], summary["n_contaminated"]) == (27, 2)
    assert summary["kinds"] == {"pixels": 2}
    assert summary["sets"] == {"hidden": 2}
    assert summary["closest_clean_cosine"] < 0.98


def test_contaminated_rows_are_not_admitted(pool: Pool) -> None:
    admitted = pool.storage.output("admitted", "b")
    assert admitted.array("kept.npy").tolist() == list(range(2, 27))
    excluded = admitted.table("excluded.parquet")
    assert excluded.select("sample_id", "fate", "twin_id").rows() == [
        ("double", "contaminated", "e3"),
        ("half_webp", "contaminated", "e4"),
    ]


def test_a_threshold_of_ones_own_decides_on_cosines_alone(pool: Pool, tmp_path: Path) -> None:
    loose = Pool(pool.folder, decontamination=HIDDEN | {"threshold": 0.5})
    loose.storage = copied(pool, tmp_path)
    assert len(decontaminate(loose.spec, loose.storage)) == 50
    by_kind = loose.storage.output("contaminated", "a").require_facts().summary["kinds"]
    assert by_kind == {"exact": 1, "pixels": 2, "semantic": 20}


def copied(pool: Pool, folder: Path) -> PoolStorage:
    """The pool's outputs so far, in another folder."""
    target = PoolStorage(str(folder / "curated"), "drawn")
    target.save_shards(pool.storage.shards())
    outputs: list[tuple[str, str | None]] = [("evaluation_sets", None)]
    outputs += [(name, key) for name in ("raw_pool", "embeddings") for key in ("a", "b")]
    for name, key in outputs:
        source = pool.storage.output(name, key)
        facts = source.require_facts()
        with target.output(name, key).writing(RECIPE) as writer:
            for file in facts.files:
                writer.file(file).write_bytes(source.path(file).read_bytes())
            writer.summary.update(facts.summary)
    return target


def selection_of(storage: PoolStorage, named: dict[str, list[str]], **forged: Any) -> pl.DataFrame:
    """A selection of samples by id, as `selection` stores it."""
    parts = []
    for shard, ids in named.items():
        rows = storage.output("embeddings", shard).table("rows.parquet").with_row_index("row")
        rows = rows.filter(pl.col("sample_id").is_in(ids))
        parts.append(rows.select(pl.lit("small").alias("target"), pl.lit(shard).alias("shard"), pl.all()))
    selected = (
        pl.concat(parts).drop("id_hash").with_columns(pl.lit(value).alias(k) for k, value in forged.items())
    )
    with storage.output("selection").writing(RECIPE) as writer:
        writer.table("selected.parquet", selected)
    return selected


def test_a_clean_selection_is_proved_clean(pool: Pool, tmp_path: Path) -> None:
    storage = copied(pool, tmp_path)
    selected = selection_of(storage, {"a": ["a1", "a2", "a3"], "b": ["b7"]})
    # No evidence is stored here: the proof compares anew.
    proof = contaminated_selection(pool.spec, storage)
    assert proof.found.is_empty()
    assert (proof.n_rows, proof.n_comparisons) == (4, 20)
    assert proof.closest is not None
    images = {"a1": png(None, 1), "a2": png(None, 2), "a3": png(None, 3), "b7": png(None, 107)}
    mine, theirs = (embedded(samples) for samples in (images, evaluation_images()))
    assert proof.closest["cosine"] == pytest.approx((mine @ theirs.T).max(), abs=2e-3)
    assert proof.closest["sample_id"] == list(images)[(mine @ theirs.T).max(axis=1).argmax()]
    require_clean_rows(pool.spec, storage, selected)


def embedded(samples: dict[str, bytes]) -> np.ndarray:
    from PIL import Image

    rows = MeanColours().encode([Image.open(io.BytesIO(content)) for content in samples.values()])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_smuggled_row_is_found_whatever_the_evidence_says(pool: Pool, tmp_path: Path) -> None:
    storage = copied(pool, tmp_path)
    selected = selection_of(storage, {"a": ["a1", "half"], "b": ["b7", "double"]})
    with storage.output("contaminated", "a").writing(RECIPE) as writer:
        writer.table("evidence.parquet", evidence(pool, "a").clear())
    proof = contaminated_selection(pool.spec, storage)
    assert proof.found.select("shard", "sample_id", "twin_id").rows() == [
        ("a", "half", "e1"),
        ("b", "double", "e3"),
    ]
    with pytest.raises(CurationError, match=r"2 of 4 selected samples are contaminated: 'half' of shard 'a'"):
        require_clean_rows(pool.spec, storage, selected)
    plain = pool.spec.model_copy(update={"decontamination": None})
    require_clean_rows(plain, storage, selected)


def test_a_row_under_the_name_of_another_is_found(pool: Pool, tmp_path: Path) -> None:
    storage = copied(pool, tmp_path)
    selection_of(storage, {"a": ["exact"]}, sample_id="a1")
    with pytest.raises(CurationError, match=r"shard 'a': selected row 20 says it is sample 'a1'"):
        contaminated_selection(pool.spec, storage)
    selection_of(storage, {"a": ["exact"]}, row=1)
    with pytest.raises(CurationError, match="selected row 1 says it is sample 'exact'"):
        contaminated_selection(pool.spec, storage)


def test_what_cannot_be_compared_is_an_error(pool: Pool, tmp_path: Path) -> None:
    storage = copied(pool, tmp_path)
    output = storage.output("evaluation_sets")
    samples, facts = output.table("samples.parquet"), output.require_facts()

    def store(embeddings: np.ndarray, encoder: dict[str, str]) -> None:
        signatures = pool.storage.output("evaluation_sets").array("signatures.npy")
        with output.writing(RECIPE) as writer:
            writer.table("samples.parquet", samples)
            writer.array("embeddings.npy", embeddings)
            writer.array("signatures.npy", signatures)
            writer.summary.update({**facts.summary, "encoder": encoder})

    store(np.ones((5, 7), dtype=np.float16), {})
    with pytest.raises(CurationError, match=r"shard 'a' has embeddings of 12 dimensions, .* \(hidden\) of 7"):
        decontaminate(pool.spec, storage)
    store(np.ones((5, 12), dtype=np.float16), {"weights_sha256": "new"})
    embeddings = storage.output("embeddings", "a")
    files = {name: embeddings.path(name).read_bytes() for name in ("npy", "rows.parquet")}
    for weights, message in (
        ("old", "embedded with weights old, the evaluation sets with new"),
        ("new", "no pixel"),
    ):
        with embeddings.writing(RECIPE) as writer:
            for name, content in files.items():
                writer.file(name).write_bytes(content)
            writer.summary.update(n_rows=23, encoder={"weights_sha256": weights})
        with pytest.raises(CurationError, match=message):
            decontaminate(pool.spec, storage)


TEXTS = {
    "name": "texts",
    "source": {"format": "jsonl", "path": "raw"},
    "encoder": {"kind": "sentence_transformers", "model": "none"},
    "levels": [{"n_clusters": 2}],
    "targets": [{"name": "small", "size": 2}],
}


def test_planted_texts_are_found(tmp_path: Path) -> None:
    sets = [
        {"name": "quiz", "source": {"format": "jsonl", "path": "quiz"}},
        {"name": "arrays", "source": {"format": "embeddings", "path": "x", "encoder": "letters"}},
    ]
    spec = PoolSpec.model_validate({**TEXTS, "decontamination": {"evaluation_sets": sets}})
    storage = PoolStorage(str(tmp_path), "texts")
    quiz = {"q1": b"How far is the Moon?", "q2": "Où est la bibliothèque ?".encode(), "q3": b"aab"}
    arrays = {"v1": LetterCounts().encode(["zzy"])[0].tolist()}
    pool = {
        "same": quiz["q2"],
        "case": b"HOW FAR is\n the\tMoon?",
        "wide": "\uff28ow far is the Moon?".encode(),
        "anagram": b"baa",
        "stored": b"yzz",
        "other": b"Nothing of the kind",
    }
    readers = {"quiz": Held({"q": quiz}), "arrays": Held({"v": arrays})}
    read_sets(spec, storage, readers, LetterCounts())
    ingest(spec, storage, Held({"p": pool}), LetterCounts())
    found = decontaminate(spec, storage).select("sample_id", "kind", "twin_set", "twin_id", "similarity")
    assert found.rows() == [
        ("same", "exact", "quiz", "q2", 1.0),
        ("case", "normalized_text", "quiz", "q1", 1.0),
        ("wide", "normalized_text", "quiz", "q1", 1.0),
        ("anagram", "semantic", "quiz", "q3", 1.0),
        ("stored", "semantic", "arrays", "v1", 1.0),
    ]
