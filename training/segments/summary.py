"""Summarises segments: size, figures against the whole shop with intervals, traits, actions and risks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import stats

from connectors.formats.money_format import PLAIN_MONEY, MoneyFormat
from features.definitions import FEATURES
from features.labels import value_label
from features.rules.segments import Rules
from training.segments import traits
from training.segments.themes import Themed
from training.segments.traits import Measured, Trait, figure

ACTIONS_MAX: Final = 3
ACTION_SHARE_MIN: Final = 0.05
"""Minimum share of a segment's customers for a listed action."""
SMALL_GROUP: Final = 30
STRONG_DIFFERENCE: Final = 0.5
"""Difference in standard deviations that deserves a warning."""
LEVEL: Final = 0.95
MONEY: Final = "money"
"""Form of an amount of money."""

_TIMES: Final = frozenset(feature.name for feature in FEATURES if feature.kind == "time")
_SCORE_NUMBERS: Final = ("churn_probability", "purchase_probability_30d", "expected_revenue_90d")
TRAIT_NUMBERS: Final = (
    *(one.name for one in FEATURES if one.kind in ("int", "float")),
    "age",
    "premium",
    "marketing_opt_in",
    *_SCORE_NUMBERS,
)
TRAIT_WORDS: Final = ("country", "gender", "acquisition_channel", "top_category_90d")


@dataclass(frozen=True, slots=True)
class Kpi:
    """A figure of a segment: the mean of a column over the customers with a value."""

    column: str
    title: str
    form: str

    def text(self, value: float, money: MoneyFormat, *, signed: bool = False) -> str:
        """Return a value of the figure as text, with its sign if it is a difference."""
        if self.form == MONEY:
            return f"{'+' if signed and value >= 0 else ''}{money.text(value)}"
        return (self.form.replace("{:", "{:+") if signed else self.form).format(value)


KPIS: Final = (
    Kpi("revenue_365d", "revenue of 365 days", MONEY),
    Kpi("orders_365d", "orders of 365 days", "{:,.2f}"),
    Kpi("avg_order_value_365d", "order value", MONEY),
    Kpi("recency_days", "days since the last order", "{:,.1f}"),
    Kpi("sessions_90d", "visits of 90 days", "{:,.2f}"),
    Kpi("conversion_rate_30d", "conversion of 30 days", "{:.1%}"),
    Kpi("cart_abandon_rate_30d", "cart abandonment of 30 days", "{:.1%}"),
    Kpi("returns_365d", "returns of 365 days", "{:,.2f}"),
    Kpi("churn_probability", "P(no order within the horizon)", "{:.1%}"),
    Kpi("purchase_probability_30d", "P(an order within 30 days)", "{:.1%}"),
    Kpi("expected_revenue_90d", "expected revenue of 90 days", MONEY),
)


@dataclass(frozen=True, slots=True)
class Delta:
    """A figure of a segment and its difference from that of the whole shop.

    Attributes:
        kpi: figure.
        known: number of customers of the segment with a value.
        mean: mean of the segment; None if no customer has a value.
        gap: mean - mean of all customers.
        low: lower end of the gap's 95 % interval; None if fewer than two inside or outside have a value.
        high: upper end of the interval.
    """

    kpi: Kpi
    known: int
    mean: float | None
    gap: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Group:
    """A segment.

    Attributes:
        name: name of the segment.
        help: description in the rules.
        customers: number of customers.
        share: share of all customers.
        revenue_share: share of the revenue of 365 days.
        deltas: figures of the segment.
        traits: strongest differences from the other customers.
        actions: recommended actions, the most frequent first.
        risks: risks, at least one sentence.
    """

    name: str
    help: str
    customers: int
    share: float
    revenue_share: float
    deltas: tuple[Delta, ...]
    traits: tuple[Trait, ...]
    actions: tuple[str, ...]
    risks: tuple[str, ...]


def measured(customers: pl.DataFrame) -> Measured:
    """Measure the traits of a customer table."""
    present = [name for name in TRAIT_NUMBERS if name in customers.columns and name not in _TIMES]
    return traits.measure(customers, present, [name for name in TRAIT_WORDS if name in customers.columns])


def summarize(
    customers: pl.DataFrame, names: Sequence[str], rules: Rules, money: MoneyFormat = PLAIN_MONEY
) -> list[Group]:
    """Return the segments of a customer table in the order of `names`, which holds every segment that occurs."""
    traits_of = replace(measured(customers), money=money)
    segments = customers["segment"].to_numpy()
    descriptions = {one.name: one.help for one in rules.document.segments}
    revenue = customers["revenue_365d"].to_numpy()
    total_revenue = float(revenue.sum())
    groups = []
    for name in names:
        inside = np.asarray(segments == name)
        part = customers.filter(inside)
        share = len(part) / len(customers)
        revenue_share = float(revenue[inside].sum()) / total_revenue if total_revenue else 0.0
        deltas = tuple(deltas_of(customers, inside))
        strongest = tuple(traits_of.of(inside))
        groups.append(
            Group(
                name, descriptions.get(name) or f"customers in the segment {name} of the rules", len(part), share,
                revenue_share, deltas, strongest, tuple(_actions(part, rules.document.actions, strongest)),
                tuple(_risks(part, share, revenue_share, strongest, money)),
            )
        )  # fmt: skip
    return groups


