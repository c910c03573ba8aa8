"""Names of shards by hand: they stay what they were where they were sound, and never clash."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from curation_assets.storage.shard_keys import MOST_BYTES, new_keys


def keys_of(*groups: str | list[str], taken: tuple[str, ...] = ()) -> list[str]:
    return new_keys([[group] if isinstance(group, str) else group for group in groups], taken)


def test_a_name_of_its_own_goes_to_the_first_dot() -> None:
    assert keys_of("00.tar", "a/x.jsonl.gz", ["b.tar", "c.tar"]) == ["00", "a__x", "b-c"]
    assert keys_of("c4-train.00000-of-01024.json.gz") == ["c4-train"]
    assert keys_of("news[1].jsonl", "a?*#% b.jsonl", "v1.0/a.tar") == ["news[1]", "a?*#% b", "v1.0__a"]


def test_names_that_differ_after_the_dot_keep_what_differs() -> None:
    assert keys_of("c4.00000-of-2.json.gz", "c4.00001-of-2.json.gz") == ["c4_00000-of-2", "c4_00001-of-2"]
    assert keys_of("wiki.de.jsonl", "wiki.en.jsonl", "x.jsonl") == ["wiki_de", "wiki_en", "x"]
    assert keys_of(["frame.0.png", "frame.1.png"], ["frame.2.png", "frame.3.png"]) == [
        "frame_0-frame_1", "frame_2-frame_3",
    ]  # fmt: skip
    # The first one came alone and keeps its name.
    assert keys_of("laion.00001.tar", taken=("laion",)) == ["laion_00001"]


def test_names_that_differ_in_their_ending_or_folder_get_a_digest() -> None:
    plain, packed = keys_of("x.jsonl", "x.jsonl.gz")
    assert plain != packed
    assert plain.startswith("x-")
    assert packed.startswith("x-")
    one, other = keys_of("a/b.jsonl", "a__b.jsonl")
    assert {one[:5], other[:5]} == {"a__b-"}
    assert one != other


def test_long_names_are_cut_between_characters() -> None:
    title = "minutes of a meeting about fishing rights " * 5
    (single,) = keys_of(f"{title}.txt")
    (pair,) = keys_of([f"{'語' * 80}a.txt", f"{'語' * 80}b.txt"])
    assert single.startswith(title[:60])
    assert pair.count("語") == 40
    assert max(len(single.encode()), len(pair.encode())) <= MOST_BYTES
    # What fitted stays.
    assert keys_of("n" * MOST_BYTES + ".tar") == ["n" * MOST_BYTES]


def test_no_key_has_characters_that_cannot_be_printed() -> None:
    (key,) = keys_of("a\nb.tar")
    assert key.startswith("a_b-")


PIECES = ("a", "b", "a.b", "ab", "A", "__", ".", "..", "-", ".tar", ".gz", "/", "[1]", "\n", "語")
PATHS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=12).map(
    lambda parts: "".join(parts).strip("/") or "x"
)


@given(
    st.sets(PATHS, max_size=12), st.sets(st.sampled_from(["a", "b", "a-b", "x", "a__b"])), st.integers(1, 3)
)
def test_keys_are_sound_and_do_not_depend_on_the_order(paths: set[str], taken: set[str], size: int) -> None:
    ordered = sorted(paths)
    groups = [ordered[i : i + size] for i in range(0, len(ordered), size)]
    keys = new_keys(groups, taken)
    assert len({*keys, *taken}) == len(keys) + len(taken)
    assert all(0 < len(key.encode()) <= MOST_BYTES and "/" not in key and key.isprintable() for key in keys)
    shuffled = random.Random(0).sample(range(len(groups)), len(groups))
    again = new_keys([groups[i] for i in shuffled], taken)
    assert [again[shuffled.index(i)] for i in range(len(groups))] == keys
