"""Writes the exploration as a notebook: each panel has its own cell that can be changed and run again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from connectors.formats.money_format import PLAIN_MONEY, MoneyFormat
from features.calendar import Calendar
from training.exploration.page import SECTIONS, TITLE
from training.exploration.panels import Panel

_BEGIN: Final = """\
from pathlib import Path

from features.calendar import Calendar
{money_import}from shopstream.jobs.explore import explore_archive
from shopstream.jobs.history import known_history
from training.exploration import customers, panels, shopping
from training.exploration.notebook import show
from training.exploration.page import panels_of, summary

ARCHIVE = Path({archive!r})
CALENDAR = Calendar({zone!r}, {week_start!r})  # time zone of days and hours, first day of the week
AS_OF = {as_of!r}  # epoch ms; later records do not count; None: all records
data = explore_archive(ARCHIVE, history=known_history(ARCHIVE, AS_OF, calendar=CALENDAR){money})
print(summary(data))"""
_END: Final = """\
# feature rows of all customers at the end of the archive, for further work in pandas
customers_now = data.features.to_pandas()
customers_now.describe().T"""


def show(panel: Panel) -> None:
    """Show a panel in a notebook: its sentence as plain text, then its figure."""
    print(f"{panel.title}. {panel.sentence}")  # noqa: T201 - this is what a notebook shows
    panel.figure.show()


def notebook(archive: str, calendar: Calendar, as_of: int | None = None, money: MoneyFormat = PLAIN_MONEY) -> str:
    """Return the notebook's file, nbformat 4.5; equal arguments give equal bytes.

    Args:
        archive: folder of the archive, as the notebook should open it.
        calendar: calendar of days, hours and weeks.
        as_of: time of the exploration, epoch ms; None: all records count.
        money: format of amounts of money.
    """
    cells = [
        {"id": f"cell-{number:02d}", "metadata": {}, **cell}
        for number, cell in enumerate(_cells(archive, calendar, as_of, money), start=1)
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content = {
        "cells": cells, "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}}, "nbformat": 4,
        "nbformat_minor": 5,
    }  # fmt: skip
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _cells(archive: str, calendar: Calendar, as_of: int | None, money: MoneyFormat) -> Iterator[dict[str, Any]]:
    yield _text(
        f"# {TITLE}\n\nMade by `shopstream explore`. Each figure has its own cell, which can be changed and run again."
    )
    is_plain = money == PLAIN_MONEY
    written = f", money=money_format({money.currency or None!r}, {money.locale or None!r})"
    begin = _BEGIN.format(
        archive=archive, zone=calendar.time_zone, week_start=calendar.week_start, as_of=as_of,
        money_import="" if is_plain else "from connectors.formats.money_format import money_format\n",
        money="" if is_plain else written,
    )  # fmt: skip
    yield _code(begin)
    for title, makers in SECTIONS.items():
        yield _text(f"## {title}")
        for make in makers:
            module = make.__module__.rpartition(".")[2]
            yield _code(f"for panel in panels_of({module}.{make.__name__}, data):\n    show(panel)")
    yield _code(_END)


def _text(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "source": source.splitlines(keepends=True)}


def _code(source: str) -> dict[str, Any]:
    return {
        "cell_type": "code", "execution_count": None, "outputs": [], "source": source.splitlines(keepends=True),
    }  # fmt: skip
