"""Tables on the console, as wide as it is: a number is never cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table
from rich.text import Text

from curation_assets.cli.terminal import say

_NARROWEST_TEXT = 16
_FRAME_OF_A_COLUMN = 3
_GAP = 2


@dataclass
class Sheet:
    """A table that fits the console.

    Texts are folded first. If that is not enough, the table loses its frame, and then columns, which a line below it
    names.

    Args:
        texts: headers of the columns of texts; the others hold numbers, which stay on one line.
        less_needed: headers of columns that may be left out, in this order. After them the last columns go, but never
            the first.
    """

    headers: Sequence[str]
    title: str | None = None
    texts: Sequence[str] = ()
    less_needed: Sequence[str] = ()
    rows: list[tuple[Sequence[str], str | None]] = field(default_factory=list)

    def add(self, *cells: str, style: str | None = None) -> None:
        """Add a row, with a cell of rich's markup for each header."""
        self.rows.append((cells, style))

    def show(self, console: Console) -> None:
        """Print the table within the console's width."""
        places, left_out = list(range(len(self.headers))), []
        least = [self._least_width(place) for place in places]
        framed = sum(least) + _FRAME_OF_A_COLUMN * len(places) + 1 <= console.width
        while sum(least[i] for i in places) + _GAP * (len(places) - 1) > console.width and len(places) > 1:
            names = [self.headers[i] for i in places]
            goes = next((name for name in self.less_needed if name in names), names[-1])
            left_out.append(goes)
            places.pop(names.index(goes))
        console.print(self._table(places, least, framed=framed))
        if left_out:
            say(console, f"left out at {console.width} columns: {', '.join(left_out)}")

    def _table(self, places: Iterable[int], least: Sequence[int], *, framed: bool) -> Table:
        table = Table(title=self.title, title_justify="left")
        if not framed:
            table.box, table.padding, table.pad_edge = None, (0, _GAP, 0, 0), False
        chosen = list(places)
        for i in chosen:
            is_text = self.headers[i] in self.texts
            table.add_column(
                self.headers[i],
                justify="left" if is_text else "right",
                no_wrap=not is_text,
                min_width=least[i],
                overflow="fold",
            )
        for cells, style in self.rows:
            table.add_row(*(cells[i] for i in chosen), style=style)
        return table

    def _cells(self, place: int) -> list[str]:
        return [Text.from_markup(cells[place]).plain for cells, _ in self.rows]

    def _least_width(self, place: int) -> int:
        """Headers break between words; texts break anywhere, but not into short pieces."""
        words = max(map(len, self.headers[place].split()), default=0)
        cells = max(map(len, self._cells(place)), default=0)
        return max(words, min(cells, _NARROWEST_TEXT) if self.headers[place] in self.texts else cells)
