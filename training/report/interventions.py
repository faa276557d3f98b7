"""Ranks possible interventions by their expected effect on revenue, with the calculation.

Counts, probabilities and revenue are measured. The success of an effort is assumed until the hold-out group gives a
measured one (`training.report.uplift`). Every arithmetic names which of the two it uses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
import polars as pl
from msgspec import Meta
from polars import col

from connectors.formats.money_format import PLAIN_MONEY, MoneyFormat
from features.errors import ShopstreamError
from features.scores.score import REASONED_RISKS
from training.options import Costs, Effort
from training.report.funnel import WINDOW_DAYS
from training.report.uplift import Uplift

Share = Annotated[float, Meta(ge=0, le=1)]
YEAR_DAYS: Final = 365


class Assumptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Assumed, not measured, results of efforts.

    Attributes:
        days: period of the effects in days.
        retention: cost and success of an effort at each risk band, in shares of a customer's revenue in that period.
        cart_recovered: share of the carts abandoned before the checkout that a reminder recovers.
        checkout_recovered: share of the abandoned checkouts that a shorter checkout turns into an order.
        second_orders: share of the customers with one recent order who order again because of a welcome series.
        first_orders: share of the visitors without an order who order because of an invitation.
        offer_cost: cost of each order won by an offer, as a share of its value.
    """

    days: Annotated[int, Meta(ge=1, le=365)] = 90
    retention: Costs = Costs()
    cart_recovered: Share = 0.05
    checkout_recovered: Share = 0.10
    second_orders: Share = 0.03
    first_orders: Share = 0.01
    offer_cost: Share = 0.10


@dataclass(frozen=True, slots=True)
class Intervention:
    """A possible intervention.

    Attributes:
        name: name of the intervention.
        whom: target group or place.
        customers: number of customers or visits that it reaches.
        effect: expected revenue less the cost of the effort, over the assumed days.
        arithmetic: calculation of the effect, with every number.
        low: lower end of the effect's 95 % interval; None if the success is assumed.
        high: upper end of the effect's 95 % interval, likewise.
    """

    name: str
    whom: str
    customers: int
    effect: float
    arithmetic: str
    low: float | None = None
    high: float | None = None


_EFFORTS: Final[Mapping[str, str]] = {
    "medium": "a reminder", "high": "a voucher", "critical": "a personal call",
}  # fmt: skip


def interventions(
    customers: pl.DataFrame,
    funnel: pl.DataFrame,
    assumptions: Assumptions,
    money: MoneyFormat = PLAIN_MONEY,
    uplift: Uplift | None = None,
) -> list[Intervention]:
    """Return every intervention, even at a loss, the largest effect first, ties by name.

    Args:
        customers: see `training.segments.customer_table.build_customer_table`, with churn.
        funnel: see `training.report.funnel.funnel`.
        assumptions: assumed results of efforts.
        money: format of amounts of money.
        uplift: measured effect of contacts; None: not measured.

    Raises:
        ShopstreamError: the customers have no churn scores, or there is no order of the last year.
    """
    orders = int(customers["orders_365d"].sum())
    if customers["churn_risk"].null_count() == len(customers) or orders == 0:
        raise ShopstreamError(
            "Interventions cannot be ranked: there are no churn scores, or no orders in the last 365 days.",
            "Give --bundle, trained on an archive with orders.",
        )
    worth = float(customers["revenue_365d"].sum()) / orders
    ranked = [
        *_retained(customers, assumptions, money, uplift),
        *_won(customers, worth, assumptions, money),
        *_recovered(funnel, worth, assumptions, money),
    ]
    return sorted(ranked, key=lambda one: (-one.effect, one.name))


