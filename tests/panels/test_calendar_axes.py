"""Time axes of panels in a real Elasticsearch against Python's own zones: equal figures for equal periods."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import get_args
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk

from connectors.elasticsearch.mappings import alias
from connectors.elasticsearch.search import Searcher
from connectors.formats.money_format import PLAIN_MONEY
from dashboards.panels import Data, Measure, Panel, Position, Span, Time
from dashboards.queries import query, rows
from dashboards.web.boards import board_data
from dashboards.web.csv import csv_text
from dashboards.web.parameters import Query
from features.calendar import Calendar
from features.schema import DAY_MS, HOUR_MS, WeekStart

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CALENDARS = [
    Calendar("Europe/Berlin"), Calendar("Europe/Berlin", "sunday"), Calendar("Asia/Kolkata", "saturday"),
    Calendar("America/Sao_Paulo", "sunday"), Calendar(),
]  # fmt: skip
ORDERS = Data("orders", "ts", "an order")


def panel(every):
    measures = (Measure("Orders", "count"), Measure("Customers", "unique", "customer_id"))
    return Panel("p", "p", "?", ORDERS, "bar", Position(0, 0, 1, 1), measures, (Time("When", "ts", every),))


def epoch_ms(moment):
    return (moment.astimezone(UTC) - EPOCH) // timedelta(milliseconds=1)


def local_start(time_ms, unit, calendar):
    """First instant of the period of a time, by Python's zones alone."""
    zone = ZoneInfo(calendar.time_zone)
    day = (EPOCH + timedelta(milliseconds=time_ms)).astimezone(zone).date()
    if unit == "week":
        day -= timedelta(days=(day.weekday() - get_args(WeekStart).index(calendar.week_start)) % 7)
    elif unit == "month":
        day = day.replace(day=1)
    # midnight, or the first instant after it where summer time begins at midnight
    return epoch_ms(datetime(day.year, day.month, day.day, tzinfo=zone))


@pytest.fixture(scope="module")
def orders(servers, shared_run):
    """Orders of two years, at both sides of the midnights of every zone, to the millisecond."""
    rng = np.random.default_rng(3)
    times = set()
    for calendar in CALENDARS:
        zone = ZoneInfo(calendar.time_zone)
        for number in range(0, 731, 3):
            midnight = epoch_ms(datetime(2017, 6, 1, tzinfo=zone) + timedelta(days=number))
            times |= {midnight - 1, midnight, midnight + int(rng.integers(DAY_MS))}
    made = [(ts, f"c{int(rng.integers(30))}") for ts in sorted(times)]
    with Elasticsearch(**servers.elasticsearch.client_options()) as client:
        index = alias(shared_run, "orders")
        fields = {"ts": {"type": "date", "format": "epoch_millis"}, "customer_id": {"type": "keyword"}}
        client.indices.create(index=index, mappings={"properties": fields})
        bulk(client, ({"_index": index, "ts": ts, "customer_id": who} for ts, who in made), refresh=True)
        yield made, Searcher(client, shared_run)


@pytest.mark.parametrize("calendar", CALENDARS, ids=str)
@pytest.mark.parametrize("every", ["day", "week", "month"])
def test_intervals_are_periods_of_the_shop_calendar(orders, calendar, every):
    made, search = orders
    days = 550 if every == "day" else 720
    span = Span.ending(made[-1][0] + 1, days)
    one = panel(every)
    table = rows(one, search("orders", query(one, span, None, calendar)))
    inside = [(local_start(ts, every, calendar), who) for ts, who in made if span.from_ms <= ts < span.to_ms]
    counts = Counter(start for start, _ in inside)
    assert {row["When"]: row["Orders"] for row in table if row["Orders"]} == counts
    assert {row["When"]: row["Customers"] for row in table if row["Orders"]} == {
        start: len({who for one, who in inside if one == start}) for start in counts
    }
    starts = [row["When"] for row in table]
    assert starts == sorted(starts)
    assert starts[0] <= span.from_ms < starts[1]


@pytest.mark.parametrize("calendar", CALENDARS, ids=str)
@pytest.mark.parametrize("days", [1, 2, 20, 300])
def test_automatic_intervals_begin_at_local_hours_and_midnights(orders, calendar, days):
    made, search = orders
    one = panel("auto")
    table = rows(one, search("orders", query(one, Span.ending(made[-1][0] + 1, days), None, calendar)))
    assert sum(row["Orders"] for row in table) == sum(ts > made[-1][0] - days * DAY_MS for ts, _ in made)
    zone = ZoneInfo(calendar.time_zone)
    for row in table:
        moment = (EPOCH + timedelta(milliseconds=row["When"])).astimezone(zone)
        assert (moment.minute % 10, moment.second) == (0, 0)
        assert (
            days < 20
            or moment.hour in (0, 3, 6, 9, 12, 15, 18, 21)
            or moment.utcoffset() != zone.utcoffset(moment.replace(tzinfo=None) - timedelta(days=1))
        )


def test_intervals_that_are_cut_or_not_over_are_marked(orders):
    _, search = orders
    calendar = Calendar("Europe/Berlin")

    class Board:
        id, panels = "b", (panel("day"),)

    class Both:
        def __call__(self, index, body):
            return search(index, body) if index == "orders" else {}

        def many(self, searches):
            return [search(*one) for one in searches]

    for requested, edges in [
        (Query(10 * DAY_MS), (0, -1)),
        (Query(0, period="this_month"), (-1,)),
        (Query(0, period="last_month"), ()),
    ]:
        data = board_data(Board, requested, Both(), 0, calendar)["panels"]["p"]
        assert data["partial"] == [data["rows"][edge][0] for edge in edges]


def test_csv_has_the_local_date_and_the_offset():
    summer, winter = (epoch_ms(datetime(2026, 10, day, tzinfo=ZoneInfo("Europe/Berlin"))) for day in (25, 26))
    text = csv_text(["When", "Orders"], [[summer, 1], [winter, 2]], ["time", "count"], PLAIN_MONEY, "Europe/Berlin")
    assert text.splitlines()[1:] == ["2026-10-25T00:00:00.000+02:00,1", "2026-10-26T00:00:00.000+01:00,2"]
    assert (winter - summer) / HOUR_MS == 25
