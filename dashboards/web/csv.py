"""Writes tables as CSV that a spreadsheet opens without evaluating formulas. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from connectors.formats.csv_safety import safe_text


def csv_text(labels: Sequence[str], rows: Iterable[Sequence[Any]], times: Sequence[bool]) -> str:
    """Return rows as CSV.

    Args:
        labels: labels of the columns.
        rows: values in the order of the columns; None is an empty cell.
        times: for each column, whether it holds epoch milliseconds, which are written as ISO 8601, UTC.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([safe_text(label) for label in labels])
    for row in rows:
        writer.writerow([_cell(value, timed) for value, timed in zip(row, times, strict=True)])
    return out.getvalue()


def _cell(value: Any, timed: bool) -> str | int | float:
    if value is None:
        return ""
    if timed and isinstance(value, int | float):
        return datetime.fromtimestamp(value / 1_000, UTC).isoformat(timespec="milliseconds")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return value
    if isinstance(value, list):
        return safe_text(", ".join(str(one) for one in value))
    return safe_text(str(value))
