"""Name, group and subgroup of every OpenMoji drawing: the demo pool's ground truth."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

LABELS_FILE = Path(__file__).with_name("openmoji_labels.tsv")


@dataclass(frozen=True, slots=True)
class OpenmojiLabel:
    """OpenMoji's labels of one drawing."""

    hexcode: str
    """Code points in hexadecimal, joined by hyphens; also the stem of the SVG's name."""
    name: str
    group: str
    subgroup: str


def load_openmoji_labels() -> list[OpenmojiLabel]:
    """The labels of all 4,495 drawings of OpenMoji 17.0.0, sorted by hexcode."""
    with LABELS_FILE.open(encoding="utf-8", newline="") as file:
        lines = (line for line in file if not line.startswith("#"))
        # A name may contain a quotation mark.
        return [OpenmojiLabel(**row) for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)]
