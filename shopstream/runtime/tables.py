"""Builds the tables that commands and workers print to the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table


def table(
    title: str | None,
    columns: Sequence[str],
    rows: Iterable[Sequence[RenderableType]],
    *,
    text_columns: int | None = None,
    no_wrap: bool = False,
    **style: Any,
) -> Table:
    """Build a table.

    Args:
        title: title above the table; None: no title.
        columns: headings.
        rows: cells of each row; strings may hold markup.
        text_columns: number of columns on the left that hold text; the others hold numbers, aligned right. None: all
            columns hold text.
        no_wrap: whether numbers stay on one line, even if that shortens them in a narrow terminal.
        style: further arguments of `rich.table.Table`.
    """
    built = Table(title=title, **style)
    for position, column in enumerate(columns):
        number = text_columns is not None and position >= text_columns
        built.add_column(column, justify="right" if number else "left", no_wrap=number and no_wrap)
    for row in rows:
        built.add_row(*row)
    return built
