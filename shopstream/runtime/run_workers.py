"""Runs the workers and reports progress to the terminal or as JSON lines, and to the metrics files."""

from __future__ import annotations

import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any, Final, Self

import structlog
from rich.console import Console, RenderableType
from rich.live import Live

from connectors.elasticsearch.client import connection, open_client
from consumers.metrics.pipeline_index import PipelineDocuments
from consumers.metrics.reports import metrics_file, pipeline_documents, write_metrics
from shopstream.embedded import Endpoints
from shopstream.runtime import worker_tables
from shopstream.runtime.coordinator_types import WorkerView
from shopstream.runtime.health import Bounds
from shopstream.runtime.supervisor import RunOutcome, Supervisor
from shopstream.settings import Settings

SHOW_EVERY_S: Final = 1.0
LINES_EVERY_S: Final = 30.0
"""Interval between two progress lines of a role in a log; `status`, the metrics and `pipeline` are newer."""


def watch(supervisor: Supervisor, reports: Reports, console: Console) -> RunOutcome:
    """Run the workers to their end, show the progress, and print the totals.

    The first Ctrl-C or SIGTERM lets them finish and exit, the second one kills them.
    """
    show = _terminal(console) if console.is_terminal else _lines()
    with reports, show as shown, leave_on_signal(supervisor, console):

        def on_step(views: Sequence[WorkerView]) -> None:
            reports.write(views)
            shown(views)

        outcome = supervisor.run(on_step)
        reports.write(outcome.views, force=True)
    if console.is_terminal:
        output = Console()
        output.print(worker_tables.closing_table(outcome.views, outcome.seconds, outcome.final_as_of))
        for one in worker_tables.reason_tables([view.figures for view in outcome.views]):
            output.print(one)
    else:
        log = structlog.get_logger("consume")
        for _, fields in worker_tables.json_lines(outcome.views):
            log.info("ended", **fields)
        log.info("all ended", seconds=round(outcome.seconds, 1), final_as_of=outcome.final_as_of)
    return outcome


@contextmanager
def leave_on_signal(supervisor: Supervisor, console: Console) -> Iterator[Callable[[], int]]:
    """Turn signals into a stop or a kill of the workers; yield a function that counts the signals so far."""
    seen: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        seen.append(number)
        if len(seen) == 1:
            supervisor.stop(interrupted=True)
            if console.is_terminal:
                console.print("stopping: the workers finish their batch and checkpoint; a second Ctrl-C kills them")
        else:
            supervisor.kill()

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: len(seen)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class Reports:
    """Reports the workers' state to files, documents and HTTP; a context manager.

    Each second, the figures of each worker are written to a file below the data folder, which `status` reads. Every few
    seconds, they are written to the index `pipeline`. With a port in the settings, they are also served over HTTP.

    Args:
        settings: settings with the data folder, the run and the metrics section.
        supervisor: supervisor of the workers.
        endpoints: addresses of the servers; None writes no documents.
    """

    def __init__(self, settings: Settings, supervisor: Supervisor, endpoints: Endpoints | None = None) -> None:
        self._settings, self._supervisor, self._endpoints = settings, supervisor, endpoints
        self._folder = settings.home / "metrics"
        self._host = platform.node()
        self._open = ExitStack()
        self._documents: PipelineDocuments | None = None
        self._files_due_s = self._documents_due_s = 0.0
        self.url: str | None = None
        """URL of the metrics endpoint, once it listens."""

    def __enter__(self) -> Self:
        metrics = self._settings.metrics
        if metrics.port is not None:
            from shopstream.runtime.metrics_endpoint import serve_metrics  # noqa: PLC0415 - needed with a port alone

            bounds = Bounds(metrics.report_age_max_s, metrics.uncheckpointed_max_s)
            server = serve_metrics(self._settings.run, self._supervisor, bounds, metrics.host, metrics.port)
            self.url = self._open.enter_context(server)
            structlog.get_logger("consume").info("metrics", url=f"{self.url}/metrics")
        if self._endpoints is not None:
            client = open_client(connection(self._endpoints), connections=1)
            documents = PipelineDocuments(client, self._settings.run, retention_days=metrics.retention_days)
            self._documents = self._open.enter_context(documents)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def write(self, views: Sequence[WorkerView], *, force: bool = False) -> None:
        """Write the files and documents that are due.

        Args:
            views: state of every worker.
            force: whether to write all of them, due or not.
        """
        now_s, at_ms = time.monotonic(), time.time_ns() // 1_000_000
        if force or now_s >= self._files_due_s:
            self._files_due_s = now_s + SHOW_EVERY_S
            for view in views:
                write_metrics(
                    metrics_file(self._folder, self._settings.run, view.name.role, view.name.number),
                    {"at_ms": at_ms, "state": view.stage, **_figures(view), "trouble": view.last_error},
                )
        if self._documents is not None and (force or now_s >= self._documents_due_s):
            self._documents_due_s = now_s + self._settings.metrics.documents_every_s
            self._documents.offer([document for view in views for document in self._documents_of(view, at_ms)])

    def _documents_of(self, view: WorkerView, at_ms: int) -> list[dict[str, Any]]:
        return pipeline_documents(
            _figures(view),
            role=view.name.role,
            worker=view.name.number,
            host=self._host,
            state=view.stage,
            last_error=view.last_error,
            at_ms=at_ms,
        )


def _figures(view: WorkerView) -> dict[str, Any]:
    rates = {"records_per_s": round(view.records_per_s, 1), "rows_per_s": round(view.rows_per_s, 1)}
    figures = {name: value for name, value in view.figures.items() if name != "last_error"}
    return {**figures, **rates, "restarts": view.restarts}


Shown = Callable[[Sequence[WorkerView]], None]


@contextmanager
def _terminal(console: Console) -> Iterator[Shown]:
    with live(console, lambda: "starting …") as show:
        yield lambda views: show(worker_tables.live_table(views))


@contextmanager
def live(console: Console, first: Callable[[], RenderableType]) -> Iterator[Callable[[RenderableType], None]]:
    """Show a region of the terminal that is redrawn, and removed at the end."""
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
        next_s = time.monotonic() + LINES_EVERY_S
        for _, fields in worker_tables.json_lines([view for view in views if view.stage != "done"]):
            log.info("progress", **fields)

    yield show


class Background:
    """Runs workers in a thread of its own while the caller's thread does other work.

    Args:
        supervisor: supervisor of the workers, not started yet.
        reports: reports of these workers, not opened yet.
    """

    def __init__(self, supervisor: Supervisor, reports: Reports) -> None:
        self.supervisor = supervisor
        self._reports = reports
        self._outcome: RunOutcome | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="workers")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether all workers have ended."""
        return not self._thread.is_alive()

    def join(self, on_wait: Callable[[], None] = lambda: None) -> RunOutcome:
        """Wait for the end of the last worker and return the outcome; re-raise an error of the thread.

        Args:
            on_wait: callback, called a few times a second.
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
            with self._reports as reports:
                self._outcome = self.supervisor.run(reports.write)
                reports.write(self._outcome.views, force=True)
        except BaseException as error:  # noqa: BLE001 - raised again by `join`
            self._error = error
