"""The demo: a shop's history through Kafka into Elasticsearch, checked to the last record, then live.

    up ─> topics, indices ─> history (made once, kept) ─┬─> replay ───────> ends known ─┐
                                                        └─> consumers ──────────────────┴─> all consumed ─> summary
                                                                  without --once: live shop + consumers until Ctrl-C

A run that holds the demo's history already is not sent it again: consumers and summary go over what is there. A replay
that was cut off leaves an incomplete run; the next demo removes what the demo had made of it and begins anew.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from consumers.elastic import open_client
from consumers.recount import recount
from features.errors import ShopstreamError, UsageError
from features.schema import DAY_MS, topic_name
from producers.archive import SHOP_FILE, utc_day
from producers.generate import generate
from producers.live import live, resume_from
from producers.publish import FailureHandler, Publisher, newest_event_ms
from producers.replay import Course, ReplayReport, failure, replay
from producers.shop import HISTORY_ENDS_DAYS_AGO, Shop, build, checked, shop_from_json
from producers.timeline import Span
from producers.transmit import Progress as Position
from shopstream import consuming, demo_memory, queries, runs, servers, watching
from shopstream.consuming import Consumption
from shopstream.demo_memory import Memory
from shopstream.demo_screen import Screen
from shopstream.demo_summary import Audit, Round, print_summary
from shopstream.producing import wall_clock
from shopstream.servers import Endpoints
from shopstream.servers.kafka_admin import topic_counts
from shopstream.settings import Settings
from shopstream.workers.messages import End
from shopstream.workers.supervisor import Outcome


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
    """

    customers: int = 5_000
    events: int = 1_000_000
    days: int = 365
    seed: int = 7
    speed: float = 100.0
    workers: int = 1
    once: bool = False

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
    report = consuming.prepare(settings, endpoints)
    for warning in report.warnings:
        screen.warn(warning)
    stage = Stage(demo, settings, endpoints, screen)
    if memory is None:
        archive = _history(fresh, settings, screen)
        began_s = clock.monotonic_s()
        done = stage.replay_and_consume(archive, fresh)
    else:
        began_s = clock.monotonic_s()
        done = stage.consume_rest()
    audit = _audit(settings, endpoints, screen)
    holds = print_summary(out, audit, done, demo_memory.read(settings), clock.monotonic_s() - began_s)
    if not demo.once:
        stage.go_live(fresh if memory is None else memory.shop)
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


def _history(shop: Shop, settings: Settings, screen: Screen) -> Path:
    """The archive of a shop's history: one that is there and complete, or a new one."""
    end = utc_day(shop.end_ms)
    name = f"history-{shop.customers}-{shop.events}-{shop.days}-{shop.seed}-{end}"
    directory = settings.home / demo_memory.FOLDER / name
    if _is_history_of(shop, directory):
        screen.say(f"history of {shop.events:,} events until {end}: there already")
        return directory
    began_s = time.monotonic()
    with screen.bar("generate", shop.events) as advance:
        generate(shop, directory, force=True, on_events=advance)
    seconds = time.monotonic() - began_s
    screen.say(f"history of {shop.events:,} events until {end} made in {seconds:.1f} s")
    return directory


def _is_history_of(shop: Shop, directory: Path) -> bool:
    # an archive is written whole or not at all: shop.json is there when everything is
    try:
        return shop_from_json((directory / SHOP_FILE).read_text()) == shop
    except (OSError, ShopstreamError):
        return False


def _audit(settings: Settings, endpoints: Endpoints, screen: Screen) -> Audit:
    screen.say("counting again: Kafka by a plain reader, Elasticsearch by its own count")
    kafka = endpoints.kafka.client_properties()
    with open_client(consuming.connection(endpoints)) as client:
        queries.refresh(client, settings.run)
        return Audit(
            recount=recount(kafka, settings.run),
            documents=queries.document_counts(client, settings.run),
            funnel=queries.funnel(client, settings.run),
            revenue=queries.revenue_by_month(client, settings.run),
            products=queries.top_products(client, settings.run),
        )


# --- one round of workers ---------------------------------------------------------------------------------------------


