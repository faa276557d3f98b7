"""Runs the demo: a shop's history through Kafka into Elasticsearch, audited to the last record, then live.

    up ─> topics, indices ─> history (made once) ─┬─> seed ─> train ─> ends known ─┐
                                                  └─> consume ─────────────────────┴─> rollup, forecast ─> summary
                                                              without --once: live shop + consumers until Ctrl-C

Each step is the job or the command that users run by themselves. A run that already holds the demo's history does not
receive it again: consumers and summary use the existing data. No bundle is trained twice from the same history. An
interrupted replay continues at its position. The demo never deletes data of a run.
"""

from __future__ import annotations

import os
import sys
import time
import webbrowser
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec
from rich.console import Console

from connectors.clock import iso
from connectors.elasticsearch.aliases import run_of_alias_set
from connectors.elasticsearch.client import connection, open_client
from connectors.elasticsearch.trend_calendars import stored_calendars
from connectors.files import read_note
from connectors.kafka.admin import topic_sizes
from consumers.audit import audit_topics
from features.calendar import Calendar
from features.errors import ShopstreamError, UsageError
from features.schema import DAY_MS, SOURCE_TOPICS, TREND_KEYS, topic_name
from producers.archive.archive import utc_day
from producers.publisher import newest_event_ms
from producers.shop.shop import HISTORY_ENDS_DAYS_AGO, Shop, checked
from shopstream import embedded
from shopstream.demo import first_bundle, queries
from shopstream.demo.rounds import DemoRun
from shopstream.demo.screen import Screen
from shopstream.demo.summary import Audit, Round, print_summary
from shopstream.embedded import Endpoints
from shopstream.jobs import consume as consume_job
from shopstream.jobs.produce import wall_clock
from shopstream.jobs.runs import DEMO_FOLDER
from shopstream.jobs.seed_history import (
    SLICE_MS,
    STATE_REMEDY,
    HistoryState,
    ensure_archive,
    options_of,
    read_state,
    same_size,
    write_state,
)
from shopstream.jobs.serve_dashboards import Listening, serve_in_thread
from shopstream.jobs.shop_calendar import run_calendar
from shopstream.runtime import bundles
from shopstream.settings import Settings
from training.options import Horizon

CURRENCY: Final = "EUR"
"""Currency of the synthetic shop, if the settings have none."""
SEGMENTS: Final = Path("mart")
"""Default output folder of `shopstream segment`."""
DEMO_ZONE: Final = "Europe/Berlin"
"""Zone of the demo's shop, whose days are not those of UTC."""
_REMEDY: Final = (
    "Use another run (--run NAME), or delete this one (`shopstream runs drop NAME`) or all data "
    "(`shopstream down --data`)."
)


@dataclass(frozen=True, slots=True)
class Demo:
    """Options of the demo.

    Attributes:
        customers: number of customers who signed up by the end of the history.
        events: number of events in the history.
        days: length of the history in days.
        seed: seed of the shop; the same seed produces the same shop.
        speed: event seconds per second of the live shop, until it reaches the wall clock.
        workers: processes per role.
        once: exit after the summary.
        page: serve the dashboards meanwhile, and open them once the shop is live.
    """

    customers: int = 5_000
    events: int = 1_000_000
    days: int = 365
    seed: int = 7
    speed: float = 100.0
    workers: int = 1
    once: bool = False
    page: bool = True

    def shop(self, now_ms: int) -> Shop:
        """Return the shop whose history ends some days before `now_ms`.

        Raises:
            UsageError: the options define no valid shop.
        """
        end_ms = now_ms // DAY_MS * DAY_MS - HISTORY_ENDS_DAYS_AGO * DAY_MS
        return checked(
            Shop(end_ms=end_ms, seed=self.seed, customers=self.customers, events=self.events, days=self.days)
        )


def with_money(settings: Settings) -> Settings:
    """Return settings whose shop has a currency: that of the settings, else the euro."""
    if settings.shop.currency is not None:
        return settings
    return settings.model_copy(update={"shop": settings.shop.model_copy(update={"currency": CURRENCY})})


