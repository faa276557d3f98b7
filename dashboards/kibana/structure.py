"""Holds saved objects to the structure that Kibana 8.19 and 9.1 or later read.

Kibana imports a Lens panel of a wrong structure without an error, and shows nothing. The rules are those of its create
schemas and loaders: needed and allowed keys, versions, references, columns, visualizations.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from dashboards.kibana.lens_structure import lens_faults
from dashboards.kibana.structure_keys import Keys, key_faults
from dashboards.panels import GRID_COLUMNS

Json = Mapping[str, Any]

CORE_VERSION: Final = "8.8.0"
VERSIONS: Final = {
    "dashboard": frozenset({"10.2.0", "10.3.0"}),
    "index-pattern": frozenset({"8.0.0"}),
    "tag": frozenset({"8.0.0"}),
}
"""Type -> versions that both 8.19 and 9.2 read."""

_OBJECT: Final = Keys(
    {"type", "id", "managed", "coreMigrationVersion", "typeMigrationVersion", "attributes", "references"}
)
_REFERENCE: Final = Keys({"type", "id", "name"})
_DATA_VIEW: Final = Keys(
    {"title", "name", "fieldFormatMap"},
    {
        "timeFieldName", "allowNoIndex", "allowHidden", "fields", "fieldAttrs", "runtimeFieldMap", "sourceFilters",
        "typeMeta",
    },
)  # fmt: skip
_DATA_VIEW_TEXTS: Final = ("fields", "fieldAttrs", "fieldFormatMap", "runtimeFieldMap", "sourceFilters", "typeMeta")
_FIELD_FORMATS: Final = {
    "number": Keys({"pattern"}, {"alwaysShowSign"}),
    "percent": Keys({"pattern"}, {"alwaysShowSign"}),
    "bytes": Keys({"pattern"}, {"alwaysShowSign"}),
    "static_lookup": Keys({"lookupEntries"}, {"unknownKeyValue"}),
    "url": Keys({"type", "urlTemplate"}, {"labelTemplate", "openLinkInCurrentTab"}),
}
"""Format of a field -> keys of its parameters. Numeral formats read a pattern and no decimals."""
_TAG: Final = Keys({"name", "description", "color"})
_DASHBOARD: Final = Keys(
    {
        "title", "description", "panelsJSON", "optionsJSON", "kibanaSavedObjectMeta", "timeRestore", "timeFrom",
        "timeTo", "refreshInterval",
    },
    {"controlGroupInput", "hits", "version"},
)  # fmt: skip
_OPTIONS: Final = Keys({"useMargins", "syncColors", "syncCursor", "syncTooltips", "hidePanelTitles"})
_REFRESH: Final = Keys({"pause", "value"}, {"display", "section"})
_PANEL: Final = Keys({"type", "panelIndex", "gridData", "embeddableConfig"})
_GRID: Final = Keys({"x", "y", "w", "h", "i"})
_CONFIGS: Final = {
    "lens": Keys({"attributes", "enhancements"}, {"title", "description", "hidePanelTitles", "timeRange"}),
    "links": Keys({"attributes", "enhancements"}, {"title", "description", "hidePanelTitles"}),
    "visualization": Keys({"savedVis", "enhancements"}, {"title", "description", "hidePanelTitles"}),
}
_LINKS: Final = Keys({"layout", "links"})
_LINK: Final = Keys({"type", "id", "order", "label", "destinationRefName", "options"})
_LINK_OPTIONS: Final = Keys({"openInNewTab", "useCurrentFilters", "useCurrentDateRange"})
_SAVED_VIS: Final = Keys({"id", "title", "description", "type", "params", "uiState", "data"})
_MARKDOWN: Final = Keys({"markdown", "fontSize", "openLinksInNewTab"})
_EVENT: Final = Keys({"eventId", "triggers", "action"})
_ACTION: Final = Keys({"factoryId", "name", "config"})
_DRILL_DOWNS: Final = frozenset({"OPEN_IN_DISCOVER_DRILLDOWN", "DASHBOARD_TO_DASHBOARD_DRILLDOWN"})
"""Drill-downs that a basic licence has. That to a URL needs a gold one."""
_CONTROL_GROUP: Final = Keys(
    {"controlStyle", "chainingSystem", "showApplySelections", "panelsJSON", "ignoreParentSettingsJSON"}
)
_CONTROL: Final = Keys({"type", "order", "width", "grow", "explicitInput"})
_CONTROL_INPUT: Final = Keys(
    {"id", "fieldName", "title"},
    {"selectedOptions", "existsSelected", "exclude", "singleSelect", "searchTechnique", "sort", "enhancements"},
)
_IGNORED: Final = Keys({"ignoreFilters", "ignoreQuery", "ignoreTimerange", "ignoreValidations"})


def structure_faults(objects: Sequence[Json]) -> list[str]:
    """Return one line for each fault in the structure of saved objects, with the object; empty if there are none."""
    identities = Counter((str(one.get("type")), str(one.get("id"))) for one in objects)
    faults = [f"{kind} {name}: appears {n} times" for (kind, name), n in identities.items() if n > 1]
    for one in objects:
        faults += [f"{one.get('type')} {one.get('id')}: {fault}" for fault in _object(one, identities)]
    return faults


def _object(one: Json, identities: Mapping[tuple[str, str], int]) -> Iterator[str]:
    missing = list(key_faults("object", one, _OBJECT))
    if missing:
        yield from missing
        return
    kind = one["type"]
    if one["typeMigrationVersion"] not in VERSIONS.get(kind, ()):
        yield f"typeMigrationVersion {one['typeMigrationVersion']} is not one of {sorted(VERSIONS.get(kind, ()))}"
    if one["coreMigrationVersion"] != CORE_VERSION:
        yield f"coreMigrationVersion {one['coreMigrationVersion']} is not {CORE_VERSION}"
    yield from (f"{path} is null" for path in _nulls("attributes", one["attributes"]))
    yield from _references(one["references"], identities)
    match kind:
        case "index-pattern":
            yield from _data_view(one["attributes"])
        case "tag":
            yield from key_faults("attributes", one["attributes"], _TAG)
        case "dashboard":
            yield from _dashboard(one)
        case _:
            yield f"the type {kind} is unknown"


def _nulls(path: str, value: Any) -> Iterator[str]:
    match value:
        case None:
            yield path
        case dict():
            for key, inner in value.items():
                yield from _nulls(f"{path}.{key}", inner)
        case list():
            for position, inner in enumerate(value):
                yield from _nulls(f"{path}[{position}]", inner)
        case str() if not isinstance(inner := _parsed(value), str):
            yield from _nulls(path, inner) if isinstance(inner, dict | list) else ()
        case _:
            pass


def _parsed(text: str) -> Any:
    """Return the JSON of a text; the text itself if it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _references(references: Sequence[Json], identities: Mapping[tuple[str, str], int]) -> Iterator[str]:
    for reference in references:
        yield from key_faults("a reference", reference, _REFERENCE)
        if (reference.get("type"), reference.get("id")) not in identities:
            yield f"there is no {reference.get('type')} {reference.get('id')} ({reference.get('name')})"
    repeated = [name for name, n in Counter(one.get("name") for one in references).items() if n > 1]
    yield from (f"the reference {name} appears twice" for name in repeated)


