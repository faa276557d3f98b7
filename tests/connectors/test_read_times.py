"""Times of foreign files: every form that is read, against Python's datetime, and the reason of each that is not."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.formats.timestamps import OFFSET, TIMES, iso_times, read_times, time_format, times_of

EPOCH = datetime(1970, 1, 1)
BERLIN = "Europe/Berlin"
ZONES = {"PDT": "-07:00", "CT": "America/Chicago"}


def read(texts, pattern="iso", zone="UTC", zones=None):
    """Return the rows of the struct: (ms, is_date, reason)."""
    frame = pl.LazyFrame({"t": pl.Series(texts, dtype=pl.String)})
    got = frame.select(read_times(pl.col("t"), time_format(pattern), zone, zones).alias("x")).collect()["x"]
    assert got.dtype == TIMES
    rows = [tuple(row.values()) for row in got]
    for text, (ms, is_date, reason) in zip(texts, rows, strict=True):
        assert (ms is None) == (is_date is None)
        assert (reason is None) == (ms is not None or text is None)
    return rows


def ms(text):
    return (datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None) - EPOCH) // timedelta(milliseconds=1)


def moment(texts, *arguments):
    """Return the times of texts that all are read."""
    rows = read(texts, *arguments)
    assert [reason for _, _, reason in rows] == [None] * len(texts)
    return [row[0] for row in rows]


def reason(text, pattern="iso", zone="UTC", zones=None):
    ((value, _, why),) = read([text], pattern, zone, zones)
    assert value is None
    return why


# --- iso --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "text",
    [
        "2024-03-01T10:15:00Z", "2024-03-01t10:15:00z", "2024-03-01 10:15Z", "2024-03-01  10:15:00 UTC",
        "2024-03-01 10:15:00UTC", "2024-03-01 10:15:00 GMT", "2024-03-01 10:15 gmt", "20240301T101500Z",
        "20240301T1015Z",
        "20240301 101500.000Z", "2024-03-01T12:15:00+02", "2024-03-01T12:15:00+0200", "2024-03-01T12:15:00+02:00",
        "2024-03-01T12:15:00 +02:00", "2024-03-01 04:45:00.0 -05:30", "20240301T121500+02", "2024-03-01 11:15",
        "2024-03-01T11:15:00,000000", "\u00a02024-03-01 11:15:00\t", "2024-03-01 04:15:00 CT",
        "2024-03-01 03:15:00 PDT",
        "2024-03-01T10:15-00:00",
    ],
)  # fmt: skip
def test_each_form_of_iso_is_the_same_moment(text):
    assert read([text], "iso", BERLIN, ZONES) == [(ms("2024-03-01T10:15:00Z"), False, None)]


@pytest.mark.parametrize("text", ["2024-03-01", "20240301", " 2024-03-01 "])
def test_an_iso_date_is_the_first_instant_of_the_local_day(text):
    assert read([text], "iso", BERLIN) == [(ms("2024-03-01T00:00:00+01:00"), True, None)]


@pytest.mark.parametrize("digits", range(1, 10))
@pytest.mark.parametrize("sign", [".", ","])
def test_a_fraction_of_one_to_nine_digits_is_cut_to_milliseconds(digits, sign):
    text = f"2024-03-01T10:15:59{sign}{'987654321'[:digits]}Z"
    assert moment([text]) == [ms("2024-03-01T10:15:59Z") + int("98765432100"[:digits].ljust(3, "0")[:3])]


def test_24_00_is_the_start_of_the_next_day():
    assert moment(["2024-02-28T24:00", "20240228T240000", "2024-12-31 24:00:00.0"]) == [
        ms("2024-02-29T00:00Z"), ms("2024-02-29T00:00Z"), ms("2025-01-01T00:00Z"),
    ]  # fmt: skip
    assert reason("2024-02-28T24:00:01") == "there is no time after 24:00"
    assert reason("2024-02-28T24:00:00.001") == "there is no time after 24:00"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2024-02-30", "there is no day 2024 02 30"),
        ("2023-02-29T10:00", "there is no day 2023 02 29"),
        ("2024-13-01", "there is no day 2024 13 01"),
        ("2024-00-10", "there is no day 2024 00 10"),
        ("0000-01-01", "there is no day 0000 01 01"),
        ("2024-03-01T25:00", "there is no hour 25"),
        ("2024-03-01T10:60", "there is no minute 60"),
        ("2016-12-31T23:59:60Z", "there is no second 60 (leap seconds are not read)"),
        ("2024-03-01T10:15:61", "there is no second 61"),
        ("2024-03-01T10:15+24:00", "there is no offset +24:00"),
        ("2024-03-01T10:15+02:60", "there is no offset +02:60"),
        ("2024-03-01 10:15 EST", "zone word EST: write time.zones"),
        ("2024-03-01 10:15 pm", "pm is half of a day, not a zone: write a pattern with %I and %p"),
        ("2024-03-01 10:15 ct", "zone word ct: write time.zones"),
        ("2024-03-31 02:30", "02:30 does not exist on that day in Europe/Berlin"),
        ("2024-03-31 02:30:15.5", "02:30 does not exist on that day in Europe/Berlin"),
        ("2024-03-10 02:59 CT", "02:59 does not exist on that day in America/Chicago"),
        ("1969-12-31T22:59:59Z", "time before 1970 or after 9999"),
        ("0001-01-01", "time before 1970 or after 9999"),
        ("9999-12-31T24:00Z", "time before 1970 or after 9999"),
        ("2024-W09-5", "2024-W09-5 is no ISO 8601 time"),
        ("2024-061", "2024-061 is no ISO 8601 time"),
        ("2024-3-1", "2024-3-1 is no ISO 8601 time"),
        ("2024-0301", "2024-0301 is no ISO 8601 time"),
        ("2024-03-01T10:15:00.", "2024-03-01T10:15:00. is no ISO 8601 time"),
        ("2024-03-01T10:15:00.1234567890", "2024-03-01T10:15:00.1234567890 is no ISO 8601 time"),
        ("2024-03-01T10", "2024-03-01T10 is no ISO 8601 time"),
        ("2024-03-01T1015", "2024-03-01T1015 is no ISO 8601 time"),
        ("2024-03-01+02:00", "2024-03-01+02:00 is no ISO 8601 time"),
        ("1709287200", "1709287200 is no ISO 8601 time"),
        ("01.03.2024", "01.03.2024 is no ISO 8601 time"),
        ("\uff12024-03-01", "\uff12024-03-01 is no ISO 8601 time"),
        ("2024-03-01\n2024-03-02", "2024-03-01\n2024-03-02 is no ISO 8601 time"),
        ("x" * 80, f"{'x' * 60}… is no ISO 8601 time"),
        ("", "a blank text is no ISO 8601 time"),
    ],
)
def test_a_text_that_is_no_iso_time_has_the_reason(text, why):
    assert reason(text, "iso", BERLIN, ZONES) == why


def test_a_null_text_has_neither_time_nor_reason():
    assert read([None, "2024-03-01"])[0] == (None, None, None)
    assert read([]) == []


def test_good_and_bad_rows_of_all_forms_keep_their_order():
    texts = ["2024-03-01", "soon", "20240301", None, "2024-03-01T00:00+01", "2024-02-30"]
    assert [row[0] for row in read(texts)] == [1709251200000, None, 1709251200000, None, 1709247600000, None]


offsets = st.one_of(st.none(), st.integers(-1439, 1439))


@given(
    st.lists(
        st.tuples(
            st.datetimes(datetime(1971, 1, 1), datetime(9999, 12, 30)), offsets,
            st.sampled_from(["T", "t", " ", "  "]), st.booleans(), st.integers(0, 9), st.sampled_from(["", ":"]),
        ),
        min_size=1, max_size=20,
    ),
    st.sampled_from(["UTC", "Asia/Kathmandu", "America/Phoenix"]),
)  # fmt: skip
def test_any_iso_time_is_what_datetime_makes_of_it(rows, zone):
    texts, expected = [], []
    for moment_, minutes, between, basic, digits, colon in rows:
        # The zones of this test had no change of their offset at times that are drawn: 2100 is beyond some tables.
        wall = moment_.replace(year=min(moment_.year, 2090), day=min(moment_.day, 28))
        fraction = f"{wall.microsecond:06}000"[:digits]
        offset = (
            ""
            if minutes is None
            else f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}{colon}{abs(minutes) % 60:02}"
        )
        form = f"%Y%m%d{between}%H%M%S" if basic else f"%Y-%m-%d{between}%H:%M:%S"
        texts.append(wall.strftime(form) + (f".{fraction}" if fraction else "") + offset)
        exact = wall.replace(microsecond=int(fraction[:6].ljust(6, "0")) if fraction else 0)
        zone_ = ZoneInfo(zone) if minutes is None else timezone(timedelta(minutes=minutes))
        expected.append((exact.replace(tzinfo=zone_) - EPOCH.replace(tzinfo=UTC)) // timedelta(milliseconds=1))
    got = read(texts, "iso", zone)
    assert [row[0] for row in got] == [ms_ if ms_ >= 0 else None for ms_ in expected]


GOOD = [
    "2024-02-29T23:59:59.123456Z",
    "20240229T235959,5+0530",
    "2024-02-29 00:00 UTC",
    "2024-02-29",
    "2024-02-29T10:15 -05",
]


@given(st.sampled_from(GOOD), st.integers(0, 30), st.sampled_from([*"0123456789-:TZ+. ,U", ""]))
def test_a_damaged_text_is_read_as_datetime_reads_it_or_refused(text, at, character):
    damaged = text[:at] + character + text[at + 1 :]
    ((value, _, _),) = read([damaged])
    if value is not None and "T24:00" not in damaged and " 24:00" not in damaged:
        plain = re.sub(r"\s*UTC$", "Z", re.sub(r"(?<=\d)\s+(?=\d)", "T", damaged.strip()))
        moment_ = datetime.fromisoformat(re.sub(r"\s+(?=[-+Z])", "", plain))
        aware = moment_ if moment_.tzinfo else moment_.replace(tzinfo=UTC)
        assert value == (aware - EPOCH.replace(tzinfo=UTC)) // timedelta(milliseconds=1)


def test_iso_times_has_the_same_moments_and_all_years():
    texts = ["2024-03-01 10:15 +02", "20240301", "1900-01-01T00:00Z", "2024-02-30", None]
    got = pl.DataFrame({"t": texts}).select(iso_times(pl.col("t"), BERLIN).dt.epoch("ms"))["t"].to_list()
    assert got == [ms("2024-03-01T08:15Z"), ms("2024-03-01T00:00+01:00"), ms("1900-01-01T00:00Z"), None, None]


@pytest.mark.parametrize(
    ("text", "has_offset"),
    [
        ("2024-03-01", False), ("20240301", False), ("2024-03-01T10:15", False), ("2024-03-01 10:15:00.25", False),
        ("2024-03-01T10:15Z", True), ("2024-03-01 10:15:00 UTC", True), ("2024-03-01 10:15+02", True),
        ("20240301T101500+02", True), ("2024-03-01T10:15:00.5-0530", True), ("2024-03-01T10:15 -05:30", True),
    ],
)  # fmt: skip
def test_an_offset_ends_a_time_but_not_a_date(text, has_offset):
    assert pl.Series([text]).str.contains(OFFSET).item() is has_offset


# --- zones ------------------------------------------------------------------------------------------------------------
def test_an_ambiguous_local_time_is_the_earlier_one():
    assert moment(["2024-10-27 02:30"], "iso", BERLIN) == [ms("2024-10-27T02:30+02:00")]


def test_a_date_begins_where_the_local_day_does():
    assert moment(["2018-11-04"], "iso", "America/Sao_Paulo") == [ms("2018-11-04T01:00-02:00")]
    assert moment(["04/11/2018"], "%d/%m/%Y", "America/Sao_Paulo") == [ms("2018-11-04T01:00-02:00")]
    assert reason("2011-12-30", "iso", "Pacific/Apia") == "the day does not exist in Pacific/Apia"
    assert reason("2011-12-30 12:00", "iso", "Pacific/Apia") == "12:00 does not exist on that day in Pacific/Apia"


@pytest.mark.parametrize(("zone", "zones"), [("Mars", {}), ("UTC", {"PDT": "Mars"}), ("UTC", {"PDT": "+25:00"})])
def test_an_unknown_zone_is_refused_before_a_row_is_read(zone, zones):
    with pytest.raises(ValueError, match="is not a"):
        read_times(pl.col("t"), time_format("iso"), zone, zones)


# --- epochs and Excel -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("epoch_s", "1709287200", 1709287200000), ("epoch_s", "1709287200.123", 1709287200123),
        ("epoch_s", "1709287200.9999", 1709287200999), ("epoch_s", "1709287200.1", 1709287200100),
        ("epoch_s", "253402300799.999", 253402300799999), ("epoch_s", "0", 0),
        ("epoch_ms", "1709287200123", 1709287200123), ("epoch_ms", "1709287200123.9", 1709287200123),
        ("epoch_us", "1709287200123999", 1709287200123), ("epoch_ns", "1709287200123999999", 1709287200123),
        ("epoch_ns", "1709287200123999999.0", 1709287200123),
    ],
)  # fmt: skip
def test_an_epoch_is_read_exactly(pattern, text, expected):
    assert read([text], pattern, BERLIN) == [(expected, False, None)]


@pytest.mark.parametrize(
    ("pattern", "text", "why"),
    [
        ("epoch_ms", "1709287200000000", "time before 1970 or after 9999; microseconds? write epoch_us"),
        ("epoch_s", "1709287200000", "time before 1970 or after 9999; milliseconds? write epoch_ms"),
        ("epoch_ms", "1709287200000000000", "time before 1970 or after 9999; nanoseconds? write epoch_ns"),
        ("epoch_s", "253402300800", "time before 1970 or after 9999; milliseconds? write epoch_ms"),
        ("epoch_s", "-1", "time before 1970 or after 9999"),
        ("epoch_s", "9999999999999999999", "time before 1970 or after 9999"),
        ("epoch_s", "99999999999999999999999", "99999999999999999999999 is no count of seconds"),
        ("epoch_s", "1.7E9", "1.7E9 is no count of seconds"),
        ("epoch_s", "1709287200.", "1709287200. is no count of seconds"),
        ("epoch_ms", "1709287200", "time before 1973 in milliseconds; seconds? write epoch_s"),
        ("epoch_ns", "1709287200000", "time before 1973 in nanoseconds; milliseconds? write epoch_ms"),
        ("epoch_us", "soon", "soon is no count of microseconds"),
        ("epoch_ms", "", "a blank text is no count of milliseconds"),
    ],
)
def test_an_epoch_that_is_no_time_has_the_reason(pattern, text, why):
    assert reason(text, pattern) == why


@given(st.integers(10**11, 253402300799999), st.integers(0, 999_999))
def test_any_epoch_of_any_unit_is_the_same_millisecond(value, rest):
    seconds, milli = divmod(value, 1000)
    assert moment([f"{seconds}.{milli:03}{rest:06}"], "epoch_s") == [value]
    assert moment([f"{value}.{rest:06}"], "epoch_ms") == [value]
    assert moment([f"{value}{rest // 1000:03}"], "epoch_us") == [value]
    if value < 2**63 // 10**6:
        assert moment([f"{value}{rest:06}"], "epoch_ns") == [value]


@pytest.mark.parametrize(
    ("text", "expected", "is_date"),
    [
        ("45352", "2024-03-01T00:00+01:00", True), ("45352.0", "2024-03-01T00:00+01:00", True),
        ("45352.5", "2024-03-01T12:00+01:00", False), ("45352.427083333", "2024-03-01T10:15+01:00", False),
        ("45352.99999", "2024-03-01T23:59:59.136+01:00", False), ("25569.5", "1970-01-01T12:00+01:00", False),
    ],
)  # fmt: skip
def test_a_serial_day_of_excel_is_local(text, expected, is_date):
    assert read([text], "excel_days", BERLIN) == [(ms(expected), is_date, None)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("60", "serial day 60 is before March 1900, where Excel's days are ambiguous"),
        ("0.5", "serial day 0.5 is before March 1900, where Excel's days are ambiguous"),
        ("61", "time before 1970 or after 9999"),
        ("2958467", "time before 1970 or after 9999"),
        ("9999999", "time before 1970 or after 9999"),
        ("-45352", "-45352 is no serial day of Excel"),
        ("4.5E4", "4.5E4 is no serial day of Excel"),
        ("45382.104166667", "02:30 does not exist on that day in Europe/Berlin"),
    ],
)
def test_a_serial_day_that_is_no_time_has_the_reason(text, why):
    assert reason(text, "excel_days", BERLIN) == why


@given(st.integers(0, 253402300799999))
def test_any_millisecond_is_the_one_that_excel_shows(value):
    whole, rest = divmod(value, 86_400_000)
    assert moment([f"{whole + 25569}.{rest * 10**12 // 86_400_000:012}"], "excel_days") == [value]


# --- columns of times -------------------------------------------------------------------------------------------------
def column(series, zone=BERLIN):
    frame = pl.DataFrame({"t": series})
    return [tuple(row.values()) for row in frame.select(times_of(pl.col("t"), series.dtype, zone).alias("x"))["x"]]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_a_datetime_is_local_without_a_zone_and_itself_with_one(unit):
    walls = pl.Series(
        [datetime(2024, 3, 1, 10, 15, 0, 999_000), datetime(2024, 3, 31, 2, 30), None], dtype=pl.Datetime(unit)
    )
    assert column(walls) == [
        (ms("2024-03-01T10:15:00.999+01:00"), False, None),
        (None, None, "02:30 does not exist on that day in Europe/Berlin"),
        (None, None, None),
    ]
    aware = walls.dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo")
    assert column(aware)[0] == (ms("2024-03-01T10:15:00.999+00:00"), False, None)
    assert column(pl.Series([datetime(1960, 1, 1)], dtype=pl.Datetime(unit))) == [
        (None, None, "time before 1970 or after 9999")
    ]


def test_finer_units_are_cut_to_the_millisecond():
    assert column(pl.Series([1_709_287_200_123_999_999]).cast(pl.Datetime("ns")), "UTC")[0][0] == 1_709_287_200_123
    assert column(pl.Series([1_709_287_200_123_999]).cast(pl.Datetime("us", "UTC")), "UTC")[0][0] == 1_709_287_200_123


def test_a_date_column_is_the_first_instant_of_each_day():
    days = pl.Series([date(2018, 11, 4), date(2024, 3, 1), None])
    assert column(days, "America/Sao_Paulo")[0] == (ms("2018-11-04T01:00-02:00"), True, None)
    assert column(pl.Series([date(2011, 12, 30)]), "Pacific/Apia") == [
        (None, None, "the day does not exist in Pacific/Apia")
    ]


def test_another_type_is_no_column_of_times():
    with pytest.raises(ValueError, match="Int64 is not a type of times"):
        times_of(pl.col("t"), pl.Int64(), "UTC")
