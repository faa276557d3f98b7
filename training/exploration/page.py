"""Renders the exploration as one self-contained HTML page; pages and notebooks share the order of panels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape
from types import MappingProxyType
from typing import Final

from features.schema import DAY_MS
from training.exploration import customers, panels, shopping
from training.exploration.dataset import Observed
from training.exploration.panels import Panel, day_name
from training.html import document, plot

TITLE: Final = "Exploration"
Found = Panel | list[Panel] | None

SECTIONS: Final = MappingProxyType(
    {
        "Days": (panels.visits_by_day, panels.orders_by_day, panels.revenue_by_day, shopping.baskets),
        "The week": (panels.by_weekday, panels.by_hour, panels.rhythm),
        "From visit to order": (shopping.funnel, shopping.retention),
        "What is bought": (shopping.products, shopping.categories),
        "Customers": (customers.demographics, customers.engagement, customers.correlations),
    }
)
"""Title -> function that makes its panels, in the order of the page."""


def panels_of(make: Callable[[Observed], Found], seen: Observed) -> list[Panel]:
    """Return the panels of one function; none if the archive lacks the data."""
    found = make(seen)
    return found if isinstance(found, list) else [] if found is None else [found]


@dataclass(frozen=True, slots=True)
class Exploration:
    """All panels of an exploration.

    Attributes:
        summary: contents of the archive, in words.
        sections: title -> panels, at least one each.
        absent: names of panels without data in the archive.
    """

    summary: str
    sections: dict[str, list[Panel]]
    absent: tuple[str, ...]


def explored(seen: Observed) -> Exploration:
    """Make every panel that the archive has data for."""
    found: dict[str, list[Panel]] = {}
    absent = []
    for title, makers in SECTIONS.items():
        for make in makers:
            made = panels_of(make, seen)
            found.setdefault(title, []).extend(made)
            if not made:
                absent.append(make.__name__.replace("_", " "))
    return Exploration(summary(seen), {title: made for title, made in found.items() if made}, tuple(absent))


def summary(seen: Observed) -> str:
    """Return the contents of the archive in one sentence."""
    first, last = (day_name(time // DAY_MS) for time in (seen.span.first_ms, seen.span.end_ms))
    revenue = int(seen.orders["cents"].sum()) / 100
    return (
        f"{first} to {last}: {len(seen.features):,} customers, {len(seen.sessions):,} visits, {len(seen.orders):,} "
        f"orders that stand, worth {revenue:,.2f}. Days are of UTC; a first or last day that is not whole is not shown."
    )


def render(shown: Exploration) -> str:
    """Render the page."""
    parts = [f"<h1>{TITLE}</h1>", f"<p>{escape(shown.summary)}</p>"]
    first = True
    for title, found in shown.sections.items():
        parts.append(f"<h2>{escape(title)}</h2>")
        for panel in found:
            parts += [*_said(panel), plot(panel.figure, panel.name, first=first)]
            first = False
    if shown.absent:
        parts.append(f"<p><small>Without data here: {escape(', '.join(shown.absent))}.</small></p>")
    return document(TITLE, parts)


def _said(panel: Panel) -> Iterable[str]:
    return f"<h3>{escape(panel.title)}</h3>", f"<p>{escape(panel.sentence)}</p>"
