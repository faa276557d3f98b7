"""Prints the end of the demo: the audit of all counts, and tables about the shop; all figures are measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from consumers.audit import AuditResult
from consumers.metrics.reports import merged
from shopstream.demo.queries import DocumentCounts, Group, MonthRevenue, ProductSales, Scores
from shopstream.jobs.demo_memory import DemoState
from shopstream.runtime.supervisor import Outcome
from shopstream.runtime.worker_tables import TIGHT, by_role, closing_table

if TYPE_CHECKING:
    from training.bundle import Bundle

BAR_WIDTH: Final = 24
SHOWN: Final = (("pr_auc", "PR-AUC"), ("roc_auc", "ROC-AUC"), ("brier", "Brier"), ("ece", "ECE"))
"""Metric of a bundle -> its title."""


@dataclass(frozen=True, slots=True)
class Audit:
    """Counts that Kafka and Elasticsearch return after the round."""

    recount: AuditResult
    documents: DocumentCounts
    funnel: list[tuple[str, int]]
    revenue: list[MonthRevenue]
    products: list[ProductSales]
    scores: Scores | None = None
    trends: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Round:
    """Result of a round.

    Attributes:
        outcome: outcome of the workers.
        replay_s: seconds to send the history; None if it was in Kafka already.
        messages: number of messages of the history.
        bundle: bundle that scores the customers; None: no scores.
    """

    outcome: Outcome
    replay_s: float | None
    messages: int
    bundle: Bundle | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One audit equation: all records sent are in Kafka, and all in Kafka are in Elasticsearch or accounted for.

    Attributes:
        what: name of the records.
        sent: number sent by the producers; None if unknown.
        kafka: number of messages, or of distinct things among them.
        letters: number of dead letters.
        repeated: number of messages that repeat or change an earlier one.
        elsewhere: number of profiles without a document, since their customers have no activity yet.
        elastic: number of documents.
        compacted: number of messages that are counted but compacted away; they may not have been records.
        note: description of the repeated ones or those elsewhere.
    """

    what: str
    sent: int | None
    kafka: int
    letters: int
    repeated: int
    elsewhere: int
    elastic: int
    note: str = ""
    compacted: int = 0

    @property
    def holds(self) -> bool:
        """Whether the equation holds."""
        arrived = self.sent is None or self.kafka - self.compacted <= self.sent <= self.kafka
        return arrived and self.kafka == self.letters + self.repeated + self.elsewhere + self.elastic


def lines(audit: Audit, memory: DemoState | None) -> list[Line]:
    """Return every equation that must hold."""
    topics, documents = audit.recount.topics, audit.documents
    known = memory is not None and not memory.live_open
    sent = {topic: memory.sent.get(topic, 0) if memory is not None and known else None for topic in topics}
    events, orders, profiles = topics["events"], topics["orders"], topics["customers"]
    unseen = audit.recount.profiles_unseen
    return [
        Line(
            "events", sent["events"], events.messages, events.letters, events.repeated, 0,
            documents.indices["events"], "repeats are events sent twice" if events.repeated else "",
        ),
        Line(
            "orders", sent["orders"], orders.messages, orders.letters, orders.repeated, 0,
            documents.indices["orders"], "repeats are later changes of an order" if orders.repeated else "",
        ),
        Line(
            "profiles", sent["customers"], profiles.messages, profiles.letters, profiles.repeated, unseen,
            documents.with_profile, "no doc are customers without a visit or an order yet" if unseen else "",
            profiles.compacted,
        ),
        Line("customers", None, audit.recount.customers, 0, 0, 0, documents.indices["customers"]),
        Line("rows in Kafka", None, audit.recount.customers, 0, 0, 0, audit.recount.feature_rows),
        *(
            [Line("scored", None, audit.recount.customers, 0, 0, 0, audit.scores.customers)]
            if audit.scores is not None
            else []
        ),
        Line("sessions", None, audit.recount.sessions, 0, 0, 0, documents.indices["sessions"]),
        Line("order lines", None, documents.order_lines, 0, 0, 0, documents.indices["order-items"]),
    ]  # fmt: skip


def print_summary(out: Console, audit: Audit, done: Round, memory: DemoState | None, seconds: float) -> bool:
    """Print every table; return whether all equations hold."""
    sums = lines(audit, memory)
    out.print(_sums_table(sums))
    out.print(_funnel_table(audit.funnel))
    out.print(_revenue_table(audit.revenue))
    out.print(_products_table(audit.products))
    if done.bundle is not None and audit.scores is not None:
        out.print(_model_table(done.bundle))
        out.print(_groups_table("customers by churn risk", "risk", audit.scores.risks))
        out.print(_groups_table("customers by segment", "segment", audit.scores.segments))
        first = "" if audit.scores.alerts else " (a first score is no rise: alerts come as the shop goes on)"
        out.print(f"{audit.scores.alerts:,} alerts of a churn risk that rose{first}\n")
    if any(audit.trends.values()):
        counts = ", ".join(f"{count:,} {name}" for name, count in audit.trends.items() if count)
        out.print(f"looked back and ahead: {counts}\n", highlight=False)
    out.print(closing_table(done.outcome.views, done.outcome.seconds, done.outcome.final_as_of))
    out.print(_rates_table(done, seconds))
    holds = all(line.holds for line in sums)
    if holds:
        out.print("[bold green]✓[/] every record that was sent is accounted for")
    else:
        wrong = ", ".join(line.what for line in sums if not line.holds)
        out.print(f"[bold red]✗[/] the counts of {wrong} do not agree")
    return holds


