"""Renders the summary of segments as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

import plotly.graph_objects as go

from connectors.formats.money_format import PLAIN_MONEY, MoneyFormat
from training.html import Block, Bullets, Figure, Heading, Table, Text, facts, page, styled
from training.segments.summary import Delta, Group


def render(
    groups: Sequence[Group],
    about: Mapping[str, str],
    further: Mapping[str, Mapping[str, int]],
    money: MoneyFormat = PLAIN_MONEY,
) -> str:
    """Render the page.

    Args:
        groups: segments to show.
        about: sources of the page, name -> text.
        further: name of another scheme -> segment -> customers.
        money: format of amounts of money.
    """
    return page("Segments", _blocks(groups, about, further, money))


def _blocks(
    groups: Sequence[Group], about: Mapping[str, str], further: Mapping[str, Mapping[str, int]], money: MoneyFormat
) -> Iterator[Block]:
    yield facts(about.items())
    yield Heading("All segments")
    rows = [(g.name, f"{g.customers:,}", f"{g.share:.1%}", f"{g.revenue_share:.1%}", g.help) for g in groups]
    yield Table(("segment", "customers", "share", "share of revenue", "description"), rows)
    yield Figure(_shares(groups), "shares")
    for group in groups:
        yield from _group(group, money)
    total = sum(group.customers for group in groups)
    for name, counts in further.items():
        yield Heading(f"Segments by the rules {name}")
        shares = [(segment, f"{count:,}", f"{count / total:.1%}") for segment, count in counts.items()]
        yield Table(("segment", "customers", "share"), shares)


def _shares(groups: Sequence[Group]) -> go.Figure:
    names = [escape(group.name) for group in groups]
    figure = go.Figure()
    figure.add_bar(x=names, y=[round(group.share, 4) for group in groups], name="of the customers")
    figure.add_bar(x=names, y=[round(group.revenue_share, 4) for group in groups], name="of the revenue of 365 days")
    return styled(figure, height=380, yaxis_tickformat=".0%")


def _group(group: Group, money: MoneyFormat) -> Iterator[Block]:
    yield Heading(group.name)
    yield Text(
        f"{group.help}. {group.customers:,} customers ({group.share:.1%}), {group.revenue_share:.1%} of the revenue "
        "of 365 days."
    )
    yield Heading("Traits", 3)
    yield Bullets([str(trait) for trait in group.traits] or ["all customers are in this segment"])
    yield Table(
        ("figure", "mean", "difference from all", "95 % interval"), [_delta(one, money) for one in group.deltas]
    )
    yield Heading("Actions", 3)
    yield Bullets(group.actions)
    yield Heading("Risks", 3)
    yield Bullets(group.risks)


def _delta(delta: Delta, money: MoneyFormat) -> tuple[str, ...]:
    if delta.mean is None or delta.gap is None:
        return delta.kpi.title, "undefined", "no customer with a value", "undefined"
    gap, *bounds = (
        "" if value is None else delta.kpi.text(value, money, signed=True)
        for value in (delta.gap, delta.low, delta.high)
    )
    interval = "too few customers" if delta.low is None else " to ".join(bounds)
    return delta.kpi.title, delta.kpi.text(delta.mean, money), gap, interval
