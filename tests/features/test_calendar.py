"""The shop's calendar against Python's own zones, which share no code with it."""

from datetime import UTC, date, datetime, timedelta
from typing import get_args
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.calendar import Calendar, day_name, day_names, day_number, weekday_names
from features.errors import UsageError
from features.schema import HOUR_MS, WeekStart

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZONES = (
    "UTC", "Europe/Berlin", "Asia/Kolkata", "America/Sao_Paulo", "Pacific/Apia", "Australia/Lord_Howe",
    "America/St_Johns", "Africa/Cairo", "Asia/Amman", "Pacific/Chatham",
)  # fmt: skip
INSTANTS = st.integers(0, 2_000_000_000_000)


def local(time_ms, zone):
    return (EPOCH + timedelta(milliseconds=time_ms)).astimezone(ZoneInfo(zone))


def number(day):
    return (day - date(1970, 1, 1)).days


@given(st.lists(INSTANTS, min_size=1, max_size=20), st.sampled_from(ZONES))
def test_day_of_an_instant_is_its_local_date(times, zone):
    expected = [number(local(time, zone).date()) for time in times]
    calendar = Calendar(zone)
    assert calendar.day_of(times).tolist() == expected
    assert pl.DataFrame({"t": times}).select(calendar.day("t"))["t"].to_list() == expected
    assert [calendar.date_of(time) for time in times] == [str(local(time, zone).date()) for time in times]


@given(INSTANTS, st.sampled_from(ZONES))
def test_a_day_begins_at_its_first_instant(time, zone):
    calendar = Calendar(zone)
    day = calendar.day_at(time)
    start, end = calendar.day_start_ms(day), calendar.day_start_ms(day + 1)
    assert start <= time < end
    assert calendar.day_at(start) == calendar.day_at(end - 1) == day
    assert calendar.day_at(start - 1) < day < calendar.day_at(end)


@given(INSTANTS, st.sampled_from(ZONES), st.sampled_from(get_args(WeekStart)), st.integers(-3, 3))
def test_periods_begin_at_their_first_local_day(time, zone, week_start, later):
    calendar = Calendar(zone, week_start)
    day = local(time, zone).date()
    back = (day.weekday() - get_args(WeekStart).index(week_start)) % 7
    month = day.year * 12 + day.month - 1
    firsts = {
        "day": day + timedelta(days=later),
        "week": day + timedelta(days=7 * later - back),
        "month": month_start(month + later),
        "quarter": month_start((month // 3 + later) * 3),
        "year": date(day.year + later, 1, 1),
    }
    for unit, first in firsts.items():
        assert calendar.unit_start_ms(unit, time, later) == calendar.day_start_ms(number(first)), unit


def month_start(months):
    return date(months // 12, months % 12 + 1, 1)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("America/Sao_Paulo", "2018-11-04", 23),  # midnight does not exist
        ("Pacific/Apia", "2011-12-30", 0),  # the day does not exist
        ("Asia/Kolkata", "2026-10-25", 24),
    ],
)
def test_days_have_the_length_of_their_zone(zone, day, hours):
    start, end = Calendar(zone).start_ms([day_number(day), day_number(day) + 1])
    assert (end - start) / HOUR_MS == hours


def test_weekdays_begin_with_the_first_day_of_the_week():
    assert weekday_names(Calendar())[0] == "Monday"
    assert weekday_names(Calendar("UTC", "saturday")) == (
        "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday",
    )  # fmt: skip


def test_names_of_days_are_read_back():
    days = [-1, 0, 19_000, 40_000]
    assert [day_number(day_name(day)) for day in days] == days
    assert day_names(np.asarray(days)) == [day_name(day) for day in days]


@pytest.mark.parametrize("text", ["", "2026-02-30", "20260101", "2026-1-1", "2026-W01-1", "now", "2026-05-01T00"])
def test_text_that_is_no_day_is_refused(text):
    with pytest.raises(UsageError, match="is not a day"):
        day_number(text)
