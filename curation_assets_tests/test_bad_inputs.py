"""One table of bad inputs: each ends in an error that names what to do, or in a recorded rejection.

To add rows, put them into a module of `bad_inputs` and that into `BAD_INPUTS`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets.formats.base import Rejection, RejectionReason
from curation_assets_tests.bad_inputs.files import BAD_FILES
from curation_assets_tests.bad_inputs.row import BadInput, Recorded, Refused
from curation_assets_tests.bad_inputs.settings import BAD_SETTINGS

BAD_INPUTS = [*BAD_SETTINGS, *BAD_FILES]


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: bad.name)
def test_a_bad_input_ends_in_a_clear_error_or_a_recorded_rejection(tmp_path: Path, bad: BadInput) -> None:
    if isinstance(bad.outcome, Refused):
        with pytest.raises(bad.outcome.error) as caught:
            bad.use(tmp_path)
        message = str(caught.value)
        for word in bad.outcome.words:
            assert word in message
        for secret in bad.outcome.secrets:
            assert secret not in message
        return
    results = list(bad.use(tmp_path) or ())
    rejections = [result for result in results if isinstance(result, Rejection)]
    assert [rejection.reason for rejection in rejections] == [bad.outcome.reason]
    for word in bad.outcome.words:
        assert word in rejections[0].detail
    assert len(results) - len(rejections) == bad.outcome.n_good


def test_the_table_has_no_row_twice() -> None:
    names = [bad.name for bad in BAD_INPUTS]
    assert len(names) == len(set(names)) >= 40


def test_the_table_has_a_row_for_each_reason_of_a_reader() -> None:
    reasons = {bad.outcome.reason for bad in BAD_INPUTS if isinstance(bad.outcome, Recorded)}
    # What only the encoders find out.
    later = {RejectionReason.CORRUPT_IMAGE, RejectionReason.NON_FINITE_EMBEDDING}
    assert reasons >= set(RejectionReason) - later
