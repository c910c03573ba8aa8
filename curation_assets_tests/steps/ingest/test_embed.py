"""Embedding: the same bytes and the same errors, however many threads decode."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curation_assets.encoders import Encoder, build_encoder
from curation_assets.errors import ShardError
from curation_assets.formats import build_reader
from curation_assets.pools import PoolSpec, TimmEncoderSettings
from curation_assets.steps.ingest.accepted import ShardSource
from curation_assets.steps.ingest.decoded_windows import resolve_decode_threads
from curation_assets.steps.ingest.embed import embed_samples
from curation_assets.storage.outputs import Output
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import Shard, group_files
from curation_assets_tests.formats.test_jsonl import SCRIPTS, jsonl
from curation_assets_tests.steps.drawn_pool import RECIPE, MeanColours, Pool, png, write_tar
from curation_assets_tests.steps.ingest.test_raw_pool import FirstLetters
from curation_assets_tests.steps.making import make

THREADS = (0, 1, 2, 5)


class Held:
    """One shard, listed once and embedded any number of times."""

    def __init__(self, folder: Path, source: dict[str, Any]) -> None:
        text = source.get("format") == "jsonl"
        encoder = {"kind": "sentence_transformers", "model": "m"} if text else {"kind": "bundled"}
        targets = [{"name": "t", "size": 1}]
        values = {"name": "p", "source": {"path": "raw", **source}, "encoder": encoder, "targets": targets}
        self.spec = PoolSpec.model_validate(values)
        self.storage = PoolStorage(str(folder / "curated"), "p")
        self.reader = build_reader(self.spec.source, folder)
        self.shard: Shard = group_files(self.reader.list_files(), 10)[0]
        make(self.spec, self.storage, "raw_pool", self.shard, reader=self.reader)

    def embed(self, encoder: Encoder, n_threads: int, progress: list[int] | None = None) -> Output:
        output = self.storage.output("embeddings", self.shard.key)
        with output.writing(RECIPE) as writer:
            embed_samples(
                ShardSource(self.reader, self.shard, self.storage.raw_pool(self.shard.key), self.spec.source),
                encoder,
                writer,
                metric="cosine",
                decode_threads=n_threads,
                on_progress=lambda done, speed: progress.append(done) if progress is not None else None,
            )
        return output


def everything(output: Output) -> dict[str, bytes]:
    return {name: output.path(name).read_bytes() for name in output.require_facts().files}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Held:
    """Two files of 30 images; among them some that are cut, and some whose embedding has no direction."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "raw").mkdir()
    for name in "ab":
        samples = {f"{name}{i:02}": png(None, ord(name) + i) for i in range(30)}
        for i in (0, 3, 9, 10, 11, 12, 13, 14, 15, 29):  # the first, a whole window and more, and the last
            samples[f"{name}{i:02}"] = samples[f"{name}{i:02}"][:70]
        samples[f"{name}05"] = png((0, 0, 0))
        samples[f"{name}22"] = png((255, 255, 255))
        write_tar(folder / "raw" / f"{name}.tar", samples)
    return Held(folder, {"files_per_shard": 10})


def test_images_are_the_same_bytes_whatever_the_threads(images: Held) -> None:
    outputs, shown = [], []
    for n_threads in THREADS:
        progress: list[int] = []
        output = images.embed(MeanColours(), n_threads, progress)
        outputs.append(everything(output))
        shown.append(progress)
        rejected = output.table("rejected.parquet")["raw_row"].to_list()
    assert len(outputs[0]["signatures.npy"]) > 192 * 36
    assert all(output == outputs[0] for output in outputs)
    assert all(progress == shown[0] for progress in shown)
    assert shown[0][-1] == 60
    # Of one window what cannot be decoded comes before what has no direction.
    assert rejected[:4] == [0, 3, 5, 9]
    assert len(rejected) == 24


def test_an_encoder_that_works_while_the_next_window_is_queued_stores_the_same_bytes(images: Held) -> None:
    class Queueing(MeanColours):
        n_ahead = 1

        def begin(self, prepared: Sequence[Any]) -> Callable[[], np.ndarray]:
            samples = list(prepared)
            return lambda: self.encode(samples)

    progress: tuple[list[int], list[int]] = ([], [])
    plain = everything(images.embed(MeanColours(), 2, progress[0]))
    for n_threads in (0, 2):
        assert everything(images.embed(Queueing(), n_threads)) == plain
    images.embed(Queueing(), 2, progress[1])
    assert progress[0] == progress[1], "no window is lost or told twice"


