"""Does a balanced subset train a better self-supervised encoder? Icons, equal sizes, probes on held-out drawings.

npm pack @iconify/json && tar xzf iconify-json-*.tgz
.venv/bin/python benchmarks/ssl_icons.py package

`icon_pool.py` says what the long-tailed pool is. From it, after deduplication, five subsets of equal size are drawn
(see `equal_subsets.py`) by embeddings of the packaged EfficientNet. A convolutional encoder with some 360,000
parameters is trained from scratch on each at 32 pixels, without labels (SimCLR: two augmented views of a drawing
against those of all others in the batch), with equal steps, initial weights and settings.

The frozen encoder is then judged on drawings that are in no subset: three labelled ones and up to three test ones of
each name that ten sets or more draw. A nearest-neighbour probe and a linear one (ridge) learn from the labelled ones.
Accuracy is the mean over names, so each name counts the same; "rare" and "frequent" are the names in the lowest and
highest third by drawings in the package. Labels serve only this test, never the draw.

Finished runs are appended to a file of JSON lines; started again, the script goes on with the next.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from pathlib import Path

import numpy as np
import torch
from equal_subsets import SUBSETS, ResultFile, add_options, different_rows, draw_subset, plan
from icon_pool import IconPool, load_icon_pool
from machine import describe_machine
from sklearn.linear_model import RidgeClassifier
from torch import nn
from torch.nn import functional

from curation_assets.algorithms import effective_number
from curation_assets.project import find_home

BATCH = 256
TEMPERATURE = 0.2
LEARNING_RATE = 2e-3
CENTRING = True
"""As in pools/emoji.yaml."""


class IconEncoder(nn.Module):
    """Six convolutions; features are means over quarters of the last map."""

    def __init__(self) -> None:
        super().__init__()
        widths = ((3, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1))
        self.layers = nn.Sequential(
            *(_layer(*width) for width in widths), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        )
        self.head = nn.Sequential(nn.Linear(512, 128), nn.ReLU(), nn.Linear(128, 64))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Float (b, 3, 32, 32) to projections, float (b, 64), that only training uses."""
        return self.head(self.layers(images))


def _layer(n_in: int, n_out: int, stride: int) -> nn.Module:
    convolution = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(n_out), nn.ReLU())


def augment(images: torch.Tensor) -> torch.Tensor:
    """A random view of each image, float (b, 3, h, w) from 0 to 1: crop, turn, contrast, saturation, negative.

    No mirror images: left and right arrows are different icons.
    """
    n, device = len(images), images.device

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.empty(n, device=device).uniform_(low, high)

    scale, stretch, angle = uniform(0.35, 1.0).sqrt(), uniform(-0.2, 0.2).exp(), uniform(-0.25, 0.25)
    wide, high, room = scale * stretch, scale / stretch, 1.1 - scale
    rows = (
        torch.stack([wide * angle.cos(), -high * angle.sin(), room * uniform(-1, 1)], 1),
        torch.stack([wide * angle.sin(), high * angle.cos(), room * uniform(-1, 1)], 1),
    )
    grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    views = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    grey = views.mean(1, keepdim=True)
    views = grey + (views - grey) * uniform(0, 1.3).view(-1, 1, 1, 1)
    contrast, light = uniform(0.5, 1.1).view(-1, 1, 1, 1), uniform(-0.2, 0.2).view(-1, 1, 1, 1)
    views = (views - 0.5) * contrast + 0.5 + light
    return torch.where((uniform(0, 1) < 0.3).view(-1, 1, 1, 1), 1 - views, views)


def train(images: np.ndarray, n_steps: int, *, seed: int, device: str) -> IconEncoder:
    """Train on uint8 images (n, 32, 32, 3) by the loss of SimCLR (arXiv 2002.05709)."""
    torch.manual_seed(seed)
    model = IconEncoder().to(device, memory_format=torch.channels_last)
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=1e-4)
    warmup = max(1, n_steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, 0.5 * (1 + math.cos(math.pi * step / n_steps)))
    )
    others = torch.arange(2 * BATCH, device=device).roll(BATCH)
    itself = torch.eye(2 * BATCH, dtype=torch.bool, device=device)
    order = np.empty(0, dtype=np.int64)
    for _ in range(n_steps):
        if len(order) < BATCH:
            order = np.concatenate([order, rng.permutation(len(images))])
        batch, order = order[:BATCH], order[BATCH:]
        pixels = as_tensor(images[batch], device)
        views = torch.cat([augment(pixels), augment(pixels)]).contiguous(memory_format=torch.channels_last)
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            projected = model(views)
        projected = functional.normalize(projected.float(), dim=1)
        similarities = (projected @ projected.T / TEMPERATURE).masked_fill(itself, -torch.inf)
        loss = functional.cross_entropy(similarities, others)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model


