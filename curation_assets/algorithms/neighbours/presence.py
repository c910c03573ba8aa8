"""Whether faiss is installed, and whether it works: said once where it does not."""

from __future__ import annotations

import functools
import logging
import subprocess
import sys
from types import ModuleType

import torch

_LOG = logging.getLogger(__name__)
_TRIAL_SECONDS = 120
# faiss ends the whole process on an error of CUDA, so a first search is tried in a process of its own.
_TRIAL = """
import sys, numpy, faiss
rows = numpy.eye(8, dtype="float32")
resources = faiss.StandardGpuResources()
resources.setTempMemory(2**20)
found = faiss.knn_gpu(resources, rows, rows, 2, metric=faiss.METRIC_INNER_PRODUCT, device=int(sys.argv[1]))
assert found[1][:, 0].tolist() == list(range(8)), "it finds wrong neighbours"
"""


@functools.cache
def faiss_here() -> ModuleType | None:
    """faiss, if it is installed and searches; None if torch is to search. One warning says why a present one fails.

    On Linux only: elsewhere its OpenMP and that of torch may crash each other in one process.
    """
    if sys.platform != "linux":
        return None
    try:
        import faiss

        rows = torch.eye(4).numpy()
        found = faiss.knn(rows, rows, 1, metric=faiss.METRIC_INNER_PRODUCT)
        if found[1].ravel().tolist() != [0, 1, 2, 3]:
            raise ImportError("it finds wrong neighbours")
    except ModuleNotFoundError as error:
        if error.name != "faiss":
            _warn(error)
        return None
    except Exception as error:  # a package in pieces fails in many ways
        _warn(error)
        return None
    return faiss


@functools.cache
def faiss_on_card(device: torch.device) -> ModuleType | None:
    """faiss, if it searches on a CUDA device; None if torch is to search there. One line of the log says why.

    Args:
        device: of the kind cuda.
    """
    faiss = faiss_here()
    if faiss is None:
        return None
    if not hasattr(faiss, "StandardGpuResources"):
        _LOG.info("%s: torch searches, the installed faiss is for CPUs", device)
        return None
    try:
        if not faiss.get_num_gpus():
            raise RuntimeError("it sees no card")
        command = [sys.executable, "-c", _TRIAL, str(device.index or 0)]
        trial = subprocess.run(  # noqa: S603 - this Python, and the lines above
            command, capture_output=True, text=True, timeout=_TRIAL_SECONDS, check=False
        )
        if trial.returncode:
            last = (trial.stderr.strip().splitlines() or [f"code {trial.returncode}"])[-1]
            raise RuntimeError(last)
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
        _LOG.warning("%s: torch searches, faiss does not work there: %s", device, error)
        return None
    return faiss


def _warn(error: BaseException) -> None:
    _LOG.warning("torch searches, the installed faiss does not work: %s", " ".join(str(error).split())[:200])
