"""Folders: files of any name and content; each file that lies there is listed or counted as left out."""

from __future__ import annotations

from typing import Any

from hypothesis import assume
from hypothesis import strategies as st
from pydantic import TypeAdapter

from curation_assets.errors import PoolSpecError
from curation_assets.formats import build_reader
from curation_assets.pools import SourceSettings
from curation_assets_tests.fuzz.harness import Arena, require_repeatable
from curation_assets_tests.fuzz.tar_entries import CONTENTS

SOURCE: TypeAdapter[Any] = TypeAdapter(SourceSettings)
PARTS = st.sampled_from(
    [
        "a", "b", "[x]", "*", "?", "#1", "50%", "a b", "ü", "猫", ".hidden", "_under", "x.y", "~", "a\nb", "'", '"',
        "-r",
        "n" * 120, "a.part", "{y}", "$HOME", "&", "\\", "%2e%2e", "CON",
    ]
)  # fmt: skip
ENDINGS = st.sampled_from(
    [".png", ".PNG", ".jpg", ".txt", ".md", ".md5", ".tmp", "", ".", ".tar", ".png.txt", "~"]
)
FILES = st.dictionaries(
    st.tuples(st.lists(PARTS, max_size=2), PARTS, ENDINGS).map(
        lambda name: "/".join([*name[0], name[1] + name[2]])
    ),
    CONTENTS | st.binary(max_size=30),
    min_size=1,
    max_size=5,
)


def is_file_system(names: list[str]) -> bool:
    """Whether no file has the name of another's folder."""
    return not any(other.startswith(f"{name}/") for name in names for other in names)


def unit_of(name: str) -> str:
    """What is listed or left out: the file, or the first folder on its way that is hidden, and so not entered."""
    parts = name.split("/")
    hidden = next((i for i, part in enumerate(parts[:-1]) if part.startswith((".", "_"))), len(parts) - 1)
    return "/".join(parts[: hidden + 1])


def test_every_file_of_a_folder_has_a_fate(arena: Arena) -> None:
    def check(case: tuple[dict[str, bytes], str, str]) -> None:
        files, modality, pattern = case
        assume(is_file_system(list(files)))
        source = {
            "format": "folder", "modality": modality, "pattern": pattern, "max_image_pixels": 10_000,
            "max_text_bytes": 400,
        }  # fmt: skip
        pool = arena.put(files)
        reader = build_reader(SOURCE.validate_python({"path": str(pool), **source}), pool)
        try:
            listing = reader.look()
        except PoolSpecError as error:
            require_repeatable(str(error).replace(str(pool), ""), pool)
            return
        assert reader.look() == listing
        if pattern == "**/*":
            n_left_out = sum(sum(kinds.values()) for kinds in listing.left_out.values())
            assert len(listing.files) + n_left_out == len(set(map(unit_of, files))), listing
        for file in listing.files:
            told = arena.read(source, files, file.path, n_seen=1)
            assert told.n_samples + told.n_rejections == 1

    patterns = st.sampled_from(["**/*", "**/*", "*", "*/*", "**/*.png", "a/**"])
    arena.explore(st.tuples(FILES, st.sampled_from(["image", "text"]), patterns), 120, check)
