"""Finds the part of an archive that a command uses: its end, the records that count and those that look wrong.

The rules of this file:

- A record more than AHEAD_MS ahead of the clock does not count, unless `--as-of` is later still.
- Records on at most ISOLATED_DAYS_MAX days, more than GAP_DAYS away from all others, count and are named. The days of a
  series begin after such records, since a single wrong year would add decades of days without any sales.
- A log of dates is known to the end of its last day, but never beyond the clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors.clock import iso
from features.backfill import ReadDay
from features.calendar import UTC_CALENDAR, Calendar
from features.errors import ShopstreamError
from features.records.archive_rows import event_rows, order_rows
from features.records.columns import Int64
from features.schema import DAY_MS
from producers.archive.known_until import read_known_until
from shopstream.jobs.archive_features import archive_days
from shopstream.jobs.shop_calendar import archive_calendar
from training.archive_period import ArchivePeriod
from training.dataset import span_or_none

Mask = npt.NDArray[np.bool_]

AHEAD_MS: Final = DAY_MS
"""Distance from the clock that a wrong zone or a wrong clock explains."""
GAP_DAYS: Final = 365
ISOLATED_DAYS_MAX: Final = 3
EXAMPLES: Final = 3


@dataclass(frozen=True, slots=True)
class History:
    """Part of an archive that a command uses.

    Attributes:
        first_ms: time of the first record, epoch ms.
        end_ms: last known millisecond, epoch ms; the default time of results.
        limit_ms: time of the last record that counts, epoch ms; None: all records count.
        reason: name of `end_ms` for display.
        warnings: sentences about records that look wrong.
        calendar: calendar of the days, weeks and months.
    """

    first_ms: int
    end_ms: int
    limit_ms: int | None = None
    reason: str = "the last record"
    warnings: tuple[str, ...] = ()
    calendar: Calendar = UTC_CALENDAR

    @property
    def period(self) -> ArchivePeriod:
        """Period of the archive, with its calendar."""
        return ArchivePeriod(self.first_ms, self.end_ms, self.calendar)


def known_history(
    directory: Path, as_of: int | None = None, now_ms: int | None = None, calendar: Calendar | None = None
) -> History:
    """Return the part of an archive that counts.

    Args:
        directory: folder of the archive.
        as_of: requested time, epoch ms; None: the end of the archive.
        now_ms: present time, epoch ms; records too far ahead of it do not count. None: all records count.
        calendar: calendar of the days, weeks and months; None: that of the archive.

    Raises:
        ShopstreamError: there is no archive, it is empty, all of its records are ahead of now, or after `as_of`.
    """
    calendar = calendar or archive_calendar(directory)
    limit = None if now_ms is None else max(now_ms + AHEAD_MS, as_of or 0)
    ahead = _Matches() if limit is None else _after(directory, limit)
    days, read_day = archive_days(directory, limit)
    span = span_or_none(days, read_day)
    if span is None and ahead.count:
        raise ShopstreamError(
            f"All records of the archive are ahead of now ({iso(now_ms or 0)}): {ahead}.",
            "Correct their times, or give the time of the result by --as-of.",
        )
    if span is None:
        raise ShopstreamError("The archive has no events and no orders.", "Name the folder of an archive.")
    first, last = span
    known = read_known_until(directory)
    end = last if known is None else known.last_ms(last)
    if now_ms is not None and last <= now_ms < end:
        end = now_ms  # the last day is not over
    if as_of is not None and first > as_of:
        raise ShopstreamError(
            f"The archive has no record by {iso(as_of)}: its first is at {iso(first)}.", "Give a later --as-of."
        )
    days = [day for day in days if as_of is None or day * DAY_MS <= as_of]
    late, early = _isolated(days)
    warnings = [*_ahead(ahead, now_ms), *_isolated_late(late, days, read_day), *_isolated_early(early, days, read_day)]
    first = first if early is None else _first_after(days[early:], read_day, first)
    if as_of is not None:
        return History(
            first, min(end, as_of), as_of, "--as-of", tuple(_isolated_early(early, days, read_day)), calendar
        )
    reason = "the last record" if end == last else "the end of the last day" if end != now_ms else "now"
    return History(first, end, limit if ahead.count else None, reason, tuple(warnings), calendar)


# --- records that look wrong ------------------------------------------------------------------------------------------
@dataclass(slots=True)
class _Matches:
    """Number of records, and the newest of them as (time, name)."""

    count: int = 0
    newest: list[tuple[int, str]] = field(default_factory=list)

    def add(self, kind: str, ids: pa.Array, customers: pa.Array, times: Int64, inside: Mask) -> None:
        positions = np.flatnonzero(inside)
        self.count += len(positions)
        for position in positions[np.argsort(-times[positions], kind="stable")][:EXAMPLES].tolist():
            name = f"{kind} {ids[position]} of customer {customers[position]}"
            self.newest.append((int(times[position]), name))
        self.newest = sorted(self.newest, key=lambda one: (-one[0], one[1]))[:EXAMPLES]

    @property
    def counted(self) -> str:
        return f"{self.count:,} records are" if self.count > 1 else "1 record is"

    def __str__(self) -> str:
        more = f" and {self.count - EXAMPLES:,} more" if self.count > EXAMPLES else ""
        return "; ".join(f"{name} at {iso(ts)}" for ts, name in self.newest) + more


def _ahead(ahead: _Matches, now_ms: int | None) -> Iterator[str]:
    if ahead.count and now_ms is not None:
        yield (
            f"{ahead.counted} more than a day ahead of now ({iso(now_ms)}) and left out: {ahead}. "
            "If the times are right, give a later --as-of."
        )


def _isolated(days: Sequence[int]) -> tuple[int | None, int | None]:
    """Return the positions of the first isolated day at the end, and of the first day after those at the beginning."""
    gaps = [position for position in range(1, len(days)) if days[position] - days[position - 1] > GAP_DAYS]
    late = next((position for position in gaps if len(days) - position <= ISOLATED_DAYS_MAX), None)
    # of two days alike, the later one is isolated
    early = next((position for position in reversed(gaps) if position <= ISOLATED_DAYS_MAX and position != late), None)
    return late, early


def _isolated_late(late: int | None, days: Sequence[int], read_day: ReadDay) -> Iterator[str]:
    if late is None:
        return
    matches = _of_days(days[late:], read_day)
    if matches.count:
        yield (
            f"{matches.counted} more than {_between(days, late):,} days after all others, and counted: {matches}. "
            "If the times are wrong, give an earlier --as-of."
        )


def _isolated_early(early: int | None, days: Sequence[int], read_day: ReadDay) -> Iterator[str]:
    if early is None:
        return
    matches = _of_days(days[:early], read_day)
    if matches.count:
        yield (
            f"{matches.counted} more than {_between(days, early):,} days before all others: {matches}. The days begin "
            "after the gap. If the times are wrong, correct the log."
        )


def _between(days: Sequence[int], position: int) -> int:
    """Return the whole days without records before a day with records."""
    return days[position] - days[position - 1] - 1


def _first_after(days: Sequence[int], read_day: ReadDay, first: int) -> int:
    span = span_or_none(days, read_day)
    return first if span is None else span[0]


def _of_days(days: Sequence[int], read_day: ReadDay) -> _Matches:
    matches = _Matches()
    for day in days:
        _add_day(matches, day, read_day, day * DAY_MS - 1, "ts")
    return matches


def _after(directory: Path, limit_ms: int) -> _Matches:
    """Return the valid records that an archive reader leaves out at a limit."""
    days, read_day = archive_days(directory)
    matches = _Matches()
    for day in days:
        if day >= limit_ms // DAY_MS:
            _add_day(matches, day, read_day, limit_ms, "updated_ts")
    return matches


def _add_day(matches: _Matches, day: int, read_day: ReadDay, after_ms: int, order_time: str) -> None:
    for table in read_day("events", day):
        events = event_rows(table).columns
        matches.add("event", events.event_id, events.customer_id, events.ts, events.ts > after_ms)
    for table in read_day("orders", day):
        orders = order_rows(table).columns
        times = getattr(orders, order_time)
        matches.add("order", orders.order_id, orders.customer_id, times, times > after_ms)
