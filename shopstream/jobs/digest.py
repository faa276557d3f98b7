"""Sends digests: figures of the last day or week against the period before, and the customers to contact.

A digest goes to each target once. Result of a crash after each step:

1. A target has the digest. Crash: it gets the digest again, with the same id.
2. The file notes it for the target. Crash: the others get theirs after a restart.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from connectors.clock import iso, wall_clock_ms
from connectors.elasticsearch.client import elastic_connection, open_client
from connectors.elasticsearch.search import Searcher
from connectors.files import private_folder, read_note, write_note
from connectors.formats.money_format import MoneyFormat
from consumers.notifications.delivery import Courier, Target
from consumers.notifications.message import Entry, Notification, customer_url, one_line
from dashboards.boards.data import ALERTS, HIGH_RISK, ORDER_COUNT, ORDERS, REVENUE, SESSIONS
from dashboards.boards.now import CONVERSION
from dashboards.checks import end_searches, stream_end
from dashboards.customer_summary import date_text
from dashboards.horizons import horizon_text
from dashboards.panels import Data, Figure, Measure, Panel, Position, Span
from dashboards.queries import query, rows
from dashboards.reasons import number_text, reasons, share_text
from dashboards.web.boards import complete
from dashboards.web.work_list import Candidate, work_list
from features.calendar import Calendar
from features.errors import ShopstreamError
from features.hold_out import HoldOut
from features.labels import value_label
from features.schema import HOUR_MS
from features.scores.score import BUNDLE_FIELD
from shopstream import embedded
from shopstream.jobs.notify import OnMessage, targets
from shopstream.jobs.runs import NOTIFY_FOLDER
from shopstream.jobs.serve_dashboards import action_texts
from shopstream.jobs.shop_calendar import run_calendar
from shopstream.settings import Settings

Period = Literal["day", "week"]

CUSTOMERS: Final = 10
"""Customers of a digest."""
SEARCH_TIMEOUT_S: Final = 30.0
COMPLETE_WITHIN_MS: Final = HOUR_MS
"""Longest time without an event at the end of a period that is not worth a line."""
AFTER_MS: Final = 10 * 60_000
"""Time after a period until its digest is sent: the newest records are in the indices by then."""
GIVE_UP_ONCE_S: Final = 120.0
"""Longest time of unsuccessful attempts of a command that sends one digest."""
GIVE_UP_REPEATED_S: Final = 6 * 3_600.0
"""The same of a schedule: the next digest must not wait for a target that does not answer."""
CHECK_EVERY_S: Final = 30.0
STOP_POLL_S: Final = 0.2
_TITLES: Final[Mapping[Period, str]] = {"day": "Daily digest,", "week": "Weekly digest,"}
SHARE_DIGITS: Final = 4
"""Decimals of shares for programs."""
INCOMPLETE: Final = " (incomplete)"
"""End of the title of a digest whose data end before its period."""
_NEW_ALERTS: Final = Measure("Alerts", "count", where=HIGH_RISK)
FIGURES: Final[Mapping[str, tuple[Data, Figure]]] = {
    "revenue": (ORDERS, REVENUE),
    "orders": (ORDERS, ORDER_COUNT),
    "conversion": (SESSIONS, CONVERSION),
    "alerts": (ALERTS, _NEW_ALERTS),
}
"""Name of a figure in `data` -> its documents and its definition on the boards."""


@dataclass(frozen=True, slots=True)
class DigestRequest:
    """Which digests are sent.

    Attributes:
        period: `day` or `week`.
        repeat: whether to send one after each period until the process ends.
        again: whether to send the digest of a period that was sent already.
        as_of_ms: time, epoch ms, before which the period ends; None: the present time.
    """

    period: Period
    repeat: bool = False
    again: bool = False
    as_of_ms: int | None = None


class SentDigests(msgspec.Struct):
    """Period of the last digest of each target: target -> `day` or `week` -> first day of the period."""

    sent: dict[str, dict[str, str]] = {}


def send_digests(
    settings: Settings, request: DigestRequest, stopped: Callable[[], bool], on_message: OnMessage
) -> list[str]:
    """Send digests to the targets of the settings.

    Args:
        settings: settings with the run, Elasticsearch and the targets.
        request: which digests.
        stopped: whether to end.
        on_message: callback with a sentence for people.

    Returns:
        Names of the targets that did not get the digest; none with `repeat`.

    Raises:
        UsageError: there is no target, or a setting is wrong.
        ShopstreamError: Elasticsearch does not answer; with `repeat` it is reported and requested again.
    """
    receivers = targets(settings, lambda one: one.digest)
    if not request.repeat:
        return _read_and_send(settings, request, receivers, stopped, on_message)
    last_error = ""
    while not stopped():
        try:
            _read_and_send(settings, request, receivers, stopped, on_message)
        except ShopstreamError as error:
            # an unattended process waits until Elasticsearch answers again
            if str(error) != last_error:
                on_message(f"no digest: {error}")
            last_error = str(error)
        else:
            last_error = ""
        end_s = time.monotonic() + CHECK_EVERY_S
        while not stopped() and time.monotonic() < end_s:
            time.sleep(STOP_POLL_S)
    return []


def _read_and_send(
    settings: Settings,
    request: DigestRequest,
    receivers: Sequence[Target],
    stopped: Callable[[], bool],
    on_message: OnMessage,
) -> list[str]:
    with _reader(settings) as (search, calendar):
        now_ms = wall_clock_ms() if request.as_of_ms is None else request.as_of_ms
        before_ms = now_ms - AFTER_MS if request.repeat else now_ms
        reader = _Reader(search, calendar, now_ms, before_ms)
        return _send_due(settings, request, reader, receivers, stopped, on_message)


@dataclass(frozen=True, slots=True)
class _Reader:
    search: Searcher
    calendar: Calendar
    now_ms: int
    before_ms: int


@contextmanager
def _reader(settings: Settings) -> Iterator[tuple[Searcher, Calendar]]:
    endpoint = embedded.elastic_endpoint(settings, read_only=True)
    with open_client(elastic_connection(endpoint)) as client:
        calendar = run_calendar(client, settings.run, settings.shop)
        yield Searcher(client.options(request_timeout=SEARCH_TIMEOUT_S), settings.run), calendar


def state_file(settings: Settings) -> Path:
    """Return the file that notes the sent digests of the run."""
    return settings.home / NOTIFY_FOLDER / f"{settings.run}.digests.json"


def _send_due(
    settings: Settings,
    request: DigestRequest,
    reader: _Reader,
    receivers: Sequence[Target],
    stopped: Callable[[], bool],
    on_message: OnMessage,
) -> list[str]:
    """Send the digest of the last whole period to the targets that do not have it; return those that refuse it."""
    span = last_period(request.period, reader.before_ms, reader.calendar)
    day = reader.calendar.date_of(span.from_ms)
    path = state_file(settings)
    private_folder(path.parent)
    state = read_note(path, SentDigests, "Delete the file; the last digests are sent again.") or SentDigests()
    due = [one for one in receivers if request.again or state.sent.get(one.name, {}).get(request.period, "") < day]
    if not due:
        if not request.repeat:
            on_message(_not_due(request.period, day, [state.sent[one.name][request.period] for one in receivers]))
        return []
    notification = digest(settings, request.period, reader, span)
    longest_s = GIVE_UP_REPEATED_S if request.repeat else GIVE_UP_ONCE_S
    give_up_s = min(longest_s, settings.notify.give_up_after_s)
    lock = threading.Lock()

    def deliver(target: Target) -> str | None:
        courier = Courier(target, give_up_s, stopped, time.monotonic, time.sleep, on_message)
        outcome = courier.deliver(notification)
        if outcome is None:
            return target.name
        if outcome.kind == "refused":
            on_message(f"{target.name}: the digest is not delivered: {outcome.reason}")
        if outcome.kind == "delivered" or request.repeat:
            # a schedule continues with the next period
            with lock:
                sent = state.sent.setdefault(target.name, {})
                sent[request.period] = max(day, sent.get(request.period, ""))
                write_note(path, state)
        if outcome.kind == "delivered":
            on_message(f"{target.name}: digest of the {request.period} from {day} delivered")
            return None
        return target.name

    with ThreadPoolExecutor(len(due), thread_name_prefix="digest") as pool:
        return [name for name in pool.map(deliver, due) if name is not None]


def _not_due(period: Period, day: str, sent: Sequence[str]) -> str:
    """Return why no target gets the digest: it was sent, or that of a later period (`--as-of`)."""
    if later := [one for one in sent if one > day]:
        return f"no digest of the {period} from {day}: that from {max(later)} was sent already (--again sends it)"
    return f"the digest of the {period} from {day} was sent already (--again repeats it)"


# --- content ----------------------------------------------------------------------------------------------------------


def last_period(period: Period, before_ms: int, calendar: Calendar) -> Span:
    """Return the last whole local day or week that ends at or before a time, epoch ms."""
    end_ms = calendar.unit_start_ms(period, before_ms)
    return Span(calendar.unit_start_ms(period, end_ms - 1), end_ms)


def digest(settings: Settings, period: Period, reader: _Reader, span: Span) -> Notification:
    """Return the digest of a period.

    Args:
        settings: settings with the run, the money and the page.
        period: `day` or `week`.
        reader: source of the figures.
        span: the period.
    """
    money, page_url = settings.shop.money, settings.notify.page_url or ""
    before = last_period(period, span.from_ms, reader.calendar)
    now, then = (_figures(reader, one) for one in (span, before))
    first = reader.calendar.date_of(span.from_ms)
    data_to_ms = _data_to(reader, span)
    hold_out = settings.hold_out.to_rule()
    ranked = work_list(reader.search, reader.now_ms, 0, CUSTOMERS, hold_out)
    actions = action_texts()
    labels = {name: figure.label for name, (_, figure) in FIGURES.items()}
    return Notification(
        (settings.run, "digest", period, first),
        f"digest.{period}",
        iso(span.to_ms),
        f"{_TITLES[period]} {_days(span, reader.calendar)} ({settings.run}){INCOMPLETE if data_to_ms else ''}",
        (
            *_behind(data_to_ms),
            *((labels[name], _compared(name, now[name], then[name], period, money)) for name in FIGURES),
            *_not_suggested(hold_out),
        ),
        {
            "run": settings.run, "period": period, "from_ms": span.from_ms, "to_ms": span.to_ms,
            "complete": data_to_ms is None, "data_to_ms": data_to_ms, "figures": _exact(now, money),
            "figures_before": _exact(then, money), "customers": [_fields(one, money) for one in ranked.rows],
        },
        tuple(_entry(one, money, actions, page_url) for one in ranked.rows),
        f"Customers to contact today ({len(ranked.rows):,} of {ranked.total:,})" if ranked.rows else "",
        page_url,
        "Open dashboard",
    )  # fmt: skip


def _not_suggested(hold_out: HoldOut) -> tuple[tuple[str, str], ...]:
    """Return who is never suggested; nothing without a hold-out group."""
    return (("Not suggested", f"the hold-out group, {hold_out.share:.0%} of all customers"),) if hold_out.share else ()


def _days(span: Span, calendar: Calendar) -> str:
    """Return the local days of a time range in words: `19 May 2026`, `11 May 2026 to 17 May 2026`."""
    return " to ".join(dict.fromkeys(date_text(time_ms, calendar) for time_ms in (span.from_ms, span.to_ms - 1)))


def _data_to(reader: _Reader, span: Span) -> int | None:
    """Return the newest time of the data, epoch ms, if it is before the end of the period; 0 without data. Else None.

    The figures of such a period may be too low.
    """
    end_ms = stream_end(complete(reader.search.many(end_searches())))
    return None if end_ms >= span.to_ms - COMPLETE_WITHIN_MS else end_ms - 1


def _behind(data_to_ms: int | None) -> tuple[tuple[str, str], ...]:
    if data_to_ms is None:
        return ()
    known = f"the data end at {iso(data_to_ms)}" if data_to_ms else "there are no data"
    return (("Incomplete", f"{known}, before the end of the period. Figures may be too low."),)


def _exact(figures: Mapping[str, float | None], money: MoneyFormat) -> dict[str, float | None]:
    """Return figures for programs: amounts rounded as in texts, shares to hundredths of a percent."""
    rounded: dict[str, float | None] = {}
    for name, value in figures.items():
        unit = FIGURES[name][1].unit
        if value is None:
            rounded[name] = None
        else:
            rounded[name] = money.number(value) if unit == "money" else round(value, SHARE_DIGITS)
    return rounded


def _figures(reader: _Reader, span: Span) -> dict[str, float | None]:
    panels = [
        Panel(f"digest-{name}", figure.label, "", data, "metric", Position(0, 0, 1, 1), (figure,))
        for name, (data, figure) in FIGURES.items()
    ]
    responses = reader.search.many([(one.data.index, query(one, span, calendar=reader.calendar)) for one in panels])
    figures: dict[str, float | None] = {}
    for name, panel, response in zip(FIGURES, panels, responses, strict=True):
        if isinstance(response, Exception):
            raise response
        (row,) = rows(panel, response)
        figures[name] = row[panel.measures[0].label]
    return figures


def _compared(name: str, now: float | None, then: float | None, period: Period, money: MoneyFormat) -> str:
    """Return a figure in words, with its change: `1,204 (+12% vs. previous day)`; of shares in percentage points."""
    write = _WRITERS[name]
    if now is None:
        return "none"
    text = money.text(now) if write is None else write(now)
    is_share = FIGURES[name][1].unit == "percent"
    if then is None or (not then and not is_share):
        return f"{text} (none in the {period} before)"
    change = f"{(now - then) * 100:+.1f} pp" if is_share else f"{now / then - 1:+.0%}"
    return f"{text} ({'unchanged' if now == then else change} vs. previous {period})"


_WRITERS: Final[Mapping[str, Callable[[float], str] | None]] = {
    "revenue": None, "orders": number_text, "conversion": share_text, "alerts": number_text,
}  # fmt: skip
"""Figure -> function that writes it; None: as money."""


def _entry(one: Candidate, money: MoneyFormat, actions: Mapping[str, str], page_url: str) -> Entry:
    action = one.row.get("recommended_action") or ""
    text = actions.get(action, "")
    label = value_label("recommended_action", action) if action else ""
    share = share_text(one.row["churn_probability"])
    churn = f"churn probability {horizon_text(one.row.get(BUNDLE_FIELD.name))}"
    lines = (
        f"Savable revenue: {money.text(one.savable)}; {churn}: {share}",
        "; ".join(reasons(one.row, money)),
        f"{label}: {text}" if text else label,
    )
    return Entry(
        one_line(one.customer_id), tuple(line for line in lines if line), customer_url(page_url, one.customer_id)
    )


def _fields(one: Candidate, money: MoneyFormat) -> dict[str, Any]:
    row = one.row
    return {
        "customer_id": one.customer_id, "savable_revenue": money.number(one.savable),
        "churn_probability": round(row["churn_probability"], SHARE_DIGITS), "churn_risk": row.get("churn_risk"),
        "segment": row.get("segment"), "recommended_action": row.get("recommended_action"),
        "churn_reasons": row.get("churn_reasons") or [],
    }  # fmt: skip
