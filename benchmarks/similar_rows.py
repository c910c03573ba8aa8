"""Searches beside the method: faiss, plain torch, and the exact search for nearest centroids, all in one run.

.venv/bin/python benchmarks/similar_rows.py [--device cuda] [--embeddings FILE.npy] [--repeats 5]

Every search gives the same answers, because float64 decides what rounding leaves open. Rows are synthetic: 384 numbers
around 2,000 concepts, or those of a file. Times are the best of some repeats.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable

import numpy as np
import torch

from curation_assets.algorithms.duplicates.coarse_clusters import fit_coarse_clusters
from curation_assets.algorithms.neighbours.base import FlatSearch
from curation_assets.algorithms.neighbours.choose import flat_search
from curation_assets.algorithms.neighbours.exact import most_similar, pairs_within
from curation_assets.algorithms.neighbours.torch_search import TorchSearch
from curation_assets.algorithms.preprocessing import Preprocessing
from curation_assets.algorithms.search.references import best_matches

PREPARED = Preprocessing("cosine", None, 2.0**-24)


def synthetic(n_rows: int) -> np.ndarray:
    """Rows around concepts of unequal size, float32 (n, 384)."""
    rng = np.random.default_rng(0)
    concepts = rng.normal(size=(2000, 384)).astype(np.float32)
    shares = 1 / np.arange(1, 2001) ** 0.7
    chosen = rng.choice(2000, n_rows, p=shares / shares.sum())
    return concepts[chosen] + 0.9 * rng.normal(size=(n_rows, 384)).astype(np.float32)


def milliseconds(run: Callable[[], object], repeats: int, device: torch.device) -> float:
    """The best of some repeats, after one that does not count."""
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began)
    return 1000 * min(times[1:])


def main() -> None:  # noqa: D103 - see the module
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--embeddings", help="a .npy file of at least 20,000 rows in place of synthetic ones")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    device = torch.device(options.device)
    vectors = np.load(options.embeddings) if options.embeddings else synthetic(20_000)
    order = np.random.default_rng(1).permutation(len(vectors))[:20_000]
    host = PREPARED.apply(np.asarray(vectors, dtype=np.float32)[order])
    rows = torch.from_numpy(host).to(device)
    coarse = [
        torch.from_numpy(fit_coarse_clusters(host, k, rng=np.random.default_rng(0))).to(device)
        for k in (50, 200, 1000)
    ]
    chosen = flat_search(device, 10**7)
    print(
        f"{type(chosen).__name__} and TorchSearch on {device}, {torch.get_num_threads()} threads, d = {rows.shape[1]}"
    )

    def compare(
        what: str, run: Callable[[FlatSearch], object], exact: Callable[[], object] | None = None
    ) -> None:
        runs = [
            functools.partial(run, chosen),
            functools.partial(run, TorchSearch()),
            *([exact] if exact else []),
        ]
        line = [milliseconds(each, options.repeats, device) for each in runs]
        print(f"{what:52}" + "".join(f"{time:10.1f}" for time in line), flush=True)

    print(f"{'milliseconds':52}    chosen     torch   nearest centroids")
    for n, m in ((1024, 4096), (1024, 1024), (200, 500)):
        left, right = rows[:n], rows[n : n + m]
        compare(
            f"near duplicates, {n} x {m}, from 0.9 on",
            lambda way, a=left, b=right: pairs_within(a, b, 0.9, search=way),
        )
        compare(
            f"the most similar, {n} x {m}", lambda way, a=left, b=right: most_similar(a, b, 1, search=way)
        )
    for book in coarse:
        compare(
            f"4 coarse clusters, 8,000 x {len(book)}",
            lambda way, b=book: most_similar(rows[:8000], b, 4, search=way),
        )
    part = rows[:10_000]
    compare("10 neighbours, 10,000 x 10,000", lambda way: most_similar(part, part, 11, search=way))
    for m in (1000, 10_000):
        ours = host[:10_000], host[10_000 : 10_000 + m]
        compare(
            f"contamination, 10,000 x {m}",
            lambda way, b=rows[10_000 : 10_000 + m]: most_similar(part, b, 1, search=way),
            lambda a=ours[0], b=ours[1]: best_matches(a, b, device=options.device),
        )


if __name__ == "__main__":
    main()
