"""What the refit policy makes of drift figures."""

from __future__ import annotations

import polars as pl

from curation_assets.pools import RefitSettings
from curation_assets.steps.tree.drift import decide
from curation_assets.storage.fit_rows import FitRows, FittedShard
from curation_assets.storage.tables import Drift

FIT_ROWS = FitRows({"a": FittedShard("1", 100), "b": FittedShard("2", 100)}, "encoder", "first fit")


def shards(**rows: tuple[bool, int, float]) -> pl.DataFrame:
    """Shard -> in the fit, rows, score."""
    table = [
        {
            **dict.fromkeys(Drift.shards.schema, 0),
            "shard": key,
            "in_fit": in_fit,
            "n_rows": n_rows,
            "score": score,
            "assign_digest": "",
        }
        for key, (in_fit, n_rows, score) in rows.items()
    ]
    return pl.DataFrame(table, schema=Drift.shards.schema)


def test_nothing_new_keeps_the_tree() -> None:
    decision = decide(RefitSettings(), shards(a=(True, 100, 0.9), b=(True, 100, 0.0)), FIT_ROWS)
    assert decision.summary == "assign and re-select"
    assert (decision.new_rows, decision.gone_rows, decision.drift_score) == (0, 0, 0.0), (
        "only new shards count"
    )


def test_new_rows_beyond_the_share_ask_for_a_refit() -> None:
    grown = shards(a=(True, 100, 0.0), b=(True, 100, 0.0), c=(False, 41, 0.1))
    decision = decide(RefitSettings(new_rows=0.2), grown, FIT_ROWS)
    assert decision.summary == "refit from level 1"
    assert decision.reasons == ("41 rows came since the fit of 200: 20%, more than 20%",)
    exactly = shards(a=(True, 100, 0.0), b=(True, 100, 0.0), c=(False, 40, 0.1))
    assert not decide(RefitSettings(new_rows=0.2), exactly, FIT_ROWS).reasons


def test_rows_that_went_count_as_those_that_came() -> None:
    decision = decide(RefitSettings(new_rows=0.4), shards(a=(True, 100, 0.0)), FIT_ROWS)
    assert decision.reasons == ("100 rows went since the fit of 200: 50%, more than 40%",)
    changed = decide(RefitSettings(new_rows=0.4), shards(a=(True, 100, 0.0), b=(False, 90, 0.0)), FIT_ROWS)
    assert (changed.new_rows, changed.gone_rows) == (90, 100)


def test_a_drifting_shard_is_named_and_never_means_never() -> None:
    odd = shards(a=(True, 100, 0.0), b=(True, 100, 0.0), c=(False, 1, 0.7), d=(False, 1, 0.4))
    decision = decide(RefitSettings(), odd, FIT_ROWS)
    assert decision.drifting_shards == ("c",)
    assert decision.reasons == ("drift of shard c: score up to 0.70, more than 0.50",)
    never = decide(RefitSettings(new_rows=None, drift_score=None), odd, FIT_ROWS)
    assert never.summary == "assign and re-select"
    assert never.drift_score == 0.7
