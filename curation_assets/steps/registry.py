"""What makes each step: the functions behind the declarations of `graph/steps.py`, all with one signature."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from curation_assets.graph.base import Step
from curation_assets.steps.cleaning.admitted import admit_shard
from curation_assets.steps.cleaning.contaminated import find_contaminated
from curation_assets.steps.cleaning.duplicates import find_duplicates
from curation_assets.steps.cleaning.evaluation_sets import read_evaluation_sets, take_evaluation_listing
from curation_assets.steps.comparison.comparison import compare
from curation_assets.steps.comparison.frontier import measure_frontier
from curation_assets.steps.comparison.labels_table import take_labels_sight
from curation_assets.steps.comparison.probe import probe
from curation_assets.steps.context import PoolAccess, StepContext
from curation_assets.steps.dataset.atlas import export_atlas
from curation_assets.steps.dataset.balanced_dataset import write_dataset
from curation_assets.steps.dataset.dataset_release import write_release
from curation_assets.steps.dataset.ledger import write_ledger
from curation_assets.steps.dataset.selection import select
from curation_assets.steps.feasibility import require_encodable_pool, require_feasible_pool
from curation_assets.steps.ingest.embeddings import embed_shard
from curation_assets.steps.ingest.raw_pool import ingest_shard
from curation_assets.steps.ingest.throughput import throughput_line
from curation_assets.steps.ingest.token_counts import count_tokens
from curation_assets.steps.report.write import write_report
from curation_assets.steps.tree.archive import keep_tree
from curation_assets.steps.tree.assign import assign_shard
from curation_assets.steps.tree.drift import measure_pool_drift
from curation_assets.steps.tree.stages import fit_clusters, fit_initial, fit_resampled
from curation_assets.storage.outputs import Facts


@dataclass(frozen=True, slots=True)
class StepCode:
    """The code of a step."""

    make: Callable[[StepContext], None]
    """Writes the output, of one shard if the step is partitioned."""
    before: Callable[[PoolAccess], None] | None = None
    """Called once per run, before anything is judged or made."""
    summarise: Callable[[Sequence[Facts]], str] | None = None
    """Makes a line for the log from the facts of the shards that a run made; empty for none."""


STEPS: Mapping[str, StepCode] = {
    "raw_pool": StepCode(ingest_shard),
    "embeddings": StepCode(embed_shard, before=require_encodable_pool, summarise=throughput_line),
    "token_counts": StepCode(count_tokens),
    "evaluation_sets": StepCode(read_evaluation_sets, before=take_evaluation_listing),
    "contaminated": StepCode(find_contaminated, before=require_feasible_pool),
    "duplicates": StepCode(find_duplicates, before=require_feasible_pool),
    "admitted": StepCode(admit_shard),
    "initial": StepCode(fit_initial),
    "resampled": StepCode(fit_resampled),
    "clusters": StepCode(fit_clusters),
    "assign": StepCode(assign_shard),
    "tree": StepCode(keep_tree),
    "drift": StepCode(measure_pool_drift),
    "probe": StepCode(probe, before=take_labels_sight),
    "selection": StepCode(select),
    "ledger": StepCode(write_ledger),
    "balanced_dataset": StepCode(write_dataset),
    "dataset_release": StepCode(write_release),
    "comparison": StepCode(compare),
    "frontier": StepCode(measure_frontier),
    "atlas": StepCode(export_atlas),
    "curation_report": StepCode(write_report),
}


def code_of(step: Step) -> StepCode:
    """The code of a step.

    Raises:
        KeyError: if no function is bound to its kind.
    """
    return STEPS[step.kind]
