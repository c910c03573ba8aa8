"""One sentence says what is out of date and how to mend it."""

from __future__ import annotations

from curation_assets.defs.run.gate import gate_of, refusal
from curation_assets.graph.gate import StaleInput
from curation_assets.graph.steps import pool_steps
from curation_assets_tests.projects import spec_of

STEPS = pool_steps(spec_of())


def test_a_changed_level_is_mended_by_its_job() -> None:
    stale = StaleInput("level_2_assign", "level_2_initial", "n_clusters changed from 8 to 7", None)
    assert refusal("p", STEPS["level_3_assign"], stale, STEPS["level_2_initial"]) == (
        "level_3_assign reads level_2_assign, which follows level_2_initial, which is out of date (n_clusters changed "
        "from 8 to 7): materialize level_2_initial and everything downstream of it first, or run the job "
        "p_recluster_from_level_2 or `curation-assets run --pool p`"
    )


def test_what_is_missing_is_mended_by_a_run_of_the_pool() -> None:
    stale = StaleInput("embeddings", "embeddings", "not made yet", "00002")
    assert refusal("p", STEPS["level_1_assign"], stale, STEPS["embeddings"]) == (
        "level_1_assign reads embeddings of shard '00002', which does not exist yet: materialize embeddings and "
        "everything downstream of it first, or run the job p_curate or `curation-assets run --pool p`"
    )


def test_an_order_without_an_input_is_named_as_such() -> None:
    stale = StaleInput("drift", "drift", "new_rows changed from 0.1 to 0.2", None)
    assert refusal("p", STEPS["selection"], stale, STEPS["drift"]).startswith(
        "selection comes after drift, which is out of date (new_rows changed from 0.1 to 0.2): "
    )


def test_a_gate_lasts_for_one_run() -> None:
    gate = gate_of("one")
    assert gate_of("one") is gate
    assert gate_of("two") is not gate
    assert gate_of("one") is not gate
