"""Checks that a report is complete and renders it as HTML and as Markdown.

The rule of this file: a missing value is an error, never an empty cell. Every sentence, table and figure links the
source file of its numbers. Text of the data is escaped in both forms.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from features.errors import ShopstreamError
from training.html import Block, Heading, Table, Text, page

_MISSING: Final = re.compile(r"(?<![A-Za-z])(nan|none|null|inf|n/a)(?![A-Za-z])", re.IGNORECASE)
_MARKDOWN: Final = re.compile(r"([\\`*_\[\]|~])")


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
            raise incomplete(section.title, "the section is empty")
        for block in section.blocks:
            if isinstance(block, Text) and (not block.text.strip() or _MISSING.search(block.text)):
                raise incomplete(section.title, f"a sentence lacks a value: {block.text!r}")
            if isinstance(block, Table):
                _check_table(section.title, block)


def _check_table(title: str, table: Table) -> None:
    name = f"the table of {', '.join(table.head)}"
    if not table.rows:
        raise incomplete(title, f"{name} is empty")
    for row in table.rows:
        for column, cell in enumerate(row):
            missing = not cell.strip() or (column not in table.data and _MISSING.fullmatch(cell))
            if len(row) != len(table.head) or missing:
                raise incomplete(title, f"{name} lacks a value in the row {row[0]!r}: {cell!r}")


def incomplete(title: str, problem: str) -> ShopstreamError:
    """Return the error for a missing part."""
    return ShopstreamError(
        f"The report is incomplete: section {title}: {problem}.",
        "Give an archive with more history, or a bundle that was trained on it.",
    )


def as_html(title: str, sections: Sequence[Section]) -> str:
    """Render the report as one self-contained page."""
    return page(title, [block for section in sections for block in (Heading(section.title), *section.blocks)])


def as_markdown(title: str, sections: Sequence[Section]) -> str:
    """Render the report as Markdown, without the figures."""
    lines = [f"# {markdown(title)}", ""]
    for section in sections:
        lines += [f"## {markdown(section.title)}", ""]
        for block in section.blocks:
            if isinstance(block, Text):
                lines += [f"{markdown(block.text)} [{block.source}]", ""]
            elif isinstance(block, Table):
                rows = [[markdown(cell) for cell in row] for row in (block.head, *block.rows)]
                rows.insert(1, ["---"] * len(block.head))
                lines += [*(f"| {' | '.join(row)} |" for row in rows), "", f"[{block.source}]", ""]
    return "\n".join(lines)


def markdown(text: str) -> str:
    """Return text on one line, with Markdown and HTML tags escaped."""
    return _MARKDOWN.sub(r"\\\1", escape(" ".join(text.split()), quote=False))
