"""Reads a Lens panel out of the file and computes it over plain documents, as Kibana would: KQL, layers, formulas.

Shares no code with what builds panels or searches, so it says whether both mean the same.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
TOKEN = re.compile(r'\s*("(?:\\.|[^"\\])*"|\(|\)|>=|<=|:|<|>|\*|[^\s():<>"*]+)')


# --- KQL ---


def predicate(query, now_ms):
    """A function of a document; the part of KQL that is used: values, lists of values, existence, ranges, and, not."""
    tokens = TOKEN.findall(query)
    assert "".join(tokens).replace(" ", "") == query.replace(" ", ""), query
    tests, position = [], 0
    while position < len(tokens):
        negated = tokens[position] == "not"
        position += negated
        field, operator = tokens[position], tokens[position + 1]
        position += 2
        if operator == ":" and tokens[position] == "(":
            end = tokens.index(")", position)
            tests.append(_equals(field, [_literal(token) for token in tokens[position + 1 : end : 2]]))
            assert set(tokens[position + 2 : end : 2]) <= {"or"}
            position = end + 1
        elif operator == ":":
            tests.append(_exists(field) if tokens[position] == "*" else _equals(field, [_literal(tokens[position])]))
            position += 1
        else:
            tests.append(_compares(field, operator, _moment(tokens[position], now_ms)))
            position += 1
        if negated:
            tests[-1] = _negation(tests[-1])
        if position < len(tokens):
            assert tokens[position] == "and", tokens
            position += 1
    return lambda document: all(test(document) for test in tests)


def _negation(test):
    return lambda document: not test(document)


def _literal(token):
    if token.startswith('"'):
        return re.sub(r"\\(.)", r"\1", token[1:-1])
    return {"true": True, "false": False}.get(token) if token in ("true", "false") else float(token)


def _moment(token, now_ms):
    match = re.fullmatch(r"now(?:-(\d+)([smhd]))?", token)
    if match is None:
        return float(token)
    return now_ms - (int(match[1]) * UNITS_MS[match[2]] if match[1] else 0)


def values_of(document, field):
    value = document.get(field)
    return [] if value is None else value if isinstance(value, list) else [value]


def _equals(field, values):
    return lambda document: any(value == expected for value in values_of(document, field) for expected in values)


def _exists(field):
    return lambda document: bool(values_of(document, field))


def _compares(field, operator, border):
    orders = {">=": lambda v: v >= border, "<": lambda v: v < border, "<=": lambda v: v <= border}
    return lambda document: any(orders[operator](value) for value in values_of(document, field))


# --- panels ---

OTHER, MISSING = "(other)", "(none)"
"""What the shop calls Kibana's buckets `__other__` and `__missing__`."""


@dataclass(frozen=True)
class Around:
    """What surrounds a bucket.

    Attributes:
        now_ms: end of the time range.
        interval: what date_histogram takes for `auto`.
        zone: time zone of the space.
        earlier: documents of the period before the selected one.
    """

    now_ms: int
    interval: str | None
    zone: ZoneInfo
    earlier: list


def layer_of(config, name="layer"):
    """A form-based layer of a panel, by its id."""
    return config["attributes"]["state"]["datasourceStates"]["formBased"]["layers"][name]


def compute(config, documents, time_field, span, interval, zone="UTC", layer="layer"):
    """Rows of a layer of a panel: column id to value.

    Args:
        config: `embeddableConfig` of a panel.
        documents: dicts.
        time_field: of its data view.
        span: (from_ms, to_ms) of the dashboard.
        interval: what date_histogram takes for `auto`.
        zone: time zone of the space, `dateFormat:tz`.
        layer: id of the layer.
    """
    state = config["attributes"]["state"]
    result = layer_of(config, layer)
    columns = result["columns"]
    now = span[1]
    if "timeRange" in config:
        span = tuple(_edge(config["timeRange"][end], now) for end in ("from", "to"))
    # the time fields of date histograms replace that of the data view
    bound = [
        column["sourceField"]
        for column in columns.values()
        if column["operationType"] == "date_histogram" and not column["params"].get("ignoreTimeRange")
    ] or [field for field in [time_field] if field is not None]
    query = "" if result["ignoreGlobalFilters"] else state["query"]["query"]
    matching = [d for d in documents if predicate(query, now)(d)] if query else documents

    def within(start, end):
        return [d for d in matching if all((d.get(field) or -1) in range(start, end) for field in bound)]

    around = Around(now, interval, ZoneInfo(zone), within(2 * span[0] - span[1], span[0]))
    buckets = [name for name in result["columnOrder"] if columns[name]["isBucketed"]]
    return list(_nested(columns, buckets, within(*span), around, {}))


