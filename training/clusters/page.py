"""Renders clusters as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go

from training.clusters.assigners import Float
from training.clusters.cluster import Clusters
from training.clusters.comparison import Candidate
from training.clusters.methods import METHODS
from training.html import document, plot, table
from training.segments.themes import label

COLUMNS_SHOWN: Final = 6
"""Columns with box and strip plots: those with the largest differences between clusters."""
COLOURS: Final = (
    "#2c67b2", "#d1622b", "#3d8f4f", "#8a5fb0", "#b23a48", "#6b6f76", "#c49a1a", "#1f8a8c", "#a34f8f", "#4b5d16",
)  # fmt: skip


def render(found: Clusters, about: Mapping[str, str]) -> str:
    """Render the page.

    Args:
        found: clusters to show.
        about: sources of the page, name -> text.
    """
    chosen = found.comparison.candidates[found.comparison.chosen]
    parts = [
        "<h1>Clusters of customers</h1>",
        table(["", ""], list(about.items())),
        "<h2>Personas</h2>",
        *_personas(found),
        "<h2>Why these</h2>",
        f"<p>{escape(found.comparison.reason)}</p>",
        _compared(found, chosen),
        *_truth(found.truth),
        "<h2>Views</h2>",
        *_views(found),
        "<h2>Columns</h2>",
        *_columns(found),
    ]
    return document("Clusters of customers", parts)


def _personas(found: Clusters) -> Iterator[str]:
    sizes = [[one.name, f"{one.customers:,}", f"{one.share:.1%}"] for one in found.personas]
    yield table(["persona", "customers", "share"], sizes)
    for number, one in enumerate(found.personas):
        yield f"<h3>{number}: {escape(one.name)}</h3>"
        for head, lines in (("In what it differs", one.traits), ("What to do", one.actions), ("Risks", one.risks)):
            yield f"<p>{head}</p><ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _compared(found: Clusters, chosen: Candidate) -> str:
    rows = []
    for one, rank in zip(found.comparison.candidates, found.comparison.ranks, strict=True):
        name = f"{one.title}, {one.clusters} clusters"
        rows.append([
            name, one.parameters, f"{one.silhouette:.3f}", f"{one.davies_bouldin:.3f}", f"{one.calinski_harabasz:,.0f}",
            f"{one.stability:.2f}", f"{one.smallest_share:.1%}", f"{one.noise:.0%}",
            one.refused if rank is None else f"{rank:.2f}",
        ])  # fmt: skip
    measures = ["silhouette", "Davies-Bouldin", "Calinski-Harabasz", "stability", "smallest", "noise", "mean rank"]
    seen = "; ".join(f"{METHODS[name].title}: {METHODS[name].seen}" for name in found.plan.methods)
    return table(["candidate", "parameters", *measures], rows, f"{chosen.title}, {chosen.clusters} clusters") + (
        f"<small>Compared on {min(len(found.table), found.plan.fit_rows):,} customers, judged on "
        f"{min(len(found.table), found.plan.judge_rows):,}. Stability: mean adjusted Rand index against fits to "
        f"{found.plan.bootstraps} bootstrap samples. In the end a method sees: {escape(seen)}; everybody else is "
        "assigned by what it found.</small>"
    )


def _truth(truth: dict[str, Any] | None) -> Iterator[str]:
    if truth is not None:
        yield "<h2>Against the groups that are known</h2>"
        yield (
            f"<p>Adjusted Rand index {truth['adjusted_rand']:.3f} with {truth['groups']} groups of "
            f"{truth['customers']:,} customers. A forest that is taught the groups on the same columns reaches "
            f"{truth['taught_adjusted_rand']:.3f} on customers it has not seen, and names the right group for "
            f"{truth['taught_accuracy']:.0%} of them ({truth['largest_group']:.0%} belong to the largest): more "
            "than it finds is hardly in these columns.</p>"
        )


def _views(found: Clusters) -> Iterator[str]:
    seen = found.view
    first, second = seen.explained
    axes = [_axis(seen.loadings[axis], found.preparation.names) for axis in (0, 1)]
    figure = _scatter(found, seen.pca, "Principal components")
    figure.update_layout(
        xaxis_title=escape(f"{axes[0]} ({first:.0%})"), yaxis_title=escape(f"{axes[1]} ({second:.0%})")
    )
    yield plot(figure, "pca", first=True)
    yield f"<small>{len(seen.places):,} customers; the two axes keep {first + second:.0%} of the spread.</small>"
    yield plot(_scatter(found, seen.neighbours, "Neighbourhoods (t-SNE)"), "neighbours")
    yield "<small>Who is alike lies together; distances between islands and their sizes mean nothing.</small>"


def _axis(loadings: Float, names: list[str]) -> str:
    order = np.argsort(-np.abs(loadings[: len(names)]), kind="stable")[:2]
    return " ".join(f"{'+' if loadings[place] >= 0 else '-'} {label(names[place])}" for place in order)


def _scatter(found: Clusters, points: Float, title: str) -> go.Figure:
    figure = go.Figure()
    for number, persona in enumerate(found.personas):
        inside = found.view.labels == number
        figure.add_scattergl(
            x=points[inside, 0].tolist(), y=points[inside, 1].tolist(), mode="markers", name=escape(persona.name),
            marker={"size": 5, "opacity": 0.7, "color": _colour(number)},
        )  # fmt: skip
    figure.update_layout(title=title, template="plotly_white", height=480, margin={"t": 50, "b": 40})
    return figure


def _columns(found: Clusters) -> Iterator[str]:
    drawn = found.table[found.view.places.tolist()]
    numbers = [name for name in found.table.columns if name != "id" and found.table.schema[name].is_numeric()]
    for place, name in enumerate(_furthest(found, numbers)):
        figure = go.Figure()
        values = drawn[name].to_numpy()
        for number, persona in enumerate(found.personas):
            inside = (found.view.labels == number) & np.isfinite(values)
            shown = np.round(values[inside], 4).tolist()
            title, colour = escape(persona.name), _colour(number)
            figure.add_box(y=shown, name=title, boxpoints=False, marker={"color": colour})
            figure.add_box(
                y=shown, name=f"{title} ", boxpoints="all", jitter=0.6, pointpos=0, fillcolor="rgba(0,0,0,0)",
                line={"color": "rgba(0,0,0,0)"}, marker={"color": colour, "size": 3, "opacity": 0.4},
            )  # fmt: skip
        figure.update_layout(
            title=escape(label(name)), template="plotly_white", height=380, showlegend=False, margin={"t": 50, "b": 90}
        )
        yield plot(figure, f"column-{place}")


def _furthest(found: Clusters, numbers: list[str]) -> list[str]:
    """Return the numeric columns whose means by cluster vary most, in standard deviations."""
    apart = []
    for name in numbers:
        values = found.table[name].to_numpy()
        known = np.isfinite(values)
        spread = float(values[known].std()) if known.any() else 0.0
        if spread > 0:
            groups = [values[known & (found.labels == number)] for number in range(len(found.personas))]
            centres = [float(one.mean()) for one in groups if len(one)]
            apart.append((-float(np.std(centres)) / spread, name))
    return [name for _, name in sorted(apart)[:COLUMNS_SHOWN]]


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]
