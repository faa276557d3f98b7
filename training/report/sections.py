"""Builds the sections of the report from the measured findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import plotly.graph_objects as go
import polars as pl
from polars import col

from connectors.formats.money_format import PLAIN_MONEY, MoneyFormat
from features.labels import column_label
from training.churn.candidates import TITLES
from training.html import Block, Figure, Table, Text, amounts_axis, number, styled
from training.report.drivers import SHOWN
from training.report.funnel import STEPS, WINDOW_DAYS, leak
from training.report.interventions import Assumptions, Intervention
from training.report.rendering import Section, incomplete
from training.report.uplift import Uplift, uplift_sentence
from training.segments.summary import Group

FILES: Final = {
    "data": "data/data.json",
    "funnel": "data/funnel.csv",
    "segments": "data/segment_summary.csv",
    "customers": "data/customer_segments.parquet",
    "model": "data/model.json",
    "drivers": "data/drivers.csv",
    "forecast": "data/forecast.parquet",
    "tested": "data/forecast.json",
    "interventions": "data/interventions.csv",
    "assumptions": "data/assumptions.json",
    "uplift": "data/uplift.json",
}
"""Source files of the sections' numbers, below the report's folder."""
_METRICS: Final = {"roc_auc": "ROC-AUC", "pr_auc": "PR-AUC", "brier": "Brier", "ece": "ECE"}


@dataclass(frozen=True, slots=True)
class Findings:
    """All inputs of the report.

    Attributes:
        data: counts of the archive: first, last, customers, events, orders, revenue_365d, invalid, duplicates.
        funnel: see `funnel.funnel`.
        customers: see `training.segments.customer_table.build_customer_table`.
        groups: segments of the customers.
        model: name, horizon_days and the reported part of the bundle's `metrics.json`.
        drivers: see `drivers.drivers`.
        forecast: see `training.forecast.shop_forecast.frame`.
        tested: see `training.forecast.shop_forecast.figures`.
        interventions: interventions, best first.
        assumptions: assumptions of the interventions.
        money: format of amounts of money.
        uplift: measured effect of contacts; None: not measured.
    """

    data: Mapping[str, Any]
    funnel: pl.DataFrame
    customers: pl.DataFrame
    groups: Sequence[Group]
    model: Mapping[str, Any]
    drivers: pl.DataFrame
    forecast: pl.DataFrame
    tested: Mapping[str, Any]
    interventions: Sequence[Intervention]
    assumptions: Assumptions
    money: MoneyFormat = PLAIN_MONEY
    uplift: Uplift | None = None


def sections(findings: Findings) -> list[Section]:
    """Return the report's sections in order. Raises ShopstreamError if a part lacks data."""
    parts = {
        "Actions": _interventions, "Data": _data, "Funnel": _funnel, "Segments": _segments, "Churn": _churn,
        "Forecast": _forecast,
    }  # fmt: skip
    counts = {
        "segments": len(findings.groups),
        "drivers": len(findings.drivers),
        "interventions": len(findings.interventions),
    }
    if missing := [name for name, count in counts.items() if not count]:
        raise incomplete("Data", f"there are no {', '.join(missing)}")
    return [Section(title, tuple(write(findings))) for title, write in parts.items()]