def _sums_table(sums: Sequence[Line]) -> Table:
    table = _table("every record, counted again")
    table.add_column("what", no_wrap=True)
    for name in ("sent", "Kafka", "letters", "repeats", "no doc", "Elastic"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for line in sums:
        mark = "[bold green]✓[/]" if line.holds else "[bold red]✗[/]"
        sent = "" if line.sent is None else f"{line.sent:,}"
        counts = (line.kafka, line.letters, line.repeated, line.elsewhere, line.elastic)
        table.add_row(line.what, sent, *(f"{count:,}" for count in counts), mark)
    notes = [f"{line.what}: {line.note}" for line in sums if line.note]
    table.caption = "sent = Kafka = dead letters + repeats + no doc + Elastic\n" + "\n".join(notes)
    table.caption_justify = "left"
    return table


def _table(title: str, *, show_header: bool = True) -> Table:
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=TIGHT, show_header=show_header)


def _funnel_table(steps: Sequence[tuple[str, int]]) -> Table:
    table = _table("funnel: sessions whose furthest stage is this one or a later one")
    table.add_column("stage")
    table.add_column("sessions", justify="right")
    table.add_column("of all", justify="right")
    table.add_column("of the step before", justify="right")
    table.add_column("")
    first = before = steps[0][1] if steps else 0
    for stage, count in steps:
        bar = "█" * round(BAR_WIDTH * _share(count, first))
        table.add_row(stage, f"{count:,}", f"{_share(count, first):.1%}", f"{_share(count, before):.1%}", bar)
        before = count
    return table


def _revenue_table(months: Sequence[MonthRevenue]) -> Table:
    table = _table("revenue by month: orders that stand")
    table.add_column("month")
    table.add_column("orders", justify="right")
    table.add_column("revenue", justify="right")
    table.add_column("")
    highest = max((month.revenue for month in months), default=0.0)
    for month in months:
        bar = "█" * round(BAR_WIDTH * _share(month.revenue, highest))
        table.add_row(month.month, f"{month.orders:,}", f"{month.revenue:,.2f}", bar)
    return table


def _products_table(products: Sequence[ProductSales]) -> Table:
    table = _table("top products by revenue")
    table.add_column("product")
    table.add_column("category")
    for name in ("order lines", "units", "revenue"):
        table.add_column(name, justify="right")
    for product in products:
        table.add_row(
            product.product_id, product.category, f"{product.lines:,}", f"{product.units:,}", f"{product.revenue:,.2f}"
        )
    return table


def _model_table(bundle: Bundle) -> Table:
    """Compare the model with the baselines, on times outside its training."""
    report = bundle.metrics
    models = report["models"]
    table = _table(f"churn within {bundle.horizon_days} days: {report['rows']:,} later rows")
    table.add_column("model", no_wrap=True)
    for _, title in SHOWN:
        table.add_column(title, justify="right")
    chosen = report["chosen"]
    for family in (chosen, *(name for name in models if name != chosen)):
        figures = models[family]["metrics"]
        style = "bold" if family == chosen else "dim"
        table.add_row(models[family]["title"], *(f"{figures[name]:.3f}" for name, _ in SHOWN), style=style)
    table.caption = f"PR-AUC of chance: {report['churned']:.3f}\ncard.html in {bundle.folder.name}"
    table.caption_justify = "left"
    return table


def _groups_table(title: str, what: str, groups: Sequence[Group]) -> Table:
    table = _table(title)
    table.add_column(what)
    for name in ("customers", "mean churn", "revenue 365d"):
        table.add_column(name, justify="right")
    table.add_column("")
    most = max((group.customers for group in groups), default=0)
    for group in groups:
        churn = "" if group.churn is None else f"{group.churn:.0%}"
        bar = "█" * round(BAR_WIDTH * _share(group.customers, most))
        table.add_row(group.name or "no order yet", f"{group.customers:,}", churn, f"{group.revenue:,.2f}", bar)
    return table


def _rates_table(done: Round, seconds: float) -> Table:
    table = _table("rates and latencies reached", show_header=False)
    table.add_column("what")
    table.add_column("figure", justify="right")
    if done.replay_s:
        table.add_row("replay", f"{done.messages / done.replay_s:,.0f} messages/s")
    for role, workers in by_role(done.outcome.views).items():
        rate = sum(view.mean_records_per_s for view in workers)
        if rate:
            table.add_row(f"{role}: reads", f"{rate:,.0f} messages/s")
        figures = merged([view.figures for view in workers])
        for name, text in (("latency", "a bulk request"), ("freshness", "append to visible")):
            low, high = figures.get(f"{name}_p50_ms"), figures.get(f"{name}_p99_ms")
            if low or high:
                table.add_row(f"{role}: {text}, p50 / p99", f"{float(low or 0):,.0f} / {float(high or 0):,.0f} ms")
    table.add_row("this round, with the counting", f"{seconds:,.1f} s")
    return table


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
