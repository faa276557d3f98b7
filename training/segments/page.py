"""Renders the summary of segments as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import plotly.graph_objects as go

from training.html import document, plot, table
from training.segments.summary import Delta, Group


def render(groups: Sequence[Group], about: Mapping[str, str], further: Mapping[str, Mapping[str, int]]) -> str:
    """Render the page.

    Args:
        groups: segments to show.
        about: sources of the page, name -> text.
        further: name of another scheme -> segment -> customers.
    """
    total = sum(group.customers for group in groups)
    parts = [
        "<h1>Segments</h1>",
        table(["", ""], list(about.items())),
        "<h2>All segments</h2>",
        table(
            ["segment", "customers", "share", "of revenue", "what it means"],
            [[g.name, f"{g.customers:,}", f"{g.share:.1%}", f"{g.revenue_share:.1%}", g.help] for g in groups],
        ),
        plot(_shares(groups), "shares", first=True),
        *(_section(group) for group in groups),
        *(_scheme(name, counts, total) for name, counts in further.items()),
    ]
    return document("Segments", parts)


def _shares(groups: Sequence[Group]) -> go.Figure:
    names = [escape(group.name) for group in groups]
    figure = go.Figure()
    figure.add_bar(x=names, y=[round(group.share, 4) for group in groups], name="of the customers")
    figure.add_bar(x=names, y=[round(group.revenue_share, 4) for group in groups], name="of the revenue of 365 days")
    figure.update_layout(template="plotly_white", height=380, yaxis_tickformat=".0%", margin={"t": 20, "b": 40})
    return figure


def _section(group: Group) -> str:
    traits = [f"<li>{escape(str(one))}</li>" for one in group.traits] or ["<li>everybody is in this segment</li>"]
    return "".join([
        f"<h2>{escape(group.name)}</h2>",
        f"<p>{escape(group.help)}. {_size(group)}</p>",
        "<h3>In what it differs</h3><ul>", *traits, "</ul>",
        table(["figure", "mean", "against all", "95 % interval"], [_delta(one) for one in group.deltas]),
        "<h3>What to do</h3><ul>", *(f"<li>{escape(one)}</li>" for one in group.actions), "</ul>",
        "<h3>Risks</h3><ul>", *(f"<li>{escape(one)}</li>" for one in group.risks), "</ul>",
    ])  # fmt: skip


def _size(group: Group) -> str:
    revenue = f"{group.revenue_share:.1%} of the revenue of 365 days"
    return f"{group.customers:,} customers ({group.share:.1%}), {revenue}."


def _delta(delta: Delta) -> list[str]:
    if delta.mean is None or delta.gap is None:
        return [delta.kpi.title, "undefined", "nobody here has it", "undefined"]
    form = delta.kpi.form
    signed = form.replace("{:", "{:+")
    span = "too few to say" if delta.low is None else f"{signed.format(delta.low)} to {signed.format(delta.high)}"
    return [delta.kpi.title, form.format(delta.mean), signed.format(delta.gap), span]


def _scheme(name: str, counts: Mapping[str, int], total: int) -> str:
    rows = [[segment, f"{count:,}", f"{count / total:.1%}"] for segment, count in counts.items()]
    return f"<h2>By the rules {escape(name)}</h2>" + table(["segment", "customers", "share"], rows)