def model_figures(name: str, horizon_days: int, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the reported figures of a churn model, from the metrics of its bundle."""
    shown = dict.fromkeys([metrics["chosen"], "recency"])
    models = {key: metrics["models"][key] for key in shown if key in metrics["models"]}
    figures = {
        key: {part: {name: one[part][name] for name in _METRICS} for part in ("metrics", "intervals")}
        for key, one in models.items()
    }
    counts = {key: metrics[key] for key in ("chosen", "customers", "rows", "churned", "tested", "validation")}
    return {"name": name, "horizon_days": horizon_days, **counts, "models": figures}


def _data(findings: Findings) -> Iterator[Block]:
    data = findings.data
    yield Text(
        f"{data['customers']:,} customers from {data['first']} to {data['last']}: {data['events']:,} events and "
        f"{data['orders']:,} order records were read. {data['invalid']:,} rows were invalid and "
        f"{data['duplicates']:,} were duplicates. In the last 365 days the customers ordered "
        f"{data['orders_365d']:,} times for {findings.money.text(data['revenue_365d'])}.", FILES["data"],
    )  # fmt: skip


def _funnel(findings: Findings) -> Iterator[Block]:
    steps, source = findings.funnel, FILES["funnel"]
    before, after, lost = leak(steps)
    visits, bought = int(steps["reached"][0]), int(steps["reached"][-1])
    yield Text(
        f"Of {visits:,} visits that began in the last {WINDOW_DAYS} days, {bought:,} ({bought / visits:.1%}) bought. "
        f"The largest leak is between {before} and {after}: {lost:.1%} of the visits that reached {before} went no "
        "further.", source,
    )  # fmt: skip
    names = {"visit": "visited", **STEPS}
    rows = [
        (names[stage], f"{reached:,}", f"{reached / visits:.1%}", f"{continued:.1%}", f"{ended:,}")
        for stage, ended, reached, continued in steps.iter_rows()
    ]
    yield Table(("step", "visits", "share of all", "share of previous step", "ended here"), tuple(rows), source)
    figure = go.Figure(go.Funnel(y=list(names.values()), x=steps["reached"].to_list()))
    yield Figure(styled(figure), "funnel", source)


def _segments(findings: Findings) -> Iterator[Block]:
    groups = findings.groups
    best = max(groups, key=lambda one: one.revenue_share)
    largest = max(groups, key=lambda one: one.customers)
    yield Text(
        f"{best.name} has the highest revenue: {best.share:.1%} of the customers account for "
        f"{best.revenue_share:.1%} of the revenue of 365 days. {largest.name} is the largest segment, with "
        f"{largest.share:.1%} of the customers.", FILES["segments"],
    )  # fmt: skip
    rows = [
        (one.name, f"{one.customers:,}", f"{one.share:.1%}", f"{one.revenue_share:.1%}",
         str(one.traits[0]) if one.traits else "all customers are in it", one.actions[0], one.risks[0])
        for one in groups
    ]  # fmt: skip
    head = ("segment", "customers", "share", "share of revenue", "strongest trait", "first action", "first risk")
    yield Table(head, tuple(rows), FILES["segments"], (0, 4, 5, 6))
    risky = findings.customers.filter(col("churn_risk").is_in(["high", "critical"]))
    yield Text(
        f"{len(risky):,} customers are at high or critical churn risk; their revenue of 365 days is "
        f"{findings.money.text(float(risky['revenue_365d'].sum()))}.", FILES["customers"],
    )  # fmt: skip


def _churn(findings: Findings) -> Iterator[Block]:
    model, chosen = findings.model, findings.model["chosen"]
    own = model["models"][chosen]
    low, high = own["intervals"]["roc_auc"]
    yield Text(
        f"The bundle {model['name']} predicts which customers will not order within {model['horizon_days']} days. It "
        f"was tested on {model['rows']:,} held-out rows of {model['customers']:,} customers, {model['churned']:.1%} of "
        f"them churned. {TITLES[chosen]} reached a ROC-AUC of {own['metrics']['roc_auc']:.3f} (95 %: {low:.3f} to "
        f"{high:.3f}).",
        FILES["model"],
    )
    rows = [
        (TITLES[key], *(number(one["metrics"][name], one["intervals"][name]) for name in _METRICS))
        for key, one in model["models"].items()
    ]
    yield Table(("model", *_METRICS.values()), tuple(rows), FILES["model"])
    shown = findings.drivers.head(SHOWN)
    drivers = [(column_label(name), f"{size:.3f}", way) for name, size, way in shown.iter_rows()]
    yield Table(("driver", "mean contribution, log odds", "direction"), tuple(drivers), FILES["drivers"])
    yield Text(
        f"The strongest driver of the score is {column_label(shown['driver'][0])} ({shown['direction'][0]}). The model "
        "predicts churn and does not explain it: only a test shows whether a change of a driver has an "
        "effect.", FILES["drivers"],
    )  # fmt: skip


def _forecast(findings: Findings) -> Iterator[Block]:
    tested, money = findings.tested, findings.money
    total = tested["series"][0]
    measured = total.get("measured") or total.get("nested")  # a file of an earlier version has `nested`
    if not measured:
        raise incomplete("Forecast", "the history is too short for a back-test or has no sales")
    daily = total["sum"] / tested["horizon"]
    covered = measured["coverage_80"]
    yield Text(
        f"The forecast revenue of the {tested['horizon']} days after {tested['last']} is "
        f"{money.text(total['sum'], whole=True)}, {money.text(daily, whole=True)} a day. In back-tests from "
        f"{total['origins']} origins the mean absolute error of a day was {money.text(measured['mae'], whole=True)}, "
        f"{measured['against_naive']:.2f} times that of the seasonal naive forecast. "
        + ("The history is too short to measure the intervals." if covered is None else
           f"The 80 % intervals covered {covered:.0%} of the days."), FILES["tested"],
    )  # fmt: skip
    rows = findings.forecast.filter(col("level") == "total", col("forecast").is_not_null())
    weeks = rows.with_columns((pl.int_range(pl.len()) // 7).alias("week")).group_by("week", maintain_order=True)
    table = weeks.agg(col("day").first(), col("day").last().alias("last"), col("forecast").sum()).sort("week")
    yield Table(
        ("from", "to", "forecast"),
        tuple((a, b, money.text(c, whole=True)) for _, a, b, c in table.iter_rows()),
        FILES["forecast"],
    )
    yield Figure(styled(_revenue(findings.forecast), **amounts_axis("revenue", money)), "forecast", FILES["forecast"])


def _revenue(frame: pl.DataFrame) -> go.Figure:
    total = frame.filter(col("level") == "total")
    known = total.filter(col("revenue").is_not_null()).tail(120)
    ahead = total.filter(col("forecast").is_not_null())
    days, figure = ahead["day"].to_list(), go.Figure()
    figure.add_scatter(
        x=days + days[::-1], y=ahead["high_80"].to_list() + ahead["low_80"].to_list()[::-1], fill="toself",
        fillcolor="rgba(44,103,178,0.25)", line={"width": 0}, hoverinfo="skip", name="80 % interval",
    )  # fmt: skip
    figure.add_scatter(x=known["day"].to_list(), y=known["revenue"].to_list(), mode="lines", name="revenue")
    figure.add_scatter(x=days, y=ahead["forecast"].to_list(), mode="lines", name="forecast")
    return figure


def _interventions(findings: Findings) -> Iterator[Block]:
    ranked, days = findings.interventions, findings.assumptions.days
    first = ranked[0]
    worth = sum(one.effect > 0 for one in ranked)
    yield Text(
        f"With the assumptions below, {first.name} ({first.whom}) has the largest effect: "
        f"{findings.money.text(first.effect, whole=True)} of "
        f"revenue in {days} days, less its cost. {worth} of {len(ranked)} interventions earn more than they cost. Some "
        "reach the same customers, so their effects do not add up.", FILES["interventions"],
    )  # fmt: skip
    rows = [
        (
            str(rank),
            one.name,
            one.whom,
            f"{one.customers:,}",
            findings.money.text(one.effect, whole=True),
            one.arithmetic,
        )
        for rank, one in enumerate(ranked, 1)
    ]
    head = ("rank", "intervention", "target", "reaches", f"effect in {days} days", "calculation")
    yield Table(head, tuple(rows), FILES["interventions"])
    yield Text(_effect_text(findings.uplift), FILES["uplift"])
    if findings.uplift is not None and findings.uplift.effect is not None:
        yield Table(("measured effect", "estimate", "95 % interval"), _effects(findings), FILES["uplift"])
    flat = msgspec.to_builtins(findings.assumptions)
    assumed = [
        (f"{column_label(name)} {part}".strip(), f"{value:g}")
        for name, one in flat.items()
        for part, value in (_flat(one) if isinstance(one, dict) else [("", one)])
    ]
    measured = findings.uplift is not None and findings.uplift.saved is not None
    yield Text(
        "These values are assumed, not measured. Replace them with the results of tests with a control group."
        + (" The saved shares at high and critical risk are not used: they are measured." if measured else ""),
        FILES["assumptions"],
    )
    yield Table(("assumption", "value"), tuple(assumed), FILES["assumptions"])


def _effect_text(uplift: Uplift | None) -> str:
    if uplift is None:
        return (
            "Effect of a contact: not yet known. It needs a hold-out group (setting hold_out.share), a log of contacts "
            "and `shopstream contacts effect`. The saved shares are assumed."
        )
    used = "measured" if uplift.saved is not None else "assumed"
    return f"{uplift_sentence(uplift)} The saved shares at high and critical risk are {used}."


def _effects(findings: Findings) -> tuple[tuple[str, str, str], ...]:
    uplift, money = findings.uplift, findings.money
    assert uplift is not None
    rows = []
    if uplift.effect is not None:
        one, low, high = uplift.effect
        rows.append(("contacted customers who order because of it", f"{one:+.1%}", f"{low:+.1%} to {high:+.1%}"))
    if uplift.revenue is not None:
        one, low, high = uplift.revenue
        rows.append(("revenue per contacted customer", money.text(one), f"{money.text(low)} to {money.text(high)}"))
    if uplift.saved is not None:
        one, low, high = uplift.saved
        rows.append(("saved share of the leaving customers", f"{one:+.1%}", f"{low:+.1%} to {high:+.1%}"))
    return tuple(rows)


def _flat(efforts: Mapping[str, Mapping[str, float]]) -> list[tuple[str, float]]:
    return [(f"{risk} {name}", value) for risk, one in efforts.items() for name, value in one.items()]
