"""Represents a report as a value: sentences, tables and figures in sections, each with the source file of its numbers.

The rule of this file: a missing value is an error, never an empty cell. The same value is rendered as HTML and as
Markdown; text of the data is escaped in both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from features.errors import ShopstreamError
from training.html import document, plot, table

_GAPS: Final = re.compile(r"(?<![A-Za-z])(nan|none|null|inf|n/a)(?![A-Za-z])", re.IGNORECASE)
_MARKS: Final = re.compile(r"([\\`*_\[\]|~])")


@dataclass(frozen=True, slots=True)
class Text:
    """Sentences of a report.

    Attributes:
        text: plain text.
        source: source file of the numbers.
    """

    text: str
    source: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text.

    Attributes:
        head: names of the columns.
        rows: cells as displayed.
        source: source file of the numbers.
        data: positions of columns with words of the data, which may be any word, even `none`.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    source: str
    data: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class Figure:
    """A Plotly figure; only HTML pages show it.

    Attributes:
        figure: Plotly figure; its texts are escaped.
        name: name, unique in the report.
        source: source file of the numbers.
    """

    figure: Any
    name: str
    source: str


Block = Text | Table | Figure


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the report."""

    title: str
    blocks: tuple[Block, ...]


def check(sections: Sequence[Section]) -> None:
    """Check that a report is complete.

    Raises:
        ShopstreamError: a section or table is empty, or a number is missing; the message names the place.
    """
    for section in sections:
        if not section.blocks:
            raise gap(section.title, "nothing is said")
        for block in section.blocks:
            if isinstance(block, Text) and (not block.text.strip() or _GAPS.search(block.text)):
                raise gap(section.title, f"a sentence has a gap: {block.text!r}")
            if isinstance(block, Table):
                _check_table(section.title, block)


def _check_table(title: str, block: Table) -> None:
    if not block.rows:
        raise gap(title, f"the table of {', '.join(block.head)} is empty")
    for row in block.rows:
        for place, cell in enumerate(row):
            if len(row) != len(block.head) or not cell.strip() or (place not in block.data and _GAPS.fullmatch(cell)):
                raise gap(title, f"the table of {', '.join(block.head)} has a gap at {row[0]!r}: {cell!r}")


def gap(title: str, said: str) -> ShopstreamError:
    """Return the error for a missing part."""
    return ShopstreamError(
        f"The report cannot be written whole: in {title}, {said}.",
        "Give an archive with more history, or a bundle that was trained on it.",
    )


# --- rendering --------------------------------------------------------------------------------------------------------
def as_html(title: str, sections: Sequence[Section]) -> str:
    """Render the report as one self-contained page."""
    return document(title, [f"<h1>{escape(title)}</h1>", *_html(sections)])


def _html(sections: Sequence[Section]) -> Iterator[str]:
    first = True
    for section in sections:
        yield f"<h2>{escape(section.title)}</h2>"
        for block in section.blocks:
            if isinstance(block, Text):
                yield f"<p>{escape(block.text)} {_source(block.source)}</p>"
            elif isinstance(block, Table):
                yield table(block.head, block.rows) + _source(block.source)
            else:
                yield plot(block.figure, block.name, first=first) + _source(block.source)
                first = False


def _source(name: str) -> str:
    return f'<small>[<a href="{escape(name, quote=True)}">{escape(name)}</a>]</small>'


def as_markdown(title: str, sections: Sequence[Section]) -> str:
    """Render the report as Markdown, without the figures."""
    lines = [f"# {marked(title)}", ""]
    for section in sections:
        lines += [f"## {marked(section.title)}", ""]
        for block in section.blocks:
            if isinstance(block, Text):
                lines += [f"{marked(block.text)} [{block.source}]", ""]
            elif isinstance(block, Table):
                lines += ["| " + " | ".join(marked(one) for one in block.head) + " |"]
                lines += ["| " + " | ".join("---" for _ in block.head) + " |"]
                lines += ["| " + " | ".join(marked(one) for one in row) + " |" for row in block.rows]
                lines += ["", f"[{block.source}]", ""]
    return "\n".join(lines)


def marked(text: str) -> str:
    """Return text on one line, with Markdown and HTML tags escaped."""
    flat = " ".join(text.split())
    return _MARKS.sub(r"\\\1", escape(flat, quote=False))
