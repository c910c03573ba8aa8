"""What is said at the end of a run: what was made, what it is worth, and what is damaged or left out."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from curation_assets.pools import PoolSpec
from curation_assets.steps.cleaning.removed_shares import removal_lines
from curation_assets.steps.damage import damage_lines, set_aside_lines
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import CurationReport


def result_lines(
    spec: PoolSpec, storage: PoolStorage, n_made: int, seconds: float, *, whole: bool
) -> Iterator[str]:
    """What a run made, and where to find it.

    Args:
        spec: settings of the pool.
        storage: outputs of the pool.
        n_made: assets that were brought up to date.
        seconds: that it took.
        whole: whether the run was of all shards.
    """
    # Slow to import.
    from curation_assets.steps.comparison.verdict import verdict_lines

    if n_made == 0:
        yield f"pool '{spec.name}' is up to date: nothing to do"
        return
    yield f"pool '{spec.name}': {n_made} assets updated in {seconds:.0f} s"
    facts = storage.output("selection").facts()
    if not whole or facts is None:
        return
    summary = facts.summary
    for target, size in summary["targets"].items():
        tokens = f", {summary['tokens'][target]:,} tokens" if "tokens" in summary else ""
        yield f"  target {target}: {size:,} of {summary['n_admissible']:,} samples that targets draw from{tokens}"
    yield f"  dataset: {storage.output('balanced_dataset').folder}"
    # Each version has its own folder in an object store, so the asset's folder may hold several.
    yield f"  release: {storage.output('dataset_release').path('any').parent}"
    yield f"  report:  {storage.output(CurationReport.asset).path(CurationReport.PAGE)}"
    compared = storage.comparison().facts()
    for target, verdict in (compared.summary["verdicts"] if compared else {}).items():
        first, *others = verdict_lines(verdict)
        yield f"  {target}: {first}"
        for line in others:
            yield f"    {line}"


def warning_lines(spec: PoolSpec, storage: PoolStorage) -> Iterator[str]:
    """What could not be used, looks wrong or is left out: the last lines, so that they are seen."""
    lines = (damage_lines(spec, storage), removal_lines(spec, storage), set_aside_lines(storage))
    for line in chain.from_iterable(lines):
        yield f"  {line}"
