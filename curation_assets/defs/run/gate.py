"""The gate before a step: what is out of date upstream refuses it, with one sentence that names the remedy."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from curation_assets.defs.run.job_names import curate_job, recluster_job
from curation_assets.graph.base import Step
from curation_assets.graph.freshness import NOT_MADE, Freshness
from curation_assets.graph.gate import Passed, StaleInput, first_stale, stale_inputs


@dataclass
class Gate:
    """Judges the inputs of the steps of one run.

    What has passed is not judged again in the run. A run executes its steps one after the other in one process, so
    a pool of many shards is looked at once per run, not once per step and not once per shard.
    """

    run_id: str
    _passed: Passed = field(default_factory=dict, init=False)

    def refusals(
        self, pool: str, freshness: Freshness, step: Step, keys: Collection[str | None]
    ) -> dict[str | None, str]:
        """Why outputs of a step may not be made now, in one sentence each; empty if all may."""
        stale = stale_inputs(freshness, step.name, keys, self._passed)
        return {
            key: refusal(pool, step, found, freshness.steps[found.origin]) for key, found in stale.items()
        }

    def why_check_is_void(self, pool: str, freshness: Callable[[], Freshness], name: str) -> str | None:
        """Why a check of a step cannot pass now, in one sentence: what it would look at is out of date.

        A check that runs with its asset looks at what this run has made, and the asset has been judged already.

        Args:
            pool: its name.
            freshness: gives what is up to date now; called only if it is needed.
            name: the step.
        """
        if name in self._passed:
            return None
        known = freshness()
        stale = first_stale(known, name)
        if stale is None:
            return None
        origin = known.steps[stale.origin]
        return f"not checked: {_state(stale, origin)}: {_remedy(pool, origin)}"

    def passed(self, step: Step, keys: Collection[str | None]) -> None:
        """These outputs are up to date now, and so is everything that they were made of."""
        self._passed.setdefault(step.name, set()).update(keys)


_last: list[Gate] = []
"""The gate of the run that this process executes."""


def gate_of(run_id: str) -> Gate:
    """The gate of a run; the one of an earlier run is forgotten."""
    if not _last or _last[0].run_id != run_id:
        _last[:] = [Gate(run_id)]
    return _last[0]


def refusal(pool: str, step: Step, stale: StaleInput, origin: Step) -> str:
    """One sentence: what is out of date, and how to mend it."""
    relation = "comes after" if stale.name in step.after and stale.name not in step.inputs else "reads"
    return f"{step.name} {relation} {_state(stale, origin, ', which')}: {_remedy(pool, origin)}"


def _state(stale: StaleInput, origin: Step, which: str = "") -> str:
    """What is out of date, and where that starts; `which` comes before the last verb."""
    shard = f" of shard '{stale.shard}'" if stale.shard is not None else ""
    state = "does not exist yet" if stale.reason == NOT_MADE else f"is out of date ({stale.reason})"
    if stale.name != origin.name:
        return f"{stale.name}{which} follows {origin.name}{shard}, which {state}"
    return f"{origin.name}{shard}{which} {state}"


def _remedy(pool: str, origin: Step) -> str:
    job = recluster_job(pool, origin.level) if origin.fits_tree else curate_job(pool)
    return (
        f"materialize {origin.name} and everything downstream of it first, or run the job {job} or `curation-assets "
        f"run --pool {pool}`"
    )
