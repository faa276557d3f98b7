"""Patterns of times: each directive against strptime, what a pattern refuses, and what it says to write instead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.formats.timestamps import read_times, time_format

EPOCH = datetime(1970, 1, 1)


def read(text, pattern, zone="UTC", zones=None):
    frame = pl.DataFrame({"t": [text]})
    return tuple(
        frame.select(read_times(pl.col("t"), time_format(pattern), zone, zones).alias("x"))["x"].item().values()
    )


def ms(text):
    return (datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None) - EPOCH) // timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("%d.%m.%Y %H:%M", "01.03.2024 10:15", "2024-03-01T10:15Z"),
        ("%d.%m.%Y %H:%M", "1.3.2024 \u00a0 9:5", "2024-03-01T09:05Z"),
        ("%d.%m.%Y %H:%M", "  1.3.2024\t9:05\n", "2024-03-01T09:05Z"),
        ("%-d/%-m/%Y %-H:%M", "1/3/2024 9:05", "2024-03-01T09:05Z"),
        ("%m/%d/%y %I:%M %p", "03/01/24 12:15 am", "2024-03-01T00:15Z"),
        ("%m/%d/%y %I:%M %p", "3/1/24 12:15 PM", "2024-03-01T12:15Z"),
        ("%m/%d/%Y, %I:%M:%S %p", "3/1/2024, 1:15:00\u202fPM", "2024-03-01T13:15Z"),
        ("%D %R", "03/01/24 10:15", "2024-03-01T10:15Z"),
        ("%F %T", "2024-03-01 10:15:30", "2024-03-01T10:15:30Z"),
        ("%FT%T%z", "2024-03-01T10:15:30+0200", "2024-03-01T10:15:30+02:00"),
        ("%Y%m%d%H%M%S", "20240301101530", "2024-03-01T10:15:30Z"),
        ("%Y%m%d%H%M%S.%f", "20240301101530.25", "2024-03-01T10:15:30.250Z"),
        ("%Y-%m-%d %H:%M:%S,%f", "2024-03-01 10:15:30,123999999", "2024-03-01T10:15:30.123Z"),
        ("%Y-%m-%d %H", "2024-03-01 10", "2024-03-01T10:00Z"),
        ("%d %B %Y %H:%M", "1 MARCH 2024 10:15", "2024-03-01T10:15Z"),
        ("%d %b %Y %H:%M", "01 sep 2024 10:15", "2024-09-01T10:15Z"),
        ("%d %b %Y %H:%M", "01 Sept 2024 10:15", "2024-09-01T10:15Z"),
        ("%d-%h-%y %H:%M", "01-May-24 10:15", "2024-05-01T10:15Z"),
        ("%a %b %e %H:%M:%S %Z %Y", "Fri Mar  1 10:15:00 UTC 2024", "2024-03-01T10:15Z"),
        ("%A, %d %B %Y %H:%M", "friday, 01 March 2024 10:15", "2024-03-01T10:15Z"),
        ("%d/%b/%Y:%H:%M:%S %z", "01/Mar/2024:10:15:00 -0530", "2024-03-01T10:15:00-05:30"),
        ("%Y-%m-%d %H:%M:%S %:z", "2024-03-01 10:15:00 +02", "2024-03-01T10:15:00+02:00"),
        ("%Y-%m-%d %H:%M%z", "2024-03-01 10:15Z", "2024-03-01T10:15Z"),
        ("%Y-%m-%d %H:%M:%S %Z", "2024-03-01 10:15:00 PDT", "2024-03-01T10:15:00-07:00"),
        ("%Y-%m-%d %H:%M:%S %Z", "2024-07-01 10:15:00 CT", "2024-07-01T10:15:00-05:00"),
        ("%Y-%m-%d %H:%M:%S UTC", "2024-03-01 10:15:00 UTC", "2024-03-01T10:15Z"),
        ("%Y/%j %H:%M", "2024/61 10:15", "2024-03-01T10:15Z"),
        ("%Y%j%H", "202406110", "2024-03-01T10:00Z"),
        ("100%% %Y-%m-%d %H:%M", "100% 2024-03-01 10:15", "2024-03-01T10:15Z"),
        ("%%T %Y-%m-%d %H:%M", "%T 2024-03-01 10:15", "2024-03-01T10:15Z"),
        ("am %d. %m. %Y (%H.%M Uhr)", "am 1. 3. 2024 (10.15 Uhr)", "2024-03-01T10:15Z"),
    ],
)  # fmt: skip
def test_each_directive_is_read(pattern, text, expected):
    assert read(text, pattern, "UTC", {"PDT": "-07:00", "CT": "America/Chicago"}) == (ms(expected), False, None)


@pytest.mark.parametrize(("text", "year"), [("70", 1970), ("99", 1999), ("00", 2000), ("68", 2068)])
def test_a_year_of_two_digits_is_of_posix(text, year):
    assert read(f"1.3.{text}", "%d.%m.%y") == (ms(f"{year}-03-01T00:00Z"), True, None)


@pytest.mark.parametrize(
    ("pattern", "text", "why"),
    [
        ("%d.%m.%Y", "31.02.2024", "there is no day 2024 02 31"),
        ("%d.%m.%Y", "2024-03-01", "2024-03-01 is no time of the form %d.%m.%Y"),
        ("%d.%m.%Y", "01.03.2024 10:00", "01.03.2024 10:00 is no time of the form %d.%m.%Y"),
        ("%d.%m.%Y", "01.03.24", "01.03.24 is no time of the form %d.%m.%Y"),
        ("%d.%m.%Y", "01x03x2024", "01x03x2024 is no time of the form %d.%m.%Y"),
        ("%m/%d/%Y", "31/12/2024", "there is no day 2024 31 12"),
        ("%a %d.%m.%Y", "Mon 01.03.2024", "2024-03-01 is a Friday, not Mon"),
        ("%d %B %Y", "1 März 2024", "1 März 2024 is no time of the form %d %B %Y"),
        ("%d %B %Y", "1 Augu\u017ft 2024", "1 Augu\u017ft 2024 is no time of the form %d %B %Y"),
        ("%Y%m%d", "2024031", "2024031 is no time of the form %Y%m%d"),
        ("%Y-%m-%d %H:%M", "2024-03-01 24:00", "there is no hour 24"),
        ("%Y-%m-%d %I:%M %p", "2024-03-01 13:00 PM", "there is no hour 13"),
        ("%Y-%m-%d %I:%M %p", "2024-03-01 0:00 AM", "there is no hour 0"),
        ("%Y-%m-%d %H:%M:%S %Z", "2024-06-01 12:00:00 PDT", "zone word PDT: write time.zones"),
        (
            "%Y-%m-%d %H:%M:%S%z",
            "2024-06-01 12:00:00",
            "2024-06-01 12:00:00 is no time of the form %Y-%m-%d %H:%M:%S%z",
        ),
        ("%d.%m.%y", "1.3.69", "time before 1970 or after 9999"),
        ("%Y/%j", "2023/366", "there is no day 2023 366"),
        ("%Y/%j", "2024/000", "there is no day 2024 000"),
    ],
)
def test_a_text_that_is_not_of_the_form_has_the_reason(pattern, text, why):
    assert read(text, pattern) == (None, None, why)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("%s", "%s is not supported: write epoch_s"),
        ("%c", "%c is not supported: write its parts"),
        ("%x %X", "%x is not supported: write its parts"),
        ("%G-W%V-%u", "%G is not supported: write a pattern of year, month and day: weeks are not read"),
        ("%Y %U %w", "%U is not supported"),
        ("%Y-%m-%d %k:%M", "%k is not supported: write %H"),
        ("%Y-%m-%d %l:%M %p", "%l is not supported: write %I"),
        ("%Y-%m-%d %H:%M:%S.%L", "%L is not supported: write .%f after %S"),
        ("%Y-%m-%dT%H:%M:%S%.f", "%. is not supported: write .%f after %S"),
        ("%Y-%m-%dT%H:%M:%S.%3f", "%3 is not supported: write .%f after %S"),
        ("%C%y-%m-%d", "%C is not supported: write %Y"),
        ("%Ey-%m-%d", "%E is not supported"),
        ("%Y-%m-%d %H:%M:%S%f", "%f follows %S. or %S,"),
        ("%Y-%m-%d .%f", "%f follows %S. or %S,"),
        ("%Y-%m-%d %H:%M:%S.%f%d", "the day is in it twice"),
        ("%d.%m", "it has no year"),
        ("%Y-%d", "it has no month"),
        ("%Y-%m", "it has no day"),
        ("%H:%M", "it has no year"),
        ("soon", "it has no directive; write one of iso, epoch_s,"),
        ("", "it has no directive"),
        ("%Y-%m-%d %", "it ends with %; for a percent sign write %%"),
        ("%Y-%m-%d %I:%M", "%I and %p go together"),
        ("%Y-%m-%d %H:%M %p", "%I and %p go together"),
        ("%Y-%m-%d %I:%M %H %p", "the hour is in it twice"),
        ("%Y-%m-%d :%M", "%M without hours"),
        ("%Y-%m-%d %H:%S", "%S without minutes"),
        ("%Y-%m-%d %z", "%z without hours"),
        ("%Y-%m-%d %Z", "%Z without hours"),
        ("%F %d", "the day is in it twice"),
        ("%Y %y-%m-%d", "the year is in it twice"),
        ("%Y-%m-%b-%d", "the month is in it twice"),
        ("%F %T %z %Z", "the zone is in it twice"),
        ("%Y-%j-%m", "%j is a day of the year: write it without month and day"),
        ("%Y%-m%d", "%-m next to another number has no certain width"),
        ("%Y%m%e", "%e next to another number has no certain width"),
        ("%F %H%z%M", "%z next to another number has no certain width"),
        ("%-Y-%m-%d", "%-Y is not supported"),
        ("%Y-%m-%:d", "%:d is not supported"),
        ("%Y-%m-%d\x00", "it has a control character"),
    ],
)
def test_a_pattern_that_is_not_supported_exactly_is_refused(pattern, message):
    with pytest.raises(ValueError, match="time format") as error:
        time_format(pattern)
    assert message in str(error.value)


def test_named_formats_are_equal_and_immutable():
    for name in ("iso", "epoch_s", "epoch_ms", "epoch_us", "epoch_ns", "excel_days"):
        assert time_format(name) == time_format(name)
        assert time_format(name).pattern == name
    with pytest.raises(AttributeError):
        time_format("iso").pattern = "x"


DATES = ["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%y", "%Y%m%d", "%d %b %Y", "%B %d, %Y", "%a %d %b %Y", "%A, %d.%m.%Y", "%Y %j"]
CLOCKS = ["", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M:%S %p", "T%H%M%S", " %H:%M:%S,%f", " %H:%M:%S %z", " (%H.%M.%S)"]


@given(st.datetimes(datetime(1970, 1, 1), datetime(2068, 12, 31)), st.sampled_from(DATES), st.sampled_from(CLOCKS))
def test_any_time_in_any_pattern_is_what_strptime_reads(moment, date, clock):
    pattern = date + clock
    text = moment.replace(tzinfo=UTC).strftime(pattern)
    expected = datetime.strptime(text, pattern).replace(tzinfo=UTC)
    value, is_date, why = read(text, pattern)
    assert why is None
    assert value == (expected - EPOCH.replace(tzinfo=UTC)) // timedelta(milliseconds=1)
    assert is_date is (not clock)


@given(
    st.sampled_from(DATES[:6]), st.sampled_from(CLOCKS[:4]), st.integers(0, 12), st.sampled_from("0123456789:./- x"),
    st.datetimes(datetime(1970, 1, 2), datetime(2068, 12, 31)),
)  # fmt: skip
def test_a_damaged_time_is_read_as_strptime_reads_it_or_refused(date, clock, at, character, moment):
    text = moment.strftime(date + clock)
    damaged = text[:at] + character + text[at + 1 :]
    value, _, _ = read(damaged, date + clock)
    if value is not None:
        expected = datetime.strptime(damaged.strip(), date + clock).replace(tzinfo=UTC)
        assert value == (expected - EPOCH.replace(tzinfo=UTC)) // timedelta(milliseconds=1)