def _edge(text, now):
    match = re.fullmatch(r"now(?:([+-]\d+)d)?", text)
    return now + int(match[1] or 0) * UNITS_MS["d"]


def _nested(columns, buckets, documents, around, keys):
    if not buckets:
        figures = [name for name in columns if not columns[name]["isBucketed"]]
        yield keys | {name: value(columns, name, documents, around) for name in figures}
        return
    name, *rest = buckets
    for key, chosen in _bucket(columns, columns[name], documents, around):
        yield from _nested(columns, rest, chosen, around, {**keys, name: key})


def _bucket(columns, column, documents, around):
    params = column["params"]
    match column["operationType"]:
        case "filters":
            for one in params["filters"]:
                matches = predicate(one["input"]["query"], around.now_ms)
                yield one["label"], [d for d in documents if matches(d)]
        case "date_histogram":
            starts = {}
            for document in documents:
                for one in values_of(document, column["sourceField"]):
                    interval = around.interval if params["interval"] == "auto" else params["interval"]
                    starts.setdefault(start_of(one, interval, around.zone), []).append(document)
            yield from starts.items()
        case "terms":
            yield from _terms(columns, column, documents, around)


def _terms(columns, column, documents, around):
    """Kibana asks for the other bucket in a second search, only if there are further values."""
    params, groups = column["params"], {}
    missing = params["missingBucket"] and params["otherBucket"]
    for document in documents:
        for one in values_of(document, column["sourceField"]) or ([MISSING] if missing else []):
            groups.setdefault(one, []).append(document)
    order = params["orderBy"]
    ranked = sorted(groups.items(), key=lambda group: (str(group[0]), group[0]) if missing else group[0])
    if order["type"] == "column":
        ranked.sort(key=lambda group: -(value(columns, order["columnId"], group[1], around) or 0))
    elif params["orderDirection"] == "desc":
        ranked.reverse()
    chosen = ranked[: params["size"]]
    yield from chosen
    if params["otherBucket"]:
        keys = {key for key, _ in chosen}
        rest = [d for d in documents if not keys & set(values_of(d, column["sourceField"]) or [MISSING])]
        if rest:
            yield OTHER, rest


def start_of(ms, interval, zone):
    """Where the interval begins that a time lies in, in a zone."""
    moment = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).astimezone(zone)
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if interval == "1w":
        day -= timedelta(days=day.weekday())
    elif interval == "1M":
        day = day.replace(day=1)
    elif interval != "1d":
        size, ahead = int(interval[:-1]) * UNITS_MS[interval[-1]], round(moment.utcoffset().total_seconds() * 1000)
        return (ms + ahead) // size * size - ahead
    return round(day.timestamp() * 1000)


def value(columns, name, documents, around):
    """The value of a column over the documents of a bucket."""
    column = columns[name]
    if column["operationType"] == "formula":
        (inner,) = column["references"]
        return value(columns, inner, documents, around)
    if column["operationType"] == "math":
        parts = {part: value(columns, part, documents, around) for part in column["references"]}
        return _tree(column["params"]["tinymathAst"], parts)
    if column["operationType"] == "static_value":
        return float(column["params"]["value"])
    if "timeShift" in column:
        assert column["timeShift"] == "previous"
        documents = around.earlier  # a shifted figure has no buckets
    if "filter" in column:
        assert column["filter"]["language"] == "kuery"
        documents = [d for d in documents if predicate(column["filter"]["query"], around.now_ms)(d)]
    if column["operationType"] == "count":
        assert column["sourceField"] == "___records___"
        return len(documents)
    values = [item for document in documents for item in values_of(document, column["sourceField"])]
    match column["operationType"]:
        case "sum":
            return sum(values)
        case "unique_count":
            return len(set(values))
        case "average":
            return sum(values) / len(values) if values else None
        case "min" | "max" as extreme:
            return {"min": min, "max": max}[extreme](values) if values else None
        case "median":
            return quantile(values, 50)
        case "percentile":
            return quantile(values, column["params"]["percentile"])


def quantile(values, percent):
    """Between neighbours, as small digests do it."""
    if not values:
        return None
    ordered = sorted(values)
    position = percent / 100 * len(ordered) - 0.5
    low = min(max(int(position), 0), len(ordered) - 1)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * min(max(position - low, 0), 1)


def _tree(tree, values):
    if not isinstance(tree, dict):
        return values[tree] if isinstance(tree, str) else tree
    left, right = (_tree(argument, values) for argument in tree["args"])
    if left is None or right is None:
        return None
    if tree["name"] == "subtract":
        return left - right
    assert tree["name"] == "divide"
    return None if right == 0 else left / right


def parsed(content):
    """Saved objects of the file: (type, id) to the object."""
    return {(one["type"], one["id"]): one for one in map(json.loads, content.splitlines())}
