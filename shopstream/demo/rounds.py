"""Runs the workers of every role for the demo while it replays, trains, goes live and shows progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from connectors.clock import iso
from features.errors import ShopstreamError
from producers.archive.archive import utc_day
from producers.archive.event_order import Span
from producers.live import live, resume_from
from producers.pacing import Progress as Position
from producers.publisher import FailureHandler, Publisher, newest_event_ms
from producers.replay import Course
from producers.shop.shop import Shop, build
from shopstream.demo import first_bundle
from shopstream.demo.lesson import Lesson, NothingLearntError, learn
from shopstream.demo.screen import Screen, Show
from shopstream.demo.summary import Round
from shopstream.embedded import Endpoints
from shopstream.jobs import consume as consume_job
from shopstream.jobs import demo_memory
from shopstream.jobs.consume import Consumption
from shopstream.jobs.demo_memory import DemoState
from shopstream.jobs.produce import wall_clock
from shopstream.jobs.seed_history import Sending, send_slices
from shopstream.runtime import run_workers
from shopstream.runtime.messages import End
from shopstream.settings import Settings

if TYPE_CHECKING:
    from training.bundle import Bundle


TAKEN_UP_WITHIN_S: Final = 60.0
"""Workers look for a new bundle every two seconds; a worker that refuses it continues without."""


class Casting(Protocol):
    """Options of the demo that a stage uses."""

    @property
    def workers(self) -> int:
        """Processes per role."""

    @property
    def speed(self) -> float:
        """Event seconds per second of the live shop."""


@dataclass(frozen=True, slots=True)
class _Replayed:
    """Result of the replay.

    Attributes:
        complete: whether the run holds the whole history now.
        seconds: duration of the replay.
        messages: number of messages to send.
        error: error with which Kafka refused them.
    """

    complete: bool
    seconds: float
    messages: int
    error: ShopstreamError | None = None


class Stage:
    """Workers of every role, and the work that the demo does while they run.

    Args:
        demo: options of the demo.
        settings: data folder and run.
        endpoints: addresses of the servers.
        screen: screen that shows the progress.
    """

    def __init__(self, demo: Casting, settings: Settings, endpoints: Endpoints, screen: Screen) -> None:
        self._demo = demo
        self._settings = settings
        self._kafka = endpoints.kafka.client_properties()
        self._endpoints = endpoints
        self._screen = screen

    def round(self, archive: Path | None, shop: Shop, lesson: Lesson | None, bundle: Bundle | None) -> Round:
        """Consume the whole run; return when everything is consumed and scored.

        Args:
            archive: history to send at full speed meanwhile; None if all of it is in Kafka already.
            shop: shop of the history.
            lesson: training task that runs after the history is sent; None: no training.
            bundle: current bundle, if no training is needed.

        Raises:
            ShopstreamError: a worker, the replay or the training failed.
            KeyboardInterrupt: a signal came.
        """
        workers = self._workers(consume_job.later_ends(self._kafka, self._settings.run))
        replayed: _Replayed | None = None
        with self._on(workers) as (show, gone):
            if archive is not None:
                replayed = self._replay(archive, shop, workers, show, gone)
            sent = replayed is None or replayed.complete
            if sent and lesson is not None:
                bundle = self._learn(lesson, workers, show, gone)
            if sent and not gone():
                workers.supervisor.ends_known(consume_job.current_ends(self._kafka, self._settings.run))
            else:
                workers.supervisor.stop(interrupted=True)
            done = workers.join(lambda: show("consume", 0, None, workers.supervisor.views()))
        done.raise_failure()
        if replayed is not None and replayed.error is not None:
            raise replayed.error
        if done.interrupted:
            raise KeyboardInterrupt
        if replayed is None:
            return Round(done, None, 0, bundle)
        return Round(done, replayed.seconds, replayed.messages, bundle)

    def go_live(self, shop: Shop) -> None:
        """Continue the shop live and consume it until a signal comes."""
        clock = wall_clock()
        model = build(shop)
        start_ms = resume_from(model, newest_event_ms(self._kafka, self._settings.run))
        memory = demo_memory.read(self._settings)
        assert memory is not None
        known = not memory.live_open
        demo_memory.write(self._settings, memory.with_sent({}, live_open=True))
        workers = self._workers(None)
        self._screen.say(f"live from {utc_day(start_ms)} at {self._demo.speed:g}x; Ctrl-C ends it")
        with self._on(workers) as (show, gone):

            def shown(position: Position) -> None:
                at = iso(position.event_ms)[:16] if position.event_ms else ""
                show("live", position.sent, None, workers.supervisor.views(), at)

            report = live(
                model,
                self._publisher,
                clock,
                gone,
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

    @contextmanager
    def _on(self, workers: run_workers.Background) -> Iterator[tuple[Show, Callable[[], bool]]]:
        """Run workers within the context; yields the display, and whether workers or the user ended the round.

        On an error, all workers are stopped.
        """
        with (
            run_workers.leave_on_signal(workers.supervisor, self._screen.console) as signals,
            self._screen.round() as show,
        ):
            workers.start()
            try:
                yield show, lambda: signals() > 0 or workers.ended
            except BaseException:
                workers.supervisor.stop(interrupted=True)
                workers.join()
                raise

    def _replay(
        self, archive: Path, shop: Shop, workers: run_workers.Background, show: Show, gone: Callable[[], bool]
    ) -> _Replayed:
        """Send the part of the history that the run lacks; each slice is recorded once it is acknowledged."""
        before = demo_memory.read(self._settings)
        # an unknown part of an interrupted slice was sent
        memory = DemoState(shop, "replaying", until_ms=0) if before is None else before.with_sent({}, live_open=True)
        assert memory.until_ms is not None
        demo_memory.write(self._settings, memory)
        began_s, from_ms = time.monotonic(), memory.until_ms
        total = Course(Span(archive, start_ms=from_ms or None), customers=from_ms == 0).size()

        def note(until_ms: int, delivered: Mapping[str, int]) -> None:
            now = memory.with_sent(delivered, live_open=memory.live_open)
            demo_memory.write(self._settings, msgspec.structs.replace(now, until_ms=until_ms))

        sending = Sending(
            self._endpoints.kafka,
            self._settings.run,
            wall_clock(),
            gone,
            lambda position: show("replay", position.sent, total, workers.supervisor.views()),
        )
        try:
            complete = send_slices(archive, from_ms, sending, note)
        except ShopstreamError as error:
            return _Replayed(False, 0.0, total, error)
        if complete and (done := demo_memory.read(self._settings)) is not None:
            demo_memory.write(self._settings, msgspec.structs.replace(done, phase="replayed"))
        return _Replayed(complete, time.monotonic() - began_s, total)

    def _learn(
        self, lesson: Lesson, workers: run_workers.Background, show: Show, gone: Callable[[], bool]
    ) -> Bundle | None:
        self._screen.say(f"the first bundle is trained: {first_bundle.SEARCH} (`shopstream train` searches wider)")
        began_s = time.monotonic()

        def on_wait(said: str, share: float | None) -> bool:
            done, total = (0, None) if share is None else (round(100 * share), 100)
            show("train", done, total, workers.supervisor.views(), at=said)
            return not gone()

        try:
            bundle = learn(lesson, on_wait)
        except NothingLearntError as error:
            self._screen.warn(f"no bundle, so no scores: {error.message}")
            return None
        if bundle is None:
            return None
        self._screen.say(f"{bundle.name} trained in {time.monotonic() - began_s:.1f} s: {bundle.folder / 'card.html'}")
        self._await_bundle(bundle.name, workers, show, gone)
        return bundle

    def _await_bundle(self, name: str, workers: run_workers.Background, show: Show, gone: Callable[[], bool]) -> None:
        end_s = time.monotonic() + TAKEN_UP_WITHIN_S
        while not gone():
            views = workers.supervisor.views()
            if all(view.figures.get("bundle") == name for view in views if view.name.role == consume_job.AGREEING):
                self._screen.say("the running consumers have taken it up: every customer is scored anew")
                return
            if time.monotonic() > end_s:
                self._screen.warn("the consumers have not taken it up: see the logs of the workers")
                return
            show("train", 0, None, views, at="the consumers take it up")
            time.sleep(0.25)

    def _workers(self, ends: tuple[End, ...] | None) -> run_workers.Background:
        consumption = Consumption(
            workers=self._demo.workers,
            until_end=ends is not None,
            state=consume_job.state_folder(self._settings, None),
            archive=consume_job.archive_folder(self._settings, None),
        )
        supervisor = consume_job.open_supervisor(self._settings, self._endpoints, consumption, ends)
        return run_workers.Background(supervisor, run_workers.Reports(self._settings, supervisor, self._endpoints))

    def _publisher(self, on_failure: FailureHandler) -> Publisher:
        return Publisher(self._kafka, self._settings.run, on_failure)
