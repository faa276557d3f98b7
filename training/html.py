"""Renders pages from blocks: headings, text, lists, tables and figures, as one self-contained HTML file.

The rule of this file: blocks hold plain text, which is escaped here and nowhere else. Only the texts inside a Plotly
figure are escaped by the code that makes the figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

import plotly.io as pio

from connectors.formats.money_format import MoneyFormat

STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;max-width:980px;margin:2em auto;padding:0 1em;color:#1b1f24}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.25em .7em;border-bottom:1px solid #d5d9de;text-align:right}
td:first-child,th:first-child{text-align:left}small{color:#667}h2{margin-top:2em}.chosen{background:#eef6ee}
"""


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading below the title of the page."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph.

    Attributes:
        text: plain text.
        source: source file of the numbers; empty for no link.
        note: whether the text is small print.
    """

    text: str
    source: str = ""
    note: bool = False


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list.

    Attributes:
        items: plain texts, or pairs of a label and a line of code.
        summary: text that unfolds the list; empty for a list that is always visible.
    """

    items: Sequence[str | tuple[str, str]]
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text.

    Attributes:
        head: names of the columns.
        rows: cells as displayed.
        source: source file of the numbers; empty for no link.
        data: positions of columns with words of the data, which may be any word, even `none`.
        marked: first cell of the highlighted row; empty for none.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    source: str = ""
    data: tuple[int, ...] = (0,)
    marked: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A Plotly figure; only HTML pages show it.

    Attributes:
        figure: Plotly figure; its texts are escaped.
        name: id of the element, unique on the page.
        source: source file of the numbers; empty for no link.
    """

    figure: Any
    name: str
    source: str = ""


Block = Heading | Text | Bullets | Table | Figure


def page(title: str, blocks: Iterable[Block]) -> str:
    """Return the blocks as a self-contained page; its first figure embeds the library."""
    parts = [f"<h1>{escape(title)}</h1>"]
    embed = True
    for block in blocks:
        if isinstance(block, Figure):
            plot = pio.to_html(block.figure, include_plotlyjs=embed, full_html=False, div_id=block.name)
            parts.append(plot + _source(block.source))
            embed = False
        else:
            parts.append(_html(block))
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
    return f"{head}<style>{STYLE}</style>" + "\n".join(parts) + "</html>\n"


def _html(block: Heading | Text | Bullets | Table) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{escape(text)}</h{level}>"
        case Text(text, source, note):
            return f"<p>{f'<small>{escape(text)}</small>' if note else escape(text)}{_source(source)}</p>"
        case Bullets(items, summary):
            bullets = f"<ul>{''.join(f'<li>{_item(item)}</li>' for item in items)}</ul>"
            return f"<details><summary>{escape(summary)}</summary>{bullets}</details>" if summary else bullets
        case Table():
            return _table(block) + _source(block.source)


def _item(item: str | tuple[str, str]) -> str:
    if isinstance(item, str):
        return escape(item)
    label, code = item
    return f"{escape(label)}: <code>{escape(code)}</code>"


def _table(table: Table) -> str:
    rows = [f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in table.head)}</tr>"]
    for row in table.rows:
        chosen = " class=chosen" if table.marked and row[0] == table.marked else ""
        rows.append(f"<tr{chosen}>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>")
    return f"<table>{''.join(rows)}</table>"


def _source(name: str) -> str:
    return f' <small>[<a href="{escape(name, quote=True)}">{escape(name)}</a>]</small>' if name else ""


def facts(values: Iterable[tuple[str, str]]) -> Table:
    """Return a table of names and values."""
    return Table(("", ""), list(values))


def styled(figure: Any, *, height: int = 360, **layout: Any) -> Any:
    """Return the figure in the style of the pages; `layout` adds to the layout or replaces parts of it."""
    margin = {"t": 50 if "title" in layout else 20, "b": 40}
    return figure.update_layout(**{"template": "plotly_white", "height": height, "margin": margin} | layout)


def amounts_axis(label: str, money: MoneyFormat) -> dict[str, Any]:
    """Return the part of a layout for an axis of amounts: its title with the currency, and the currency's decimals."""
    return {"yaxis_title": money.heading(label), "yaxis_hoverformat": f",.{money.decimals}f"}


def number(value: float, interval: Sequence[float] | None = None) -> str:
    """Return the number with three decimals, followed by the interval."""
    text = f"{value:.3f}"
    return text if interval is None else f"{text} ({interval[0]:.3f} to {interval[1]:.3f})"


def verdict(interval: Sequence[float]) -> str:
    """Return the conclusion that the interval of a gain allows."""
    low, high = interval
    if low > 0:
        return "better"
    return "worse" if high < 0 else "no significant difference"