def _data_view(attributes: Json) -> Iterator[str]:
    yield from key_faults("attributes", attributes, _DATA_VIEW)
    for name in _DATA_VIEW_TEXTS:
        if not isinstance(_parsed(attributes.get(name, "{}")), dict | list):
            yield f"{name} is not JSON"
    formats = _parsed(attributes.get("fieldFormatMap", "{}"))
    for field, form in formats.items() if isinstance(formats, dict) else ():
        if form.get("id") not in _FIELD_FORMATS:
            yield f"the format {form.get('id')} of {field} is unknown"
            continue
        yield from key_faults(f"the format of {field}", form.get("params", {}), _FIELD_FORMATS[form["id"]])


# --- dashboards -------------------------------------------------------------------------------------------------------


def _dashboard(one: Json) -> Iterator[str]:
    attributes = one["attributes"]
    wrong = [*key_faults("attributes", attributes, _DASHBOARD), *_texts(attributes)]
    if wrong:
        yield from wrong
        return
    yield from key_faults("optionsJSON", json.loads(attributes["optionsJSON"]), _OPTIONS)
    yield from key_faults("refreshInterval", attributes["refreshInterval"], _REFRESH)
    panels = json.loads(attributes["panelsJSON"])
    expected: list[tuple[str, str, str | None]] = []
    for panel in panels:
        faults = [*key_faults("panel", panel, _PANEL), *_config(panel)]
        yield from (f"panel {panel.get('panelIndex')}: {fault}" for fault in faults)
        if not faults:
            expected += _panel_references(panel)
    yield from _grid(panels)
    expected += [(f"tag-ref-{ref['id']}", "tag", ref["id"]) for ref in one["references"] if ref.get("type") == "tag"]
    if "controlGroupInput" in attributes:
        yield from _controls(attributes["controlGroupInput"])
        controls = _parsed(attributes["controlGroupInput"].get("panelsJSON", "{}"))
        expected += [(f"controlGroup_{name}:optionsListDataView", "index-pattern", None) for name in controls]
    yield from _matched(expected, one["references"])


def _texts(attributes: Json) -> Iterator[str]:
    meta = attributes.get("kibanaSavedObjectMeta", {})
    texts = {name: attributes.get(name) for name in ("panelsJSON", "optionsJSON")}
    texts["searchSourceJSON"] = meta.get("searchSourceJSON")
    for name, text in texts.items():
        if not isinstance(text, str) or isinstance(_parsed(text), str):
            yield f"{name} is not a text with JSON"


