"""Prints the end of the demo: the audit of all counts, and tables about the shop; all figures are measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from connectors.formats.money_format import MoneyFormat
from consumers.audit import AuditResult
from consumers.metrics.reports import merged
from dashboards.panels import Panel, Unit
from dashboards.queries import Row
from shopstream.demo.queries import FUNNEL, PRODUCTS, REVENUE, RISK, SEGMENTS, DocumentCounts
from shopstream.jobs.seed_history import HistoryState
from shopstream.runtime.supervisor import RunOutcome
from shopstream.runtime.worker_tables import TIGHT, by_role, closing_table

if TYPE_CHECKING:
    from training.bundle import Bundle

BAR_WIDTH: Final = 24
SHOWN: Final = (("pr_auc", "PR-AUC"), ("roc_auc", "ROC-AUC"), ("brier", "Brier"), ("ece", "ECE"))
"""Metric of a bundle -> its title."""


@dataclass(frozen=True, slots=True)
class Audit:
    """Counts that Kafka and Elasticsearch return after the round, and the rows of each panel by its id."""

    kafka: AuditResult
    documents: DocumentCounts
    rows: Mapping[str, list[Row]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Round:
    """Result of a round.

    Attributes:
        outcome: outcome of the workers.
        replay_s: seconds to send the history; None if it was in Kafka already.
        messages: number of messages of the history.
        bundle: bundle that scores the customers; None: no scores.
    """

    outcome: RunOutcome
    replay_s: float | None
    messages: int
    bundle: Bundle | None = None


@dataclass(frozen=True, slots=True)
class Equation:
    """One audit equation: all records sent are in Kafka, and all in Kafka are in Elasticsearch or accounted for.

    Attributes:
        what: name of the records.
        kafka: number of messages, or of distinct things among them.
        elastic: number of documents.
        sent: number sent by the producers; None if unknown.
        dead_letters: number of dead letters.
        repeated: number of messages that repeat or change an earlier one.
        without_document: number of profiles without a document, since their customers have no activity yet.
        compacted: number of messages that are counted but compacted away; they may not have been records.
        note: description of the repeated ones or of those without a document.
    """

    what: str
    kafka: int
    elastic: int
    sent: int | None = None
    dead_letters: int = 0
    repeated: int = 0
    without_document: int = 0
    compacted: int = 0
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether the equation holds."""
        arrived = self.sent is None or self.kafka - self.compacted <= self.sent <= self.kafka
        return arrived and self.kafka == self.dead_letters + self.repeated + self.without_document + self.elastic


def equations(audit: Audit, state: HistoryState | None) -> list[Equation]:
    """Return every equation that must hold."""
    topics, documents = audit.kafka.topics, audit.documents
    indices, customers, unseen = documents.indices, audit.kafka.customers, audit.kafka.profiles_unseen
    events, orders, profiles = topics["events"], topics["orders"], topics["customers"]
    delivered = None if state is None or state.sent_unknown else state.delivered
    sent = {topic: None if delivered is None else delivered.get(topic, 0) for topic in topics}
    return [
        Equation(
            "events", events.messages, indices["events"], sent["events"], events.dead_letters, events.repeated,
            note="repeats: events sent twice" if events.repeated else "",
        ),
        Equation(
            "orders", orders.messages, indices["orders"], sent["orders"], orders.dead_letters, orders.repeated,
            note="repeats: later changes of an order" if orders.repeated else "",
        ),
        Equation(
            "profiles", profiles.messages, documents.with_profile, sent["customers"], profiles.dead_letters,
            profiles.repeated, unseen, profiles.compacted,
            "no doc: customers without a visit or an order yet" if unseen else "",
        ),
        Equation("customers", customers, indices["customers"]),
        Equation("rows in Kafka", customers, audit.kafka.feature_rows),
        *([] if documents.scored is None else [Equation("scored", customers, documents.scored)]),
        Equation("sessions", audit.kafka.sessions, indices["sessions"]),
        Equation("order lines", documents.order_lines, indices["order-items"]),
    ]  # fmt: skip


