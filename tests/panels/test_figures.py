"""Every panel on the real Elasticsearch: its search, the panel in Kibana's file, and a count by hand agree."""

from __future__ import annotations

import json

import pytest
from panels.documents import NOW
from panels.lens_reader import compute, parsed

from dashboards.boards import DASHBOARDS
from dashboards.comparisons import comparison_query, length_before
from dashboards.kibana.lens import is_compared
from dashboards.kibana.saved_objects import ndjson
from dashboards.panels import Span, Time, layer_panel
from dashboards.queries import query, rows
from features.calendar import UTC_CALENDAR, Calendar

PANELS = [(dashboard, panel) for dashboard in DASHBOARDS for panel in dashboard.panels]
OBJECTS = parsed(ndjson(DASHBOARDS))


def in_kibana(dashboard, panel):
    """`embeddableConfig` of a panel, and layer -> time field of its data view, out of the file."""
    attributes = OBJECTS["dashboard", f"shop-{dashboard.id}"]["attributes"]
    (result,) = (one for one in json.loads(attributes["panelsJSON"]) if one["panelIndex"] == panel.id)
    views = {
        reference["name"].removeprefix("indexpattern-datasource-layer-"): OBJECTS["index-pattern", reference["id"]]
        for reference in result["embeddableConfig"]["attributes"]["references"]
    }
    return result["embeddableConfig"], {name: view["attributes"].get("timeFieldName") for name, view in views.items()}


def rows_in_kibana(dashboard, panel, made, span, interval, zone):
    """Rows of the figures of a panel, those that are lines over bars beside the others."""
    config, fields = in_kibana(dashboard, panel)
    tables = [
        compute(config, made[panel.data.index], fields[layer], (span.from_ms, span.to_ms), interval, zone, layer)
        for layer in ("layer", "line")
        if layer in fields
    ]
    main = {tuple(row[f"d{n}"] for n in range(len(panel.dimensions))): row for row in tables[0]}
    for row in (row for table in tables[1:] for row in table):
        main.setdefault((row["d0line"],), {"d0": row["d0line"]}).update(row)
    return list(main.values())


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
    digits = 2 if len(panel.measures) > 10 else 1
    names = {f"d{n}": d.label for n, d in enumerate(panel.dimensions)} | {
        f"m{n:0{digits}}": m.label for n, m in enumerate(panel.measures)
    }
    noted = {f"d{n}" for n, d in enumerate(panel.dimensions) if getattr(d, "notes", ())}
    # a column of Kibana has both a step and its text
    return [
        {label: row[name].split(": ")[0] if name in noted else row.get(name) for name, label in names.items()}
        for row in rows
    ]


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
    by_hand = by_key(panel, labelled(panel, rows_in_kibana(dashboard, panel, made, span, interval_in(body), zone)))
    assert not all(is_nothing(values) for values in by_hand.values()), "nothing to compare"
    assert [key for key in by_hand.keys() - answer.keys() if not is_nothing(by_hand[key])] == []
    for key, values in answer.items():
        if key not in by_hand:
            assert is_nothing(values), key
            continue
        for figure, value, expected in zip(panel.measures, values, by_hand[key], strict=True):
            if panel.chart == "heatmap" and figure is not panel.measures[0]:
                continue  # a heat map of Lens has one figure
            tolerance = 0.1 if getattr(figure, "op", "") == "percentile" else 1e-9
            assert same(value, expected, tolerance), (key, figure.label, value, expected)


COMPARED = [(dashboard, panel) for dashboard, panel in PANELS if is_compared(panel)]


@pytest.mark.parametrize(("dashboard", "panel"), COMPARED, ids=lambda value: getattr(value, "id", value))
def test_previous_period_of_a_tile_in_kibana_is_that_of_the_page(dashboard, panel, filled, made):
    span = Span.ending(NOW, dashboard.days)
    body = comparison_query(panel, span, length_before(span), [], None, UTC_CALENDAR)
    (row,) = rows(panel, filled[1](panel.data.index, body))
    config, fields = in_kibana(dashboard, panel)
    shown = (made[panel.data.index], fields["layer"], (span.from_ms, span.to_ms), "1d", "UTC")
    (by_hand,) = compute(config, *shown)
    assert same(row[panel.measures[0].label], by_hand["p0"], 1e-9)
    assert any(one["t0"] for one in compute(config, *shown, layer="trend"))


def test_forecast_over_actuals_in_kibana_is_that_of_the_page(filled, made):
    ((dashboard, panel),) = [one for one in PANELS if one[1].layer is not None]
    layer, span = layer_panel(panel), Span.ending(NOW, dashboard.days)
    body = query(layer, span)
    answer = by_key(layer, rows(layer, filled[1](layer.data.index, body)))
    config, fields = in_kibana(dashboard, panel)
    shown = compute(
        config, made[layer.data.index], fields["overlay"], (span.from_ms, span.to_ms), "1d", layer="overlay"
    )
    figures = [f"f{n}" for n in range(len(layer.measures))]
    by_hand = {(row["d0overlay"],): [row[name] for name in figures] for row in shown}
    assert by_hand
    for key, values in answer.items():
        expected = by_hand.get(key, [None] * len(figures))
        assert all(same(value, one, 1e-9) for value, one in zip(values, expected, strict=True)), key
    assert by_hand.keys() <= answer.keys()


def test_tiles_without_a_comparable_previous_period_have_none():
    tiles = {panel.id for _, panel in PANELS if panel.chart == "metric"}
    assert tiles - {panel.id for _, panel in COMPARED} >= {"now-abandoned", "churn-customers", "pipeline-lag"}
    assert {panel.id for _, panel in COMPARED} >= {"now-orders", "revenue-total", "products-units"}


def test_filters_select_the_documents_with_the_value(filled, made):
    (panel,) = (panel for _, panel in PANELS if panel.id == "now-sessions")
    span = Span.ending(NOW, 30)
    (row,) = rows(panel, filled[1]("sessions", query(panel, span, {"country": ["DE", "FR"], "device": []})))
    here = [d for d in made["sessions"] if span.from_ms <= (d["start_ts"] or 0) < span.to_ms]
    assert row == {"Visits": sum(d["country"] in ("DE", "FR") for d in here)}
