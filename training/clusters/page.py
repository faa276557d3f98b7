"""Renders clusters as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go

from features.labels import column_label
from training.clusters.assigners import Float
from training.clusters.cluster import Clusters
from training.clusters.comparison import CRITERIA
from training.clusters.methods import METHODS
from training.clusters.null_comparison import GAP_MIN, LIMITS, NullComparison, NullTest
from training.html import Block, Bullets, Figure, Heading, Table, Text, facts, page, styled

COLUMNS_SHOWN: Final = 6
"""Columns with box and strip plots: those with the largest differences between clusters."""
COLOURS: Final = (
    "#2c67b2", "#d1622b", "#3d8f4f", "#8a5fb0", "#b23a48", "#6b6f76", "#c49a1a", "#1f8a8c", "#a34f8f", "#4b5d16",
)  # fmt: skip


def render(clusters: Clusters, about: Mapping[str, str]) -> str:
    """Render the page.

    Args:
        clusters: clusters to show.
        about: sources of the page, name -> text.
    """
    return page("Clusters of customers", _blocks(clusters, about))


def _blocks(clusters: Clusters, about: Mapping[str, str]) -> Iterator[Block]:
    yield facts(about.items())
    yield Heading("Personas")
    yield from _personas(clusters)
    yield Heading("Choice of the method")
    yield Text(clusters.comparison.reason)
    yield from _comparison(clusters)
    if clusters.null is not None:
        yield Heading("Comparison with tables without groups")
        yield from _null(clusters.null)
    if clusters.truth is not None:
        yield Heading("Comparison with known groups")
        yield Text(_truth(clusters.truth))
    yield Heading("Views")
    yield from _views(clusters)
    yield Heading("Columns")
    yield from _columns(clusters)


def _personas(clusters: Clusters) -> Iterator[Block]:
    sizes = [(persona.name, f"{persona.customers:,}", f"{persona.share:.1%}") for persona in clusters.personas]
    yield Table(("persona", "customers", "share"), sizes)
    for number, persona in enumerate(clusters.personas):
        yield Heading(f"{number}: {persona.name}", 3)
        for title, items in (("Traits", persona.traits), ("Actions", persona.actions), ("Risks", persona.risks)):
            yield Text(title)
            yield Bullets(items)


def _comparison(clusters: Clusters) -> Iterator[Block]:
    plan, comparison = clusters.plan, clusters.comparison
    names = [f"{candidate.title}, {candidate.clusters} clusters" for candidate in comparison.candidates]
    rows = [
        (name, one.parameters, f"{one.silhouette:.3f}", f"{one.davies_bouldin:.3f}", f"{one.calinski_harabasz:,.0f}",
         f"{one.stability:.2f}", f"{one.smallest_share:.1%}", f"{one.noise:.0%}",
         one.refused if rank is None else f"{rank:.2f}")
        for name, one, rank in zip(names, comparison.candidates, comparison.ranks, strict=True)
    ]  # fmt: skip
    measures = ("silhouette", "Davies-Bouldin", "Calinski-Harabasz", "stability", "smallest", "noise", "mean rank")
    yield Table(("candidate", "parameters", *measures), rows, marked=names[comparison.chosen])
    samples = "; ".join(f"{METHODS[name].title}: {METHODS[name].fit_sample}" for name in plan.methods)
    yield Text(
        f"Candidates are fitted to {min(len(clusters.table), plan.fit_rows):,} customers and evaluated on "
        f"{min(len(clusters.table), plan.evaluation_rows):,}. Stability: mean adjusted Rand index against fits to "
        f"{plan.bootstraps} bootstrap samples. The final fit of each method uses: {samples}. The fitted clusters are "
        "then assigned to all other customers.",
        note=True,
    )


def _null(null: NullComparison) -> Iterator[Block]:
    yield Text(null.text)
    yield _null_table(null.plain, null.setting)
    if null.within is not None:
        yield Text("Tables that also keep which customers share a value:")
        yield _null_table(null.within, null.setting)
    yield Text(
        f"{METHODS[null.method].title}. In brackets: mean ± standard deviation over tables without groups. The "
        "clusters count as better if the three indices and the best silhouette are outside of what such tables give in "
        f"95 % of cases, and the silhouettes differ by {GAP_MIN}.",
        note=True,
    )
    yield Text("What no index can say")
    yield Bullets(LIMITS)


def _null_table(test: NullTest, setting: float) -> Table:
    names = {row.setting: f"{row.clusters} clusters" for row in test.rows}
    rows = []
    for row in test.rows:
        cells = [names[row.setting]]
        for name, form in zip(CRITERIA, (".3f", ".3f", ",.0f", ".2f"), strict=True):
            mean, spread = row.spread(name)
            null = f"{mean:{form}} ± {spread:{form}}" if np.isfinite(mean) else "no clusters"
            cells.append(f"{row.measures[name]:{form}} ({null})")
        rows.append(cells)
    head = ("number", "silhouette", "Davies-Bouldin", "Calinski-Harabasz", "stability")
    return Table(head, rows, marked=names[setting])


def _truth(truth: Mapping[str, Any]) -> str:
    return (
        f"The adjusted Rand index with {truth['groups']} groups of {truth['customers']:,} customers is "
        f"{truth['adjusted_rand']:.3f}. A random forest that is trained on the groups with the same columns reaches "
        f"{truth['taught_adjusted_rand']:.3f} on held-out customers. It predicts the right group for "
        f"{truth['taught_accuracy']:.0%} of them; {truth['largest_group']:.0%} belong to the largest group. These "
        "columns hardly allow a better result than that of the forest."
    )


def _views(clusters: Clusters) -> Iterator[Block]:
    view = clusters.view
    axes = [
        escape(f"{_axis(view.loadings[axis], clusters.preparation.names)} ({view.explained[axis]:.0%})")
        for axis in (0, 1)
    ]
    pca = _scatter(clusters, view.pca, "Principal components")
    yield Figure(pca.update_layout(xaxis_title=axes[0], yaxis_title=axes[1]), "pca")
    yield Text(
        f"{len(view.positions):,} customers; the axes explain {sum(view.explained):.0%} of the variance.", note=True
    )
    yield Figure(_scatter(clusters, view.neighbours, "Neighbourhoods (t-SNE)"), "neighbours")
    yield Text(
        "Similar customers are close together. Distances between islands and their sizes have no meaning.", note=True
    )


def _axis(loadings: Float, names: list[str]) -> str:
    order = np.argsort(-np.abs(loadings[: len(names)]), kind="stable")[:2]
    return " ".join(f"{'+' if loadings[column] >= 0 else '-'} {column_label(names[column])}" for column in order)


def _scatter(clusters: Clusters, points: Float, title: str) -> go.Figure:
    figure = go.Figure()
    for number, persona in enumerate(clusters.personas):
        inside = clusters.view.labels == number
        figure.add_scattergl(
            x=points[inside, 0].tolist(), y=points[inside, 1].tolist(), mode="markers", name=escape(persona.name),
            marker={"size": 5, "opacity": 0.7, "color": _colour(number)},
        )  # fmt: skip
    return styled(figure, height=480, title=title)


def _columns(clusters: Clusters) -> Iterator[Block]:
    sample = clusters.table[clusters.view.positions.tolist()]
    numbers = [name for name in clusters.table.columns if name != "id" and clusters.table.schema[name].is_numeric()]
    for position, name in enumerate(_most_different(clusters, numbers)):
        figure = go.Figure()
        values = sample[name].to_numpy()
        for number, persona in enumerate(clusters.personas):
            inside = (clusters.view.labels == number) & np.isfinite(values)
            shown = np.round(values[inside], 4).tolist()
            title, colour = escape(persona.name), _colour(number)
            figure.add_box(y=shown, name=title, boxpoints=False, marker={"color": colour})
            figure.add_box(
                y=shown, name=f"{title} ", boxpoints="all", jitter=0.6, pointpos=0, fillcolor="rgba(0,0,0,0)",
                line={"color": "rgba(0,0,0,0)"}, marker={"color": colour, "size": 3, "opacity": 0.4},
            )  # fmt: skip
        styled(figure, height=380, title=escape(column_label(name)), showlegend=False, margin={"t": 50, "b": 90})
        yield Figure(figure, f"column-{position}")


def _most_different(clusters: Clusters, numbers: list[str]) -> list[str]:
    """Return the numeric columns whose means by cluster vary most, in standard deviations."""
    order = []
    for name in numbers:
        values = clusters.table[name].to_numpy()
        known = np.isfinite(values)
        spread = float(values[known].std()) if known.any() else 0.0
        if spread > 0:
            groups = [values[known & (clusters.labels == number)] for number in range(len(clusters.personas))]
            centres = [float(group.mean()) for group in groups if len(group)]
            order.append((-float(np.std(centres)) / spread, name))
    return [name for _, name in sorted(order)[:COLUMNS_SHOWN]]


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]
