"""A folder of pools: which files count, and that a wrong one is the problem of its own pool."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from curation_assets.errors import PoolSpecError
from curation_assets.pools import PoolFolder, read_pools
from curation_assets_tests.projects import SMALL_POOL


def put(folder: Path, file: str, **changes: Any) -> None:
    (folder / file).write_text(yaml.safe_dump(SMALL_POOL | changes))


def test_only_yaml_files_without_a_leading_dot_count(tmp_path: Path) -> None:
    put(tmp_path, "web.yaml")
    for name in ("._web.yaml", ".web.yaml.swp", "web.yaml~", "web.yaml.bak", "#web.yaml#", "notes.txt"):
        (tmp_path / name).write_bytes(b"\x00\x05\x16\x07")
    (tmp_path / ".#web.yaml").symlink_to("me@host.1234")
    (tmp_path / "examples").mkdir()
    assert read_pools(tmp_path) == PoolFolder(
        tmp_path, {"web": read_pools(tmp_path).find("web")}, broken={}, left_out={}
    )


def test_what_is_probably_meant_as_a_pool_is_said(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").mkdir()
    put(tmp_path, "text.yml")
    put(tmp_path, "Other.YAML")
    os.mkfifo(tmp_path / "pipe.yaml")
    pools = read_pools(tmp_path)
    assert (pools.specs, pools.broken) == ({}, {})
    assert {name: why.partition(": ")[2] for name, why in pools.left_out.items()} == {
        "Other.YAML": "name it Other.yaml",
        "old.yaml": "give it a name without .yaml or .yml",
        "pipe.yaml": "remove it",
        "text.yml": "name it text.yaml",
    }
    with pytest.raises(PoolSpecError, match=r"--pool text: no such pool .* text.yml is not read as a pool"):
        pools.find("text")
    assert len(list(pools.problems())) == 4


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("source: [", "cannot read it as YAML"),
        ("seed: 1\nseed: 2\n", "key seed is written in line 1 and again in line 2"),
        ("", "expected keys such as source"),
        ("colour: 1", "unknown key colour"),
        ("{1: 2, [3]: 4}", "cannot read it as YAML"),
        ("1: 2", "bad.yaml"),
        ("&a [*a]", "bad.yaml"),
        ("source: &a {path: *a}", "bad.yaml"),
        ("!!python/object:os.system {}", "cannot read it as YAML"),
        ("name: [1]", "bad.yaml"),
    ],
)
def test_a_broken_file_leaves_the_others_alone(tmp_path: Path, content: str, part: str) -> None:
    put(tmp_path, "good.yaml")
    (tmp_path / "bad.yaml").write_text(content)
    pools = read_pools(tmp_path)
    assert list(pools.specs) == ["good"]
    assert list(pools.broken) == ["bad"]
    with pytest.raises(PoolSpecError) as refused:
        pools.find("bad")
    assert part in str(refused.value)
    with pytest.raises(PoolSpecError, match="there are: good; broken: bad"):
        pools.find("ugly")


def test_files_that_cannot_be_read_are_broken(tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\xfa")
    (tmp_path / "gone.yaml").symlink_to("nowhere")
    assert set(read_pools(tmp_path).broken) == {"bytes", "gone"}
    unreadable = Path(os.fsdecode(bytes(tmp_path / "a") + b"\xff.yaml"))
    unreadable.write_text("")
    message = read_pools(tmp_path).broken["a"].message
    assert message.encode().decode() == message


def test_the_file_named_after_the_pool_keeps_its_name(tmp_path: Path) -> None:
    put(tmp_path, "web (copy).yaml", name="web")
    put(tmp_path, "web_copy.yaml")
    put(tmp_path, "web.yaml", seed=7)
    pools = read_pools(tmp_path)
    assert pools.find("web").seed == 7
    assert set(pools.specs) == {"web", "web_copy"}
    assert list(pools.broken) == ["web_copy_2"]
    message = pools.broken["web_copy_2"].message
    assert "web (copy).yaml: the pool name 'web' is also that of web.yaml: remove the file" in message


def test_a_copy_does_not_take_the_place_of_a_broken_pool(tmp_path: Path) -> None:
    put(tmp_path, "a copy.yaml", name="web")
    put(tmp_path, "web.yaml", colour=1)
    pools = read_pools(tmp_path)
    assert pools.specs == {}
    assert {name: broken.path.name for name, broken in pools.broken.items()} == {
        "web": "web.yaml",
        "a_copy": "a copy.yaml",
    }
    with pytest.raises(PoolSpecError, match=r"web.yaml: unknown key colour"):
        pools.find("web")


def test_of_two_files_with_one_name_neither_is_guessed(tmp_path: Path) -> None:
    put(tmp_path, "a.yaml", name="same")
    put(tmp_path, "b.yaml", name="same")
    pools = read_pools(tmp_path)
    assert pools.specs == {}
    with pytest.raises(
        PoolSpecError, match=r"a.yaml: .* that of b.yaml[^\n]*\n[^\n]*b.yaml: .* that of a.yaml"
    ):
        pools.find("same")


@pytest.mark.parametrize(("stem", "name"), [("p (copy)", "p_copy"), ("2024", "pool_2024"), ("ü", "pool")])
def test_a_broken_pool_has_a_valid_name(tmp_path: Path, stem: str, name: str) -> None:
    put(tmp_path, f"{stem}.yaml")
    assert list(read_pools(tmp_path).broken) == [name]


def test_no_folder_holds_no_pools(tmp_path: Path) -> None:
    assert read_pools(tmp_path / "pools").specs == {}