def print_summary(
    out: Console, audit: Audit, result: Round, state: HistoryState | None, seconds: float, money: MoneyFormat
) -> bool:
    """Print every table; return whether all equations hold."""
    checked, documents = equations(audit, state), audit.documents
    out.print(_audit_table(checked))
    out.print(_funnel_table(audit.rows[FUNNEL.id], money))
    for panel in (REVENUE, PRODUCTS):
        out.print(_panel_table(panel, audit.rows[panel.id], money))
    if result.bundle is not None:
        out.print(_model_table(result.bundle))
        risks = _panel_table(RISK, audit.rows[RISK.id], money)
        without = (documents.scored or 0) - sum(row["customers"] for row in audit.rows[RISK.id])
        risks.caption, risks.caption_justify = f"{without:,} customers have no order yet", "left"
        out.print(risks)
        out.print(_panel_table(SEGMENTS, audit.rows[SEGMENTS.id], money))
        first = "" if documents.alerts else " (a first score is not a rise: alerts follow as the live shop continues)"
        out.print(f"{documents.alerts:,} alerts of a churn risk that rose{first}\n")
    if any(documents.trends.values()):
        counts = ", ".join(f"{count:,} {name}" for name, count in documents.trends.items() if count)
        out.print(f"trends and forecast: {counts}\n", highlight=False)
    out.print(closing_table(result.outcome.views, result.outcome.seconds, result.outcome.final_as_of))
    out.print(_rates_table(result, seconds))
    wrong = ", ".join(one.what for one in checked if not one.holds)
    if wrong:
        out.print(f"[bold red]✗[/] the counts of {wrong} do not agree")
    else:
        out.print("[bold green]✓[/] every record that was sent is accounted for")
    return not wrong


def _audit_table(checked: Sequence[Equation]) -> Table:
    table = _table("audit of every record")
    table.add_column("what", no_wrap=True)
    for name in ("sent", "Kafka", "dead letters", "repeats", "no doc", "Elastic"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for equation in checked:
        mark = "[bold green]✓[/]" if equation.holds else "[bold red]✗[/]"
        sent = "" if equation.sent is None else f"{equation.sent:,}"
        counts = (equation.kafka, equation.dead_letters, equation.repeated, equation.without_document, equation.elastic)
        table.add_row(equation.what, sent, *(f"{count:,}" for count in counts), mark)
    notes = [f"{equation.what}: {equation.note}" for equation in checked if equation.note]
    table.caption = "sent = Kafka = dead letters + repeats + no doc + Elastic\n" + "\n".join(notes)
    table.caption_justify = "left"
    return table


def _table(title: str, *, show_header: bool = True) -> Table:
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=TIGHT, show_header=show_header)


def _funnel_table(rows: Sequence[Row], money: MoneyFormat) -> Table:
    counts = [row["Sessions"] for row in rows]
    shares = [
        row | {"of all": _share(count, counts[0]), "of the previous step": _share(count, before)}
        for row, count, before in zip(rows, counts, [*counts[:1], *counts], strict=False)
    ]
    return _panel_table(FUNNEL, shares, money, {"of all": "percent", "of the previous step": "percent"})


def _panel_table(
    panel: Panel, rows: Sequence[Row], money: MoneyFormat, further: dict[str, Unit] | None = None
) -> Table:
    """Return the rows of a panel; with one dimension, a bar shows the share of the first figure in its maximum.

    Args:
        panel: panel of the rows.
        rows: value of each label.
        money: format of amounts of money.
        further: label -> unit of further figures in the rows.
    """
    units = {figure.label: figure.unit for figure in panel.measures} | (further or {})
    bar_of = panel.measures[0].label if len(panel.dimensions) == 1 else None
    maximum = max((row[bar_of] for row in rows), default=0) if bar_of else 0
    table = _table(panel.title)
    for dimension in panel.dimensions:
        table.add_column(dimension.label)
    for label in units:
        table.add_column(label.lower(), justify="right")
    for row in rows:
        keys = [str(row[one.label]) for one in panel.dimensions]
        bar = "█" * round(BAR_WIDTH * _share(row[bar_of], maximum)) if bar_of else ""
        table.add_row(*keys, *(_cell(row[label], unit, money) for label, unit in units.items()), bar)
    return table


def _cell(value: float | None, unit: Unit, money: MoneyFormat) -> str:
    if value is None:
        return ""
    return f"{value:.1%}" if unit == "percent" else money.text(value) if unit == "money" else f"{value:,.0f}"


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


def _rates_table(result: Round, seconds: float) -> Table:
    table = _table("measured rates and latencies", show_header=False)
    table.add_column("what")
    table.add_column("figure", justify="right")
    if result.replay_s:
        table.add_row("replay", f"{result.messages / result.replay_s:,.0f} messages/s")
    for role, workers in by_role(result.outcome.views).items():
        rate = sum(view.mean_records_per_s for view in workers)
        if rate:
            table.add_row(f"{role}: reads", f"{rate:,.0f} messages/s")
        figures = merged([view.figures for view in workers])
        for name, text in (("latency", "a bulk request"), ("freshness", "append to visible")):
            low, high = figures.get(f"{name}_p50_ms"), figures.get(f"{name}_p99_ms")
            if low or high:
                table.add_row(f"{role}: {text}, p50 / p99", f"{float(low or 0):,.0f} / {float(high or 0):,.0f} ms")
    table.add_row("this round, including the audit", f"{seconds:,.1f} s")
    return table


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
