from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from curation_assets.demo import docstrings
from curation_assets.demo.docstrings import write_docstring_pool
from curation_assets.errors import CurationError

PACKAGES = ("click", "jinja2")
SOURCE = '''"""A module that is documented in more than forty characters."""
class Circle:
    """A circle, which is documented in more than forty characters."""
    if True:
        def area(self):
            """The area of a circle: pi times the radius, squared."""
    else:
        def area(self):
            """The area of a circle where there is no pi to be had."""
    def short(self):
        """Too short."""
    async def ünïcode(self):
        """文档字符串也可以用中文书写 这一条超过四十个字符因此会被保留下来供后续的聚类和采样使用 Ω≈ç√∫"""
'''


def lines(shards: list[Path]) -> list[dict[str, Any]]:
    return [json.loads(line) for path in shards for line in gzip.decompress(path.read_bytes()).splitlines()]


def test_docstrings_of_installed_packages_come_out_with_their_names(tmp_path: Path) -> None:
    shards = write_docstring_pool(tmp_path, limit=300, samples_per_shard=100, packages=PACKAGES)
    assert [path.name for path in shards] == ["00000.jsonl.gz", "00001.jsonl.gz", "00002.jsonl.gz"]
    samples = lines(shards)
    assert len(samples) == 300
    assert {sample["package"] for sample in samples} == set(PACKAGES)
    assert len({sample["id"] for sample in samples}) == 300
    for sample in samples:
        assert set(sample) == {"id", "text", "package", "module", "kind"}
        assert sample["id"].startswith(sample["module"])
        assert len(sample["text"]) >= 40
    import click

    command = next(sample for sample in lines(shards) if sample["kind"] == "class")
    assert command["module"].split(".")[0] in PACKAGES
    assert click.__name__ in {sample["module"].split(".")[0] for sample in samples}


def test_the_same_settings_give_the_same_bytes_and_are_not_written_again(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    first = write_docstring_pool(one, limit=50, samples_per_shard=20, packages=PACKAGES)
    second = write_docstring_pool(two, limit=50, samples_per_shard=20, packages=PACKAGES)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    times = [path.stat().st_mtime_ns for path in first]
    assert write_docstring_pool(one, limit=50, samples_per_shard=20, packages=PACKAGES) == first
    assert [path.stat().st_mtime_ns for path in first] == times
    smaller = write_docstring_pool(one, limit=10, samples_per_shard=20, packages=PACKAGES)
    assert [path.name for path in sorted(one.glob("*.jsonl.gz"))] == ["00000.jsonl.gz"]
    assert lines(smaller) == lines(second)[:10]


def test_names_repeat_kinds_and_scripts(tmp_path: Path) -> None:
    path = tmp_path / "shapes.py"
    path.write_text(SOURCE, encoding="utf-8")
    found = {sample["id"]: sample for sample in docstrings._docstrings_of(path, "shapes", "shapes")}
    assert list(found) == [
        "shapes",
        "shapes.Circle",
        "shapes.Circle.area",
        "shapes.Circle.area#2",
        "shapes.Circle.ünïcode",
    ]
    assert [sample["kind"] for sample in found.values()] == ["module", "class", *["function"] * 3]
    assert found["shapes.Circle.ünïcode"]["text"].startswith("文档字符串")
    path.write_text("def broken(:\n")
    assert list(docstrings._docstrings_of(path, "shapes", "shapes")) == []


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CurationError, match="limit is 0"):
        write_docstring_pool(tmp_path, limit=0)
    with pytest.raises(CurationError, match="packages has 'nothing'"):
        write_docstring_pool(tmp_path, packages=["nothing"])
    (tmp_path / "mine.jsonl.gz").touch()
    with pytest.raises(CurationError, match="choose an empty folder"):
        write_docstring_pool(tmp_path, limit=5, packages=PACKAGES)


def test_every_package_of_the_pool_is_installed_with_the_project() -> None:
    missing = set(docstrings.PACKAGES) - set(docstrings._package_folders(list(docstrings.PACKAGES)))
    assert not missing
    for distribution in docstrings.PACKAGES.values():
        assert docstrings._version(distribution) != "unknown", distribution
