"""Every panel on the real Elasticsearch: its search, the panel in Kibana's file, and a count by hand agree."""

from __future__ import annotations

import json

import pytest
from panels.documents import NOW
from panels.lens_reader import compute, parsed

from dashboards.boards import DASHBOARDS
from dashboards.kibana.saved_objects import ndjson
from dashboards.panels import Span, Time
from dashboards.queries import query, rows
from features.calendar import Calendar

PANELS = [(dashboard, panel) for dashboard in DASHBOARDS for panel in dashboard.panels]
OBJECTS = parsed(ndjson(DASHBOARDS))


def in_kibana(dashboard, panel):
    """`embeddableConfig` and time field of a panel, out of the file."""
    attributes = OBJECTS["dashboard", f"shop-{dashboard.id}"]["attributes"]
    (result,) = (one for one in json.loads(attributes["panelsJSON"]) if one["panelIndex"] == panel.id)
    (reference,) = result["embeddableConfig"]["attributes"]["references"]
    return result["embeddableConfig"], OBJECTS["index-pattern", reference["id"]]["attributes"].get("timeFieldName")


def interval_in(body):
    """What date_histogram of a search was given, at whatever level."""
    for level in body.get("aggs", {}).values():
        if "date_histogram" in level:
            return level["date_histogram"].get("calendar_interval") or level["date_histogram"]["fixed_interval"]
        if (result := interval_in(level)) is not None:
            return result
    return None


def by_key(panel, rows):
    keys = [dimension.label for dimension in panel.dimensions]
    return {tuple(row[key] for key in keys): [row[figure.label] for figure in panel.measures] for row in rows}


def labelled(panel, rows):
    """The columns of the file under the labels that stand above them."""
    names = {f"d{n}": d.label for n, d in enumerate(panel.dimensions)} | {
        f"m{n}": m.label for n, m in enumerate(panel.measures)
    }
    return [{label: row[name] for name, label in names.items()} for row in rows]


def same(value, expected, tolerance):
    if value is None or expected is None:
        return not value and not expected
    return value == pytest.approx(expected, rel=tolerance, abs=1e-9)


def is_nothing(values):
    return all(value is None or value == 0 for value in values)


TIMED = [one for one in PANELS if any(isinstance(dimension, Time) for dimension in one[1].dimensions)]


@pytest.mark.parametrize(
    ("dashboard", "panel", "zone"),
    [*((*one, "UTC") for one in PANELS), *((*one, "Asia/Kolkata") for one in TIMED)],
    ids=lambda value: getattr(value, "id", value),
)
@pytest.mark.timeout(120)
def test_figures_of_search_saved_objects_and_documents_agree(dashboard, panel, zone, filled, made):
    span = Span.ending(NOW, dashboard.days)
    body = query(panel, span, None, Calendar(zone))
    answer = by_key(panel, rows(panel, filled[1](panel.data.index, body)))
    config, time_field = in_kibana(dashboard, panel)
    by_hand = by_key(
        panel,
        labelled(
            panel,
            compute(config, made[panel.data.index], time_field, (span.from_ms, span.to_ms), interval_in(body), zone),
        ),
    )
    assert not all(is_nothing(values) for values in by_hand.values()), "nothing to compare"
    assert [key for key in by_hand.keys() - answer.keys() if not is_nothing(by_hand[key])] == []
    for key, values in answer.items():
        if key not in by_hand:
            assert is_nothing(values), key
            continue
        for figure, value, expected in zip(panel.measures, values, by_hand[key], strict=True):
            tolerance = 0.1 if getattr(figure, "op", "") == "percentile" else 1e-9
            assert same(value, expected, tolerance), (key, figure.label, value, expected)


def test_filters_select_the_documents_with_the_value(filled, made):
    (panel,) = (panel for _, panel in PANELS if panel.id == "now-sessions")
    span = Span.ending(NOW, 30)
    (row,) = rows(panel, filled[1]("sessions", query(panel, span, {"country": ["DE", "FR"], "device": []})))
    here = [d for d in made["sessions"] if span.from_ms <= (d["start_ts"] or 0) < span.to_ms]
    assert row == {"Sessions": sum(d["country"] in ("DE", "FR") for d in here)}
