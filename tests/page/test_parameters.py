"""Parameters of the address: what is not offered or too much is refused in words."""

from __future__ import annotations

import pytest

from dashboards.boards.funnel import FUNNEL
from dashboards.boards.pipeline import PIPELINE_BOARD
from dashboards.panels import Span
from dashboards.web.app import STATIC
from dashboards.web.parameters import CHARS_MAX, PERIODS, VALUES_MAX, number_of, parse_query
from features.calendar import UTC_CALENDAR, Calendar
from features.errors import UsageError
from features.schema import HOUR_MS
from shopstream.cli.options import parse_time

END = 1_779_280_440_000
DAY = 86_400_000


def test_a_board_opens_with_its_own_time_range():
    assert parse_query(FUNNEL, {}).span_to(END, UTC_CALENDAR) == Span(END - FUNNEL.days * DAY, END)
    assert parse_query(PIPELINE_BOARD, {}).filters == {}


@pytest.mark.parametrize(("text", "ms"), [("1h", 3_600_000), ("24h", DAY), ("7d", 7 * DAY), ("730d", 730 * DAY)])
def test_a_time_range_ends_at_the_newest_document(text, ms):
    assert parse_query(FUNNEL, {"last": [text]}).span_to(END, UTC_CALENDAR) == Span(END - ms, END)


def test_date_range_includes_both_days():
    query = parse_query(FUNNEL, {"from": ["2026-05-01"], "to": ["2026-05-02"]})
    assert query.span_to(END, UTC_CALENDAR) == Span(1_777_593_600_000, 1_777_593_600_000 + 2 * DAY)


def test_date_range_that_is_not_over_ends_with_the_data():
    query = parse_query(FUNNEL, {"from": ["2026-05-01"], "to": ["2026-05-31"]})
    newest = parse_time("2026-05-20T10:00Z", "")
    assert query.span_to(newest, UTC_CALENDAR) == Span(1_777_593_600_000, newest)
    assert query.span_to(0, UTC_CALENDAR) == Span(1_777_593_600_000, 1_777_593_600_001)


@pytest.mark.parametrize(
    ("name", "calendar", "first", "end"),
    [
        ("today", UTC_CALENDAR, "2026-05-20T00:00Z", None),
        ("yesterday", UTC_CALENDAR, "2026-05-19T00:00Z", "2026-05-20T00:00Z"),
        ("today", Calendar("Asia/Kolkata"), "2026-05-19T18:30Z", None),
        ("this_week", UTC_CALENDAR, "2026-05-18T00:00Z", None),
        ("last_week", Calendar("UTC", "sunday"), "2026-05-10T00:00Z", "2026-05-17T00:00Z"),
        ("this_month", Calendar("Europe/Berlin"), "2026-04-30T22:00Z", None),
        ("last_month", Calendar("Europe/Berlin"), "2026-03-31T22:00Z", "2026-04-30T22:00Z"),
        ("last_quarter", Calendar("Europe/Berlin"), "2025-12-31T23:00Z", "2026-03-31T22:00Z"),
        ("this_year", Calendar("America/Sao_Paulo"), "2026-01-01T03:00Z", None),
        ("last_year", UTC_CALENDAR, "2025-01-01T00:00Z", "2026-01-01T00:00Z"),
    ],
)
def test_period_is_one_of_the_shop_calendar_and_ends_with_the_data(name, calendar, first, end):
    newest = parse_time("2026-05-20T10:00Z", "")
    expected = Span(parse_time(first, ""), newest if end is None else parse_time(end, ""))
    assert parse_query(FUNNEL, {"period": [name]}).span_to(newest, calendar) == expected


def test_every_period_is_offered_on_the_page():
    script = (STATIC / "controls.js").read_text("utf-8")
    assert all(f'["{name}", ' in script for name in PERIODS)


def test_date_range_has_the_days_of_the_shop_zone():
    query = parse_query(FUNNEL, {"from": ["2026-10-25"], "to": ["2026-10-25"]})
    span = query.span_to(1_800_000_000_000, Calendar("Europe/Berlin"))
    assert (span.to_ms - span.from_ms) / HOUR_MS == 25


def test_filter_values_are_not_changed():
    hostile = '<script>"=1+1'
    assert parse_query(FUNNEL, {"device": ["mobile", "tablet"], "country": [hostile]}).filters == {
        "device": ("mobile", "tablet"), "country": (hostile,),
    }  # fmt: skip


@pytest.mark.parametrize(
    "parameters",
    [
        {"last": ["0d"]}, {"last": ["731d"]}, {"last": ["17521h"]}, {"last": ["7"]}, {"last": ["-7d"]},
        {"last": ["7d\n"]}, {"last": ["7d", "8d"]}, {"last": ["\u0667d"]},
        {"from": ["2026-05-01"]}, {"from": ["2026-05-02"], "to": ["2026-05-01"]},
        {"from": ["2020-01-01"], "to": ["2026-01-01"]}, {"from": ["2026-02-30"], "to": ["2026-03-01"]},
        {"from": ["now"], "to": ["now"]}, {"from": ["\u0662\u0660\u0662\u0666-05-01"], "to": ["2026-05-02"]},
        {"period": ["next_week"]}, {"period": ["today", "today"]}, {"to": ["2026-05-01"]},
        {"compare": ["before"]}, {"compare": ["year", "year"]}, {"compare": ["custom"]},
        {"compare": ["custom"], "compare_from": ["2026-05-01"]},
        {"compare": ["custom"], "compare_from": ["2026-05-02"], "compare_to": ["2026-05-01"]},
        {"compare": ["custom"], "compare_from": ["2020-01-01"], "compare_to": ["2026-05-01"]},
        {"device": ["x"] * (VALUES_MAX + 1)}, {"device": ["x" * (CHARS_MAX + 1)]},
    ],
    ids=str,
)  # fmt: skip
def test_parameters_out_of_bounds_are_refused(parameters):
    with pytest.raises(UsageError):
        parse_query(FUNNEL, parameters)


def test_unknown_parameters_are_ignored_and_named():
    parameters = {"email": ["a@example.com"], "utm_source": ["x", "x"], "x" * 900: ["1"], "device": ["mobile"]}
    query = parse_query(FUNNEL, parameters)
    assert query.ignored == ("email", "utm_source", "x" * 100)
    assert query.filters == {"device": ("mobile",)}
    assert parse_query(FUNNEL, {"last": ["7d"], "compare": ["year"]}).ignored == ()


@pytest.mark.parametrize("text", ["-1", "1e3", "501", "9" * 30, "\u0663", "1 "])
def test_number_out_of_bounds_is_refused(text):
    assert number_of({"size": ["500"]}, "size", 50, 500) == 500
    with pytest.raises(UsageError):
        number_of({"size": [text]}, "size", 50, 500)
