"""Writes tables as CSV that a spreadsheet opens without evaluating formulas. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from connectors.formats.csv_safety import safe_text


def csv_text(
    labels: Sequence[str], rows: Iterable[Sequence[Any]], times: Sequence[bool], time_zone: str = "UTC"
) -> str:
    """Return rows as CSV.

    Args:
        labels: labels of the columns.
        rows: values in the order of the columns; None is an empty cell.
        times: for each column, whether it holds epoch milliseconds, which are written as ISO 8601 with the offset.
        time_zone: IANA zone of the written times.
    """
    zone = ZoneInfo(time_zone)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([safe_text(label) for label in labels])
    for row in rows:
        writer.writerow([_cell(value, zone if timed else None) for value, timed in zip(row, times, strict=True)])
    return out.getvalue()


def _cell(value: Any, zone: ZoneInfo | None) -> str | int | float:
    if value is None:
        return ""
    if zone is not None and isinstance(value, int | float):
        return datetime.fromtimestamp(value / 1_000, zone).isoformat(timespec="milliseconds")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return value
    if isinstance(value, list):
        return safe_text(", ".join(str(one) for one in value))
    return safe_text(str(value))
