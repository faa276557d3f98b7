"""Builds the search body of a panel and converts the response to rows. Pure; sizes are bounded.

Uses only core aggregations: terms, filters, date_histogram, date_range, filter, sum, avg, min, max, cardinality,
percentiles. Uses no scripts and no pipeline aggregations.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np

from connectors.formats.money_format import DECIMALS_MAX, round_amount
from dashboards.conditions import Ago, Where, any_of, dsl
from dashboards.panels import (
    OTHER,
    Dimension,
    Every,
    Figure,
    Measure,
    Op,
    Panel,
    Ratio,
    Span,
    Steps,
    Terms,
    Time,
    plain,
    time_position,
)
from features.calendar import UTC_CALENDAR, Calendar, Unit
from features.errors import ShopstreamError
from features.schema import DAY_MS, HOUR_MS, NOT_KNOWN

TIMEOUT: Final = "5s"
"""Timeout of a search. A slower search returns an incomplete answer, which `rows` rejects."""
TIME_BUCKETS: Final = 100
"""Approximate number of intervals of `auto`."""
TIME_BUCKETS_MAX: Final = 600
SPARK_BUCKETS: Final = 30
"""Approximate number of intervals of the small chart in a tile."""
EXACT_VALUES: Final = 20_000
"""Most distinct values that a search over a monthly index ranks exactly: each month returns that many."""
ELASTIC_WEEK_START: Final = "monday"
"""First day of the weeks of a date_histogram."""
BUCKETS_MAX: Final = 10_000
"""Most buckets of one response, over all levels."""

Row = dict[str, Any]

_MINUTE_MS: Final = 60_000
_EVERY_MS: Final[dict[Every, int]] = {"hour": HOUR_MS, "day": DAY_MS, "week": 7 * DAY_MS, "month": 31 * DAY_MS}
_CALENDAR: Final[dict[Unit, str]] = {"day": "1d", "week": "1w", "month": "1M", "quarter": "1q", "year": "1y"}
_LADDER: Final[tuple[tuple[int, Unit | int], ...]] = (
    *((minutes * _MINUTE_MS, minutes * _MINUTE_MS) for minutes in (1, 5, 10, 30, 60, 180, 720)),
    (DAY_MS, "day"), (7 * DAY_MS, "week"), (30 * DAY_MS, "month"), (91 * DAY_MS, "quarter"), (365 * DAY_MS, "year"),
)  # fmt: skip
"""Shortest length of an interval in ms, and the interval: ms, or a unit of the calendar."""
_METRICS: Final = {"sum": "sum", "avg": "avg", "min": "min", "max": "max", "unique": "cardinality"}


# --- queries ----------------------------------------------------------------------------------------------------------


def span_of(panel: Panel, span: Span) -> Span:
    """Return the time range of a panel: its own, with the same anchor, or the dashboard's."""
    if panel.window is None:
        return span
    return Span(span.to_ms - panel.window.back_days * DAY_MS, span.to_ms + panel.window.ahead_days * DAY_MS)


def query(
    panel: Panel,
    span: Span,
    filters: Mapping[str, Sequence[str]] | None = None,
    calendar: Calendar = UTC_CALENDAR,
    *,
    spark: bool = False,
    compared: Compared | None = None,
) -> dict[str, Any]:
    """Return the body of the search for a panel.

    Args:
        panel: panel to fill.
        span: time range of the dashboard. Its end is the anchor of age conditions.
        filters: field -> values selected on the dashboard; ignored by panels with `whole_shop`.
        calendar: calendar of time axes.
        spark: whether the response also has the figures of a tile over time, see `sparks`.
        compared: the search that this one is compared with.

    Returns:
        Body for `_search` on the panel's index.
    """
    own = span_of(panel, span)
    clauses = dsl(panel.where, span.to_ms)
    if panel.data.time_field is not None:
        clauses.append({"range": {panel.data.time_field: {"gte": own.from_ms, "lt": own.to_ms}}})
    if not panel.whole_shop:
        clauses += any_of(filters or {})
    body = {"size": 0, "timeout": TIMEOUT, "track_total_hits": True, "query": {"bool": {"filter": clauses}}}
    axis = _Axis(own, span.to_ms, calendar, compared.span if compared else own, compared.values if compared else {})
    aggregations = _levels(panel, nesting(panel), axis)
    time = time_position(panel)
    if compared is not None and time is not None and f"d{time}" not in aggregations:
        # the intervals, also where no value has a document
        aggregations[f"d{time}"] = _bucket(panel, time, axis)
    if spark:
        level = _histogram_of(str(panel.data.time_field), spark_interval(own), axis, timed=True)
        aggregations["spark"] = level | ({"aggs": inner} if (inner := _levels(panel, (), axis)) else {})
    return body | ({"aggs": aggregations} if aggregations else {})