def _matched(expected: Sequence[tuple[str, str, str | None]], references: Sequence[Json]) -> Iterator[str]:
    """Compare the references of a dashboard with those that its content needs: name, type, and id if it is fixed."""
    named = {reference.get("name"): reference for reference in references}
    for name, kind, identity in expected:
        if name not in named:
            yield f"there is no reference {name}"
        elif named[name].get("type") != kind or identity not in (None, named[name].get("id")):
            yield f"the reference {name} leads to {named[name].get('type')} {named[name].get('id')}"
    yield from (f"nothing uses the reference {name}" for name in named.keys() - {name for name, _, _ in expected})


def _panel_references(panel: Json) -> list[tuple[str, str, str | None]]:
    inner = panel["embeddableConfig"].get("attributes", {})
    prefix = panel["panelIndex"]
    if panel["type"] == "links":
        return [(f"{prefix}:{link['destinationRefName']}", "dashboard", None) for link in inner["links"]]
    return [(f"{prefix}:{one['name']}", one["type"], one["id"]) for one in inner.get("references", ())]


def _config(panel: Json) -> Iterator[str]:
    kind, config = panel.get("type"), panel.get("embeddableConfig", {})
    if kind not in _CONFIGS:
        yield f"the type {kind} is unknown"
        return
    wrong = list(key_faults("embeddableConfig", config, _CONFIGS[kind]))
    if wrong:
        yield from wrong
        return
    yield from _drill_downs(config["enhancements"])
    if kind == "lens":
        yield from lens_faults(config["attributes"])
    elif kind == "links":
        yield from key_faults("attributes", config["attributes"], _LINKS)
        for link in config["attributes"].get("links", ()):
            yield from key_faults("a link", link, _LINK)
            yield from key_faults("options of a link", link.get("options", {}), _LINK_OPTIONS)
    else:
        yield from key_faults("savedVis", config["savedVis"], _SAVED_VIS)
        yield from key_faults("params", config["savedVis"].get("params", {}), _MARKDOWN)


def _drill_downs(enhancements: Json) -> Iterator[str]:
    yield from key_faults("enhancements", enhancements, Keys((), {"dynamicActions"}))
    for event in enhancements.get("dynamicActions", {}).get("events", ()):
        yield from key_faults("a drill-down", event, _EVENT)
        yield from key_faults("the action of a drill-down", event.get("action", {}), _ACTION)
        if event.get("action", {}).get("factoryId") not in _DRILL_DOWNS:
            yield f"the drill-down {event.get('action', {}).get('factoryId')} is unknown"


def _grid(panels: Sequence[Json]) -> Iterator[str]:
    taken: dict[tuple[int, int], str] = {}
    for panel in panels:
        grid, name = panel.get("gridData", {}), str(panel.get("panelIndex"))
        wrong = list(key_faults(f"gridData of {name}", grid, _GRID))
        if wrong:
            yield from wrong
            continue
        if grid["i"] != name:
            yield f"gridData of {name} has the id {grid['i']}"
        if grid["x"] < 0 or grid["y"] < 0 or min(grid["w"], grid["h"]) < 1 or grid["x"] + grid["w"] > GRID_COLUMNS:
            yield f"{name} is outside the grid"
            continue
        columns, rows = range(grid["x"], grid["x"] + grid["w"]), range(grid["y"], grid["y"] + grid["h"])
        cells = [(x, y) for x in columns for y in rows]
        yield from (f"{name} overlaps {other}" for other in sorted({taken[cell] for cell in cells if cell in taken}))
        taken |= dict.fromkeys(cells, name)
    names = Counter(panel.get("panelIndex") for panel in panels)
    yield from (f"the panel {name} appears twice" for name, n in names.items() if n > 1)


def _controls(group: Json) -> Iterator[str]:
    wrong = list(key_faults("controlGroupInput", group, _CONTROL_GROUP))
    if wrong:
        yield from wrong
        return
    if group["controlStyle"] not in ("oneLine", "twoLine"):
        yield f"controlStyle {group['controlStyle']} is unknown"
    if group["chainingSystem"] not in ("HIERARCHICAL", "NONE"):
        yield f"chainingSystem {group['chainingSystem']} is unknown"
    ignored, controls = _parsed(group["ignoreParentSettingsJSON"]), _parsed(group["panelsJSON"])
    if not isinstance(ignored, dict) or not isinstance(controls, dict):
        yield "the control group has settings or controls that are not texts with JSON"
        return
    yield from key_faults("ignoreParentSettingsJSON", ignored, _IGNORED)
    if sorted(control.get("order") for control in controls.values()) != list(range(len(controls))):
        yield "the orders of the controls are not 0, 1, 2, ..."
    for name, control in controls.items():
        yield from key_faults(f"control {name}", control, _CONTROL)
        yield from key_faults(f"input of control {name}", control.get("explicitInput", {}), _CONTROL_INPUT)
        if control.get("type") != "optionsListControl" or control.get("explicitInput", {}).get("id") != name:
            yield f"control {name} is not an options list with its own id"
