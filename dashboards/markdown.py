"""Describes the declaration as Markdown: the definition and the formula of each figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dashboards.conditions import kql
from dashboards.kibana.columns import formula
from dashboards.panels import Dashboard, Dimension, Panel, Steps, Terms, Time, Window


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
    figures = [f"{figure.label}: {_code(formula(figure))}" for figure in panel.measures]
    parts = [f"of {_code(panel.data.index)}"]
    if panel.where:
        parts.append(f"where {_code(kql(panel.where))}")
    if panel.dimensions:
        parts.append("by " + ", ".join(_dimension(dimension) for dimension in panel.dimensions))
    if panel.window is not None:
        parts.append(_window(panel.window))
    if panel.whole_shop:
        parts.append("of the whole shop whatever the filters are")
    text = ("<br>" if len(figures) > 1 else "; ").join(["<br>".join(figures), "; ".join(parts)]) + "."
    return (f"{text} {panel.note}" if panel.note else text).replace("|", "\\|")


def _dimension(dimension: Dimension) -> str:
    match dimension:
        case Time(every=every):
            return "time" if every == "auto" else every
        case Steps(steps=steps):
            return "<br>".join([f"{dimension.label.lower()}:", *(f"{label}: {_code(kql(w))}" for label, w in steps)])
        case Terms(field=field, size=size, by=by):
            return f"{_code(field)} ({size} by {by.lower()})" if by and size > 1 else _code(field)


def _window(window: Window) -> str:
    ahead = f" and the next {window.ahead_days}" if window.ahead_days else ""
    return f"always the last {_days(window.back_days)}{ahead}"


def _code(text: str) -> str:
    return f"`{text}`" if text else "everything"
