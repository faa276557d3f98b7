"""Runs the demo: a shop's history through Kafka into Elasticsearch, audited to the last record, then live.

    up ─> topics, indices ─> history (made once) ─┬─> replay ─> training ─> ends known ─┐
                                                  └─> consumers ────────────────────────┴─> all scored ─> summary
                                                              without --once: live shop + consumers until Ctrl-C

A run that already holds the demo's history does not receive it again: consumers and summary use the existing data. No
bundle is trained twice from the same history. An interrupted replay continues at its position. The demo never deletes
data of a run.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from connectors.clock import iso
from connectors.elasticsearch.aliases import run_behind
from connectors.elasticsearch.client import connection, open_client
from connectors.kafka.admin import topic_counts
from consumers.audit import recount
from features.errors import ShopstreamError, UsageError
from features.schema import DAY_MS, SOURCE_TOPICS, topic_name
from producers.archive.archive import SHOP_FILE, utc_day
from producers.publisher import newest_event_ms
from producers.shop.generate import generate
from producers.shop.shop import HISTORY_ENDS_DAYS_AGO, Shop, checked, shop_from_json
from shopstream import embedded
from shopstream.demo import first_bundle, queries
from shopstream.demo.lesson import Lesson
from shopstream.demo.page import page
from shopstream.demo.rounds import Stage
from shopstream.demo.screen import Screen
from shopstream.demo.summary import Audit, Round, print_summary
from shopstream.demo.trends import look_back
from shopstream.embedded import Endpoints
from shopstream.jobs import consume as consume_job
from shopstream.jobs import demo_memory
from shopstream.jobs.demo_memory import DemoState
from shopstream.jobs.produce import wall_clock
from shopstream.jobs.seed_history import SLICE_MS
from shopstream.runtime import bundles
from shopstream.settings import Settings

_REMEDY: Final = (
    "Use another run (--run NAME), or remove this one with all that it holds: `shopstream runs drop NAME`, or "
    "`shopstream down --data` for everything."
)


@dataclass(frozen=True, slots=True)
class Demo:
    """Options of the demo.

    Attributes:
        customers: number of customers who signed up by the end of the history.
        events: number of events in the history.
        days: length of the history in days.
        seed: seed of the shop; the same seed gives the same shop.
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

    def is_of(self, shop: Shop) -> bool:
        """Return whether a shop has this demo's options, whatever the end of its history."""
        wanted = (self.customers, self.events, self.days, self.seed)
        return wanted == (shop.customers, shop.events, shop.days, shop.seed)


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
    clock = wall_clock()
    fresh = demo.shop(clock.wall_ms())
    screen = Screen(console)
    endpoints = embedded.up(settings, console)
    with (
        consume_job.alone(settings, consume_job.ROLES),
        page(settings, screen, wanted=demo.page and not demo.once) as show_page,
    ):
        memory = _settle_run(demo, settings, endpoints, screen)
        report = consume_job.prepare(settings, endpoints)
        for warning in report.warnings:
            screen.warn(warning)
        shop = fresh if memory is None else memory.shop
        folder = _history_folder(shop, settings)
        bundle = first_bundle.kept(settings.home / bundles.FOLDER, folder.name)
        lesson = None if bundle is not None else _lesson(shop, folder, settings, screen)
        to_send = memory is None or memory.phase == "replaying"
        if to_send or lesson is not None:
            _make_history(shop, folder, screen)
        stage = Stage(demo, settings, endpoints, screen)
        began_s = clock.monotonic_s()
        done = stage.round(folder if to_send else None, shop, lesson, bundle)
        if _is_news(done, settings, endpoints):
            look_back(settings, Path(consume_job.archive_folder(settings, None)), done.bundle, screen)
        audit = _audit(settings, endpoints, screen, None if done.bundle is None else done.bundle.name)
        holds = print_summary(out, audit, done, demo_memory.read(settings), clock.monotonic_s() - began_s)
        if not demo.once:
            show_page()
            stage.go_live(shop)
        return holds


# --- preparation ------------------------------------------------------------------------------------------------------


