"""Describes the declaration as Markdown: the definition and the formula of each figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dashboards.conditions import kql
from dashboards.kibana.columns import formula
from dashboards.panels import Dashboard, Dimension, Figure, Layer, Measure, Panel, Steps, Terms, Time, Window


def explained(dashboards: Sequence[Dashboard]) -> str:
    """Return a section for each dashboard, with a table of its panels."""
    return "\n".join("\n".join(_section(dashboard)) + "\n" for dashboard in dashboards)


def _section(dashboard: Dashboard) -> Iterator[str]:
    yield f"### {dashboard.title}"
    yield ""
    yield f"{dashboard.summary} Opens with the last {_days(dashboard.days)}" + (
        f" (in Kibana, {_days(dashboard.kibana_days)})." if dashboard.kibana_days else "."
    )
    if dashboard.controls:
        yield f"Filters: {', '.join(control.label.lower() for control in dashboard.controls)}."
    yield ""
    yield "| panel | definition | contents |"
    yield "| --- | --- | --- |"
    for panel in dashboard.panels:
        yield f"| {panel.title} | {panel.definition} | {_cell(panel)} |"


def _days(days: int) -> str:
    return "day" if days == 1 else f"{days} days"


def _cell(panel: Panel) -> str:
    figures = [_figure(figure) for figure in panel.measures]
    parts = [f"of {_code(panel.data.index)}"]
    if panel.where:
        parts.append(f"where {_code(kql(panel.where))}")
    if panel.dimensions:
        parts.append("by " + ", ".join(_dimension(dimension) for dimension in panel.dimensions))
    if panel.window is not None:
        parts.append(_window(panel.window))
    if panel.whole_shop:
        parts.append("of the whole shop whatever the filters are")
    if panel.layer is not None:
        parts.append(_layer(panel.layer))
    if panel.reference_lines:
        parts.append("lines at " + " and ".join(f"{line.value:g}" for line in panel.reference_lines))
    text = ("<br>" if len(figures) > 1 else "; ").join(["<br>".join(figures), "; ".join(parts)]) + "."
    return (f"{text} {panel.note}" if panel.note else text).replace("|", "\\|")


def _figure(figure: Figure) -> str:
    below = " below zero" if isinstance(figure, Measure) and figure.below else ""
    line = " as a line" if isinstance(figure, Measure) and figure.line else ""
    return f"{figure.label}{below}{line}: {_code(formula(figure))}"


def _layer(layer: Layer) -> str:
    names = ", ".join(figure.label for figure in layer.measures)
    where = f" where {_code(kql(layer.where))}" if layer.where else ""
    return f"with {names} of {_code(layer.data.index)}{where} over it"


def _dimension(dimension: Dimension) -> str:
    match dimension:
        case Time(every=every):
            return "time" if every == "auto" else every
        case Steps(steps=steps):
            return "<br>".join([f"{dimension.label.lower()}:", *(f"{label}: {_code(kql(w))}" for label, w in steps)])
        case Terms(field=field, size=size, by=by, other=other):
            further = " and all others" if other else ""
            return f"{_code(field)} ({size} by {by.lower()}{further})" if by and size > 1 else _code(field)


def _window(window: Window) -> str:
    ahead = f" and the next {window.ahead_days}" if window.ahead_days else ""
    return f"always the last {_days(window.back_days)}{ahead}"


def _code(text: str) -> str:
    return f"`{text}`" if text else "everything"