def run(demo: Demo, settings: Settings, console: Console, out: Console) -> bool:
    """Run the whole demo; return whether every record sent has arrived.

    Args:
        demo: options of the demo.
        settings: data folder, run, servers.
        console: console for progress, on standard error.
        out: console for the summary.

    Raises:
        UsageError: the run holds other data.
        ShopstreamError: a server, a worker or the replay failed.
        KeyboardInterrupt: the demo was interrupted before the summary.
    """
    settings = with_money(settings)
    clock = wall_clock()
    shop = demo.shop(clock.wall_ms())
    screen = Screen(console)
    endpoints = embedded.up(settings, console)
    settings = _with_calendar(settings, endpoints)
    with consume_job.exclusive_consumer_lock(settings, consume_job.ROLES), ExitStack() as page:
        address = serve_page(page, settings, screen) if demo.page and not demo.once else None
        state = check_run(shop, settings, endpoints, screen)
        for warning in consume_job.prepare(settings, endpoints).warnings:
            screen.warn(warning)
        shop = shop if state is None else state.shop
        is_sent = state is not None and state.whole
        history = settings.home / DEMO_FOLDER / _history_name(shop)
        bundle = first_bundle.usable_bundle(settings.home / bundles.FOLDER, history.name)
        horizon = _horizon(shop, screen) if bundle is None else None
        if not is_sent or horizon is not None:
            _make_history(shop, history, screen)
        workers = DemoRun(settings, endpoints, screen, history, shop, demo.workers)
        began_s = clock.monotonic_s()
        result = workers.consume_all(bundle, horizon, is_sent=is_sent)
        if _trends_are_due(result, settings, endpoints):
            workers.write_trends()
        audit = _audit(settings, endpoints, screen, shop, None if result.bundle is None else result.bundle.name)
        seconds = clock.monotonic_s() - began_s
        holds = print_summary(
            out, audit, result, read_state(history.parent, settings.run), seconds, settings.shop.money
        )
        if not demo.once:
            if address is not None and console.is_terminal and _has_display():
                webbrowser.open(address)
            workers.go_live(demo.speed)
        return holds


def _with_calendar(settings: Settings, endpoints: Endpoints) -> Settings:
    """Return the settings with a time zone: that of the settings, else of the run's trends, else DEMO_ZONE."""
    if settings.shop.time_zone is not None:
        return settings
    with open_client(connection(endpoints)) as client:
        stored = stored_calendars(client, settings.run, list(TREND_KEYS))
    calendar = next(iter(stored.values()), Calendar(DEMO_ZONE))
    shop = settings.shop.model_copy(update={"time_zone": calendar.time_zone})
    return settings.model_copy(update={"shop": shop})


# --- preparation ------------------------------------------------------------------------------------------------------


def check_run(shop: Shop, settings: Settings, endpoints: Endpoints, screen: Screen) -> HistoryState | None:
    """Return how much of the history the run holds; None: nothing.

    Raises:
        UsageError: the run holds data that the demo has not sent or cannot continue from.
    """
    run, state = settings.run, demo_state(settings)
    counts = {count.topic: count.messages for count in topic_sizes(endpoints.kafka, f"{run}.")}
    held = {topic: counts.get(topic_name(run, topic), 0) for topic in SOURCE_TOPICS}
    if state is None:
        if any(held.values()):
            records = ", ".join(f"{count:,} {topic}" for topic, count in held.items() if count)
            raise UsageError(f"Run {run} holds {records} that the demo did not send.", "Use another run: --run NAME.")
        return None
    if not same_size(state.shop, shop):
        raise UsageError(
            f"Run {run} holds the history of another shop: {options_of(state.shop)}.",
            "Give these options or another run (--run NAME), or delete all data with `shopstream down --data`.",
        )
    if state.until_ms and not held["events"]:
        raise UsageError(f"Run {run} has lost the history that the demo sent: its topics were deleted.", _REMEDY)
    if state.whole:
        screen.print_line(f"run {run} already holds the history ({held['events']:,} events): nothing is sent twice")
        return state
    sent_ms = max(state.until_ms, state.shop.start_ms) + SLICE_MS
    newest_ms = newest_event_ms(endpoints.kafka.client_properties(), run) if held["events"] else None
    if newest_ms is not None and newest_ms >= sent_ms:
        raise UsageError(
            f"Run {run} holds an event of {iso(newest_ms)}, which the demo did not send: its own replay was "
            f"interrupted before {iso(sent_ms)}. Consumers would reject the rest of the history as too late.",
            _REMEDY,
        )
    screen.print_line(f"run {run} holds part of the history: the replay continues from {utc_day(sent_ms - SLICE_MS)}")
    return state