def test_images_of_one_colour_are_marked_and_kept(images: Held, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    samples = {f"a{i}": png(colour, i) for i, colour in enumerate([None, (9, 9, 9), None, (200, 9, 9), None])}
    # The first white one has no embedding, so rows behind it move up.
    write_tar(tmp_path / "raw" / "a.tar", {"0": png((255, 255, 255)), **samples})
    output = Held(tmp_path, {}).embed(MeanColours(), 2)
    assert output.array("blank.npy").tolist() == [1, 3]
    facts = output.require_facts()
    assert (facts.summary["n_blank"], facts.summary["n_rows"]) == (2, 5)
    plain = images.embed(MeanColours(), 1).require_facts()
    assert plain.summary["n_blank"] == 0
    assert "blank.npy" not in plain.files, "the bytes of other pools are as before"


def test_texts_are_the_same_bytes_whatever_the_threads(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    texts = [{"text": text} for text in SCRIPTS * 3]
    (tmp_path / "raw" / "a.jsonl").write_bytes(jsonl(*texts))
    held = Held(tmp_path, {"format": "jsonl"})
    outputs = [everything(held.embed(FirstLetters(), n_threads)) for n_threads in THREADS]
    assert all(output == outputs[0] for output in outputs)


def test_a_real_encoder_gives_the_same_bytes_while_images_are_decoded_beside_it(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    rng = np.random.default_rng(0)
    samples = {}
    for i in range(24):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (90, 60 + i, 3), dtype=np.uint8)).save(buffer, "PNG")
        samples[f"a{i:02}"] = buffer.getvalue()
    write_tar(tmp_path / "raw" / "a.tar", samples)
    held = Held(tmp_path, {})
    settings = TimmEncoderSettings(
        kind="timm", model="test_efficientnet", pretrained=False, batch_size=5, device="cpu"
    )
    encoder = build_encoder(settings)
    outputs = [everything(held.embed(encoder, n_threads)) for n_threads in (0, 1, 3, 3)]
    assert all(output == outputs[0] for output in outputs)


def test_large_jpegs_are_decoded_smaller_if_the_encoder_says_so(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    buffer = io.BytesIO()
    colours = np.random.default_rng(0).integers(0, 255, (2, 2, 3), dtype=np.uint8)
    Image.fromarray(colours).resize((400, 400)).save(buffer, "JPEG")
    write_tar(tmp_path / "raw" / "a.tar", {"a": buffer.getvalue(), "b": png(None)})
    held, sizes = Held(tmp_path, {}), []

    class Sized(MeanColours):
        least_side = 90

        def prepare(self, sample: Image.Image) -> Image.Image:
            sizes.append(sample.size)
            return sample

    held.embed(Sized(), 0)
    assert sizes == [(100, 100), (8, 8)]


class Failing(MeanColours):
    """Fails in its third window."""

    def __init__(self) -> None:
        self.n_calls = 0

    def encode(self, samples: Sequence[Image.Image]) -> np.ndarray:
        self.n_calls += 1
        if self.n_calls == 3:
            raise RuntimeError("out of memory")
        return super().encode(samples)


@pytest.mark.parametrize("n_threads", THREADS)
def test_when_the_encoder_fails_nothing_is_left_behind(images: Held, n_threads: int) -> None:
    images.embed(MeanColours(), 0)
    before = everything(images.storage.output("embeddings", images.shard.key))
    with pytest.raises(RuntimeError, match="out of memory"):
        images.embed(Failing(), n_threads)
    assert everything(images.storage.output("embeddings", images.shard.key)) == before
    assert not [t for t in threading.enumerate() if t.name.startswith(("read-ahead", "decode"))]


class Unpreparable(MeanColours):
    """Cannot take one of the images."""

    def prepare(self, sample: Image.Image) -> Image.Image:
        if sample.getpixel((0, 0)) == (255, 255, 255):
            raise ValueError("white is no colour")
        return sample


@pytest.mark.parametrize("n_threads", THREADS)
def test_errors_of_other_threads_end_the_shard(images: Held, n_threads: int) -> None:
    with pytest.raises(ValueError, match="white is no colour"):
        images.embed(Unpreparable(), n_threads)


@pytest.mark.parametrize("n_threads", THREADS)
def test_storage_that_fails_ends_the_shard(tmp_path: Path, n_threads: int) -> None:
    (tmp_path / "raw").mkdir()
    for name in "ab":
        write_tar(tmp_path / "raw" / f"{name}.tar", {f"{name}{i}": png(None, i) for i in range(20)})
    held = Held(tmp_path, {"files_per_shard": 10})
    (tmp_path / "raw" / "b.tar").unlink()
    with pytest.raises(ShardError, match=r"b\.tar: no such file; was it removed"):
        held.embed(MeanColours(), n_threads)
    write_tar(tmp_path / "raw" / "b.tar", {"b0": png(None, 0)})
    with pytest.raises(ShardError, match="19 samples of the raw pool are no longer in its files"):
        held.embed(MeanColours(), n_threads)


def test_auto_takes_the_cores_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert resolve_decode_threads("auto") == 6
    assert resolve_decode_threads(3) == 3
    assert resolve_decode_threads(0) == 0
    for value, n_threads in (("2", 2), ("64", 6), ("0", 6), ("4,2", 6)):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert resolve_decode_threads("auto") == n_threads


def test_what_cannot_be_embedded_is_rejected_with_its_reason(drawn: Pool) -> None:
    output = drawn.storage.output("embeddings", "b")
    rejected = output.table("rejected.parquet")
    assert sorted(rejected["reason"].to_list()) == ["corrupt_image", *["non_finite_embedding"] * 3]
    assert output.array("npy").shape == (20, 12)
    assert output.array("npy").dtype == np.float16
    ids = output.table("rows.parquet")["sample_id"].to_list()
    assert ids == [f"b{i}" for i in range(20)]
    expected = MeanColours().encode([Image.open(io.BytesIO(png(None, 105)))])[0]
    np.testing.assert_allclose(output.array("npy")[5], expected, atol=1e-3)


def test_a_file_that_changed_since_it_was_listed_fails_its_shard(drawn: Pool, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    write_tar(tmp_path / "raw" / "a.tar", {f"a{i}": png(None, i) for i in range(6)})
    changed = Pool(tmp_path)
    changed.ingest()
    write_tar(tmp_path / "raw" / "a.tar", {f"a{i}": png(None, i) for i in range(4)})
    with pytest.raises(
        ShardError, match="2 samples of the raw pool are no longer in its files: run raw_pool again"
    ):
        changed.embed()
