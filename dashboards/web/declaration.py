"""Provides the declaration to the page's script: panels, formats, colours and words. Pure."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Final

from connectors.formats.money_format import NO_CURRENCY, MoneyFormat
from connectors.formats.rules_file import default_rules
from dashboards.comparisons import is_compared
from dashboards.panels import GRID_COLUMNS, PALETTE, Dashboard, Dimension, Figure, Layer, Panel, Steps, Terms, Time
from features.labels import labels_of_values, sentence_case
from features.schema import DEVICES, EVENT_TYPES, STAGES, STATUSES
from features.scores.score import RISKS

Json = dict[str, Any]

FILLED_BY: Final = {
    "segments-daily": "Updated by `shopstream rollup`.",
    "cohorts": "Updated by `shopstream rollup`.",
    "second-orders": "Updated by `shopstream rollup`.",
    "movement": "Updated by `shopstream rollup`.",
    "forecast": "Updated by `shopstream forecast --index`.",
    "alerts": "An alert appears when a customer's churn risk rises. Scores need a model: `shopstream train`.",
    "pipeline": "Needs a running `shopstream consume`.",
}
"""Index -> remedy for an empty panel over it; for all other indices: consume events."""
FILLED_BY_STREAM: Final = "Try a longer period or fewer filters. No data at all yet? Run `shopstream consume`."
ORDERS_OF: Final = {
    "churn_risk": RISKS,
    "stage": STAGES,
    "status": STATUSES,
    "device": DEVICES,
    "event_type": EVENT_TYPES,
}
"""Field -> its values in the order of series and their colours. Other fields are sorted by value."""
COLOURS_OF: Final = {"churn_risk": {risk: f"var(--churn_risk-{risk})" for risk in RISKS}}
"""Field -> value -> colour: steps of one hue, defined in static/page.css for the light and the dark theme."""


def declaration(dashboards: Sequence[Dashboard], run: str, money: MoneyFormat) -> Json:
    """Return everything that the page needs before its first search."""
    actions = _actions()
    labels = labels_of_values()
    return {
        "run": run,
        "money": {
            "currency": money.currency,
            "locale": money.locale,
            "decimals": money.decimals,
            "note": "" if money.currency else NO_CURRENCY,
        },
        "columns": GRID_COLUMNS,
        "palette": list(PALETTE),
        "labels": labels | {"recommended_action": {action: sentence_case(action) for action in actions}},
        "actions": dict(actions),
        "boards": [_board(dashboard) for dashboard in dashboards],
    }


@functools.cache
def _actions() -> dict[str, str]:
    """Return the actions of the built-in rules with their texts."""
    return default_rules().document.actions


def _board(dashboard: Dashboard) -> Json:
    return {
        "id": dashboard.id,
        "title": dashboard.title,
        "summary": dashboard.summary,
        "last": f"{dashboard.days}d",
        "filters": [{"label": control.label, "field": control.field} for control in dashboard.controls],
        "panels": [_panel(panel, dashboard) for panel in dashboard.panels],
    }


def _panel(panel: Panel, dashboard: Dashboard) -> Json:
    offered = () if panel.whole_shop else tuple(control.field for control in dashboard.controls)
    return {
        "id": panel.id,
        "title": panel.title,
        "definition": panel.definition,
        "note": panel.note,
        "badges": badges(panel, dashboard),
        "chart": panel.chart,
        "data": panel.data.index,
        "position": [panel.position.x, panel.position.y, panel.position.w, panel.position.h],
        "dimensions": [_dimension(dimension, offered) for dimension in panel.dimensions],
        "measures": [_figure(figure) for figure in panel.measures],
        "compared": is_compared(panel),
        "reference_lines": [{"label": line.label, "value": line.value} for line in panel.reference_lines],
        "layer": _layer(panel.layer),
        "empty": FILLED_BY.get(panel.data.index, FILLED_BY_STREAM),
    }


def badges(panel: Panel, dashboard: Dashboard) -> list[str]:
    """Return in words what of the page's period and filters a panel does not follow."""
    texts = []
    if panel.whole_shop and dashboard.controls:
        texts.append("All customers — filters don't apply")
    if panel.window is not None:
        ahead = f" + next {panel.window.ahead_days} days" if panel.window.ahead_days else ""
        back = f"{panel.window.back_days} days" if panel.window.back_days > 1 else "24 hours"
        texts.append(f"Last {back}{ahead}")
    if panel.data.time_field is None:
        shown = "All months" if panel.data.whole else "Current state"
        texts.append(f"{shown} — period doesn't apply")
    return texts


def _dimension(dimension: Dimension, offered: Sequence[str]) -> Json:
    kind = "time" if isinstance(dimension, Time) else "steps" if isinstance(dimension, Steps) else "terms"
    field = getattr(dimension, "field", "")
    return {
        "label": dimension.label,
        "kind": kind,
        "field": field,
        "filter": field if isinstance(dimension, Terms) and field in offered else "",
        "order": ORDERS_OF.get(field, ()),
        "colours": COLOURS_OF.get(field),
        "notes": _notes(dimension),
    }


def _notes(dimension: Dimension) -> Json | None:
    if not isinstance(dimension, Steps) or not dimension.notes:
        return None
    names = (name for name, _ in dimension.steps)
    return {"label": dimension.note_label, "texts": dict(zip(names, dimension.notes, strict=True))}


def _figure(figure: Figure) -> Json:
    return {
        "label": figure.label,
        "unit": figure.unit,
        "below": getattr(figure, "below", False),
        "line": getattr(figure, "line", False),
    }


def _layer(layer: Layer | None) -> Json | None:
    return None if layer is None else {"measures": [_figure(figure) for figure in layer.measures]}


def unit_of(part: Dimension | Figure) -> str:
    """Return the unit of a column of a panel; `text` for values of a field."""
    return "time" if isinstance(part, Time) else str(getattr(part, "unit", "text"))
