"""The demo: a shop's history through Kafka into Elasticsearch, checked to the last record, then live.

    up ─> topics, indices ─> history (made once) ─┬─> replay ─> training ─> ends known ─┐
                                                  └─> consumers ────────────────────────┴─> all scored ─> summary
                                                              without --once: live shop + consumers until Ctrl-C

A run that holds the demo's history already is not sent it again: consumers and summary go over what is there. Nor is a
bundle trained from it twice. A replay that was cut off leaves an incomplete run; the next demo removes what the demo
had made of it and begins anew.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from consumers.elastic import open_client
from consumers.indices import run_behind
from consumers.recount import recount
from features.errors import ShopstreamError, UsageError
from features.schema import DAY_MS, topic_name
from producers.archive import SHOP_FILE, utc_day
from producers.generate import generate
from producers.shop import HISTORY_ENDS_DAYS_AGO, Shop, checked, shop_from_json
from shopstream import bundles, consuming, demo_bundle, demo_memory, queries, runs, servers
from shopstream.demo_lesson import Lesson
from shopstream.demo_memory import Memory
from shopstream.demo_page import page
from shopstream.demo_screen import Screen
from shopstream.demo_stage import Stage
from shopstream.demo_summary import Audit, Round, print_summary
from shopstream.demo_trends import look_back
from shopstream.producing import wall_clock
from shopstream.servers import Endpoints
from shopstream.servers.kafka_admin import topic_counts
from shopstream.settings import Settings


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo is to be.

    Attributes:
        customers: signed up by the end of history.
        events: of history.
        days: length of history.
        seed: the same seed gives the same shop.
        speed: event seconds a second of the live shop, until it reaches the wall clock.
        workers: processes of each role.
        once: end after the summary.
        page: serve the dashboards meanwhile, and show them once the shop is live.
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
        """The shop whose history ends some days before `now_ms`.

        Raises:
            UsageError: there is no such shop.
        """
        end_ms = now_ms // DAY_MS * DAY_MS - HISTORY_ENDS_DAYS_AGO * DAY_MS
        return checked(
            Shop(end_ms=end_ms, seed=self.seed, customers=self.customers, events=self.events, days=self.days)
        )

    def is_of(self, shop: Shop) -> bool:
        """Whether a shop is this demo's, whenever its history ends."""
        wanted = (self.customers, self.events, self.days, self.seed)
        return wanted == (shop.customers, shop.events, shop.days, shop.seed)


def run(demo: Demo, settings: Settings, console: Console, out: Console) -> bool:
    """The whole demo; returns whether everything that was sent arrived.

    Args:
        demo: what it is to be.
        settings: data folder, run, servers.
        console: for progress, on standard error.
        out: for the summary.

    Raises:
        UsageError: the run holds something else.
        ShopstreamError: a server, a worker or the replay failed.
        KeyboardInterrupt: it was interrupted before the summary.
    """
    clock = wall_clock()
    fresh = demo.shop(clock.wall_ms())
    screen = Screen(console)
    endpoints = servers.up(settings, console)
    memory = _settle_run(demo, settings, endpoints, screen)
    with (
        consuming.alone(settings, consuming.ROLES),
        page(settings, screen, wanted=demo.page and not demo.once) as show_page,
    ):
        report = consuming.prepare(settings, endpoints)
        for warning in report.warnings:
            screen.warn(warning)
        shop = fresh if memory is None else memory.shop
        folder = _history_folder(shop, settings)
        bundle = demo_bundle.kept(settings.home / bundles.FOLDER, folder.name)
        lesson = None if bundle is not None else _lesson(shop, folder, settings, screen)
        if memory is None or lesson is not None:
            _make_history(shop, folder, screen)
        stage = Stage(demo, settings, endpoints, screen)
        began_s = clock.monotonic_s()
        done = stage.round(folder if memory is None else None, shop, lesson, bundle)
        if _is_news(done, settings, endpoints):
            look_back(settings, Path(consuming.archive_folder(settings, None)), done.bundle, screen)
        audit = _audit(settings, endpoints, screen, None if done.bundle is None else done.bundle.name)
        holds = print_summary(out, audit, done, demo_memory.read(settings), clock.monotonic_s() - began_s)
        if not demo.once:
            show_page()
            stage.go_live(shop)
        return holds


# --- before -----------------------------------------------------------------------------------------------------------


def _settle_run(demo: Demo, settings: Settings, endpoints: Endpoints, screen: Screen) -> Memory | None:
    """What the run holds already; None when its history is to be replayed."""
    memory = demo_memory.read(settings)
    held = {count.topic: count.messages for count in topic_counts(endpoints.kafka, f"{settings.run}.")}
    events = held.get(topic_name(settings.run, "events"), 0)
    if memory is None:
        if events:
            raise UsageError(
                f"Run {settings.run} holds {events:,} events that no demo has sent.",
                "Give the demo a run of its own: --run demo.",
            )
        return None
    if memory.phase == "replaying" or not events:
        screen.say(f"run {settings.run} was left incomplete: it is removed and begun anew")
        runs.drop_run(settings, settings.run, consuming.state_folder(settings, None))
        return None
    if not demo.is_of(memory.shop):
        shop = memory.shop
        raise UsageError(
            f"Run {settings.run} holds the history of another shop: --customers {shop.customers} --events "
            f"{shop.events} --days {shop.days} --seed {shop.seed}.",
            "Give these, or another run (--run NAME), or remove all data with `shopstream down --data`.",
        )
    screen.say(f"run {settings.run} holds the history already ({events:,} events): nothing is sent twice")
    return memory


def _history_folder(shop: Shop, settings: Settings) -> Path:
    end = utc_day(shop.end_ms)
    name = f"history-{shop.customers}-{shop.events}-{shop.days}-{shop.seed}-{end}"
    return settings.home / demo_memory.FOLDER / name


def _lesson(shop: Shop, history: Path, settings: Settings, screen: Screen) -> Lesson | None:
    """What the first bundle is trained from; None for a shop that teaches nothing."""
    horizon = demo_bundle.horizon_of(shop)
    if horizon is None:
        screen.say(
            f"no bundle for so small a shop, so no scores: it takes {demo_bundle.CUSTOMERS_MIN} customers and "
            f"{demo_bundle.DAYS_MIN} days"
        )
        return None
    return Lesson(history, settings.home / bundles.FOLDER, horizon)


def _make_history(shop: Shop, directory: Path, screen: Screen) -> None:
    """The archive of a shop's history: one that is there and complete, or a new one."""
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
    # an archive is written whole or not at all: shop.json is there when everything is
    try:
        return shop_from_json((directory / SHOP_FILE).read_text()) == shop
    except (OSError, ShopstreamError):
        return False


def _is_news(done: Round, settings: Settings, endpoints: Endpoints) -> bool:
    """Whether the trends that stand in Elasticsearch, if any, are of another past."""
    if any(view.figures.get("consumed") for view in done.outcome.views):
        return True
    with open_client(consuming.connection(endpoints)) as client:
        return not all(queries.trend_counts(client, settings.run).values())


def _audit(settings: Settings, endpoints: Endpoints, screen: Screen, bundle: str | None) -> Audit:
    screen.say("counting again: Kafka by a plain reader, Elasticsearch by its own count")
    kafka = endpoints.kafka.client_properties()
    with open_client(consuming.connection(endpoints)) as client:
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
