"""Local times and first instants of days against zoneinfo: all zones, every change of an offset from 1970 to 2030."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import polars as pl
import pytest

from features.local_times import first_instants, utc_ms, wall_ms, zone_name
from features.schema import DAY_MS

EPOCH = datetime(1970, 1, 1)
LAST = int(datetime(2030, 12, 31, tzinfo=UTC).timestamp())
STEP = 14 * 86_400
"""Shorter than the time between two changes of a zone."""
OTHER_DATA = frozenset({"EET", "WET", "MET", "CET"})
"""Old names that became links to cities: one edition of the database gives them another history than the next."""
NAMES = sorted(
    name for name in available_timezones() if name not in {"localtime", "Factory", "posixrules", *OTHER_DATA}
)


def offset(zone: ZoneInfo, second: int) -> int:
    return int(datetime.fromtimestamp(second, UTC).astimezone(zone).utcoffset().total_seconds())


def changes(zone: ZoneInfo) -> list[int]:
    """Seconds at which the offset of the zone changes."""
    found, before = [], offset(zone, 0)
    for second in range(STEP, LAST, STEP):
        now = offset(zone, second)
        if now != before:
            low, high = second - STEP, second
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(zone, middle) == before else (low, middle)
            found.append(high)
        before = now
    return found


def ms_of(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)


def oracle(wall: datetime, zone: ZoneInfo) -> int | None:
    """Epoch ms of the earlier of the moments with this local time; None if there is none."""
    moment = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    return ms_of(moment.replace(tzinfo=None)) if moment.astimezone(zone).replace(tzinfo=None) == wall else None


def first_instant(day: date, zone: ZoneInfo, near: int) -> int | None:
    """Earliest moment of the day among its midnight and a change of the offset."""
    midnight = oracle(datetime(day.year, day.month, day.day), zone)
    begins = datetime.fromtimestamp(near, UTC).astimezone(zone).date() == day
    return min(
        [at for at in (midnight, near * 1_000 if begins and midnight is None else None) if at is not None], default=None
    )


@pytest.mark.parametrize("initial", sorted({name[0] for name in NAMES}))
def test_every_change_of_an_offset_is_read_as_zoneinfo_has_it(initial):
    wrong = []
    for name in (name for name in NAMES if name[0] == initial):
        zone = ZoneInfo(name)
        walls, moments, days, instants = [], [], [], []
        for at in changes(zone):
            before, after = offset(zone, at - 1), offset(zone, at)
            low, high = sorted((at + before, at + after))
            for second in (low - 1, low, (low + high) // 2, high - 1, high):
                wall = EPOCH + timedelta(seconds=second)
                walls.append(ms_of(wall))
                moments.append(oracle(wall, zone))
            for ahead in (-1, 0, 1):
                day = (EPOCH + timedelta(seconds=high, days=ahead)).date()
                days.append((day - EPOCH.date()).days)
                instants.append(first_instant(day, zone, at))
        got = utc_ms(pl.Series(walls, dtype=pl.Int64), name).to_list()
        wrong += [(name, w, g, m) for w, g, m in zip(walls, got, moments, strict=True) if g != m]
        got = first_instants(pl.Series(days, dtype=pl.Int32), name).to_list()
        wrong += [(name, "day", d, g, m) for d, g, m in zip(days, got, instants, strict=True) if g != m]
    assert wrong == []


@pytest.mark.parametrize(
    ("zone", "day", "first"),
    [
        ("America/Sao_Paulo", date(2018, 11, 4), "2018-11-04T03:00"),  # begins at 01:00
        ("Asia/Beirut", date(2022, 3, 27), "2022-03-26T22:00"),
        ("Africa/Cairo", date(2010, 4, 30), "2010-04-29T22:00"),
        ("America/Asuncion", date(2022, 10, 2), "2022-10-02T04:00"),
        ("America/Havana", date(2022, 11, 6), "2022-11-06T04:00"),  # midnight comes twice
        ("Africa/Monrovia", date(1972, 1, 7), "1972-01-07T00:44:30"),  # begins at 00:44:30
        ("Europe/Berlin", date(2024, 3, 31), "2024-03-30T23:00"),
    ],
)
def test_a_day_begins_at_its_first_instant(zone, day, first):
    got = first_instants(pl.Series([(day - EPOCH.date()).days]), zone).item()
    assert got == ms_of(datetime.fromisoformat(first))
    assert wall_ms(pl.Series([got]), zone).item() // DAY_MS == (day - EPOCH.date()).days
    assert wall_ms(pl.Series([got - 1]), zone).item() // DAY_MS <= (day - EPOCH.date()).days


@pytest.mark.parametrize(
    ("zone", "day"), [("Pacific/Apia", date(2011, 12, 30)), ("Pacific/Kwajalein", date(1993, 8, 21))]
)
def test_a_day_that_a_zone_skips_has_no_instant(zone, day):
    number = (day - EPOCH.date()).days
    got = first_instants(pl.Series([number - 1, number, number + 1, None]), zone)
    assert got.is_null().to_list() == [False, True, False, True]


@pytest.mark.parametrize("name", ["Mars", "", "../etc/passwd", "Europe/Berlinn"])
def test_an_unknown_zone_is_refused(name):
    with pytest.raises(ValueError, match="is not a time zone of the IANA database"):
        zone_name(name)
