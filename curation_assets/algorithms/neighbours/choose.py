"""The choice of a search for similar rows: the only place that decides between faiss and torch."""

from __future__ import annotations

import torch

from curation_assets.algorithms.neighbours.base import FlatSearch
from curation_assets.algorithms.neighbours.faiss_search import FaissCardSearch, FaissSearch
from curation_assets.algorithms.neighbours.presence import faiss_here, faiss_on_card
from curation_assets.algorithms.neighbours.torch_search import TorchSearch


def flat_search(device: torch.device) -> FlatSearch:
    """The search for tensors on a device."""
    if device.type == "cpu":
        faiss = faiss_here()
        return TorchSearch() if faiss is None else FaissSearch(faiss)
    if device.type == "cuda" and (faiss := faiss_on_card(device)) is not None:
        return FaissCardSearch(faiss)
    return TorchSearch()