def _settle_run(demo: Demo, settings: Settings, endpoints: Endpoints, screen: Screen) -> DemoState | None:
    """Return what the demo has sent to the run; None: nothing yet.

    Raises:
        UsageError: the run holds data that the demo has not sent or cannot continue from.
    """
    run, memory = settings.run, demo_memory.read(settings)
    counts = {count.topic: count.messages for count in topic_counts(endpoints.kafka, f"{run}.")}
    held = {topic: counts.get(topic_name(run, topic), 0) for topic in SOURCE_TOPICS}
    if memory is None:
        if any(held.values()):
            found = ", ".join(f"{count:,} {topic}" for topic, count in held.items() if count)
            raise UsageError(f"Run {run} holds {found} that no demo has sent.", "Use another run: --run demo.")
        return None
    if not demo.is_of(memory.shop):
        shop = memory.shop
        raise UsageError(
            f"Run {run} holds the history of another shop: --customers {shop.customers} --events "
            f"{shop.events} --days {shop.days} --seed {shop.seed}.",
            "Give these, or another run (--run NAME), or remove all data with `shopstream down --data`.",
        )
    if memory.until_ms != 0 and not held["events"]:
        raise UsageError(
            f"Run {run} holds no event of the history that the demo has sent to it: its topics were deleted.", _REMEDY
        )
    if memory.phase == "replayed":
        screen.say(f"run {run} holds the history already ({held['events']:,} events): nothing is sent twice")
        return memory
    if memory.until_ms is None:
        raise UsageError(
            f"An earlier version of the demo was interrupted while it sent history to run {run}, and did not record "
            "how far it was.",
            _REMEDY,
        )
    sent_ms = max(memory.until_ms, memory.shop.start_ms) + SLICE_MS
    newest_ms = newest_event_ms(endpoints.kafka.client_properties(), run) if held["events"] else None
    if newest_ms is not None and newest_ms >= sent_ms:
        raise UsageError(
            f"Run {run} holds an event of {iso(newest_ms)}, which the demo has not sent: its own replay was "
            f"interrupted before {iso(sent_ms)}. Consumers would reject the rest of the history as too late.",
            _REMEDY,
        )
    screen.say(f"run {run} holds a part of the history: the replay continues from {utc_day(sent_ms - SLICE_MS)}")
    return memory


def _history_folder(shop: Shop, settings: Settings) -> Path:
    end = utc_day(shop.end_ms)
    name = f"history-{shop.customers}-{shop.events}-{shop.days}-{shop.seed}-{end}"
    return settings.home / demo_memory.FOLDER / name


def _lesson(shop: Shop, history: Path, settings: Settings, screen: Screen) -> Lesson | None:
    """Return the training task of the first bundle; None if the shop is too small."""
    horizon = first_bundle.horizon_of(shop)
    if horizon is None:
        screen.say(
            f"no bundle for so small a shop, so no scores: it takes {first_bundle.CUSTOMERS_MIN} customers and "
            f"{first_bundle.DAYS_MIN} days"
        )
        return None
    return Lesson(history, settings.home / bundles.FOLDER, horizon)


def _make_history(shop: Shop, directory: Path, screen: Screen) -> None:
    """Generate the archive of a shop's history unless a complete one exists."""
    end = utc_day(shop.end_ms)
    if _is_history_of(shop, directory):
        screen.say(f"history of {shop.events:,} events until {end}: there already")
        return
    began_s = time.monotonic()
    with screen.bar("generate", shop.events) as advance:
        generate(shop, directory, force=True, on_events=advance)
    seconds = time.monotonic() - began_s
    screen.say(f"history of {shop.events:,} events until {end} made in {seconds:.1f} s")


def _is_history_of(shop: Shop, directory: Path) -> bool:
    # archives are written completely or not at all: if shop.json exists, everything does
    try:
        return shop_from_json((directory / SHOP_FILE).read_text()) == shop
    except (OSError, ShopstreamError):
        return False


def _is_news(done: Round, settings: Settings, endpoints: Endpoints) -> bool:
    """Return whether the trends in Elasticsearch are missing or out of date."""
    if any(view.figures.get("consumed") for view in done.outcome.views):
        return True
    with open_client(connection(endpoints)) as client:
        return not all(queries.trend_counts(client, settings.run).values())


def _audit(settings: Settings, endpoints: Endpoints, screen: Screen, bundle: str | None) -> Audit:
    kafka = endpoints.kafka.client_properties()
    with (
        screen.step("counting again, Kafka by a plain reader, Elasticsearch by its own count"),
        open_client(connection(endpoints)) as client,
    ):
        if (seen := run_behind(client, settings.run)) not in (settings.run, None):
            screen.warn(f"readers of {settings.run}-* see run {seen}: its documents are counted here")
        queries.refresh(client, settings.run)
        return Audit(
            recount=recount(kafka, settings.run),
            documents=queries.document_counts(client, settings.run),
            funnel=queries.funnel(client, settings.run),
            revenue=queries.revenue_by_month(client, settings.run),
            products=queries.top_products(client, settings.run),
            trends=queries.trend_counts(client, settings.run),
            scores=None if bundle is None else queries.scores(client, settings.run, bundle),
        )
