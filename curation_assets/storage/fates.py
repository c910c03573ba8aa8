"""The fates of samples, and the kinds of evidence that exclude one, as the stored tables name them."""

from __future__ import annotations

from typing import Final

SELECTED_FATE: Final = "selected"
NOT_SELECTED_FATE: Final = "not_selected"
DUPLICATE_FATE: Final = "duplicate"
CONTAMINATED_FATE: Final = "contaminated"
REJECTED_FATE: Final = "rejected"
FATES: Final = (SELECTED_FATE, NOT_SELECTED_FATE, DUPLICATE_FATE, CONTAMINATED_FATE, REJECTED_FATE)
"""Every row of the raw pool has exactly one."""

EXACT, NORMALIZED_TEXT, PIXELS, SEMANTIC = "exact", "normalized_text", "pixels", "semantic"
KIND_WORDS: Final = {
    EXACT: "same bytes",
    NORMALIZED_TEXT: "same text, but for case and spaces",
    PIXELS: "same picture, but for size and encoding",
    SEMANTIC: "nearly the same",
}
"""Kind of evidence -> what it says of a sample and its twin, strongest first."""