class Stage:
    """Workers of every role, and what is sent to them meanwhile.

    Args:
        demo: what it is to be.
        settings: data folder and run.
        endpoints: where the servers are.
        screen: shows how it goes.
    """

    def __init__(self, demo: Demo, settings: Settings, endpoints: Endpoints, screen: Screen) -> None:
        self._demo = demo
        self._settings = settings
        self._kafka = endpoints.kafka.client_properties()
        self._endpoints = endpoints
        self._screen = screen

    def replay_and_consume(self, archive: Path, shop: Shop) -> Round:
        """Sends the history at full speed while it is consumed; returns when all is consumed."""
        memory = Memory(shop, "replaying")
        demo_memory.write(self._settings, memory)
        workers = self._workers(consuming.later_ends(self._kafka, self._settings.run))
        course = Course(Span(archive))
        total = course.size()
        with (
            watching.leave_on_signal(workers.supervisor, self._screen.console) as signals,
            self._screen.round() as show,
        ):
            workers.start()

            def gone() -> bool:
                return signals() > 0 or workers.ended

            report = replay(
                course,
                self._publisher,
                wall_clock(),
                gone,
                lambda position: show("replay", position.sent, total, workers.supervisor.views()),
            )
            self._finish_replay(report, memory, workers)
            done = workers.join(lambda: show("replay", total, total, workers.supervisor.views()))
        return self._round(done, report, total)

    def consume_rest(self) -> Round:
        """Consumes what is there up to its end."""
        workers = self._workers(consuming.current_ends(self._kafka, self._settings.run))
        with watching.leave_on_signal(workers.supervisor, self._screen.console), self._screen.round() as show:
            workers.start()
            done = workers.join(lambda: show("consume", 0, None, workers.supervisor.views()))
        return self._round(done, None, 0)

    def go_live(self, shop: Shop) -> None:
        """The shop goes on and is consumed until a signal comes."""
        clock = wall_clock()
        model = build(shop)
        start_ms = resume_from(model, newest_event_ms(self._kafka, self._settings.run))
        memory = demo_memory.read(self._settings)
        assert memory is not None
        known = not memory.live_open
        demo_memory.write(self._settings, memory.with_sent({}, live_open=True))
        workers = self._workers(None)
        self._screen.say(f"live from {utc_day(start_ms)} at {self._demo.speed:g}x; Ctrl-C ends it")
        with (
            watching.leave_on_signal(workers.supervisor, self._screen.console) as signals,
            self._screen.round() as show,
        ):
            workers.start()

            def shown(position: Position) -> None:
                show("live", position.sent, None, workers.supervisor.views(), position.event_ms)

            report = live(
                model,
                self._publisher,
                clock,
                lambda: signals() > 0 or workers.ended,
                shown,
                start_ms=start_ms,
                speed=self._demo.speed,
            )
            demo_memory.write(self._settings, memory.with_sent(report.delivery.delivered, live_open=not known))
            workers.supervisor.stop(interrupted=True)
            done = workers.join(lambda: show("live", 0, None, workers.supervisor.views()))
        self._screen.say(f"live ended after {sum(report.delivery.delivered.values()):,} messages")
        done.raise_failure()

    # --- parts ---

    def _workers(self, ends: tuple[End, ...] | None) -> watching.Background:
        consumption = Consumption(
            workers=self._demo.workers,
            until_end=ends is not None,
            state=consuming.state_folder(self._settings, None),
            archive=consuming.archive_folder(self._settings, None),
        )
        supervisor = consuming.open_supervisor(self._settings, self._endpoints, consumption, ends)
        return watching.Background(supervisor, watching.Reports(self._settings, supervisor, self._endpoints))

    def _publisher(self, on_failure: FailureHandler) -> Publisher:
        return Publisher(self._kafka, self._settings.run, on_failure)

    def _finish_replay(self, report: ReplayReport, memory: Memory, workers: watching.Background) -> None:
        if not report.complete:
            workers.supervisor.stop(interrupted=True)
            workers.join().raise_failure()
            if (error := failure(report)) is not None:
                raise error
            raise KeyboardInterrupt
        sent = Memory(memory.shop, "replayed", dict(report.delivery.delivered))
        demo_memory.write(self._settings, sent)
        workers.supervisor.ends_known(consuming.current_ends(self._kafka, self._settings.run))

    def _round(self, done: Outcome, report: ReplayReport | None, total: int) -> Round:
        done.raise_failure()
        if done.interrupted:
            raise KeyboardInterrupt
        return Round(done, None if report is None else report.seconds, total)
