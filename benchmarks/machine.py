"""The machine that a benchmark ran on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch


def processor_name() -> str:
    """The name of the processor on Linux, else its architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next(
        (line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine()
    )


def describe_machine(*packages: str) -> str:
    """Processor, threads and versions of the packages that are installed, in one line."""
    versions = []
    for package in packages:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    where = f"{processor_name()} ({platform.machine()}), {torch.get_num_threads()} threads"
    return f"{where}, Python {platform.python_version()}, {', '.join(versions)}"
