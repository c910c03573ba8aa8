"""Details of rejections are repeatable and short."""

from __future__ import annotations

from curation_assets.formats.base import Rejection, RejectionReason, repeatable


def test_addresses_of_objects_are_left_out() -> None:
    assert repeatable("no <_io.BytesIO object at 0x7f59d8d0c310>") == "no <_io.BytesIO>"
    assert repeatable("no <ast.Call object at 0x7F59>: write it again") == "no <ast.Call>: write it again"


def test_a_detail_that_repeats_a_long_id_is_cut_in_its_middle() -> None:
    detail = Rejection(
        "a", "f", None, RejectionReason.DUPLICATE_ID, f"the id '{'x' * 70_000}' was met before"
    ).detail
    assert detail == f"the id '{'x' * 492} ... {'x' * 484}' was met before"
    assert repeatable("x" * 1_000) == "x" * 1_000