def _retained(
    customers: pl.DataFrame, assumptions: Assumptions, money: MoneyFormat, uplift: Uplift | None
) -> Iterator[Intervention]:
    share = assumptions.days / YEAR_DAYS
    for risk, name in _EFFORTS.items():
        effort: Effort = getattr(assumptions.retention, risk)
        band = customers.filter(col("churn_risk") == risk, col("revenue_365d") > 0).sort("customer_id")
        if band.is_empty():
            continue
        revenue = float(band["revenue_365d"].sum()) * share
        lost = float((band["revenue_365d"] * band["churn_probability"]).sum()) * share
        # the work list holds the explained risks, so that is what the hold-out group measures
        measured = uplift.saved if uplift is not None and risk in REASONED_RISKS else None
        saved = (effort.saved,) if measured is None else measured
        effect, *ends = (one * lost - effort.cost * revenue for one in saved)
        success, interval = "assumed", ""
        if measured is not None:
            success = f"measured, 95 %: {measured[1]:.1%} to {measured[2]:.1%}"
            interval = f" (95 %: {money.text(ends[0], whole=True)} to {money.text(ends[1], whole=True)})"
        yield Intervention(
            f"{name[0].upper()}{name[1:]} for customers at {risk} risk", f"churn risk {risk}", len(band), effect,
            f"{saved[0]:.1%} saved ({success}) x {money.text(lost, whole=True)} expected to be lost (sum of P(churn) x "
            f"revenue of {assumptions.days} days) - {effort.cost:.1%} cost x {money.text(revenue, whole=True)} revenue "
            f"of {assumptions.days} days = {money.text(effect, whole=True)}{interval}", *ends,
        )  # fmt: skip


def _won(customers: pl.DataFrame, worth: float, assumptions: Assumptions, money: MoneyFormat) -> Iterator[Intervention]:
    recent = col("days_since_visit") <= WINDOW_DAYS
    groups = {
        "Welcome series to a second order": (
            col("orders_total") == 1,
            "one order, visited within 30 days",
            assumptions.second_orders,
        ),
        "Invitation to a first order": (
            col("orders_total") == 0,
            "no order, visited within 30 days",
            assumptions.first_orders,
        ),
    }
    for name, (who, whom, share) in groups.items():
        count = customers.filter(who & recent).height
        if count:
            yield _orders(name, whom, count, (share, count * share), worth, assumptions, money)


def _recovered(
    funnel: pl.DataFrame, worth: float, assumptions: Assumptions, money: MoneyFormat
) -> Iterator[Intervention]:
    ended = dict(funnel.select("stage", "ended").iter_rows())
    stages = {
        "Cart reminder": ("cart", "visits that end at the cart", assumptions.cart_recovered),
        "Shorter checkout": ("checkout", "visits that end at the checkout", assumptions.checkout_recovered),
    }
    for name, (stage, whom, share) in stages.items():
        visits = round(ended[stage] * assumptions.days / WINDOW_DAYS)
        if visits:
            yield _orders(
                name, f"{whom}, extrapolated from 30 days", visits, (share, visits * share), worth, assumptions, money
            )


def _orders(
    name: str,
    whom: str,
    count: int,
    won: tuple[float, float],
    worth: float,
    assumptions: Assumptions,
    money: MoneyFormat,
) -> Intervention:
    share, orders = won
    effect = orders * worth * (1 - assumptions.offer_cost)
    return Intervention(
        name, whom, count, effect,
        f"{count:,} x {share:.1%} = {orders:,.1f} orders x {money.text(worth)} mean order value x "
        f"(1 - {assumptions.offer_cost:.0%} cost) = {money.text(effect, whole=True)}",
    )  # fmt: skip


def as_frame(ranked: list[Intervention], money: MoneyFormat = PLAIN_MONEY) -> pl.DataFrame:
    """Return the interventions as a table, in their order. The column of amounts names the currency."""
    return pl.DataFrame({
        "rank": list(range(1, len(ranked) + 1)),
        "intervention": [one.name for one in ranked],
        "whom": [one.whom for one in ranked],
        "reaches": [one.customers for one in ranked],
        money.heading("effect"): [money.number(one.effect) for one in ranked],
        "arithmetic": [one.arithmetic for one in ranked],
    })  # fmt: skip
