"""Defines the period that an archive covers, and which local days of it are complete. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from features.calendar import UTC_CALENDAR, Calendar
from features.schema import HOUR_MS

EDGE_MS: Final = HOUR_MS
"""A day counts as complete if the records of the archive begin or end within this time of its border."""


@dataclass(frozen=True, slots=True)
class ArchivePeriod:
    """Period that an archive covers.

    Attributes:
        first_ms: time of the first record, epoch ms.
        end_ms: time of the last record, epoch ms.
        calendar: calendar of the days, weeks and months.
    """

    first_ms: int
    end_ms: int
    calendar: Calendar = UTC_CALENDAR

    @property
    def days(self) -> range:
        """Numbers of the local days with a part of the period."""
        return range(self.calendar.day_at(self.first_ms), self.calendar.day_at(self.end_ms) + 1)

    @property
    def whole_days(self) -> range:
        """Numbers of the complete local days."""
        days = self.days
        late = self.first_ms - self.calendar.day_start_ms(days.start) > EDGE_MS
        return range(days.start + late, last_whole_day(self.end_ms, self.calendar) + 1)

    def contains(self, first_day: pl.Expr, end_day: pl.Expr) -> pl.Expr:
        """Return whether the local days [first_day, end_day) are complete."""
        whole = self.whole_days
        return (first_day >= whole.start) & (end_day <= whole.stop)


def last_whole_day(end_ms: int, calendar: Calendar = UTC_CALENDAR) -> int:
    """Return the number of the last complete local day of a history that ends at `end_ms`."""
    day = calendar.day_at(end_ms)
    return day if calendar.day_start_ms(day + 1) - end_ms <= EDGE_MS else day - 1
