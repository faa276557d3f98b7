"""Searches are bounded and plain; conditions say the same in both languages; answers become rows."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from panels.lens_reader import predicate

from dashboards.boards import DASHBOARDS
from dashboards.boards.data import CUSTOMERS, ORDERS, SESSIONS
from dashboards.conditions import Ago, AtLeast, AtMost, Exists, Is, Not, dsl, kql
from dashboards.panels import OTHER, Measure, Panel, Position, Ratio, Span, Steps, Terms, Time, Window
from dashboards.queries import (
    BUCKETS_MAX,
    EXACT_VALUES,
    TIME_BUCKETS,
    TIME_BUCKETS_MAX,
    buckets,
    has_spark,
    interval,
    is_approximate,
    query,
    rows,
    span_of,
)
from features.errors import ShopstreamError

DAY = 86_400_000
NOW = 1_779_280_440_000
PANELS = [panel for dashboard in DASHBOARDS for panel in dashboard.panels]
CORE = {"terms", "filters", "filter", "date_histogram", "sum", "avg", "min", "max", "cardinality", "percentiles"}
COUNT = Measure("Sessions", "count")


def panel(*measures, dimensions=(), **changes):
    fields = {
        "id": "p",
        "title": "P",
        "definition": "",
        "data": SESSIONS,
        "chart": "table",
        "position": Position(0, 0, 1, 1),
    }
    return Panel(**{**fields, **changes}, measures=measures, dimensions=dimensions)


def aggregations(body):
    for level in body.get("aggs", {}).values():
        (kind,) = level.keys() - {"aggs"}
        yield kind, level[kind]
        yield from aggregations(level)


@pytest.mark.parametrize("one", PANELS, ids=lambda one: one.id)
@pytest.mark.parametrize("days", [1, 30, 400, 4_000])
def test_searches_are_bounded_and_use_core_aggregations_only(one, days):
    span = Span.ending(NOW, days)
    body = query(one, span)
    assert body["size"] == 0
    assert body["timeout"]
    part = list(aggregations(body))
    assert {kind for kind, _ in part} <= CORE
    assert all(what["size"] <= 100 for kind, what in part if kind == "terms")
    assert buckets(one, span) <= BUCKETS_MAX
    assert "script" not in str(body)


@pytest.mark.parametrize("every", ["auto", "hour", "day", "week", "month"])
@pytest.mark.parametrize("minutes", [1, 59, 100, 1_440, 43_200, 525_600, 5_256_000])
def test_number_of_time_buckets_is_bounded(every, minutes):
    part = interval(every, Span(NOW - minutes * 60_000, NOW))
    days = {"day": 1, "week": 7, "month": 28, "quarter": 90, "year": 365}
    length = part / 60_000 if isinstance(part, int) else days[part] * 1_440
    assert minutes / length <= (TIME_BUCKETS if every == "auto" else TIME_BUCKETS_MAX * 31 / 28)


@pytest.mark.parametrize(
    ("where", "clause", "text"),
    [
        (Is("stage", ("cart",)), {"terms": {"stage": ["cart"]}}, 'stage : "cart"'),
        (Is("s", ("cart", 'a "b" \\')), {"terms": {"s": ["cart", 'a "b" \\']}}, 's : ("cart" or "a \\"b\\" \\\\")'),
        (Is("complete", (True,)), {"terms": {"complete": [True]}}, "complete : true"),
        (Is("months_since", (0,)), {"terms": {"months_since": [0]}}, "months_since : 0"),
        (Exists("psi"), {"exists": {"field": "psi"}}, "psi : *"),
        (AtLeast("orders_total", 2), {"range": {"orders_total": {"gte": 2}}}, "orders_total >= 2"),
        (AtMost("days_since_visit", 60), {"range": {"days_since_visit": {"lte": 60}}}, "days_since_visit <= 60"),
        (
            Not(AtMost("days_since_visit", 60)),
            {"bool": {"must_not": [{"range": {"days_since_visit": {"lte": 60}}}]}},
            "not days_since_visit <= 60",
        ),
        (Ago("ts", before_ms=1_800_000), {"range": {"ts": {"lt": NOW - 1_800_000}}}, "ts < now-30m"),
        (Ago("t", DAY, 60_000), {"range": {"t": {"gte": NOW - DAY, "lt": NOW - 60_000}}}, "t >= now-1d and t < now-1m"),
        (Ago("ts", 3_600_000, 0), {"range": {"ts": {"gte": NOW - 3_600_000, "lt": NOW}}}, "ts >= now-1h and ts < now"),
    ],
)  # fmt: skip
def test_condition_in_query_dsl_equals_its_kql(where, clause, text):
    assert dsl((where,), NOW) == [clause]
    assert kql((where,)) == text
    predicate(text, NOW)  # it can be read again


def test_cart_is_abandoned_relative_to_the_time_of_the_query():
    (abandoned,) = (one for one in PANELS if one.id == "now-abandoned")
    holds = predicate(kql(abandoned.measures[0].where), NOW)
    assert holds({"stage": "cart", "last_ts": NOW - 1_800_001})
    assert holds({"stage": "checkout", "last_ts": NOW - 1_800_001, "abandoned": False})
    assert not holds({"stage": "cart", "last_ts": NOW - 1_800_000})
    assert not holds({"stage": "purchase", "last_ts": NOW - DAY})


def test_a_panel_has_its_own_time_range_around_the_same_end():
    own = panel(COUNT, window=Window(back_days=90, ahead_days=60))
    assert span_of(own, Span.ending(NOW, 1)) == Span(NOW - 90 * DAY, NOW + 60 * DAY)
    assert span_of(panel(COUNT), Span.ending(NOW, 1)) == Span(NOW - DAY, NOW)


def test_past_days_are_complete_and_future_days_end_with_the_documents():
    day = (Time("Day", "start_ts", "day"),)
    ahead = query(panel(COUNT, dimensions=day, window=Window(back_days=90, ahead_days=60)), Span.ending(NOW, 1))
    assert {"range": {"start_ts": {"gte": NOW - 90 * DAY, "lt": NOW + 60 * DAY}}} in ahead["query"]["bool"]["filter"]
    bounds = ahead["aggs"]["d0"]["date_histogram"]["extended_bounds"]
    assert bounds == {"min": NOW - 90 * DAY, "max": NOW - 1}
    past = query(panel(COUNT, dimensions=day), Span.ending(NOW, 7))
    assert past["aggs"]["d0"]["date_histogram"]["extended_bounds"] == {"min": NOW - 7 * DAY, "max": NOW - 1}


def test_nested_values_are_counted_without_a_filter_for_each():
    (top,) = (one for one in PANELS if one.id == "products-top")
    body = query(top, Span.ending(NOW, 30))
    assert body["aggs"]["d0"]["terms"]["execution_hint"] == "map"
    assert "execution_hint" not in body["aggs"]["d0"]["aggs"]["d1"]["terms"]
    (flat,) = (one for one in PANELS if one.id == "products-conversion")
    assert "execution_hint" not in query(flat, Span.ending(NOW, 30))["aggs"]["d0"]["terms"]


def test_time_chart_is_split_by_value_before_time_buckets():
    body = query(
        panel(COUNT, dimensions=(Time("T", "start_ts"), Terms("D", "device", 3, by="Sessions"))), Span.ending(NOW, 7)
    )
    assert list(body["aggs"]) == ["d1"]
    assert body["aggs"]["d1"]["terms"]["order"] == [{"_count": "desc"}, {"_key": "asc"}]


def test_a_panel_of_the_whole_shop_does_not_follow_filters():
    span, chosen = Span.ending(NOW, 30), {"channel": ["nobody"]}
    (shop,) = (one for one in PANELS if one.id == "retention-once")
    (cohorts,) = (one for one in PANELS if one.id == "retention-cohorts")
    assert query(shop, span, chosen) == query(shop, span)
    assert {"terms": {"channel": ["nobody"]}} in query(cohorts, span, chosen)["query"]["bool"]["filter"]


# --- answers ---


def answer(aggregations=None, total=0, **more):
    return {"timed_out": False, "hits": {"total": {"value": total}}, "aggregations": aggregations or {}, **more}


def test_missing_index_gives_no_rows():
    nothing = {"timed_out": False, "hits": {"total": {"value": 0}}}
    for one in PANELS:
        for row in rows(one, nothing):
            assert all(row[figure.label] in (0, None) for figure in one.measures), one.id


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        ({"timed_out": True}, "Elasticsearch is overloaded and returned an incomplete answer."),
        ({"_shards": {"failed": 2}}, "Elasticsearch returned an incomplete answer: 2 of its shards failed."),
    ],
)
def test_an_incomplete_answer_is_rejected_with_its_cause(part, problem):
    with pytest.raises(ShopstreamError) as refused:
        rows(panel(COUNT), answer(total=5, **part))
    assert refused.value.message == problem
    assert "again" in refused.value.remedy


def test_missing_values_are_null():
    mean = Measure("Mean", "avg", "events", unit="number")
    half = Measure("Half", "percentile", "events", unit="number")
    share = Ratio(
        "Share", Measure("a", "count", where=(Exists("view_ts"),)), Measure("b", "count", where=(Exists("cart_ts"),))
    )
    empty = {
        "m0": {"value": None},
        "m1": {"values": [{"key": 50.0, "value": None}]},
        "m2n": {"doc_count": 4},
        "m2d": {"doc_count": 0},
    }
    assert rows(panel(mean, half, share), answer(empty)) == [{"Mean": None, "Half": None, "Share": None}]
    nan = {**empty, "m1": {"values": [{"key": 50.0, "value": float("nan")}]}, "m2d": {"doc_count": 16}}
    assert rows(panel(mean, half, share), answer(nan)) == [{"Mean": None, "Half": None, "Share": 0.25}]


def test_ratios_remainders_and_differences_are_calculated():
    over, under = Measure("a", "count", where=(Exists("view_ts"),)), Measure("b", "sum", "events")
    figures = (Ratio("r", over, under), Ratio("rest", over, under, rest=True), Ratio("minus", over, under, minus=True))
    part = {f"m{n}n": {"doc_count": 3} for n in range(3)} | {f"m{n}d": {"value": 12.0} for n in range(3)}
    assert rows(panel(*figures), answer(part)) == [{"r": 0.25, "rest": 0.75, "minus": -9.0}]


def test_steps_are_applied_and_null_values_sort_last():
    stages = Steps("Stage", (("one", ()), ("two", ()), ("three", ())))
    mean = Measure("Mean", "avg", "events", unit="number")
    values = (2.0, None, 5.0)
    part = {"d0": {"buckets": {f"s{n}": {"doc_count": n, "m0": {"value": v}} for n, v in enumerate(values)}}}
    assert [row["Stage"] for row in rows(panel(mean, dimensions=(stages,)), answer(part))] == ["one", "two", "three"]
    highest = panel(mean, dimensions=(stages,), sort=("Mean", True))
    assert [row["Stage"] for row in rows(highest, answer(part))] == ["three", "one", "two"]


def test_figure_below_zero_is_negated():
    lost = Measure("Lost", "sum", "events", below=True)
    assert rows(panel(lost), answer({"m0": {"value": 4.0}})) == [{"Lost": -4.0}]
    assert rows(panel(lost), answer({"m0": {"value": 0.0}})) == [{"Lost": 0.0}]


REVENUE = Measure("Revenue", "sum", "total", unit="money")
AVERAGE = Ratio("Average", REVENUE, Measure("Orders", "count"), unit="money")
TOP = Terms("Country", "country", 2, by="Revenue", other=True)


def bucket(key, orders, revenue):
    return {"key": key, "doc_count": orders, "m0": {"value": revenue}, "m1n": {"value": revenue}}


def test_further_values_are_the_whole_without_the_values_shown_in_whole_cents():
    table = panel(REVENUE, AVERAGE, dimensions=(TOP,), data=ORDERS, sort=("Revenue", True))
    # the sums of floats have errors of their last digits
    level = {"buckets": [bucket("DE", 4, 0.1 + 0.2), bucket("(none)", 2, 0.7 + 0.1)], "sum_other_doc_count": 3}
    result = rows(table, answer({"d0": level, "m0": {"value": 3.3}, "m1n": {"value": 3.3}}, total=9))
    assert result == [
        {"Country": "(none)", "Revenue": 0.7 + 0.1, "Average": 0.4},
        {"Country": "DE", "Revenue": 0.1 + 0.2, "Average": 0.075},
        {"Country": OTHER, "Revenue": 2.2, "Average": float(Fraction(22, 30))},
    ]
    whole = answer({"d0": level, "m0": {"value": 1.1}, "m1n": {"value": 1.1}}, total=6)
    assert [row["Country"] for row in rows(table, whole)] == ["(none)", "DE"]


def test_list_over_several_indices_ranks_all_values_or_is_approximate():
    monthly = panel(REVENUE, dimensions=(Terms("Country", "country", 2, by="Revenue"),), data=ORDERS)
    body = query(monthly, Span.ending(NOW, 90))
    assert body["aggs"]["d0"]["terms"]["shard_size"] == EXACT_VALUES
    level = {"buckets": [], "sum_other_doc_count": 5}
    assert not is_approximate(monthly, answer({"d0": level, "n0": {"value": EXACT_VALUES}}))
    assert is_approximate(monthly, answer({"d0": level, "n0": {"value": EXACT_VALUES + 1}}))
    alone = replace(monthly, data=SESSIONS)
    assert "shard_size" not in query(alone, Span.ending(NOW, 90))["aggs"]["d0"]["terms"]
    assert not is_approximate(alone, answer({"d0": level}, _shards={"total": 1}))
    assert is_approximate(alone, answer({"d0": level}, _shards={"total": 2}))
    assert not is_approximate(alone, answer({"d0": level | {"sum_other_doc_count": 0}}, _shards={"total": 2}))


def test_tile_of_the_newest_documents_has_no_small_chart():
    tile = panel(COUNT, chart="metric")
    assert has_spark(tile)
    assert not has_spark(replace(tile, where=(Ago("start_ts", after_ms=300_000),)))
    assert has_spark(replace(tile, where=(Ago("last_ts", before_ms=300_000),)))
    assert not has_spark(replace(tile, window=Window(back_days=3)))
    assert not has_spark(replace(tile, data=CUSTOMERS))
    assert not has_spark(replace(tile, chart="table"))


def test_figures_share_the_aggregations_that_they_have_in_common():
    over, under = Measure("a", "count", where=(Exists("view_ts"),)), Measure("b", "sum", "events")
    shared = panel(over, replace(under, label="B", unit="number"), Ratio("r", over, under), replace(over, label="c"))
    assert query(shared, Span.ending(NOW, 7))["aggs"].keys() == {"m0", "m1"}
    assert rows(shared, answer({"m0": {"doc_count": 3}, "m1": {"value": 12.0}})) == [
        {"a": 3, "B": 12.0, "r": 0.25, "c": 3}
    ]
    (top,) = (one for one in PANELS if one.id == "products-conversion")
    assert len(query(top, Span.ending(NOW, 30))["aggs"]["d0"]["aggs"]) == 3
