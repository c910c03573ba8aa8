"""Tables of what beats_baselines.py has measured.

.venv/bin/python benchmarks/beats_baselines_table.py data/beats_baselines
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine

MEASURES = ("effective", "coverage", "neighbour", "linear")
Fit = dict[str, Any]


def print_tables(folder: Path) -> None:
    """Print a line for each setting, pool and label field.

    Figures are means over the fits, with their standard deviation from fit to fit. "auto" is the level that was chosen.
    Coverage and accuracies of probes are changes against random, in points of a hundred.
    """
    tables: defaultdict[tuple[Any, ...], defaultdict[str, list[Fit]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(folder.glob("*.json")):
        fit = json.loads(path.read_text())
        for evenness in fit["evenness"]:
            setting = fit["share"], fit["steps"], tuple(fit["levels"]), evenness
            tables[setting][fit["pool"]].append(fit)
    for setting, pools in sorted(tables.items(), key=lambda item: repr(item[0])):
        share, steps, levels, evenness = setting
        print(
            f"\n{share:.0%} drawn, evenness {evenness}, levels {list(levels) or 'of the plan'}, resampling steps above "
            f"level 1: {'the default' if steps is None else steps}"
        )
        print(_row("pool, labels", *_HEADINGS))
        for pool, fits in pools.items():
            for field in sorted({figure["field"] for figure in fits[0]["figures"]}):
                print(_line(f"{pool}, {field}", field, fits, evenness))
    print(describe_machine("torch", "numpy"))


_HEADINGS = ("random", "flat", "auto", "to random", "to better", "coverage", "neighbour", "linear", "levels")


def _line(title: str, field: str, fits: Sequence[Fit], evenness: float) -> str:
    random, flat, auto = (
        np.array([_means(fit, field, kind, evenness) for fit in fits])
        for kind in ("random", "flat k-means", "auto")
    )
    baselines = random[:, 0].mean(), flat[:, 0].mean()
    changes = 100 * (auto - random)
    return _row(
        title,
        f"{baselines[0]:.1f}",
        f"{baselines[1]:.1f}",
        _spread(auto[:, 0], 1),
        _spread(auto[:, 0] / baselines[0], 2),
        _spread(auto[:, 0] / max(baselines), 3),
        *(_spread(changes[:, column], 1, sign="+") for column in (1, 2, 3)),
        "".join(str(fit["chosen"]) for fit in fits),
    )


def _means(fit: Fit, field: str, kind: str, evenness: float) -> list[float]:
    is_auto = kind == "auto"
    kind = f"level {fit['chosen']}" if is_auto else kind
    values = {
        figure["measure"]: figure["values"]
        for figure in fit["figures"]
        if (figure["kind"], figure["field"]) == (kind, field)
        and (not is_auto or figure["evenness"] == evenness)
    }
    return [float(np.mean(values[name])) if values[name] else np.nan for name in MEASURES]


def _spread(values: np.ndarray, decimals: int, sign: str = "") -> str:
    if np.isnan(values).any():
        return "not measured"
    spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return f"{values.mean():{sign}.{decimals}f} ± {spread:.{decimals}f}"


def _row(title: str, *cells: str) -> str:
    return f"{title:24}" + "".join(f"{cell:>15}" for cell in cells)


if __name__ == "__main__":
    print_tables(Path(sys.argv[1]))
