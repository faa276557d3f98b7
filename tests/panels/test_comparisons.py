"""Figures of another time range: which range it is, and equal keys, intervals and figures as a search of its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from panels.documents import NOW

from connectors.formats.money_format import PLAIN_MONEY
from dashboards.boards import DASHBOARDS
from dashboards.boards.data import ORDERS, SESSIONS
from dashboards.comparisons import (
    aligned,
    comparison_query,
    days_before,
    is_compared,
    length_before,
    unit_before,
    year_before,
)
from dashboards.panels import OTHER, Dashboard, Measure, Panel, Position, Span, Terms, Time
from dashboards.queries import query, rows
from dashboards.web.boards import board_data, csv_columns
from dashboards.web.parameters import parse_query
from features.calendar import UTC_CALENDAR, Calendar
from features.schema import DAY_MS, HOUR_MS

BERLIN = Calendar("Europe/Berlin")
PANELS = [(dashboard, panel) for dashboard in DASHBOARDS for panel in dashboard.panels if is_compared(panel)]
COUNT = Measure("Sessions", "count")


def at(text, zone="Europe/Berlin"):
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1_000)


def span(first, end):
    return Span(at(first), at(end))


# --- time ranges ---


@pytest.mark.parametrize(
    ("unit", "main", "previous"),
    [
        ("day", ("2026-05-20", "2026-05-20T10:30"), ("2026-05-19", "2026-05-19T10:30")),
        ("day", ("2026-05-19", "2026-05-20"), ("2026-05-18", "2026-05-19")),
        # the day of the change has 23 hours before the same time of the clock
        ("day", ("2026-03-30", "2026-03-30T10:00"), ("2026-03-29", "2026-03-29T10:00")),
        ("week", ("2026-05-18", "2026-05-20T10:30"), ("2026-05-11", "2026-05-13T10:30")),
        ("month", ("2026-05-01", "2026-05-20T10:30"), ("2026-04-01", "2026-04-20T10:30")),
        # February is over before 30 days have passed
        ("month", ("2026-03-01", "2026-03-31T10:30"), ("2026-02-01", "2026-03-01")),
        ("month", ("2026-03-01", "2026-04-01"), ("2026-02-01", "2026-03-01")),
        ("quarter", ("2026-04-01", "2026-04-02"), ("2026-01-01", "2026-01-02")),
        ("year", ("2026-01-01", "2026-05-20T10:30"), ("2025-01-01", "2025-05-20T10:30")),
    ],
)
def test_previous_unit_is_cut_at_the_same_local_time(unit, main, previous):
    assert unit_before(span(*main), unit, BERLIN) == span(*previous)


@pytest.mark.parametrize(
    ("main", "previous", "hours"),
    [
        (("2026-05-11", "2026-05-18"), ("2026-05-04", "2026-05-11"), 168),
        (("2026-03-30", "2026-04-06"), ("2026-03-23", "2026-03-30"), 167),
        (("2026-10-19T12:00", "2026-10-26T12:00"), ("2026-10-12T12:00", "2026-10-19T12:00"), 168),
    ],
)
def test_previous_days_are_as_many_local_days(main, previous, hours):
    before = days_before(span(*main), 7, BERLIN)
    assert before == span(*previous)
    assert before.to_ms - before.from_ms == hours * HOUR_MS


def test_previous_hours_have_the_same_length():
    assert length_before(Span(100, 130)) == Span(70, 100)


@pytest.mark.parametrize(
    ("main", "before"),
    [
        (("2026-05-01", "2026-05-20T10:30"), ("2025-05-01", "2025-05-20T10:30")),
        (("2028-02-29", "2028-03-01"), ("2027-02-28", "2027-03-01")),
        (("2028-02-01", "2028-02-29"), ("2027-02-01", "2027-03-01")),
        (("2028-02-01", "2028-03-01"), ("2027-02-01", "2027-03-01")),
        # 2:30 did not exist on the day of the change in 2026
        (("2027-03-29T02:30", "2027-03-30"), ("2026-03-29T03:30", "2026-03-30")),
    ],
)
def test_year_before_has_the_same_local_dates(main, before):
    assert year_before(span(*main), BERLIN) == span(*before)


@pytest.mark.parametrize(
    ("unit", "main", "before"),
    [
        ("month", ("2029-02-01", "2029-03-01"), ("2028-02-01", "2028-03-01")),
        ("month", ("2028-02-01", "2028-03-01"), ("2027-02-01", "2027-03-01")),
        ("month", ("2029-02-01", "2029-02-28T10:30"), ("2028-02-01", "2028-02-28T10:30")),
        ("quarter", ("2029-01-01", "2029-04-01"), ("2028-01-01", "2028-04-01")),
        ("year", ("2029-01-01", "2030-01-01"), ("2028-01-01", "2029-01-01")),
        # dates, not units
        ("day", ("2029-02-28", "2029-03-01"), ("2028-02-28", "2028-02-29")),
        (None, ("2029-02-01", "2029-03-01"), ("2028-02-01", "2028-02-29")),
    ],
)
def test_whole_unit_of_the_year_before_is_whole(unit, main, before):
    assert year_before(span(*main), BERLIN, unit) == span(*before)


def test_last_month_is_compared_with_the_leap_day_of_the_year_before():
    requested = parse_query(DASHBOARDS[0], {"period": ["last_month"], "compare": ["year"]})
    result = requested.compared_span(requested.span_to(at("2029-03-10", "UTC"), UTC_CALENDAR), UTC_CALENDAR)
    assert result == Span(at("2028-02-01", "UTC"), at("2028-03-01", "UTC"))


def of_days(first, last, zone="UTC"):
    """The response to a search by day, with the number of the day in the year as figure."""
    days = range(Calendar(zone).day_at(at(first, zone)), Calendar(zone).day_at(at(last, zone)))
    starts = Calendar(zone).start_ms(list(days)).tolist()
    return {"aggregations": {"d0": {"buckets": [{"key": start, "doc_count": n + 1} for n, start in enumerate(starts)]}}}


DAYS = Panel("p", "P", "", SESSIONS, "bar", Position(0, 0, 1, 1), (COUNT,), (Time("Day", "start_ts", "day"),))


@pytest.mark.parametrize(
    ("year", "before", "without"),
    [("2028", "2027", {"2028-02-29"}), ("2029", "2028", set())],
)
def test_days_of_this_year_are_compared_with_the_same_dates(year, before, without):
    main, other = (Span(at(f"{one}-01-01", "UTC"), at(f"{one}-05-21", "UTC")) for one in (year, before))
    table = rows(DAYS, of_days(f"{year}-01-01", f"{year}-05-21"))
    result = aligned(DAYS, table, of_days(f"{before}-01-01", f"{before}-05-21"), main, other, UTC_CALENDAR)
    dates = {UTC_CALENDAR.date_of(key): UTC_CALENDAR.date_of(own) for key, own in result.own_keys.items()}
    assert all(day[5:] == own[5:] for day, own in dates.items())
    assert {UTC_CALENDAR.date_of(row["Day"]) for row in table} - dates.keys() == without
    assert len(result.rows) == len(dates)
    body = comparison_query(DAYS, main, other, [], None, UTC_CALENDAR)
    assert body["query"]["bool"]["filter"][0]["range"]["start_ts"]["lt"] == other.to_ms


def test_previous_days_are_aligned_by_position():
    main, other = (
        Span(at("2028-03-01", "UTC"), at("2028-03-04", "UTC")),
        Span(at("2028-02-27", "UTC"), at("2028-03-01", "UTC")),
    )
    result = aligned(
        DAYS,
        rows(DAYS, of_days("2028-03-01", "2028-03-04")),
        of_days("2028-02-27", "2028-03-01"),
        main,
        other,
        UTC_CALENDAR,
    )
    assert list(result.own_keys.values()) == [at(f"2028-02-{day}", "UTC") for day in (27, 28, 29)]


def test_compared_intervals_that_are_cut_are_marked(filled):
    days, _ = compared_panel(filled, DAYS, last="3d", compare="previous")
    own = days["compare"]["own_keys"]
    first, *_, last = own
    # 12:34 to 12:34
    assert days["compare"]["partial"] == [first, last] == days["partial"]
    whole, _ = compared_panel(
        filled, DAYS, **{"from": "2026-05-18", "to": "2026-05-20"}, compare="custom", compare_from="2026-05-01",
        compare_to="2026-05-02",
    )  # fmt: skip
    assert whole["compare"]["partial"] == []
    ahead, _ = compared_panel(
        filled, DAYS, **{"from": "2026-05-01", "to": "2026-05-03"}, compare="custom", compare_from="2026-05-19",
        compare_to="2026-05-21",
    )  # fmt: skip
    assert [ahead["compare"]["own_keys"][one] for one in ahead["compare"]["partial"]] == [
        at("2026-05-20", "UTC"), at("2026-05-21", "UTC"),
    ]  # fmt: skip
    assert ahead["partial"] == []


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"last": ["7d"], "compare": ["previous"]}, Span(NOW - 14 * DAY_MS, NOW - 7 * DAY_MS)),
        ({"last": ["5h"], "compare": ["previous"]}, Span(NOW - 10 * HOUR_MS, NOW - 5 * HOUR_MS)),
        ({"from": ["2026-05-01"], "to": ["2026-05-03"], "compare": ["previous"]}, ("2026-04-28", "2026-05-01")),
        ({"from": ["2026-05-01"], "to": ["2026-05-03"], "compare": ["year"]}, ("2025-05-01", "2025-05-04")),
        # days that are not over are compared with the same part of as many days
        (
            {"from": ["2026-05-18"], "to": ["2026-05-22"], "compare": ["previous"]},
            ("2026-05-13", "2026-05-15T12:34"),
        ),
        ({"from": ["2026-05-18"], "to": ["2026-05-22"], "compare": ["year"]}, ("2025-05-18", "2025-05-20T12:34")),
        ({"period": ["last_month"], "compare": ["previous"]}, ("2026-03-01", "2026-04-01")),
        (
            {"compare": ["custom"], "compare_from": ["2026-01-01"], "compare_to": ["2026-01-31"]},
            ("2026-01-01", "2026-02-01"),
        ),
        ({"last": ["7d"]}, None),
        ({"last": ["7d"], "compare_from": ["2026-01-01"]}, None),
    ],
)
def test_requested_comparison_is_of_the_requested_range(parameters, expected):
    requested = parse_query(DASHBOARDS[0], parameters)
    result = requested.compared_span(requested.span_to(NOW, UTC_CALENDAR), UTC_CALENDAR)
    assert result == (Span(*(at(one, "UTC") for one in expected)) if isinstance(expected, tuple) else expected)


# --- figures ---


def wide(panel):
    """The panel with all values, so that none is missing for its rank."""
    every = [replace(one, size=1_000) if isinstance(one, Terms) else one for one in panel.dimensions]
    return replace(panel, dimensions=tuple(every), sort=None)


@pytest.mark.parametrize(("dashboard", "panel"), PANELS, ids=lambda value: getattr(value, "id", value))
def test_compared_figures_equal_those_of_the_other_time_range(dashboard, panel, filled):
    search = filled[1]
    main = Span.ending(NOW, dashboard.days)
    other = days_before(main, dashboard.days, UTC_CALENDAR)
    table = rows(panel, search(panel.data.index, query(panel, main)))
    body = comparison_query(panel, main, other, table, None, UTC_CALENDAR)
    compared = aligned(panel, table, search(panel.data.index, body), main, other, UTC_CALENDAR)
    labels = [dimension.label for dimension in panel.dimensions]
    time = next((one.label for one in panel.dimensions if isinstance(one, Time)), None)
    # a search of its own, whose terms know nothing of the rows
    alone = rows(wide(panel), search(panel.data.index, query(wide(panel), other)))
    expected = {tuple(row[label] for label in labels): row for row in alone}
    assert len(compared.rows) >= len(table) - (len(table) > 0 and time is not None) * len(table) // 10
    for row in compared.rows:
        key = [row[label] for label in labels]
        if OTHER in key:
            continue
        if time is not None:
            key[labels.index(time)] = compared.own_keys[row[time]]
        values = expected.get(tuple(key), {})
        for figure in panel.measures:
            found, right = row[figure.label], values.get(figure.label)
            tolerance = 0.1 if getattr(figure, "op", "") == "percentile" else 1e-9
            assert (found or 0) == pytest.approx(right or 0, rel=tolerance, abs=1e-9), (key, figure.label)
    if time is not None:
        gaps = {own - start for start, own in compared.own_keys.items()}
        assert min(gaps) >= -366 * DAY_MS
        assert list(compared.own_keys) == sorted(compared.own_keys)
        assert list(compared.own_keys.values()) == sorted(compared.own_keys.values())


def board(*panels):
    return Dashboard("b", "B", "What?", panels)


def compared_panel(filled, panel, now=NOW, **parameters):
    requested = parse_query(board(panel), {name: [value] for name, value in parameters.items()})
    return board_data(board(panel), requested, filled[1], now)["panels"][panel.id], requested


def test_intervals_are_aligned_by_position_and_shorter_periods_have_none_behind_them(filled):
    days = Panel("p", "P", "", SESSIONS, "bar", Position(0, 0, 1, 1), (COUNT,), (Time("Day", "start_ts", "day"),))
    data, requested = compared_panel(
        filled, days, **{"from": "2026-05-01", "to": "2026-05-20"}, compare="custom", compare_from="2026-04-01",
        compare_to="2026-04-03",
    )  # fmt: skip
    first = at("2026-05-01", "UTC")
    assert data["compare"]["own_keys"] == {first + n * DAY_MS: at("2026-04-01", "UTC") + n * DAY_MS for n in range(3)}
    assert [row[0] for row in data["compare"]["rows"]] == [first, first + DAY_MS, first + 2 * DAY_MS]
    labels, table, units = csv_columns(days, data, requested)
    assert labels == ["Day", "Sessions", "Day, compared days", "Sessions, compared days"]
    assert units == ["time", "count", "time", "count"]
    assert table[0] == [*data["rows"][0], at("2026-04-01", "UTC"), data["compare"]["rows"][0][1]]
    assert table[5][2:] == [None, None]


@pytest.mark.parametrize(
    ("every", "main", "end"),
    [
        ("day", ("2026-05-18", "2026-05-21"), "2025-03-04"),
        ("week", ("2026-05-18", "2026-05-26"), "2025-03-10"),
        ("month", ("2026-05-18", "2026-06-02"), "2025-05-01"),
        ("hour", ("2026-05-18", "2026-05-18T03:00"), "2025-03-01T04:00"),
    ],
)
def test_search_over_a_longer_range_ends_with_the_main_intervals(every, main, end):
    bars = Panel("p", "P", "", SESSIONS, "bar", Position(0, 0, 1, 1), (COUNT,), (Time("T", "start_ts", every),))
    body = comparison_query(bars, span(*main), span("2025-03-01", "2026-03-01"), [], None, BERLIN)
    assert body["query"]["bool"]["filter"] == [{"range": {"start_ts": {"gte": at("2025-03-01"), "lt": at(end)}}}]


def test_longer_range_is_searched_to_the_end_of_the_main_intervals(filled, made):
    days = Panel("p", "P", "", SESSIONS, "bar", Position(0, 0, 1, 1), (COUNT,), (Time("Day", "start_ts", "day"),))
    data, _ = compared_panel(
        filled, days, **{"from": "2026-05-18", "to": "2026-05-20"}, compare="custom", compare_from="2026-03-01",
        compare_to="2026-05-10",
    )  # fmt: skip
    assert len(data["compare"]["rows"]) == 3
    for start, sessions in data["compare"]["rows"]:
        own = data["compare"]["own_keys"][start]
        assert sessions == sum(own <= one["start_ts"] < own + DAY_MS for one in made["sessions"])


def test_value_that_vanished_is_in_the_compared_bucket_of_further_values(filled, made):
    revenue = Measure("Revenue", "sum", "total", unit="money")
    top = Terms("Country", "country", 1, by="Revenue", other=True)
    bars = Panel("p", "P", "", ORDERS, "bar_horizontal", Position(0, 0, 1, 1), (revenue,), (top,))
    data, _ = compared_panel(filled, bars, last="20d", compare="previous")
    before = [one for one in made["orders"] if NOW - 40 * DAY_MS <= one["ts"] < NOW - 20 * DAY_MS]
    ((shown, _), (other, _)) = data["rows"]
    assert other == OTHER
    expected = {shown: 0.0, OTHER: 0.0}
    for one in before:
        expected[shown if (one["country"] or "(none)") == shown else OTHER] += one["total"] or 0
    assert dict(data["compare"]["rows"]) == {name: PLAIN_MONEY.number(value) for name, value in expected.items()}


# --- tiles ---


def test_tile_has_its_figure_over_time(filled, made):
    revenue = Measure("Revenue", "sum", "total", unit="money")
    tile = Panel("p", "P", "", ORDERS, "metric", Position(0, 0, 1, 1), (revenue,))
    data, _ = compared_panel(filled, tile, last="30d", compare="previous")
    ((total,),) = data["rows"]
    ((before,),) = data["compare"]["rows"]
    assert sum(value for _, value in data["spark"]) == pytest.approx(total)
    assert len(data["spark"]) == 31
    newest = max(one["ts"] for one in made["orders"])
    assert data["spark"][-1][0] <= newest < data["spark"][-1][0] + DAY_MS
    assert data["spark_partial"] == [data["spark"][0][0], data["spark"][-1][0]]
    end = max(newest, *(one["ts"] for one in made["events"])) + 1
    cents = sum(one["total"] or 0 for one in made["orders"] if end - 60 * DAY_MS <= one["ts"] < end - 30 * DAY_MS)
    assert before == pytest.approx(cents)


def test_wall_clock_panels_end_now_and_report_silence(filled, made):
    (tile,) = (panel for one in DASHBOARDS for panel in one.panels if panel.id == "pipeline-lag")
    newest = max(one["at"] for one in made["pipeline"])
    fresh, _ = compared_panel(filled, tile, now=newest + 59_000)
    assert "silent_ms" not in fresh
    late, _ = compared_panel(filled, tile, now=newest + 3 * DAY_MS)
    assert late["silent_ms"] == 3 * DAY_MS
    assert late["rows"] == [[None]]


def test_layer_has_the_figures_of_its_documents_and_the_time_when_they_were_computed(filled, made):
    (panel,) = (panel for one in DASHBOARDS for panel in one.panels if panel.id == "revenue-forecast")
    data, _ = compared_panel(filled, panel)
    total = [one for one in made["forecast"] if one["level"] == "total"]
    assert data["layer"]["as_of"] == max(one["ts"] for one in total if one["revenue"] is not None)
    expected = {}
    for one in total:
        if one["forecast"] is not None:
            day = one["ts"] // DAY_MS * DAY_MS
            expected[day] = max(expected.get(day, 0), PLAIN_MONEY.number(one["forecast"]))
    assert len(expected) > 5
    assert {row[0]: row[1] for row in data["layer"]["rows"] if row[1] is not None} == expected
    assert all(any(value is not None for value in row[1:]) for row in data["layer"]["rows"])
    days = {row[0]: row[1] for row in data["rows"]}
    assert min(days) < NOW - 89 * DAY_MS
    assert max(expected) > NOW
