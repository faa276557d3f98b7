"""Measures the effect of contacts by a hold-out group. Pure.

Customers enter the comparison when they first qualify for a contact, whether or not somebody contacts them. All who
qualify are compared, so that the choice of the contacted does not bias the result: the hold-out group is drawn at
random. The difference, divided by the share of the contacted, is the effect on a contacted customer. See Bloom,
Evaluation Review 8 (1984), and Imbens & Angrist, Econometrica 62 (1994).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
from polars import col

Float64 = npt.NDArray[np.float64]

GROUP_MIN: Final = 50
"""Minimum customers of either group with a whole horizon."""
HALF_WIDTH_MAX: Final = 0.10
"""Widest half of the interval of a known effect, as a share of customers."""
Z: Final = 1.959964
"""Normal quantile of a 95 % interval."""
USUAL_SHARE: Final = 0.3
"""Share that orders, for the number of customers needed before anybody has qualified; .5 would need the most."""


class Uplift(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Measured effect of a contact on the contacted.

    Attributes:
        horizon_days: days from qualification in which orders count.
        qualified: customers outside the hold-out group who qualified, with a whole horizon.
        held_out: customers of the hold-out group who qualified, with a whole horizon.
        contacted: contacted customers among `qualified`.
        contacted_held_out: contacted customers among `held_out`, against the plan.
        pending: customers who qualified but whose horizon is not over.
        needed: customers that must qualify until the effect is known, at this share of contacts; 0 if it is known.
        ordered: share of `qualified` that ordered.
        ordered_held_out: share of `held_out` that ordered.
        effect: share of the contacted that ordered because of the contact, 95 % interval: effect, low, high.
        revenue: revenue per contacted customer because of the contact, likewise.
        saved: share of the customers who would not have ordered that the contact made order, likewise.
    """

    horizon_days: int
    qualified: int
    held_out: int
    contacted: int
    contacted_held_out: int
    pending: int
    needed: int
    ordered: float | None = None
    ordered_held_out: float | None = None
    effect: tuple[float, float, float] | None = None
    revenue: tuple[float, float, float] | None = None
    saved: tuple[float, float, float] | None = None

    @property
    def known(self) -> bool:
        """Whether there are enough customers."""
        return self.needed == 0


def measure_uplift(entered: pl.DataFrame, horizon_days: int, pending: int, hold_out_share: float) -> Uplift:
    """Measure the effect of contacts.

    Args:
        entered: customers with a whole horizon, one row each: held_out, contacted, ordered (bool), revenue (float).
        horizon_days: days from qualification in which orders count.
        pending: customers whose horizon is not over.
        hold_out_share: share of the hold-out group, for the number of customers needed.
    """
    control, others = (entered.filter(col("held_out") == held) for held in (True, False))
    base: dict[str, Any] = {
        "horizon_days": horizon_days, "qualified": len(others), "held_out": len(control), "pending": pending,
        "contacted": int(others["contacted"].sum()), "contacted_held_out": int(control["contacted"].sum()),
    }  # fmt: skip
    shares = (float(np.mean(group["contacted"].to_numpy())) if len(group) else 0.0 for group in (others, control))
    compliance = next(shares) - next(shares)
    if min(len(control), len(others)) < 2 or compliance <= 0:
        return Uplift(**base, needed=_needed(entered, compliance, hold_out_share, None))
    effect = wald(_arrays(others, "ordered"), _arrays(control, "ordered"), shares=True)
    needed = _needed(entered, compliance, hold_out_share, (effect[2] - effect[1]) / 2)
    if needed:
        return Uplift(**base, needed=needed)
    ordered, reference = (float(np.mean(group["ordered"].to_numpy())) for group in (others, control))
    return Uplift(
        **base, needed=0, ordered=ordered, ordered_held_out=reference, effect=effect,
        revenue=wald(_arrays(others, "revenue"), _arrays(control, "revenue"), shares=False),
        saved=_saved(others, control),
    )  # fmt: skip


def wald(
    others: tuple[Float64, Float64], control: tuple[Float64, Float64], *, shares: bool
) -> tuple[float, float, float]:
    """Return the effect on the contacted with its 95 % interval: effect, low, high.

    The estimate is the difference of the outcomes over the difference of the shares contacted. Its variance is that of
    the residuals of the two groups (Imbens & Angrist, 1994). For shares, one success and one failure are added to each
    group for the interval (Agresti & Caffo, The American Statistician 54, 2000): a group in which nobody orders does
    not have a variance of 0.

    Args:
        others: outcome and contact of the customers outside the hold-out group, [n] each.
        control: the same of the hold-out group, [m] each.
        shares: whether the outcome is 0 or 1.
    """
    estimate, _ = _ratio(others, control)
    if shares:
        others, control = (_with_two(*group) for group in (others, control))
    centre, error = _ratio(others, control)
    return estimate, min(estimate, centre - Z * error), max(estimate, centre + Z * error)


def _ratio(others: tuple[Float64, Float64], control: tuple[Float64, Float64]) -> tuple[float, float]:
    (y1, c1), (y0, c0) = others, control
    compliance = float(c1.mean() - c0.mean())
    effect = float(y1.mean() - y0.mean()) / compliance
    variance = sum(float(np.var(y - effect * c, ddof=1)) / len(y) for y, c in (others, control))
    return effect, float(np.sqrt(variance)) / abs(compliance)


def _with_two(outcome: Float64, contact: Float64) -> tuple[Float64, Float64]:
    return np.append(outcome, (0.0, 1.0)), np.append(contact, (contact.mean(), contact.mean()))


def _arrays(group: pl.DataFrame, outcome: str) -> tuple[Float64, Float64]:
    return group[outcome].cast(pl.Float64).to_numpy(), group["contacted"].cast(pl.Float64).to_numpy()


