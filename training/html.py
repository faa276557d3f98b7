"""Renders the parts that all HTML pages share: a self-contained document, tables and figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final

import plotly.io as pio

STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;max-width:980px;margin:2em auto;padding:0 1em;color:#1b1f24}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.25em .7em;border-bottom:1px solid #d5d9de;text-align:right}
td:first-child,th:first-child{text-align:left}small{color:#667}h2{margin-top:2em}.chosen{background:#eef6ee}
"""


def document(title: str, parts: Iterable[str]) -> str:
    """Return a self-contained page from its parts. `title` is text, the parts are HTML."""
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
    return f"{head}<style>{STYLE}</style>" + "\n".join(parts) + "</html>\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], marked: str = "") -> str:
    """Return a table of text; the row whose first cell is `marked` is highlighted."""
    cells = "".join(f"<th>{escape(one)}</th>" for one in head)
    body = "".join(
        f"<tr{' class=chosen' if marked and row[0] == marked else ''}>"
        + "".join(f"<td>{escape(one)}</td>" for one in row)
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{cells}</tr>{body}</table>"


def plot(figure: Any, name: str, *, first: bool = False) -> str:
    """Return a Plotly figure as HTML; the first one of a page embeds the library."""
    return str(pio.to_html(figure, include_plotlyjs=first, full_html=False, div_id=name))
