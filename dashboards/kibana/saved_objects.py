"""Builds the file of saved objects that Kibana imports: data views first, then dashboards with every panel by value.

The versions are the oldest that have all required features, since a server rejects newer versions and upgrades older
ones. Without a version the server would run every migration that exists.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from connectors.formats.money_format import PLAIN_MONEY, MoneyFormat
from dashboards.conditions import Condition, Is
from dashboards.kibana.formats import Json, customer_format, field_format, field_label, lookup_format
from dashboards.kibana.help_panel import help_panel
from dashboards.kibana.lens import lens_panel
from dashboards.panels import GRID_COLUMNS, PALETTE, Control, Dashboard, Data, Measure, Panel, Steps, Terms, plain
from features.schema import DEFAULT_RUN, index_name

FILE: Final = Path(__file__).parents[1] / "kibana_saved_objects.ndjson"
"""File built from DASHBOARDS for the run `shop`. A test checks that they match."""

KIBANA: Final = "9.2.0"
"""Kibana version that the file targets. Later versions and 8.19 can read it."""
CORE_VERSION: Final = "8.8.0"
DATA_VIEW_VERSION: Final = "8.0.0"
DASHBOARD_VERSION: Final = "10.2.0"
TAG_VERSION: Final = "8.0.0"
CUSTOMER_FIELD: Final = "customer_id"

REFRESH_MS: Final = 30_000
LINKS_HEIGHT: Final = 4
LINKS_PANEL: Final = "links"


@dataclass(frozen=True, slots=True)
class Shop:
    """What the objects of a shop depend on, in addition to the declaration.

    Attributes:
        run: name of the run whose aliases the data views show; also part of the ids, so that several runs can coexist.
        money: format of amounts.
        page: address of the live page, to which ids of customers link; empty: they are no links.
    """

    run: str = DEFAULT_RUN
    money: MoneyFormat = PLAIN_MONEY
    page: str = ""

    def data_view_id(self, data: Data) -> str:
        """Return the id of a data view, which is the alias that it shows."""
        return index_name(self.run, data.index)

    def dashboard_id(self, dashboard: Dashboard) -> str:
        """Return the id of a dashboard, which is a part of its address."""
        return f"{self.run}-{dashboard.id}"

    @property
    def tag_id(self) -> str:
        """Id of the tag of all dashboards."""
        return f"{self.run}-tag"


def ndjson(
    dashboards: Sequence[Dashboard], run: str = DEFAULT_RUN, money: MoneyFormat = PLAIN_MONEY, page: str = ""
) -> str:
    """Return the file: one saved object per line, identical for the same declaration. Arguments as `saved_objects`."""
    objects = saved_objects(dashboards, run, money, page)
    lines = [json.dumps(saved_object, sort_keys=True, ensure_ascii=False) for saved_object in objects]
    return "\n".join(lines) + "\n"


def saved_objects(
    dashboards: Sequence[Dashboard], run: str = DEFAULT_RUN, money: MoneyFormat = PLAIN_MONEY, page: str = ""
) -> list[Json]:
    """Return the saved objects: data views, the tag, then dashboards.

    Args:
        dashboards: dashboards of the declaration.
        run: see `Shop`.
        money: see `Shop`.
        page: see `Shop`.
    """
    shop = Shop(run, money, page)
    views = [data_view(data, dashboards, shop) for data in used(dashboards)]
    return [*views, _tag(shop), *(dashboard_object(one, dashboards, shop) for one in dashboards)]


def used(dashboards: Iterable[Dashboard]) -> tuple[Data, ...]:
    """Return the document sets that dashboards show or take filters from, each once, sorted by name."""
    data_sets = {panel.data for one in dashboards for panel in one.panels}
    data_sets |= {panel.layer.data for one in dashboards for panel in one.panels if panel.layer is not None}
    data_sets |= {control.data for one in dashboards for control in one.controls}
    return tuple(sorted(data_sets, key=lambda data: data.index))


def _tag(shop: Shop) -> Json:
    name = "Shopstream" if shop.run == DEFAULT_RUN else f"Shopstream: {shop.run}"
    attributes = {"name": name, "description": f"Dashboards of the run {shop.run}", "color": PALETTE[0]}
    return _object("tag", shop.tag_id, TAG_VERSION, attributes, [])


# --- data views -------------------------------------------------------------------------------------------------------


def data_view(data: Data, dashboards: Sequence[Dashboard], shop: Shop) -> Json:
    """Return the data view of a set of documents: numbers as in the panels, words for identifiers."""
    attributes: Json = {
        "title": shop.data_view_id(data),
        "name": shop.data_view_id(data),
        "allowNoIndex": True,
        "fields": "[]",
        "fieldAttrs": _text(_labels(data, dashboards, shop.money)),
        "fieldFormatMap": _text(_formats(data, dashboards, shop)),
        "runtimeFieldMap": "{}",
        "sourceFilters": "[]",
        "typeMeta": "{}",
    }
    if data.time_field is not None:
        attributes["timeFieldName"] = data.time_field
    return _object("index-pattern", shop.data_view_id(data), DATA_VIEW_VERSION, attributes, [])


def _labels(data: Data, dashboards: Sequence[Dashboard], money: MoneyFormat) -> dict[str, Json]:
    """Return field -> attributes: words for the fields that panels use. Fields with amounts name the currency."""
    fields = dict.fromkeys(_valued(data, dashboards), "")
    for measure in _measures(data, dashboards):
        if measure.field:
            fields[measure.field] = money.currency if measure.unit == "money" else ""
    return {field: {"customLabel": field_label(field, currency)} for field, currency in fields.items()}


def _formats(data: Data, dashboards: Sequence[Dashboard], shop: Shop) -> dict[str, Json]:
    """Return field -> format: numbers by their unit, and words for the values of fields."""
    formats = {m.field: field_format(m.unit, shop.money) for m in _measures(data, dashboards) if m.field}
    formats |= {field: lookup_format(field, everywhere=data.whole) for field in _valued(data, dashboards)}
    if shop.page and CUSTOMER_FIELD in formats:
        formats[CUSTOMER_FIELD] = customer_format(shop.page)
    return {field: form for field, form in formats.items() if form is not None}


def _measures(data: Data, dashboards: Sequence[Dashboard]) -> Iterator[Measure]:
    for panel in (panel for one in dashboards for panel in one.panels):
        figures = panel.measures if panel.data == data else ()
        if panel.layer is not None and panel.layer.data == data:
            figures = (*figures, *panel.layer.measures)
        for figure in figures:
            yield from plain(figure)


def _valued(data: Data, dashboards: Sequence[Dashboard]) -> set[str]:
    """Return the fields by whose text values panels divide or select these documents, or controls filter them."""
    fields = {control.field for one in dashboards for control in one.controls if control.data == data}
    for dashboard in dashboards:
        for panel in dashboard.panels:
            if panel.data == data:
                fields |= {d.field for d in panel.dimensions if isinstance(d, Terms) and not d.numeric}
                fields |= {c.field for c in _conditions(panel) if isinstance(c, Is) and isinstance(c.values[0], str)}
                fields |= set() if panel.whole_shop else {control.field for control in dashboard.controls}
    return fields


def _conditions(panel: Panel) -> Iterator[Condition]:
    yield from panel.where
    for figure in panel.measures:
        for measure in plain(figure):
            yield from measure.where
    for dimension in panel.dimensions:
        if isinstance(dimension, Steps):
            for _, where in dimension.steps:
                yield from where


# --- dashboards -------------------------------------------------------------------------------------------------------


def dashboard_object(dashboard: Dashboard, dashboards: Sequence[Dashboard], shop: Shop) -> Json:
    """Return a dashboard: links to all dashboards, its panels and filters, and the definitions of its figures."""
    links, references = _links(dashboard, dashboards, shop)
    panels = [links]
    for panel in dashboard.panels:
        panels.append(_panel(panel, shop))
        references += _panel_references(panels[-1])
    panels.append(help_panel(dashboard, max(_bottom(panel) for panel in panels)))
    references += [_control_reference(control, shop) for control in dashboard.controls]
    references.append({"type": "tag", "id": shop.tag_id, "name": f"tag-ref-{shop.tag_id}"})
    attributes: Json = {
        "title": f"{shop.run.capitalize()}: {dashboard.title}",
        "description": dashboard.summary,
        "panelsJSON": _text(panels),
        "optionsJSON": _text(
            {
                "useMargins": True,
                "syncColors": True,
                "syncCursor": True,
                "syncTooltips": False,
                "hidePanelTitles": False,
            }
        ),
        "kibanaSavedObjectMeta": {
            "searchSourceJSON": _text({"query": {"query": "", "language": "kuery"}, "filter": []})
        },
        "timeRestore": True,
        "timeFrom": f"now-{dashboard.kibana_days or dashboard.days}d",
        "timeTo": "now",
        "refreshInterval": {"pause": False, "value": REFRESH_MS},
        "version": 1,
    }
    if dashboard.controls:
        attributes["controlGroupInput"] = _control_group(dashboard.controls)
    return _object("dashboard", shop.dashboard_id(dashboard), DASHBOARD_VERSION, attributes, references)


def _bottom(panel: Json) -> int:
    return int(panel["gridData"]["y"] + panel["gridData"]["h"])


def _panel(panel: Panel, shop: Shop) -> Json:
    position = panel.position
    return {
        "type": "lens",
        "panelIndex": panel.id,
        "gridData": {"x": position.x, "y": position.y + LINKS_HEIGHT, "w": position.w, "h": position.h, "i": panel.id},
        "embeddableConfig": lens_panel(panel, shop.data_view_id, shop.money),
    }


def _panel_references(panel: Json) -> list[Json]:
    """Return the references of a panel as the dashboard has them: their names begin with the id of the panel."""
    inner = panel["embeddableConfig"]["attributes"]["references"]
    return [{**reference, "name": f"{panel['panelIndex']}:{reference['name']}"} for reference in inner]


def _links(dashboard: Dashboard, dashboards: Sequence[Dashboard], shop: Shop) -> tuple[Json, list[Json]]:
    """Return the bar of links at the top, and its references.

    A link passes no time range on, since each dashboard has one that fits its question. It passes filters on only to
    a dashboard with the same filters: documents without a filtered field would disappear.
    """
    links = [
        {
            "type": "dashboardLink",
            "id": one.id,
            "order": order,
            "label": one.title,
            "destinationRefName": f"link_{one.id}_dashboard",
            "options": {
                "openInNewTab": False,
                "useCurrentFilters": _fields(one) == _fields(dashboard),
                "useCurrentDateRange": False,
            },
        }
        for order, one in enumerate(dashboards)
    ]
    panel: Json = {
        "type": "links",
        "panelIndex": LINKS_PANEL,
        "gridData": {"x": 0, "y": 0, "w": GRID_COLUMNS, "h": LINKS_HEIGHT, "i": LINKS_PANEL},
        "embeddableConfig": {
            "attributes": {"layout": "horizontal", "links": links},
            "enhancements": {},
            "hidePanelTitles": True,
        },
    }
    references = [
        {"type": "dashboard", "id": shop.dashboard_id(one), "name": f"{LINKS_PANEL}:link_{one.id}_dashboard"}
        for one in dashboards
    ]
    return panel, references


def _fields(dashboard: Dashboard) -> set[str]:
    return {control.field for control in dashboard.controls}


# --- filters ----------------------------------------------------------------------------------------------------------


def _control_group(controls: Sequence[Control]) -> Json:
    panels = {
        _control_id(control): {
            "type": "optionsListControl",
            "order": order,
            "width": "medium",
            "grow": True,
            "explicitInput": {
                "id": _control_id(control),
                "fieldName": control.field,
                "title": control.label,
                "selectedOptions": [],
                "searchTechnique": "prefix",
                "sort": {"by": "_count", "direction": "desc"},
                "enhancements": {},
            },
        }
        for order, control in enumerate(controls)
    }
    ignored = {"ignoreFilters": False, "ignoreQuery": False, "ignoreTimerange": False, "ignoreValidations": False}
    return {
        "controlStyle": "oneLine",
        "chainingSystem": "HIERARCHICAL",
        "showApplySelections": False,
        "panelsJSON": _text(panels),
        "ignoreParentSettingsJSON": _text(ignored),
    }


def _control_id(control: Control) -> str:
    return f"control-{control.field}"


def _control_reference(control: Control, shop: Shop) -> Json:
    name = f"controlGroup_{_control_id(control)}:optionsListDataView"
    return {"type": "index-pattern", "id": shop.data_view_id(control.data), "name": name}


# --- saved object format ----------------------------------------------------------------------------------------------


def _object(kind: str, name: str, version: str, attributes: Json, references: list[Json]) -> Json:
    return {
        "type": kind,
        "id": name,
        "managed": False,
        "coreMigrationVersion": CORE_VERSION,
        "typeMigrationVersion": version,
        "attributes": attributes,
        "references": references,
    }


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
