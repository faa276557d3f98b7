"""Workers from start to end before somebody's eyes: live on a terminal, JSON lines otherwise, metrics in files."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

import structlog
from rich.console import Console, RenderableType
from rich.live import Live

from consumers.metrics import metrics_file, write_metrics
from shopstream import summary
from shopstream.settings import Settings
from shopstream.workers.supervisor import Outcome, Supervisor
from shopstream.workers.words import WorkerView

SHOW_EVERY_S: Final = 1.0


def watch(supervisor: Supervisor, settings: Settings, console: Console) -> Outcome:
    """Runs the workers to their end, shows how it goes, and prints what was done.

    The first Ctrl-C or SIGTERM lets them finish and leave, the second one ends them at once.
    """
    metrics = MetricsFiles(settings)
    show = _terminal(console) if console.is_terminal else _lines()
    with show as shown, leave_on_signal(supervisor, console):

        def on_step(views: Sequence[WorkerView]) -> None:
            metrics.write(views)
            shown(views)

        outcome = supervisor.run(on_step)
    metrics.write(outcome.views, at_once=True)
    if console.is_terminal:
        Console().print(summary.closing_table(outcome.views, outcome.seconds, outcome.final_as_of))
    else:
        log = structlog.get_logger("consume")
        for _, fields in summary.json_lines(outcome.views):
            log.info("ended", **fields)
        log.info("all ended", seconds=round(outcome.seconds, 1), final_as_of=outcome.final_as_of)
    return outcome


@contextmanager
def leave_on_signal(supervisor: Supervisor, console: Console) -> Iterator[Callable[[], int]]:
    """Signals become the workers' leave-taking; gives how many have come."""
    seen: list[int] = []

    def take(number: int, _frame: FrameType | None) -> None:
        seen.append(number)
        if len(seen) == 1:
            supervisor.stop(interrupted=True)
            if console.is_terminal:
                console.print("stopping: the workers finish their batch and checkpoint; Ctrl-C again ends them at once")
        else:
            supervisor.kill()

    previous = {number: signal.signal(number, take) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: len(seen)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class MetricsFiles:
    """The measurements of each worker in a file below the data folder, replaced each second."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.home / "metrics"
        self._run = settings.run
        self._next_s = 0.0

    def write(self, views: Sequence[WorkerView], *, at_once: bool = False) -> None:
        """Writes them when a second has passed since the last time."""
        now_s = time.monotonic()
        if now_s < self._next_s and not at_once:
            return
        self._next_s = now_s + SHOW_EVERY_S
        at_ms = time.time_ns() // 1_000_000
        for view in views:
            values: dict[str, Any] = {
                "at_ms": at_ms,
                "state": view.stage,
                "restarts": view.restarts,
                "records_per_s": round(view.records_per_s, 1),
                "rows_per_s": round(view.rows_per_s, 1),
                **view.figures,
                "trouble": view.trouble,
            }
            write_metrics(metrics_file(self._folder, self._run, view.name.role, view.name.number), values)


Shown = Callable[[Sequence[WorkerView]], None]


@contextmanager
def _terminal(console: Console) -> Iterator[Shown]:
    with live(console, lambda: "starting …") as show:
        yield lambda views: show(summary.live_table(views))


@contextmanager
def live(console: Console, first: Callable[[], RenderableType]) -> Iterator[Callable[[RenderableType], None]]:
    """A part of the terminal that is drawn anew; nothing of it stays."""
    with Live(first(), console=console, refresh_per_second=4, transient=True) as area:
        yield area.update


@contextmanager
def _lines() -> Iterator[Shown]:
    log = structlog.get_logger("consume")
    next_s = 0.0

    def show(views: Sequence[WorkerView]) -> None:
        nonlocal next_s
        if time.monotonic() < next_s:
            return
        next_s = time.monotonic() + SHOW_EVERY_S
        for _, fields in summary.json_lines([view for view in views if view.stage != "done"]):
            log.info("progress", **fields)

    yield show


class Background:
    """Workers that run in a thread of their own while this one does something else.

    Args:
        supervisor: not started yet.
        metrics: written each second.
    """

    def __init__(self, supervisor: Supervisor, metrics: MetricsFiles) -> None:
        self.supervisor = supervisor
        self._metrics = metrics
        self._outcome: Outcome | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="workers")

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether no worker is left."""
        return not self._thread.is_alive()

    def join(self, on_wait: Callable[[], None] = lambda: None) -> Outcome:
        """Waits for the end of the last worker; raises what ended the thread.

        Args:
            on_wait: called a few times a second.
        """
        while not self.ended:
            self._thread.join(0.25)
            on_wait()
        if self._error is not None:
            raise self._error
        assert self._outcome is not None
        return self._outcome

    def _run(self) -> None:
        try:
            self._outcome = self.supervisor.run(self._metrics.write)
            self._metrics.write(self._outcome.views, at_once=True)
        except BaseException as error:  # noqa: BLE001 - raised again by `join`
            self._error = error
