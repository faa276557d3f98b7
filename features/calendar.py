"""Defines the shop's calendar: the days, weeks and months of a time zone, as numbers of local days.

A local day has a number, the days from 1970-01-01 to its date. Weeks and months are arithmetic on these numbers; only
`day_of` and `start_ms` know the rules of the zone. So a day of 23 or 25 hours needs no further care.

The windows of features are durations, and the days of an archive's folders are those of UTC: neither uses a calendar.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal, cast, get_args

import numpy as np
import numpy.typing as npt
import polars as pl

from features.errors import UsageError
from features.local_times import first_instants, wall_ms
from features.schema import DAY_MS, WeekStart

Unit = Literal["day", "week", "month", "quarter", "year"]
"""Length of a period of the calendar."""
WEEK_DAYS: Final = 7
_MONTHS: Final = {"month": 1, "quarter": 3, "year": 12}
_EPOCH_WEEKDAY: Final = get_args(WeekStart).index("thursday")

Days = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Calendar:
    """Days, weeks and months of a shop.

    Attributes:
        time_zone: IANA name of the zone whose midnights begin the days.
        week_start: first day of the week.
    """

    time_zone: str = "UTC"
    week_start: WeekStart = "monday"

    def day_of(self, times_ms: Any) -> Days:
        """Return the numbers of the local days that contain times.

        Args:
            times_ms: epoch ms, int64 [n], as an array, a series or a sequence.
        """
        times = pl.Series(values=times_ms, dtype=pl.Int64)
        return (wall_ms(times, self.time_zone) // DAY_MS).to_numpy()

    def day_at(self, time_ms: int) -> int:
        """Return the number of the local day that contains a time, epoch ms."""
        return int(self.day_of([time_ms])[0])

    def date_of(self, time_ms: int) -> str:
        """Return the local date of a time, epoch ms, as `2026-05-20`."""
        return day_name(self.day_at(time_ms))

    def day(self, name: str) -> pl.Expr:
        """Return the column of the numbers of the local days, int64, from the column `name` of times, epoch ms."""
        zone = self.time_zone
        return pl.col(name).cast(pl.Int64).map_batches(lambda times: wall_ms(times, zone) // DAY_MS, pl.Int64)

    def start_ms(self, days: Any) -> Days:
        """Return the first instants of local days, epoch ms, int64 [n]. A skipped day begins where the next one does.

        Args:
            days: numbers of days, int64 [n].
        """
        numbers = pl.Series(values=days, dtype=pl.Int64)
        starts = first_instants(numbers, self.time_zone)
        # a zone that crosses the date line skips one day, never two
        return starts.zip_with(starts.is_not_null(), first_instants(numbers + 1, self.time_zone)).to_numpy()

    def day_start_ms(self, day: int) -> int:
        """Return the first instant of a local day, epoch ms."""
        return int(self.start_ms([day])[0])

    def week_of(self, days: Any) -> Any:
        """Return the numbers of the weeks of days: of an expression, an array or an integer."""
        return (days + self._shift) // WEEK_DAYS

    def week_day(self, weeks: Any) -> Any:
        """Return the numbers of the first days of weeks: of an expression, an array or an integer."""
        return weeks * WEEK_DAYS - self._shift

    def unit_of(self, unit: Unit, days: Any) -> Any:
        """Return the numbers of the units that contain local days, int64 [n]."""
        if unit == "day":
            return days
        return self.week_of(days) if unit == "week" else month_of(days) // _MONTHS[unit]

    def unit_day(self, unit: Unit, numbers: Any) -> Any:
        """Return the numbers of the first local days of units, int64 [n]."""
        if unit == "day":
            return numbers
        return self.week_day(numbers) if unit == "week" else month_day(numbers * _MONTHS[unit])

    def floor_ms(self, unit: Unit, times_ms: Any, later: int = 0) -> Days:
        """Return the first instants of the units that contain times, or of units after them, epoch ms, int64 [n].

        Args:
            unit: length of a period.
            times_ms: epoch ms, int64 [n].
            later: number of units after the one that contains the time; negative: before it.
        """
        return self.start_ms(self.unit_day(unit, self.unit_of(unit, self.day_of(times_ms)) + later))

    def unit_start_ms(self, unit: Unit, time_ms: int, later: int = 0) -> int:
        """Return the first instant of the unit that contains a time, or of one after it, epoch ms."""
        return int(self.floor_ms(unit, [time_ms], later)[0])

    @property
    def _shift(self) -> int:
        return (_EPOCH_WEEKDAY - get_args(WeekStart).index(self.week_start)) % WEEK_DAYS

    def __str__(self) -> str:
        """Return the calendar as words: `Europe/Berlin, weeks from monday`."""
        return f"{self.time_zone}, weeks from {self.week_start}"


UTC_CALENDAR: Final = Calendar()


def weekday_names(calendar: Calendar) -> tuple[str, ...]:
    """Return the names of the weekdays from the first day of the week, such as `Monday`."""
    names = get_args(WeekStart)
    first = names.index(calendar.week_start)
    return tuple(name.capitalize() for name in (*names[first:], *names[:first]))


# --- months: arithmetic on dates, the same in every zone --------------------------------------------------------------


def month_of(days: Any) -> Days:
    """Return the numbers of the months of days, from January 1970, int64 [n]."""
    return np.asarray(days, np.int64).astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)


def month_day(months: Any) -> Days:
    """Return the numbers of the first days of months, int64 [n]."""
    return np.asarray(months, np.int64).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)


# --- dates ------------------------------------------------------------------------------------------------------------


def day_name(day: int) -> str:
    """Return the date of a day as `2026-05-20`."""
    return str(np.datetime64(day, "D"))


def day_names(days: Iterable[int] | Days) -> list[str]:
    """Return the dates of days as `2026-05-20`."""
    return cast("list[str]", np.asarray(days, np.int64).astype("datetime64[D]").astype(str).tolist())


def day_number(text: str) -> int:
    """Return the number of a day of the form `2026-05-20`. Raises UsageError."""
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text, re.ASCII):
        with suppress(ValueError):
            return int(np.datetime64(text, "D").astype(np.int64))
    raise UsageError(f"{text[:50]!r} is not a day.", "Give a day as 2026-05-20.")