class _StateFormat1(msgspec.Struct, frozen=True):
    """File `RUN.json`: progress of the demo in format 1, which the state file of `seed_history` replaces."""

    shop: Shop
    phase: Literal["replaying", "replayed"]
    sent: dict[str, int] = {}
    live_open: bool = False
    until_ms: int | None = None


def demo_state(settings: Settings) -> HistoryState | None:
    """Return how much of a history the demo has sent to a run; None: nothing. Converts a state of format 1.

    Raises:
        ShopstreamError: the file is damaged.
        UsageError: a state of format 1 is incomplete and records no position.
    """
    folder, run = settings.home / DEMO_FOLDER, settings.run
    file = folder / f"{run}.json"
    state, earlier = read_state(folder, run), read_note(file, _StateFormat1, STATE_REMEDY)
    if earlier is None:
        return state
    if state is None:
        whole, until_ms = earlier.phase == "replayed", earlier.until_ms
        if until_ms is None and not whole:
            raise UsageError(
                f"The demo was interrupted while it sent the history to run {run}. Its state {file} has format 1, "
                "which records no position.",
                _REMEDY,
            )
        until_ms = earlier.shop.end_ms if until_ms is None else until_ms
        state = HistoryState(earlier.shop, until_ms, earlier.sent, whole, earlier.live_open)
        write_state(folder, run, state)
    file.unlink()
    return state


def serve_page(page: ExitStack, settings: Settings, screen: Screen) -> str | None:
    """Serve the live page until `page` closes, and return its URL; None if that fails, since the demo continues."""
    problem: ShopstreamError | None = None
    # a second demo may hold the usual port
    for listening in (Listening(), Listening(port=0)):
        try:
            address = page.enter_context(serve_in_thread(settings, SEGMENTS, listening))
        except ShopstreamError as error:
            problem = error
        else:
            screen.print_line(f"dashboards: {address}")
            return address
    screen.warn(f"no live page: {problem}")
    return None


def _has_display() -> bool:
    """Return whether there is a display; without one, a text browser would take over the demo's terminal."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _history_name(shop: Shop) -> str:
    return f"history-{shop.customers}-{shop.events}-{shop.days}-{shop.seed}-{utc_day(shop.end_ms)}"


def _horizon(shop: Shop, screen: Screen) -> Horizon | None:
    """Return the horizon of the first bundle; None if the shop is too small to train from."""
    horizon = first_bundle.horizon_of(shop)
    if horizon is None:
        screen.print_line(
            f"the shop is too small for a bundle, so there are no scores: a bundle needs "
            f"{first_bundle.CUSTOMERS_MIN} customers and {first_bundle.DAYS_MIN} days"
        )
    return horizon


def _make_history(shop: Shop, directory: Path, screen: Screen) -> None:
    """Generate the archive of a shop's history unless it exists."""
    began_s = time.monotonic()
    with screen.bar("generate", shop.events) as advance:
        ensure_archive(shop, directory, advance)
    screen.print_line(
        f"history of {shop.events:,} events until {utc_day(shop.end_ms)}: {time.monotonic() - began_s:.1f} s"
    )


def _trends_are_due(result: Round, settings: Settings, endpoints: Endpoints) -> bool:
    """Return whether the trends in Elasticsearch are missing or out of date."""
    if any(view.figures.get("consumed") for view in result.outcome.views):
        return True
    with open_client(connection(endpoints)) as client:
        return not all(queries.trend_counts(client, settings.run).values())


def _audit(settings: Settings, endpoints: Endpoints, screen: Screen, shop: Shop, bundle: str | None) -> Audit:
    run = settings.run
    with (
        screen.step("auditing Kafka with a plain consumer and Elasticsearch with its count API"),
        open_client(connection(endpoints)) as client,
    ):
        if (visible := run_of_alias_set(client, run)) not in (run, None):
            screen.warn(f"readers of {run}-* see run {visible}: its documents are counted here")
        queries.refresh(client, run)
        return Audit(
            audit_topics(endpoints.kafka.client_properties(), run),
            queries.document_counts(client, run, bundle),
            queries.table_rows(client, run, shop.start_ms, bundle, run_calendar(client, run, settings.shop)),
        )