def deltas_of(customers: pl.DataFrame, inside: npt.NDArray[np.bool_]) -> Iterator[Delta]:
    """Yield the figures of a group against the whole; figures without any value in the shop are left out.

    The whole includes the group, so the gap is (1 - share) times the difference to the others.
    The interval is Welch's.
    """
    for kpi in KPIS:
        if kpi.column not in customers.columns:
            continue
        values = customers[kpi.column].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        known = np.isfinite(values)
        if not known.any():
            continue
        inside_values, others = values[inside & known], values[~inside & known]
        if not len(inside_values):
            yield Delta(kpi, 0, None, None, None, None)
            continue
        mean = float(inside_values.mean())
        gap = mean - float(values[known].mean())
        half = _half_width(inside_values, others) * len(others) / (len(inside_values) + len(others))
        interval = (gap - half, gap + half) if np.isfinite(half) else (None, None)
        yield Delta(kpi, len(inside_values), mean, gap, *interval)


def _half_width(inside_values: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> float:
    """Return half the width of Welch's interval of a difference of means; infinite for too few values."""
    if len(others) == 0:
        return 0.0  # the group is the whole
    if len(inside_values) < 2 or len(others) < 2:
        return float("inf")
    a, b = float(inside_values.var(ddof=1)) / len(inside_values), float(others.var(ddof=1)) / len(others)
    if a + b == 0:
        return 0.0
    freedom = (a + b) ** 2 / (a**2 / (len(inside_values) - 1) + b**2 / (len(others) - 1))
    return float(stats.t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(a + b))


def _actions(part: pl.DataFrame, meanings: Mapping[str, str], strongest: Sequence[Trait]) -> Iterator[str]:
    """Yield the actions of the rules, most frequent first, then those of the traits: two or three sentences."""
    counts = Counter(part["recommended_action"].to_list())
    count_shown = 0
    for action, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if count_shown < ACTIONS_MAX and (count_shown == 0 or count >= ACTION_SHARE_MIN * len(part)):
            words = value_label("recommended_action", action)
            yield f"{count / len(part):.0%} {words}: {meanings[action] or words}"
            count_shown += 1
    advice = dict.fromkeys(Themed().side(one.column, one.value, one.difference).action for one in strongest)
    for one in [*advice, "ask some of them what they miss", "watch the figures of the next month"]:
        if count_shown < 2 or (count_shown < ACTIONS_MAX and one in advice):
            yield one
            count_shown += 1


def _risks(
    part: pl.DataFrame, share: float, revenue_share: float, strongest: Sequence[Trait], money: MoneyFormat
) -> Iterator[str]:
    risky = part.filter(pl.col("churn_risk").is_in(["high", "critical"]))
    count_shown = 0
    if len(risky):
        worth = float(risky["revenue_365d"].sum())
        risk = f"{len(risky):,} customers ({len(risky) / len(part):.0%}) at high or critical churn risk"
        yield f"{risk}, with {money.text(worth)} of revenue in 365 days"
        count_shown += 1
    if revenue_share > 2 * share:
        yield f"{revenue_share:.0%} of the revenue comes from {share:.0%} of the customers"
        count_shown += 1
    warned = set()
    for one in strongest:
        risk = Themed().side(one.column, one.value, one.difference).risk
        if risk and risk not in warned and abs(one.difference) >= STRONG_DIFFERENCE:
            yield f"{risk} ({one})"
            warned.add(risk)
            count_shown += 1
    if len(part) < SMALL_GROUP:
        yield f"only {len(part)} customers: the intervals are wide"
        count_shown += 1
    if not count_shown:
        strength = max((abs(one.difference) for one in strongest), default=0.0)
        yield f"none: the largest difference of any trait is {figure(strength)} standard deviations"


def summary_frame(groups: Sequence[Group], money: MoneyFormat = PLAIN_MONEY) -> pl.DataFrame:
    """Return the summary as a table of texts and numbers, one row per segment; null where a figure is undefined.

    Columns of amounts name the currency.
    """
    return pl.DataFrame([_flat(group, money) for group in groups], infer_schema_length=None)


def _flat(group: Group, money: MoneyFormat) -> dict[str, object]:
    row: dict[str, object] = {
        "segment": group.name, "meaning": group.help, "customers": group.customers, "share": round(group.share, 6),
        "revenue_share": round(group.revenue_share, 6),
    }  # fmt: skip
    for delta in group.deltas:
        parts = {"": delta.mean, "_gap": delta.gap, "_gap_low": delta.low, "_gap_high": delta.high}
        is_money = delta.kpi.form == MONEY
        for end, value in parts.items():
            name = f"{delta.kpi.column}{end}"
            number = money.number(value) if is_money else None if value is None else round(float(value), 6)
            row[money.heading(name) if is_money else name] = number
    strongest = [str(one) for one in group.traits] or ["all customers are in this segment"]
    row |= {f"trait_{i + 1}": one for i, one in enumerate(_padded(strongest, traits.TRAITS))}
    row |= {f"action_{i + 1}": one for i, one in enumerate(_padded(group.actions, ACTIONS_MAX))}
    return row | {"risks": "; ".join(group.risks)}


def _padded(texts: Sequence[str], length: int) -> list[str | None]:
    return [*texts, *[None] * (length - len(texts))]
