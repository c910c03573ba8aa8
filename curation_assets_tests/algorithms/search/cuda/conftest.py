"""Where the kernels run: in Triton's interpreter on tensors of the CPU, or on the card with `make test-gpu`."""

from __future__ import annotations

import pytest
import torch

from curation_assets_tests.algorithms.search.cuda.kernels_here import device_of_kernels


@pytest.fixture(scope="session")
def device() -> torch.device:
    return device_of_kernels()