def has_spark(panel: Panel) -> bool:
    """Return whether a tile can show its figures over time: none of them looks at the newest documents only."""
    if panel.chart != "metric" or panel.data.time_field is None or panel.window is not None:
        return False
    conditions = [*panel.where, *(one for figure in panel.measures for part in plain(figure) for one in part.where)]
    return not any(isinstance(one, Ago) and one.after_ms is not None for one in conditions)


def nesting(panel: Panel) -> tuple[int, ...]:
    """Return the positions of the dimensions, the outermost bucket first.

    A chart over time is split before it is divided into intervals, so that all intervals show the same values. So are
    the rows of a heat map, which all have the same columns.
    """
    positions = tuple(range(len(panel.dimensions)))
    if len(positions) == 2 and (isinstance(panel.dimensions[0], Time) or panel.chart == "heatmap"):
        return positions[::-1]
    return positions


@dataclass(frozen=True, slots=True)
class _Axis:
    """Time range of a panel, anchor of its age conditions (epoch ms), and calendar of its time axis.

    `measured` is the time range that gives the axis its interval, `values` the only values of each dimension.
    """

    span: Span
    anchor_ms: int
    calendar: Calendar
    measured: Span
    values: Mapping[int, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Compared:
    """The search that another one is compared with, so that both have equal intervals and values.

    Attributes:
        span: time range of the panel in that search.
        values: position of each terms dimension -> the values that it shows.
    """

    span: Span
    values: Mapping[int, Sequence[Any]]


def _levels(panel: Panel, positions: Sequence[int], axis: _Axis) -> dict[str, Any]:
    if not positions:
        return _aggregations(panel, panel.measures, axis.anchor_ms)
    position, *rest = positions
    dimension = panel.dimensions[position]
    level = _bucket(panel, position, axis)
    if isinstance(dimension, Terms) and any(isinstance(panel.dimensions[one], Terms) for one in rest):
        # without the hint each value is a filter that recomputes all inner figures: ten times as slow for 2,000
        level["terms"]["execution_hint"] = "map"
    inner = _levels(panel, rest, axis)
    if rest:
        inner |= _ranking(panel, dimension, axis.anchor_ms)
    aggregations = {f"d{position}": level | ({"aggs": inner} if inner else {})}
    if isinstance(dimension, Terms):
        if dimension.other:
            # the whole, from which the values shown are subtracted
            aggregations |= _levels(panel, rest, axis)
        if position == nesting(panel)[0] and position not in axis.values and _must_be_exact(panel, dimension):
            aggregations[f"n{position}"] = {"cardinality": {"field": dimension.field, "precision_threshold": 40_000}}
    return aggregations


def _must_be_exact(panel: Panel, terms: Terms) -> bool:
    """Return whether values are ranked by a figure over several indices, each with top values of its own."""
    return panel.data.monthly and bool(terms.by)


def _ranking(panel: Panel, dimension: Dimension, anchor_ms: int) -> dict[str, Any]:
    """Return the measure that ranks an outer level, which otherwise exists only at the innermost level."""
    position = _ranked_by(panel, dimension)
    return {} if position is None else _aggregations(panel, [panel.measures[position]], anchor_ms)


def _ranked_by(panel: Panel, dimension: Dimension) -> int | None:
    if not isinstance(dimension, Terms) or not dimension.by:
        return None
    return next(position for position, figure in enumerate(panel.measures) if figure.label == dimension.by)


def _bucket(panel: Panel, position: int, axis: _Axis) -> dict[str, Any]:
    dimension = panel.dimensions[position]
    match dimension:
        case Steps(steps=steps):
            return {
                "filters": {"filters": {f"s{n}": _all(where, axis.anchor_ms) for n, (_, where) in enumerate(steps)}}
            }
        case Time(field=field, every=every):
            return _histogram_of(field, interval(every, axis.measured), axis, timed=panel.data.time_field == field)
        case Terms():
            return {"terms": _terms(panel, position, dimension, axis)}


def _terms(panel: Panel, position: int, dimension: Terms, axis: _Axis) -> dict[str, Any]:
    level: dict[str, Any] = {"field": dimension.field, "size": dimension.size}
    if dimension.other:
        level["missing"] = NOT_KNOWN
    if position in axis.values:
        values = list(axis.values[position])
        return level | {"include": values, "size": max(len(values), 1), "order": [{"_key": "asc"}]}
    ranked_by = _ranked_by(panel, dimension)
    order = [{"_key": "desc" if dimension.last_first else "asc"}]
    if ranked_by is not None:
        order = [{_path(panel, panel.measures[ranked_by]): "desc"}, *order]
    if _must_be_exact(panel, dimension):
        level["shard_size"] = EXACT_VALUES
    return level | {"order": order}


def _histogram_of(field: str, step: Unit | int, axis: _Axis, *, timed: bool) -> dict[str, Any]:
    span = axis.span
    # future intervals appear only if documents exist for them, past intervals always
    ends = min(span.to_ms, max(span.from_ms + 1, axis.anchor_ms)) - 1
    bounds = {"extended_bounds": {"min": span.from_ms, "max": ends}} if timed else {}
    return _histogram(field, step, span, axis.calendar, bounds)


def spark_interval(span: Span) -> Unit | int:
    """Return the interval of the small chart in a tile, see `interval`."""
    return _fitting(span, SPARK_BUCKETS)


def interval(every: Every, span: Span) -> Unit | int:
    """Return the interval of a time axis: the declared one, or a longer one if there would be too many.

    Returns:
        A unit of the calendar, or a length in ms.
    """
    length = span.to_ms - span.from_ms
    if every != "auto" and length <= TIME_BUCKETS_MAX * _EVERY_MS[every]:
        return HOUR_MS if every == "hour" else every
    return _fitting(span, TIME_BUCKETS)


def _fitting(span: Span, most: int) -> Unit | int:
    length = span.to_ms - span.from_ms
    return next((step for ms, step in _LADDER if length <= most * ms), _LADDER[-1][1])


def _histogram(field: str, step: Unit | int, span: Span, calendar: Calendar, bounds: dict[str, Any]) -> dict[str, Any]:
    """Return the aggregation of a time axis, in the shop's zone."""
    if step == "week" and calendar.week_start != ELASTIC_WEEK_START:
        return _week_ranges(field, span, calendar)
    kind = {"fixed_interval": f"{step // _MINUTE_MS}m"} if isinstance(step, int) else {
        "calendar_interval": _CALENDAR[step]
    }  # fmt: skip
    return {"date_histogram": {"field": field, **kind, "time_zone": calendar.time_zone, "min_doc_count": 0, **bounds}}


def _week_ranges(field: str, span: Span, calendar: Calendar) -> dict[str, Any]:
    """Return the aggregation of weeks that do not begin on Monday.

    An `offset` of a calendar interval is a duration: it misses midnight in a week with a change of the clocks.
    """
    first, last = (calendar.week_of(calendar.day_at(time)) for time in (span.from_ms, span.to_ms - 1))
    edges = calendar.start_ms(calendar.week_day(np.arange(first, last + 2))).tolist()
    ranges = [{"from": start, "to": end} for start, end in itertools.pairwise(edges)]
    return {"date_range": {"field": field, "format": "epoch_millis", "ranges": ranges}}


def bucket_end(start_ms: int, step: Unit | int, calendar: Calendar) -> int:
    """Return the end of an interval of a time axis, exclusive, epoch ms.

    Args:
        start_ms: first instant of the interval, epoch ms.
        step: see `interval`.
        calendar: calendar of the axis.
    """
    return start_ms + step if isinstance(step, int) else calendar.unit_start_ms(step, start_ms, 1)


def _all(where: Where, anchor_ms: int) -> dict[str, Any]:
    return {"bool": {"filter": dsl(where, anchor_ms)}}


def _path(panel: Panel, figure: Figure) -> str:
    """Return the path of the value that ranks a bucket."""
    if not isinstance(figure, Measure) or figure.op == "percentile":
        raise ValueError(f"values cannot be ranked by {figure.label}")
    name = _names(panel)[_computed(figure)]
    if figure.op == "count":
        return name if figure.where else "_count"
    return f"{name}>v" if figure.where else name


_Computed = tuple[Op, str, Where, int]


def _computed(measure: Measure) -> _Computed:
    """Return what a measure computes, whatever its label and its format are."""
    return measure.op, measure.field, measure.where, measure.percent


@functools.lru_cache(maxsize=1_000)
def _names(panel: Panel) -> Mapping[_Computed, str]:
    """Return the name of the aggregation of each measure. Figures share the aggregations that they have in common."""
    names: dict[_Computed, str] = {}
    for position, figure in enumerate(panel.measures):
        for part, measure in zip(("",) if isinstance(figure, Measure) else ("n", "d"), plain(figure), strict=True):
            names.setdefault(_computed(measure), f"m{position}{part}")
    return names


def _aggregations(panel: Panel, figures: Sequence[Figure], anchor_ms: int) -> dict[str, Any]:
    names = _names(panel)
    aggregations: dict[str, Any] = {}
    for measure in (measure for figure in figures for measure in plain(figure)):
        aggregations |= _measure(names[_computed(measure)], measure, anchor_ms)
    return aggregations


def _measure(name: str, measure: Measure, anchor_ms: int) -> dict[str, Any]:
    if measure.op == "count":
        return {name: {"filter": _all(measure.where, anchor_ms)}} if measure.where else {}
    if measure.op == "percentile":
        value: dict[str, Any] = {"percentiles": {"field": measure.field, "percents": [measure.percent], "keyed": False}}
    else:
        value = {_METRICS[measure.op]: {"field": measure.field}}
    if not measure.where:
        return {name: value}
    return {name: {"filter": _all(measure.where, anchor_ms), "aggs": {"v": value}}}


def buckets(panel: Panel, span: Span) -> int:
    """Return the maximum number of buckets of a response, over all levels."""
    total, product = 0, 1
    for position in nesting(panel):
        product *= _size(panel.dimensions[position], span_of(panel, span))
        total += product
    return total


def _size(dimension: Dimension, span: Span) -> int:
    match dimension:
        case Steps(steps=steps):
            return len(steps)
        case Terms(size=size, other=other):
            return size + other
        case Time(every=every):
            if every == "auto":
                return TIME_BUCKETS + 1
            return min(TIME_BUCKETS_MAX, math.ceil((span.to_ms - span.from_ms) / _EVERY_MS[every])) + 1


# --- responses --------------------------------------------------------------------------------------------------------


def check_complete(response: Mapping[str, Any]) -> None:
    """Refuse a response that lacks documents.

    Raises:
        ShopstreamError: the search ended at its time limit, or a shard failed.
    """
    if response.get("timed_out"):
        raise ShopstreamError(
            "Elasticsearch is overloaded and returned an incomplete answer.", "Try again, or choose a shorter period."
        )
    if failed := response.get("_shards", {}).get("failed"):
        raise ShopstreamError(
            f"Elasticsearch returned an incomplete answer: {failed} of its shards failed.",
            "Try again; if it persists, the log of Elasticsearch has the reason.",
        )


def rows(panel: Panel, response: Mapping[str, Any]) -> list[Row]:
    """Return a response as rows: label of each dimension and measure -> value.

    Strings and numbers are unchanged, times are epoch ms, missing values are None. Without a dimension there is one
    row.

    Raises:
        ShopstreamError: the response is incomplete.
    """
    check_complete(response)
    table = list(_rows(panel, nesting(panel), _whole(response), {}))
    if panel.sort is not None:
        label, descending = panel.sort
        # the bucket of all further values is last, whatever its figures are
        ranked = [row for row in table if not _is_other(panel, row)]
        known = sorted((row for row in ranked if row[label] is not None), key=lambda r: r[label], reverse=descending)
        rest = [row for row in ranked if row[label] is None]
        table = [*known, *rest, *(row for row in table if _is_other(panel, row))]
    return table


def _is_other(panel: Panel, row: Row) -> bool:
    return any(isinstance(one, Terms) and one.other and row[one.label] == OTHER for one in panel.dimensions)


def _whole(response: Mapping[str, Any]) -> dict[str, Any]:
    total = response.get("hits", {}).get("total", {}).get("value", 0)
    return {**response.get("aggregations", {}), "doc_count": total}


def empty_figures(panel: Panel) -> Row:
    """Return the figures of a bucket without documents."""
    return _figures(panel, {"doc_count": 0})


def sparks(panel: Panel, response: Mapping[str, Any]) -> list[tuple[int, Row]]:
    """Return the figures of a tile over time, as pairs of the start of an interval, epoch ms, and its figures."""
    level = response.get("aggregations", {}).get("spark", {})
    return [(key, _figures(panel, bucket)) for key, bucket in _keyed(level)]


def axis_starts(panel: Panel, response: Mapping[str, Any]) -> list[int]:
    """Return the starts of the intervals in the response to a search with `compared`, epoch ms."""
    return [key for key, _ in _keyed(response.get("aggregations", {}).get(f"d{time_position(panel)}", {}))]


def is_approximate(panel: Panel, response: Mapping[str, Any]) -> bool:
    """Return whether a list of top values may lack values: there are more than a search can rank."""
    for position, dimension in enumerate(panel.dimensions):
        level = response.get("aggregations", {}).get(f"d{position}", {})
        if not isinstance(dimension, Terms) or not dimension.by or not level.get("sum_other_doc_count"):
            continue
        distinct = response["aggregations"].get(f"n{position}")
        if distinct is None:
            # several shards of one index, each with top values of its own
            if not panel.data.monthly and response.get("_shards", {}).get("total", 1) > 1:
                return True
        elif distinct["value"] > EXACT_VALUES:
            return True
    return False


def _rows(panel: Panel, positions: Sequence[int], bucket: Mapping[str, Any], keys: dict[int, Any]) -> Iterator[Row]:
    if not positions:
        row = {dimension.label: keys[position] for position, dimension in enumerate(panel.dimensions)}
        yield row | _figures(panel, bucket)
        return
    position, *rest = positions
    dimension = panel.dimensions[position]
    shown = list(_buckets(dimension, bucket.get(f"d{position}", {})))
    for key, inner in shown:
        yield from _rows(panel, rest, inner, {**keys, position: key})
    if isinstance(dimension, Terms) and dimension.other:
        further = _without(bucket, [inner for _, inner in shown], _amounts(panel))
        if further["doc_count"] > 0:
            yield from _rows(panel, rest, further, {**keys, position: OTHER})


def _figures(panel: Panel, bucket: Mapping[str, Any]) -> Row:
    names = _names(panel)
    return {figure.label: _value(names, figure, bucket) for figure in panel.measures}


def _amounts(panel: Panel) -> frozenset[str]:
    """Return the names of the aggregations whose values are amounts."""
    measures = (measure for figure in panel.measures for measure in plain(figure))
    return frozenset(_names(panel)[_computed(one)] for one in measures if one.unit == "money")


def _without(whole: Mapping[str, Any], parts: Sequence[Mapping[str, Any]], amounts: frozenset[str]) -> dict[str, Any]:
    """Return a bucket with the documents of `whole` that are in none of the buckets `parts`.

    Counts and sums are differences. Sums of amounts are whole cents, so their difference is exact.
    """
    rest: dict[str, Any] = {"doc_count": whole.get("doc_count", 0) - sum(one["doc_count"] for one in parts)}
    for name, level in whole.items():
        inner = [one.get(name, {}) for one in parts]
        if name == "doc_count":
            continue
        if name[0] == "m":
            rest[name] = _difference(level, inner, is_amount=name in amounts)
        elif name[0] == "d" and all(name in one for one in parts):
            rest[name] = {"buckets": _buckets_without(level["buckets"], [one["buckets"] for one in inner], amounts)}
    return rest


def _buckets_without(whole: Any, parts: Sequence[Any], amounts: frozenset[str]) -> Any:
    if isinstance(whole, dict):
        return {key: _without(one, [part[key] for part in parts], amounts) for key, one in whole.items()}
    by_key = [{one["key"]: one for one in part} for part in parts]
    return [
        {**one, **_without(one, [part[one["key"]] for part in by_key if one["key"] in part], amounts)} for one in whole
    ]


def _difference(whole: Mapping[str, Any], parts: Sequence[Mapping[str, Any]], *, is_amount: bool) -> dict[str, Any]:
    rest: dict[str, Any] = {}
    if "doc_count" in whole:
        rest["doc_count"] = whole["doc_count"] - sum(one["doc_count"] for one in parts)
    if "v" in whole:
        rest["v"] = _difference(whole["v"], [one["v"] for one in parts], is_amount=is_amount)
    if "value" in whole:
        values = [one["value"] or 0 for one in (whole, *parts)]
        exact = [Fraction(round_amount(one, DECIMALS_MAX) if is_amount else one) for one in values]
        rest["value"] = float(exact[0] - sum(exact[1:]))
    return rest


def _buckets(dimension: Dimension, level: Mapping[str, Any]) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    if isinstance(dimension, Steps):
        for n, (label, _) in enumerate(dimension.steps):
            yield label, level.get("buckets", {}).get(f"s{n}", {"doc_count": 0})
        return
    yield from _keyed(level)


def _keyed(level: Mapping[str, Any]) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    for bucket in level.get("buckets", ()):
        # a range of dates has its start, as a float
        yield int(bucket["from"]) if "from" in bucket else bucket["key"], bucket


def _value(names: Mapping[_Computed, str], figure: Figure, bucket: Mapping[str, Any]) -> Any:
    values = [_measured(names[_computed(measure)], measure, bucket) for measure in plain(figure)]
    return values[0] if isinstance(figure, Measure) else combined(figure, *values)


def combined(ratio: Ratio, over: float | None, under: float | None) -> float | None:
    """Return the value of a ratio from its two figures."""
    if over is None or under is None:
        return None
    if ratio.over.unit == "money" and ratio.unit == "money" and not ratio.rest:
        return _amount(ratio, over, under)
    if ratio.minus:
        return over - under
    if under == 0:
        return None
    return 1 - over / under if ratio.rest else over / under


def _amount(ratio: Ratio, over: float, under: float) -> float | None:
    """Return an amount as the float64 nearest to the exact one: sums of amounts are whole cents."""
    cents = Fraction(round_amount(over, DECIMALS_MAX))
    if ratio.minus:
        return float(cents - Fraction(round_amount(under, DECIMALS_MAX)))
    return None if under == 0 else float(cents / Fraction(under))


def _measured(name: str, measure: Measure, bucket: Mapping[str, Any]) -> Any:
    value = _as_counted(name, measure, bucket)
    return -value if measure.below and value else value


def _as_counted(name: str, measure: Measure, bucket: Mapping[str, Any]) -> Any:
    if measure.op == "count":
        return bucket.get(name, {"doc_count": 0})["doc_count"] if measure.where else bucket.get("doc_count", 0)
    aggregation = bucket.get(name, {})
    if measure.where:
        aggregation = aggregation.get("v", {})
    if measure.op == "percentile":
        values = aggregation.get("values", ())
        return _number(values[0]["value"]) if values else None
    value = _number(aggregation.get("value"))
    if measure.op in ("sum", "unique") and value is None:
        return 0
    return int(value) if value is not None and measure.unit == "time" else value


def _number(value: Any) -> Any:
    return None if value is None or (isinstance(value, float) and math.isnan(value)) else value


def fields_of(panel: Panel) -> dict[str, set[str]]:
    """Return each field that a panel uses, with its uses: an `op`, `terms`, `time`, or `where`."""
    measures = [measure for figure in panel.measures for measure in plain(figure)]
    uses: list[tuple[str, str]] = [(measure.field, str(measure.op)) for measure in measures if measure.field]
    conditions = [panel.where, *(measure.where for measure in measures)]
    for dimension in panel.dimensions:
        if isinstance(dimension, Steps):
            conditions += [where for _, where in dimension.steps]
        else:
            uses.append((dimension.field, "terms" if isinstance(dimension, Terms) else "time"))
    uses += [(condition.field, "where") for where in conditions for condition in where]
    if panel.data.time_field is not None:
        uses.append((panel.data.time_field, "time"))
    uses_of: dict[str, set[str]] = {}
    for field, use in uses:
        uses_of.setdefault(field, set()).add(use)
    return uses_of
