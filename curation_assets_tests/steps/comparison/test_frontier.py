"""frontier: its sizes, what is drawn and measured at each, and that it can be trusted to repeat itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from curation_assets.steps.comparison.frontier import frontier_sizes
from curation_assets.storage.tables import TokenCounts
from curation_assets_tests.steps.comparison.probed_pool import copy_pool
from curation_assets_tests.steps.drawn_pool import Pool
from curation_assets_tests.steps.making import RECIPE, make

LABELS, FREE = (
    {"effective_labels", "label_coverage"},
    {"vendi", "effective_partition", "pool_distance", "isolation"},
)


def test_sizes_are_geometric_from_one_to_eighty_per_cent() -> None:
    sizes = frontier_sizes(10_000)
    assert (len(sizes), sizes[0], sizes[-1]) == (10, 100, 8_000)
    ratios = np.divide(sizes[1:], sizes[:-1])
    np.testing.assert_allclose(ratios, 80 ** (1 / 9), rtol=0.01)
    assert frontier_sizes(30) == [1, 2, 3, 6, 9, 15, 24]
    assert frontier_sizes(1) == [1]


def test_every_size_has_its_subsets_and_measures(drawn: Pool, tmp_path: Path) -> None:
    spec, storage = copy_pool(drawn, tmp_path)
    output = make(spec, storage, "frontier")
    table, summary = storage.frontier().measures.read(), output.require_facts().summary
    total = summary["n_admissible"]
    sizes = frontier_sizes(total)
    assert sorted(set(table["size"])) == sizes
    assert set(zip(table["size"], table["fraction"], strict=True)) == {(size, size / total) for size in sizes}
    for (_, subset), part in table.group_by("size", "subset"):
        assert set(part["measure"]) == LABELS | FREE
        assert set(part.filter(pl.col("field") == "kind")["measure"]) == LABELS
        free, labelled = part.filter(pl.col("field").is_null()), part.filter(pl.col("field").is_not_null())
        assert set(free["n_draws"]) == {2}
        assert set(labelled["n_draws"]) == {100 if subset == "random" else 3}
    assert set(table["subset"]) == {"random", "paper", "chosen"}
    assert set(table.filter(pl.col("subset") == "paper")["level"]) == {spec.n_levels}
    assert (
        table.filter(pl.col("subset") == "random")["level"].null_count()
        == (table["subset"] == "random").sum()
    )
    assert set(summary["start_levels"]) == {str(size) for size in sizes}
    # A larger random subset lies closer to the pool.
    random = table.filter(pl.col("subset") == "random", pl.col("measure") == "pool_distance").sort("size")
    assert random["mean"][0] > random["mean"][-1]


def test_the_same_pool_gives_the_same_bytes(drawn: Pool, tmp_path: Path) -> None:
    spec, storage = copy_pool(drawn, tmp_path)
    first = make(spec, storage, "frontier").require_facts().digest
    assert make(spec, storage, "frontier").require_facts().digest == first


def test_a_named_level_and_evenness_are_those_of_the_first_target(drawn: Pool, tmp_path: Path) -> None:
    targets = [
        {"name": "small", "size": 9, "balance_from": "level_2", "evenness": 1.0},
        {"name": "other", "size": 5},
    ]
    spec, storage = copy_pool(drawn, tmp_path, targets=targets)
    summary = make(spec, storage, "frontier").require_facts().summary
    assert set(summary["start_levels"].values()) == {2}
    labels = storage.frontier().measures.read().filter(pl.col("measure") == "label_coverage")
    means = labels.pivot("subset", index="size", values="mean")
    # From the top level with evenness 1: the paper's rule, with other seeds.
    assert (means["paper"] - means["chosen"]).abs().mean() < 0.2


def test_the_probes_level_is_taken_where_the_target_asks_for_it(drawn: Pool, tmp_path: Path) -> None:
    targets = [{"name": "small", "size": 15, "balance_from": {"by": "probe"}}]
    spec, storage = copy_pool(drawn, tmp_path, targets=targets, probe={"n_seeds": 1})
    make(spec, storage, "probe")
    levels = make(spec, storage, "frontier").require_facts().summary["start_levels"]
    selected = make(spec, storage, "selection").require_facts().summary["balance_from"]["small"]
    assert set(levels.values()) == {selected}


def test_sizes_are_in_samples_where_the_target_is_in_tokens(drawn: Pool, tmp_path: Path) -> None:
    spec, storage = copy_pool(drawn, tmp_path)
    for shard in storage.shards():
        rows = storage.raw_pool(shard.key).samples.read("reason").with_row_index("raw_row")
        counts = rows.filter(pl.col("reason").is_null()).select("raw_row", n_tokens=pl.lit(7, pl.Int64))
        with storage.token_counts(shard.key).writing(RECIPE) as writer:
            TokenCounts.counts.write(writer, counts)
    in_samples = make(spec, storage, "frontier").require_facts().summary
    target = spec.targets[0].model_copy(update={"size": None, "tokens": 100})
    in_tokens = make(spec.model_copy(update={"targets": (target,)}), storage, "frontier")
    assert in_tokens.require_facts().summary["start_levels"].keys() == in_samples["start_levels"].keys()
