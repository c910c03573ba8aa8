"""Arrays read in pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from upath import UPath

from curation_assets.storage import array_files
from curation_assets.storage.array_files import ArrayFile


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of five float16 rows, with gaps of up to two."""
    monkeypatch.setattr(array_files, "_LOCAL_PIECE", 30)
    monkeypatch.setattr(array_files, "_LOCAL_GAP", 12)


@settings(max_examples=60)
@given(st.integers(0, 60), st.data(), st.sampled_from([np.float16, np.float32]))
def test_rows_are_those_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, n: int, data: st.DataObject, dtype: type
) -> None:
    path = tmp_path_factory.getbasetemp() / "array.npy"
    x = np.random.default_rng(n).normal(size=(n, 3)).astype(dtype)
    np.save(path, x)
    file = ArrayFile(UPath(path))
    assert (file.n_rows, file.dimension) == x.shape
    start, stop = sorted(data.draw(st.integers(0, n)) for _ in range(2))
    out = np.empty((stop - start, 3), dtype=np.float32)
    file.read(start, out)
    np.testing.assert_array_equal(out, x[start:stop])
    rows = np.array(sorted(data.draw(st.lists(st.integers(0, n - 1)))) if n else [], dtype=np.int64)
    found = np.full((len(rows), 3), np.nan, dtype=np.float32)
    for part, piece in file.gather(rows):
        assert np.isnan(found[part]).all(), "every row once"
        found[part] = piece
    np.testing.assert_array_equal(found, x[rows])
    assert file.is_half == (dtype == np.float16)
    half = np.empty((stop - start, 3), dtype=np.float16)
    if dtype == np.float16:
        file.read(start, half)
        np.testing.assert_array_equal(half, x[start:stop])
        for part, piece in file.gather(rows, half=True):
            np.testing.assert_array_equal(piece, x[rows[part]])
            assert piece.dtype == np.float16
    else:
        with pytest.raises(ValueError, match=r"array\.npy: is float32, expected float16: run the step"):
            file.read(start, half)
        with pytest.raises(ValueError, match="expected float16"):
            next(file.gather(rows, half=True))


def test_a_file_that_was_cut_is_named(tmp_path: Path) -> None:
    path = tmp_path / "array.npy"
    np.save(path, np.ones((9, 3), dtype=np.float16))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"array\.npy: is shorter than its header says"):
        ArrayFile(UPath(path)).read(0, np.empty((9, 3), dtype=np.float32))


@pytest.mark.parametrize("array", [np.ones(3), np.ones((3, 3), dtype=np.int64), np.ones((4, 3)).T])
def test_arrays_of_another_form_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "array.npy", array)
    with pytest.raises(ValueError, match="expected floats of"):
        ArrayFile(UPath(tmp_path / "array.npy"))
