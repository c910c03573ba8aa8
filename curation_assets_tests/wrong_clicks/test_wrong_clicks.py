"""Wrong things done on purpose by clicking: each ends red or refused, most with the remedy, and none green.

The sentences of the three tables are the list: `pytest --collect-only` shows them.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from curation_assets.defs.io_managers import IO_MANAGER_KEY
from curation_assets.errors import PoolSpecError
from curation_assets_tests.projects import SMALL_POOL, Project, make_project
from curation_assets_tests.test_clicking import CHANGED, SHARDS, digests
from curation_assets_tests.wrong_clicks.after_a_change import AFTER_A_CHANGE
from curation_assets_tests.wrong_clicks.hand import Hand, Shown, Wrong, hand_on
from curation_assets_tests.wrong_clicks.on_files import ON_FILES
from curation_assets_tests.wrong_clicks.on_settings import ON_SETTINGS

Digests = dict[tuple[str, str | None], str]
ALONE = ON_FILES | ON_SETTINGS
LONG = {
    "read an empty file",
    "read a shard of random bytes",
    "draw after one shard was read again",
    "draw after one shard of the fit was embedded again",
    "write the dataset from a cut file",
    "write the dataset from a deleted file",
    "make the atlas of changed files",
    "cut an output and make what follows it",
    "delete what was embedded of one shard and draw",
    "read with a pattern that matches nothing",
    "read a pool whose folder was moved away",
    "fit more clusters than there are samples",
    "change the seed and draw",
    "change a target and check the old draw",
    "change a target and draw again over one partition",
    "change the outputs and release",
    "backfill one partition with all that follows",
    "stop a run midway and draw",
    "edit the YAML between the runs of a backfill",
    "re-execute from failure with other settings",
}
"""`make test-ui` tries them: a second each, and what they show is much like what others show."""


@pytest.fixture(scope="module")
def changed(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hand]:
    """A pool whose level 2 was changed, beside a pool that nothing was made of."""
    with hand_on(finished, tmp_path_factory.mktemp("changed"), with_run=True) as hand:
        other = yaml.safe_dump(SMALL_POOL, sort_keys=False)
        (hand.project.home.pools_folder / "web.yaml").write_text(other)
        hand.instance.add_dynamic_partitions("web_shards", SHARDS)
        hand.write(CHANGED)
        yield hand


@pytest.fixture
def hand(finished: Project, tmp_path: Path) -> Iterator[Hand]:
    with hand_on(finished, tmp_path) as found:
        yield found


def assert_red(hand: Hand, wrong: Wrong, shown: Shown) -> None:
    assert shown.red, "it ended green"
    assert any(wrong.says in " ".join(said.split()) for said in shown.red), shown.red
    try:
        assert not hand.green_but_out_of_date(shown)
    except PoolSpecError:
        assert not shown.made | shown.reused, "the pool is broken"


@pytest.mark.parametrize("wrong", AFTER_A_CHANGE.values(), ids=AFTER_A_CHANGE)
def test_after_a_change(wrong: Wrong, changed: Hand) -> None:
    before = changed.project.modified_times()
    shown = wrong.do(changed)
    assert_red(changed, wrong, shown)
    assert not shown.made
    assert changed.project.modified_times() == before


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(wrong, id=what, marks=pytest.mark.ui if what in LONG else ())
        for what, wrong in ALONE.items()
    ],
)
def test_alone(wrong: Wrong, hand: Hand) -> None:
    assert_red(hand, wrong, wrong.do(hand))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Digests]:
    """What a YAML gives in a new project."""

    @functools.cache
    def from_scratch(text: str) -> Digests:
        project = make_project(tmp_path_factory.mktemp("scratch"))
        (project.home.pools_folder / "emoji.yaml").write_text(text)
        assert project.run("run", "--pool", "emoji")[0] == 0
        return digests(project)

    return from_scratch


@pytest.mark.ui
@pytest.mark.slow
@pytest.mark.parametrize("wrong", ALONE.values(), ids=ALONE)
def test_a_run_afterwards_is_as_from_scratch(
    wrong: Wrong, hand: Hand, scratch: Callable[[str], Digests]
) -> None:
    wrong.do(hand)
    wrong.mend(hand)
    code, output = hand.project.run("run", "--pool", "emoji")
    assert code == 0, output
    text = (hand.project.home.pools_folder / "emoji.yaml").read_text()
    assert digests(hand.project) == scratch(text)


def test_what_is_harmless_stays_as_it_is(hand: Hand) -> None:
    before = hand.project.modified_times()
    shown = hand.wipe("selection") + hand.materialize("balanced_dataset", shards=SHARDS)
    elsewhere = {IO_MANAGER_KEY: {"config": {"home_folder": "/nowhere", "storage_root": "/nowhere"}}}
    shown += hand.materialize("raw_pool", shards=SHARDS, resources=elsewhere)
    hand.instance.delete_dynamic_partition("emoji_shards", "00001")
    shown += hand.materialize("selection")
    assert not shown.red
    assert not shown.made
    assert hand.project.modified_times() == before


def test_the_check_of_everything_does_not_pass_while_files_cannot_be_listed(hand: Hand) -> None:
    shutil.rmtree(hand.raw("00000").parent)
    shown = hand.materialize("curation_report", checks=["nothing_is_out_of_date"])
    assert "the files are not listed: source.path is" in shown.warnings["nothing_is_out_of_date"]
    assert not shown.passed_checks
