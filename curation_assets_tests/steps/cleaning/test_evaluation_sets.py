"""Evaluation sets: what is kept of them, and what is said of broken ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curation_assets.errors import CurationError, PoolSpecError
from curation_assets.pools import PoolSpec
from curation_assets.steps.cleaning.evaluation_sets import take_evaluation_listing
from curation_assets.steps.context import PoolAccess
from curation_assets.storage.evaluation import load_evaluation_digest
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets_tests.projects import spec_of
from curation_assets_tests.steps.drawn_pool import MeanColours, png, write_tar
from curation_assets_tests.steps.evaluation_pool import Held, read_sets

IMAGES = {"path": "raw"}
ARRAYS = {"format": "embeddings", "path": "raw", "encoder": "mean colours"}


def with_sets(*sets: dict[str, Any], **changes: Any) -> PoolSpec:
    entries = [{"name": f"set_{i}", "source": source} for i, source in enumerate(sets)]
    decontamination = {"evaluation_sets": entries}
    return spec_of(decontamination=decontamination, **changes)


@pytest.fixture
def storage(tmp_path: Path) -> PoolStorage:
    return PoolStorage(str(tmp_path / "curated"), "p")


def test_sets_are_stored_one_after_the_other(storage: PoolStorage) -> None:
    images = Held({"a": {f"a{i}": png(None, i) for i in range(6)}, "b": {"cut": png(None, 7)[:70]}})
    arrays = Held({"x": {"zero": [0.0] * 12, "one": [1.0] * 12}})
    spec = with_sets(IMAGES, ARRAYS)
    table = read_sets(spec, storage, {"set_0": images, "set_1": arrays}, MeanColours())
    assert table["set"].to_list() == ["set_0"] * 7 + ["set_1"] * 2
    assert table["embedding_row"].to_list() == [*range(6), None, None, 6]
    assert table["signature_row"].to_list() == [*range(6), None, None, None]
    assert table["content_sha256"].is_null().to_list() == [False] * 7 + [True] * 2
    output = storage.output("evaluation_sets")
    assert output.array("embeddings.npy").shape == (7, 12)
    assert output.array("signatures.npy").shape == (6, 192)
    rejected = output.table("rejected.parquet").select("set", "sample_id", "reason").rows()
    assert rejected == [("set_0", "cut", "corrupt_image"), ("set_1", "zero", "non_finite_embedding")]
    summary = output.require_facts().summary
    assert summary["samples"] == {"set_0": 7, "set_1": 2}
    assert summary["embedded"] == {"set_0": 6, "set_1": 1}
    assert summary["rejected"] == {"set_0": 1, "set_1": 1}


def test_the_array_holds_what_the_encoder_gives_for_each_sample(storage: PoolStorage) -> None:
    # The window is 4: the white one, which has no embedding, shifts what follows it in the second window.
    samples = {f"a{i}": png(None, i) for i in range(9)} | {"white": png((255, 255, 255)), "z": png(None, 99)}
    table = read_sets(with_sets(IMAGES), storage, {"set_0": Held({"a": samples})}, MeanColours())
    array = storage.output("evaluation_sets").array("embeddings.npy")
    alone = read_sets(with_sets(IMAGES), storage, {"set_0": Held({"a": {"z": png(None, 99)}})}, MeanColours())
    assert alone["embedding_row"].to_list() == [0]
    row = table.filter(table["sample_id"] == "z")["embedding_row"][0]
    np.testing.assert_array_equal(storage.output("evaluation_sets").array("embeddings.npy")[0], array[row])


def test_stored_embeddings_are_taken_chunk_by_chunk(storage: PoolStorage) -> None:
    rows = np.random.default_rng(0).normal(size=(5, 12)).round(2)
    arrays = Held({"x": {f"s{i}": row.tolist() for i, row in enumerate(rows)}})
    table = read_sets(with_sets(ARRAYS), storage, {"set_0": arrays}, MeanColours())
    assert table["sample_id"].to_list() == [f"s{i}" for i in range(5)]
    assert table["embedding_row"].to_list() == list(range(5))
    np.testing.assert_allclose(storage.output("evaluation_sets").array("embeddings.npy"), rows, atol=2e-3)


def test_windows_reach_across_files(storage: PoolStorage) -> None:
    sizes: list[int] = []

    class Counting(MeanColours):
        def encode(self, samples: Sequence[Image.Image]) -> np.ndarray:
            sizes.append(len(samples))
            return super().encode(samples)

    files = {f"f{i}": {f"s{i}": png(None, i)} for i in range(6)}
    read_sets(with_sets(IMAGES), storage, {"set_0": Held(files)}, Counting())
    assert sizes == [4, 2]


@pytest.mark.parametrize(
    ("source", "files", "message"),
    [
        (ARRAYS, {"x": {"a": [1.0] * 5}}, "'set_0': its embeddings have 5 dimensions, those of the pool 12"),
        (ARRAYS, {"x": {"a": [0.0] * 12}}, "'set_0': it holds no sample that could be compared"),
        (IMAGES, {"x": {}}, "'set_0': it holds no sample that could be compared"),
        (
            IMAGES,
            {"x": {"a": b"no", "b": b"image", "c": png(None)}},
            r"'set_0': 67% of its 3 samples are rejected \(not_an_image: 2\), more than its source's",
        ),
    ],
)
def test_a_useless_set_is_named(
    storage: PoolStorage, source: dict[str, Any], files: dict[str, Any], message: str
) -> None:
    with pytest.raises(CurationError, match=message):
        read_sets(with_sets(source), storage, {"set_0": Held(files)}, MeanColours())
    assert storage.output("evaluation_sets").facts() is None


def test_a_missing_folder_is_named_before_anything_is_read(tmp_path: Path, storage: PoolStorage) -> None:
    spec = with_sets({"path": "gone"})
    with pytest.raises(PoolSpecError, match=r"evaluation set 'set_0': source.path is '.*gone'"):
        take_evaluation_listing(PoolAccess(spec, storage, str(tmp_path)))
    (tmp_path / "gone").mkdir()
    with pytest.raises(PoolSpecError, match=r"evaluation set 'set_0': source\.pattern is"):
        take_evaluation_listing(PoolAccess(spec, storage, str(tmp_path)))


def test_a_set_of_another_modality_is_refused_with_the_pool() -> None:
    texts = {"format": "jsonl", "path": "raw"}
    with pytest.raises(ValueError, match="evaluation set 'set_0' holds texts, but the pool images"):
        with_sets(texts)
    with pytest.raises(ValueError, match="holds images, but the pool embeddings only"):
        with_sets(IMAGES, source=ARRAYS, encoder=None)
    assert with_sets(IMAGES, ARRAYS).decontamination is not None


def test_the_listing_changes_with_the_files(tmp_path: Path, storage: PoolStorage) -> None:
    spec = with_sets({"path": "raw"})
    (tmp_path / "raw").mkdir()
    write_tar(tmp_path / "raw" / "a.tar", {"a": png(None, 1)})
    pool = PoolAccess(spec, storage, str(tmp_path))
    assert load_evaluation_digest(storage.folder) is None
    take_evaluation_listing(pool)
    before = load_evaluation_digest(storage.folder)
    written = storage.folder.joinpath("evaluation_sets.json").stat().st_mtime_ns
    take_evaluation_listing(pool)
    assert load_evaluation_digest(storage.folder) == before
    assert storage.folder.joinpath("evaluation_sets.json").stat().st_mtime_ns == written
    write_tar(tmp_path / "raw" / "a.tar", {"a": png(None, 2)})
    take_evaluation_listing(pool)
    assert load_evaluation_digest(storage.folder) != before
    plain = spec_of()
    assert PoolAccess(plain, storage, str(tmp_path)).evaluation_readers == {}
