"""A listing that outlasts a tick is taken whole by a later one, or not at all."""

from __future__ import annotations

import threading

import pytest

from curation_assets.defs.run.background_listing import listed_within, seconds_so_far
from curation_assets.errors import PoolSpecError
from curation_assets.formats.base import Listing, SourceFile

WHOLE = Listing([SourceFile("a.tar", 1, "1")])


def test_a_slow_listing_is_taken_by_a_later_call() -> None:
    go, n_begun = threading.Event(), []

    def look() -> Listing:
        n_begun.append(1)
        go.wait(10)
        return WHOLE

    assert listed_within("slow", "x", look, 0.01) is None
    assert listed_within("slow", "x", look, 0.01) is None
    assert seconds_so_far("slow") > 0
    go.set()
    assert listed_within("slow", "x", look, 10) is WHOLE
    assert len(n_begun) == 1
    assert seconds_so_far("slow") == 0
    assert listed_within("slow", "x", look, 10) is WHOLE
    assert len(n_begun) == 2, "every listing is used once"


def test_a_listing_from_before_another_run_is_dropped() -> None:
    go, later = threading.Event(), Listing([SourceFile("b.tar", 1, "1")])

    def before() -> Listing:
        go.wait(10)
        return WHOLE

    assert listed_within("dropped", "x", before, 0.01) is None
    go.set()
    assert listed_within("dropped", "y", lambda: later, 10) is later


def test_its_errors_are_those_of_the_call_and_the_next_one_lists_again() -> None:
    def fails() -> Listing:
        raise PoolSpecError("not a folder")

    def takes_too_long() -> Listing:
        raise TimeoutError("the store does not answer")

    for look, words in ((fails, "not a folder"), (takes_too_long, "does not answer")):
        with pytest.raises(Exception, match=words):
            listed_within("fails", "x", look, 10)
    assert listed_within("fails", "x", lambda: WHOLE, 10) is WHOLE
