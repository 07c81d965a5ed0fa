# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A self-contained HTML page of sections with texts, tables and pictures.

Decisions: one file, nothing is loaded from elsewhere, no script; all texts are escaped by the template.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import ClassVar

import jinja2


@dataclass
class Cell:
    """A cell of a table.

    Attributes:
        text: What it says.
        is_best: Whether it is bold.
        shade: Strength of the colour behind it, 0 to 1; None for none.
        is_text: Whether it is read as text: to the left, and broken where it is long.
    """

    text: str
    is_best: bool = False
    shade: float | None = None
    is_text: bool = False


@dataclass
class Text:
    """A paragraph."""

    text: str
    kind: ClassVar[str] = "text"


@dataclass
class Notes:
    """Warnings, each with a short head and a text."""

    items: Sequence[tuple[str, str]]
    kind: ClassVar[str] = "notes"


@dataclass
class Code:
    """Text as it is typed; ``wrap`` breaks long lines."""

    text: str
    wrap: bool = False
    kind: ClassVar[str] = "code"


@dataclass
class Figures:
    """Pictures as (caption, address): side by side and of one width, or each in its own size."""

    items: Sequence[tuple[str, str]]
    across: bool = True
    kind: ClassVar[str] = "figures"


@dataclass
class Legend:
    """Colours with their names, as (name, #rrggbb)."""

    items: Sequence[tuple[str, str]]
    kind: ClassVar[str] = "legend"


@dataclass
class Table:
    """Rows of cells; the first of a row is its name."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    kind: ClassVar[str] = "table"

    @property
    def is_text(self) -> bool:
        """Whether it is read, not compared."""
        return any(cell.is_text for row in self.rows for cell in row)


@dataclass
class Fold:
    """Blocks that are shown when its title is clicked."""

    title: str
    blocks: Sequence[Block]
    kind: ClassVar[str] = "fold"


Block = Text | Notes | Code | Figures | Legend | Table | Fold


@dataclass
class Section:
    """Blocks below a heading."""

    title: str
    blocks: Sequence[Block]


@dataclass
class Page:
    """A page.

    Attributes:
        title: Title and first heading.
        intro: Lines below it.
        tiles: (name, value) pairs, shown large.
        sections: Those without a block are left out.
    """

    title: str
    intro: Sequence[str] = ()
    tiles: Sequence[tuple[str, str]] = ()
    sections: list[Section] = field(default_factory=list)

    def add(self, title: str, *blocks: Block | None) -> None:
        """Add a section, if there is a block for it."""
        found = [block for block in blocks if block is not None]
        if found:
            self.sections.append(Section(title, found))

    def render(self) -> str:
        """The HTML."""
        return _environment().get_template("page.html").render(page=self)


@cache
def _environment() -> jinja2.Environment:
    folder = Path(__file__).parent / "templates"
    loader = jinja2.FileSystemLoader(folder)
    return jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip


def embed(content: bytes | str) -> str:
    """The address of a picture that is in the page itself: PNG, JPEG or SVG.

    Raises:
        ValueError: The content is none of these.
    """
    data = content.encode() if isinstance(content, str) else content
    kinds = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"<?xml": "svg+xml", b"<svg": "svg+xml"}
    kind = next((kind for start, kind in kinds.items() if data.startswith(start)), None)
    if kind is None:
        raise ValueError(f"no PNG, JPEG or SVG: {data[:8]!r}")
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def number_table(
    columns: Mapping[str, Mapping[str, float]],
    caption: str = "",
    with_gain: bool = False,
) -> Table | None:
    """A row per name, a column per run, the best (highest) value of each row bold; None without a value.

    Args:
        columns: Column -> {row -> value}; a missing or NaN value is '-'. Rows come as they are first
            named.
        caption: Above the table.
        with_gain: A further column with the last run's difference from the first one.
    """
    rows = list(dict.fromkeys(row for column in columns.values() for row in column))
    if not rows:
        return None
    body = []
    for row in rows:
        values = [column.get(row, math.nan) for column in columns.values()]
        best = max((value for value in values if not math.isnan(value)), default=None)
        cells = [Cell(format_number(v), len(values) > 1 and v == best) for v in values]
        if with_gain and len(values) > 1:
            cells.append(Cell(format_number(values[-1] - values[0], "+.2f")))
        body.append([Cell(row), *cells])
    names = list(columns)
    gain = [f"{names[-1]} - {names[0]}"] if with_gain and len(names) > 1 else []
    return Table(["", *names, *gain], body, caption)


def text_table(rows: Iterable[Sequence[object]], head: Sequence[str] = ()) -> Table | None:
    """A table of texts that may be long; None without a row."""
    body = [[Cell(str(cell), is_text=True) for cell in row] for row in rows]
    return Table(list(head), body) if body else None


def format_number(value: float, how: str = ".2f") -> str:
    """A number for people; NaN is '-'."""
    return "-" if math.isnan(value) else format(value, how)