def _saved(others: pl.DataFrame, control: pl.DataFrame) -> tuple[float, float, float] | None:
    """Return the effect among the contacted who would not have ordered; None if nobody of them would have stayed away.

    The hold-out group shows how many do not order without contacts. Less those of the others who were not contacted and
    did not order, this is the share of the contacted who would not have ordered. So the same ratio applies, with this
    share for the contacts.
    """
    pairs = []
    for group in (others, control):
        outcome, contact = _arrays(group, "ordered")
        pairs.append((outcome, -(1 - outcome) * (1 - contact)))
    if pairs[0][1].mean() <= pairs[1][1].mean():
        return None
    return wald(*pairs, shares=True)


def _needed(entered: pl.DataFrame, compliance: float, hold_out_share: float, half_width: float | None) -> int:
    """Return the customers of both groups that must qualify until the effect is known; 0 if it is."""
    count, share = len(entered), entered["held_out"].mean() if len(entered) else None
    fraction = min(max(float(share) if isinstance(share, float) and share > 0 else hold_out_share, 0.01), 0.99)
    smallest = round(GROUP_MIN / min(fraction, 1 - fraction))
    groups = entered["held_out"].value_counts()["count"].to_list() if count else []
    if half_width is None:
        reached = compliance if compliance > 0 else 1.0
        variance = USUAL_SHARE * (1 - USUAL_SHARE) / (fraction * (1 - fraction))
        return max(smallest, round(variance * (Z / (HALF_WIDTH_MAX * reached)) ** 2), count + 1)
    by_width = round(count * (half_width / HALF_WIDTH_MAX) ** 2)
    if half_width <= HALF_WIDTH_MAX and len(groups) == 2 and min(groups) >= GROUP_MIN:
        return 0
    return max(smallest, by_width, count + 1)


def uplift_sentence(uplift: Uplift) -> str:
    """Return the measured effect as a sentence for people."""
    have = uplift.qualified + uplift.held_out
    if uplift.effect is None:
        return (
            f"Effect of a contact: not yet known; needs {uplift.needed:,} customers who qualified at least "
            f"{uplift.horizon_days} days ago, and has {have:,} ({uplift.held_out:,} held out, {uplift.contacted:,} "
            "contacted)."
        )
    effect, low, high = uplift.effect
    return (
        f"Effect of a contact, measured: {effect:+.1%} of the contacted ordered within {uplift.horizon_days} days "
        f"because of it (95 %: {low:+.1%} to {high:+.1%}). Compared: {uplift.qualified:,} customers, "
        f"{uplift.contacted:,} of them contacted, and {uplift.held_out:,} held out."
    )


def to_json(uplift: Uplift) -> dict[str, Any]:
    """Return the effect as JSON-compatible data."""
    data: dict[str, Any] = msgspec.to_builtins(uplift)
    return data


def from_json(data: Mapping[str, Any]) -> Uplift:
    """Return the effect of its data. Raises `msgspec.ValidationError`."""
    return msgspec.convert(data, Uplift)


# --- who is compared --------------------------------------------------------------------------------------------------


def enter(
    qualified: Mapping[int, pl.DataFrame], contacts: pl.DataFrame, orders: pl.DataFrame, horizon_ms: int, end_ms: int
) -> tuple[pl.DataFrame, int]:
    """Return the customers of the comparison, and the number of those whose horizon is not over.

    A customer enters once, at the first wave at which they qualify. At a wave, customers count whose savable revenue is
    at least that of the least valuable customer who is contacted until the next wave: others had no prospect of a
    contact.

    Args:
        qualified: time of a wave, epoch ms, ascending -> its customers: customer_id, held_out (bool), savable (float).
        contacts: customer_id, ts (epoch ms).
        orders: customer_id, ts (epoch ms), revenue.
        horizon_ms: length of the horizon.
        end_ms: end of the known orders, epoch ms.
    """
    times = list(qualified)
    parts, seen = [], set[str]()
    for position, time in enumerate(times):
        until = times[position + 1] if position + 1 < len(times) else time + horizon_ms
        wave = contacts.filter(col("ts").is_between(time, until, closed="left"))
        rows = qualified[time]
        chosen = rows.filter(~col("held_out") & col("customer_id").is_in(wave["customer_id"].implode()))
        if chosen.is_empty():
            continue
        rows = rows.filter((col("savable") >= chosen["savable"].min()) & ~col("customer_id").is_in(list(seen)))
        seen.update(rows["customer_id"].to_list())
        parts.append(rows.select("customer_id", "held_out", pl.lit(time, pl.Int64).alias("entered")))
    empty = pl.DataFrame(schema={"customer_id": pl.String, "held_out": pl.Boolean, "entered": pl.Int64})
    entered = pl.concat([empty, *parts])
    whole = entered.filter(col("entered") + horizon_ms <= end_ms)
    outcomes = _within(whole, orders, horizon_ms).group_by("customer_id").agg(col("revenue").sum())
    reached = _within(whole, contacts, horizon_ms)["customer_id"].unique()
    joined = whole.join(outcomes, "customer_id", "left").with_columns(
        col("revenue").is_not_null().alias("ordered"),
        col("revenue").fill_null(0.0),
        col("customer_id").is_in(reached.implode()).alias("contacted"),
    )
    return joined, len(entered) - len(whole)


def _within(entered: pl.DataFrame, records: pl.DataFrame, horizon_ms: int) -> pl.DataFrame:
    joined = entered.join(records, "customer_id")
    return joined.filter((col("ts") >= col("entered")) & (col("ts") < col("entered") + horizon_ms))