def as_tensor(images: np.ndarray, device: str) -> torch.Tensor:
    """Uint8 (n, h, w, 3) to float (n, 3, h, w) from 0 to 1."""
    return torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float().div_(255)


@torch.inference_mode()
def features(model: IconEncoder, images: np.ndarray, device: str) -> np.ndarray:
    """Float32 (n, 512), standardised later by what the labelled ones have."""
    model.eval()
    parts = [model.layers(as_tensor(images[i : i + 512], device)) for i in range(0, len(images), 512)]
    return torch.cat(parts).float().cpu().numpy()


def measure(labelled: np.ndarray, test: np.ndarray, pool: IconPool) -> dict[str, float]:
    """Accuracies of the two probes, in percent, each a mean over names.

    Args:
        labelled: float32 (n, d) features of the labelled drawings.
        test: float32 (m, d) features of the test drawings.
        pool: has the classes of both.
    """
    mean, spread = labelled.mean(0), labelled.std(0) + 1e-6
    labelled, test = (labelled - mean) / spread, (test - mean) / spread
    unit_labelled = labelled / np.linalg.norm(labelled, axis=1, keepdims=True)
    unit_test = test / np.linalg.norm(test, axis=1, keepdims=True)
    neighbours = np.concatenate(
        [(part @ unit_labelled.T).argmax(1) for part in np.array_split(unit_test, 20)]
    )
    probe = RidgeClassifier(alpha=100.0).fit(labelled, pool.labelled_classes)
    drawn = pool.class_drawings
    rare, frequent = drawn <= np.quantile(drawn, 1 / 3), drawn >= np.quantile(drawn, 2 / 3)
    figures = {}
    for name, answers in (
        ("kNN", pool.labelled_classes[neighbours]),
        ("linear", probe.predict(test)),
    ):
        n_tests = np.bincount(pool.test_classes, minlength=len(drawn))
        n_right = np.bincount(pool.test_classes[answers == pool.test_classes], minlength=len(drawn))
        tested = n_tests > 0
        accuracy = 100 * n_right / np.maximum(n_tests, 1)
        for group, chosen in (("", tested), (", rare", tested & rare), (", frequent", tested & frequent)):
            figures[name + group] = float(accuracy[chosen].mean())
    return figures


def main() -> None:  # noqa: D103 - see the module
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("package", type=Path, help="folder of the unpacked npm package @iconify/json")
    parser.add_argument("--cache", type=Path, default=find_home().folder / "data/benchmarks")
    parser.add_argument("--pool", type=int, default=26_000, help="icons, before deduplication")
    parser.add_argument(
        "--duplicates", type=float, default=0.99, help="cosine of near copies, as in emoji.yaml"
    )
    parser.add_argument("--fraction", type=float, default=0.1, help="of the deduplicated pool")
    add_options(parser, steps=600)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    pool = load_icon_pool(arguments.package, arguments.cache, arguments.pool)
    kept = different_rows(pool.embeddings, arguments.duplicates, centring=CENTRING)
    size = round(arguments.fraction * len(kept))
    print(
        f"{len(kept):,} of {len(pool.pool):,} icons after deduplication, {size:,} for each subset; "
        f"{len(np.unique(pool.test_classes)):,} names with {len(pool.test):,} test drawings"
    )
    pixels, sets = pool.pool[kept], pool.pool_sets[kept]
    names = ("steps", "fraction", "pool", "duplicates")
    results = ResultFile(
        arguments.cache / "ssl_icons.jsonl", {name: getattr(arguments, name) for name in names}
    )

    def judge(model: IconEncoder) -> dict[str, float]:
        device = arguments.device
        return measure(features(model, pool.labelled, device), features(model, pool.test, device), pool)

    levels = plan(len(kept), size)
    print(f"levels: {[level.n_clusters for level in levels]}")
    for seed, subset in itertools.product(arguments.seeds, ("untrained", *arguments.subsets)):
        if results.has(subset, seed):
            continue
        if subset == "untrained":
            torch.manual_seed(seed)
            results.add(subset, seed, judge(IconEncoder().to(arguments.device)), {})
            continue
        rows = draw_subset(subset, pool.embeddings[kept], size, levels, centring=CENTRING, seed=seed)
        started = time.perf_counter()
        order = np.random.default_rng(seed).permutation(rows)
        model = train(pixels[order], arguments.steps, seed=seed, device=arguments.device)
        about = {
            "effective_sets": round(effective_number(np.bincount(sets[rows])), 1),
            "levels": [level.n_clusters for level in levels],
        }
        results.add(subset, seed, judge(model), about | {"seconds": round(time.perf_counter() - started)})
    results.print_table((*SUBSETS, "untrained"))
    print(describe_machine("torch", "numpy", "resvg_py"))


if __name__ == "__main__":
    main()
