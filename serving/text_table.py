"""Plain-text tables that fit the terminal, whatever is in the cells."""

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

_GAP = "  "
_MIN_WIDTH = 4
_ELLIPSIS = "…"


class Column(NamedTuple):
    """A column's heading; numbers are aligned to the right."""

    heading: str
    is_number: bool = False


def render(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, width: int) -> str:
    """The table in lines of at most `width` columns; the widest columns are shortened first."""
    headings = [column.heading for column in columns]
    cells = [[_one_line(cell) for cell in row] for row in [headings, *rows]]
    widths = [max(display_width(row[index]) for row in cells) for index in range(len(columns))]
    while sum(widths) + len(_GAP) * (len(widths) - 1) > width and max(widths) > _MIN_WIDTH:
        widths[widths.index(max(widths))] -= 1
    return "\n".join(
        _GAP.join(
            _fit(cell, size, to_right=column.is_number) for cell, size, column in zip(row, widths, columns, strict=True)
        ).rstrip()
        for row in cells
    )


def display_width(text: str) -> int:
    """Terminal columns that `text` takes: two for wide East Asian characters, none for combining ones."""
    return sum(_char_width(char) for char in text)


def _char_width(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Cf", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _one_line(text: str) -> str:
    """`text` without line breaks and control characters, which would break the table or drive the terminal."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _fit(text: str, width: int, *, to_right: bool) -> str:
    if display_width(text) > width:
        kept, used = "", 0
        for char in text:
            used += _char_width(char)
            if used > width - 1:
                break
            kept += char
        text = kept.rstrip() + _ELLIPSIS
    padding = " " * (width - display_width(text))
    return padding + text if to_right else text + padding
