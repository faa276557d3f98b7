"""Writes tables as CSV that a spreadsheet opens without evaluating formulas. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from connectors.formats.csv_safety import safe_text
from connectors.formats.money_format import MoneyFormat
from dashboards.panels import Unit


def csv_text(
    labels: Sequence[str],
    rows: Iterable[Sequence[Any]],
    units: Sequence[Unit | str],
    money: MoneyFormat,
    time_zone: str = "UTC",
) -> str:
    """Return rows as CSV.

    Args:
        labels: labels of the columns.
        rows: values in the order of the columns; None is an empty cell.
        units: for each column, its unit. `time` is epoch milliseconds, which are written as ISO 8601 with the offset.
            `money` is written with the decimals of the currency, which the header names.
        money: format of amounts.
        time_zone: IANA zone of the written times.
    """
    zone = ZoneInfo(time_zone)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    heads = [money.heading(label) if unit == "money" else label for label, unit in zip(labels, units, strict=True)]
    writer.writerow([safe_text(head) for head in heads])
    for row in rows:
        writer.writerow([_cell(value, unit, money, zone) for value, unit in zip(row, units, strict=True)])
    return out.getvalue()


def _cell(value: Any, unit: Unit | str, money: MoneyFormat, zone: ZoneInfo) -> str | int | float:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return _number(value, unit, money, zone)
    return safe_text(", ".join(str(one) for one in value) if isinstance(value, list) else str(value))


def _number(value: float, unit: Unit | str, money: MoneyFormat, zone: ZoneInfo) -> str | float:
    if unit == "money":
        return money.plain(value)
    if unit == "time":
        return datetime.fromtimestamp(value / 1_000, zone).isoformat(timespec="milliseconds")
    return value
