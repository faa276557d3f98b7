"""Renders the exploration as one self-contained HTML page; pages and notebooks share the order of panels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from features.calendar import day_name
from training.exploration import customers, panels, shopping
from training.exploration.dataset import ExplorationData
from training.exploration.panels import Panel
from training.html import Block, Figure, Heading, Text, page

TITLE: Final = "Exploration"
Panels = Panel | list[Panel] | None

SECTIONS: Final = MappingProxyType(
    {
        "Days": (panels.visits_by_day, panels.orders_by_day, panels.revenue_by_day, shopping.baskets),
        "The week": (panels.by_weekday, panels.by_hour, panels.by_weekday_and_hour),
        "From visit to order": (shopping.funnel, shopping.retention),
        "What is bought": (shopping.products, shopping.categories),
        "Customers": (customers.demographics, customers.engagement, customers.correlations),
    }
)
"""Title -> function that makes its panels, in the order of the page."""


def panels_of(make: Callable[[ExplorationData], Panels], data: ExplorationData) -> list[Panel]:
    """Return the panels of one function; none if the archive lacks the data."""
    made = make(data)
    return made if isinstance(made, list) else [] if made is None else [made]


@dataclass(frozen=True, slots=True)
class Exploration:
    """All panels of an exploration.

    Attributes:
        summary: contents of the archive, in sentences.
        sections: title -> panels, at least one each.
        absent: names of panels without data in the archive.
    """

    summary: str
    sections: dict[str, list[Panel]]
    absent: tuple[str, ...]


def make_panels(data: ExplorationData) -> Exploration:
    """Make every panel that the archive has data for."""
    sections: dict[str, list[Panel]] = {}
    absent = []
    for title, makers in SECTIONS.items():
        for make in makers:
            made = panels_of(make, data)
            sections.setdefault(title, []).extend(made)
            if not made:
                absent.append(make.__name__.replace("_", " "))
    return Exploration(summary(data), {title: made for title, made in sections.items() if made}, tuple(absent))


def summary(data: ExplorationData) -> str:
    """Return the contents of the archive in two sentences."""
    first, last = (day_name(day) for day in (data.span.days[0], data.span.days[-1]))
    revenue = data.money.text(Decimal(int(data.orders["cents"].sum())).scaleb(-2))
    return (
        f"{first} to {last}: {len(data.features):,} customers, {len(data.sessions):,} visits, "
        f"{len(data.orders):,} valid orders, worth {revenue}. Days are those of {data.span.calendar.time_zone}; "
        "an incomplete first or last day is not shown."
    )


def render(exploration: Exploration) -> str:
    """Render the page."""
    return page(TITLE, _blocks(exploration))


def _blocks(exploration: Exploration) -> Iterator[Block]:
    yield Text(exploration.summary)
    for title, shown in exploration.sections.items():
        yield Heading(title)
        for panel in shown:
            yield Heading(panel.title, 3)
            yield Text(panel.sentence)
            yield Figure(panel.figure, panel.name)
    if exploration.absent:
        yield Text(f"No data for: {', '.join(exploration.absent)}.", note=True)
