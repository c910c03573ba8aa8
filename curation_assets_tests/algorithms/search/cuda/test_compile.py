"""Every kernel compiles for the cards it is meant for; that needs no card, and the interpreter does not show it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

COMPILE = """
import sys
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from curation_assets.algorithms.search.cuda import kernels, launches, row_kernels, row_loads

TYPES = {
    "scales": "*fp32", "norms": "*fp32", "residuals": "*fp32", "at_least": "*fp32", "bias": "*fp32", "best": "*fp32",
    "second": "*fp32", "best_out": "*fp32", "second_out": "*fp32", "maxima_out": "*fp32", "thresholds": "*fp32",
    "scores_out": "*fp32", "others_out": "*fp32", "thresholds_out": "*fp32", "left_out": "*i32", "column": "*i32",
    "column_out": "*i32", "words_out": "*i32", "row_numbers": "*i64", "tiles": "*i64", "columns": "*i64",
    "columns_out": "*i64", "columns_before": "*i64", "clusters": "*i64", "mass": "*fp64", "sums": "*fp64",
    "squares_out": "*fp64", "mean": "*fp32", "lengths": "*fp64", "per_step": "fp32", "step": "fp32", "out": "*fp32",
    "centroid_scale": "fp32", "of_norm": "fp32", "of_residual": "fp32", "constant": "fp32", "share": "fp32",
}

def build(kernel, rows, centroids, warps, capability, fused=True, **constants):
    given = {**TYPES, "rows": rows, "centroids": centroids, **dict.fromkeys(constants, "constexpr")}
    signature = {name: given.get(name, "i32") for name in kernel.arg_names}
    return compile(
        ASTSource(kernel, signature, {(kernel.arg_names.index(name),): value for name, value in constants.items()}),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": warps, "enable_fp_fusion": fused},
    ).asm["ptx"]

# Descriptors are pointers before Hopper, which loads tiles by itself.
for capability, tile in ((80, launches.TILES[2]), (90, launches.TILES[0])):
    rows, centroids = (f"tensordesc<fp16[{size}, 64]>" for size in (tile.rows, tile.columns))
    shape = {"COLUMNS": tile.columns, "PIECE": 64, "HAS_LEFT_OUT": True}
    build(
        kernels.best_two_kernel, rows, centroids, tile.warps, capability,
        ROWS=tile.rows, STAGES=tile.stages, **shape,
    )
    build(kernels.reach_kernel, "*fp16", centroids, 4, capability, PAIRS=64, STAGES=2, **shape)
    for is_compact in (False, True) if capability == 90 else (True,):
        rows = "*fp16" if is_compact else "*fp32"
        loads = {"IS_COMPACT": is_compact, "HAS_MEAN": is_compact, "HAS_LENGTHS": is_compact}
        shape, scored = {"HAS_NUMBERS": True, **loads}, {"PIECE": 128, **loads}
        built = [
            build(row_kernels.pair_squares_kernel, rows, "*fp32", 2, capability, fused=False, PAIRS=32, **shape),
            build(
                row_kernels.pair_scores_kernel, rows, "*fp32", 4, capability,
                HAS_NUMBERS=True, HAS_BEFORE=True, PAIRS=16, **scored,
            ),
            build(row_kernels.sum_runs_kernel, rows, "*fp32", 4, capability, HAS_MASS=True, RUN=64, PIECE=256, **loads),
            build(row_kernels.settle_kernel, rows, "*fp32", 4, capability, HAS_AT_LEAST=True, ROWS=16, **scored),
        ]
        if is_compact:
            del shape["IS_COMPACT"]
            kernel = row_loads.prepared_rows_kernel
            built.append(build(kernel, rows, "*fp32", 4, capability, ROWS=16, PIECE=128, **shape))
        for text in built:
            # Prepared values have numpy's bits: divided as IEEE 754 says, and nothing is flushed to zero.
            assert ("div.rn.f64" in text) == is_compact
            assert ".ftz" not in text and ".approx" not in text and "div.full" not in text
        assert "fma" not in built[0], "summed as the CPU does"

# Many searches and fits at once.
from curation_assets.algorithms.search.cuda import greedy_kernels, grouped_kernels

TYPES |= {
    "values": "*fp16", "centroid_scales": "*fp32", "counts": "*i32", "counts_out": "*i32", "words": "*i32",
    "tile_groups": "*i32", "row_groups": "*i32", "runs": "*i32", "trials": "*i32", "wanted": "*i32", "is_open": "*i32",
    "tile_rows": "*i64", "row_bounds": "*i64", "centroid_bounds": "*i64", "columns": "*i64", "drawn": "*i64",
    "drawn_out": "*i64", "last_mass": "*i64", "seeds_out": "*i64", "shares": "*fp64", "lengths": "*fp64",
    "distances": "*fp64", "distances_out": "*fp64", "squared": "*fp64", "cumulative": "*fp64",
    **{name: "*fp32" for name in ("of_norm", "of_residual", "constant")},
}
for capability, is_one_tile in ((80, True), (90, False)):
    shape = {"IS_ONE_TILE": is_one_tile, "ROWS": 64, "COLUMNS": 128, "PIECE": 64, "STAGES": 3}
    build(grouped_kernels.near_kernel, "*fp32", "*fp16", 4, capability, **shape)
decided = build(grouped_kernels.decide_kernel, "*fp32", "*fp32", 1, 90, fused=False, ROWS=4)
build(greedy_kernels.draw_kernel, "*fp32", "*fp32", 1, 90, CANDIDATES=8)
build(
    greedy_kernels.candidate_distances_kernel, "*fp32", "*fp32", 4, 90,
    SAME_POINT=1e-13, CANDIDATES=8, ROWS=16, PIECE=32,
)
kept = build(
    greedy_kernels.keep_kernel, "*fp32", "*fp32", 1, 90, fused=False, SAME_TOTAL=1e-12, CANDIDATES=8, FITS=1
)
for text in (decided, kept):
    assert "fma" not in text, "summed as the CPU does"
print("compiled")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Triton comes for Linux")
def test_kernels_compile_without_a_card(tmp_path) -> None:
    # In a process of its own: the interpreter and the compiler exclude each other.
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True)
    assert done.stdout == "compiled\n", done.stderr[-3000:]
