"""Shows the demo's progress: bars and the table of workers on a terminal, otherwise one line per step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from consumers.metrics.reports import merged
from shopstream.runtime.coordinator_types import WorkerView
from shopstream.runtime.worker_tables import by_role, live_table

REFRESH_S: Final = 0.25


class Show(Protocol):
    """Redraws the display of a round."""

    def __call__(self, what: str, done: int, total: int | None, views: Sequence[WorkerView], at: str = "") -> None:
        """Show the step, its count of a total, the workers, and the current position."""


class Screen:
    """Output of the demo's progress.

    Args:
        console: console on standard error.
    """

    def __init__(self, console: Console) -> None:
        self.console = console

    def print_line(self, text: str) -> None:
        """Print a line about a step that begins or is done."""
        self.console.print(f"[dim]demo[/] {text}", highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print a warning."""
        self.console.print(f"[yellow]warning[/] {text}", highlight=False, soft_wrap=True)

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Show a step of unknown length; prints its duration when it is done."""
        began_s = time.monotonic()
        with self.console.status(text):
            yield
        self.print_line(f"{text}: {time.monotonic() - began_s:.1f} s")

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show a bar over a known total; yields the function that advances it."""
        with self._progress(transient=True) as progress:
            task = progress.add_task(what, total=total, at="")
            yield lambda count: progress.advance(task, count)

    @contextmanager
    def round(self) -> Iterator[Show]:
        """Show a round of workers: bars above, the table of workers below."""
        if not self.console.is_terminal:
            with self._lines() as lines:
                yield lines
            return
        progress = self._progress(transient=False)
        tasks: dict[str, TaskID] = {}
        next_s = 0.0
        with Live(progress, console=self.console, auto_refresh=True, refresh_per_second=4, transient=True) as area:

            def show(what: str, done: int, total: int | None, views: Sequence[WorkerView], at: str = "") -> None:
                nonlocal next_s
                if time.monotonic() < next_s:
                    return
                next_s = time.monotonic() + REFRESH_S
                if what not in tasks:
                    tasks[what] = progress.add_task(what, total=total, at="")
                progress.update(tasks[what], completed=done or None, total=total, at=at)
                area.update(Group(progress, live_table(views)) if views else progress)

            yield show

    @contextmanager
    def _lines(self) -> Iterator[Show]:
        """Print a line with the duration for each completed step, and one for each new error of a worker.

        Steps that pass a position (`at`) print their own lines.
        """
        step, began_s, summary = "", time.monotonic(), ""
        shown: set[str] = set()

        def end() -> None:
            if summary:
                self.print_line(f"{step}: {summary} in {time.monotonic() - began_s:.1f} s")

        def show(what: str, done: int, total: int | None, views: Sequence[WorkerView], at: str = "") -> None:
            nonlocal step, began_s, summary
            if what != step:
                end()
                step, began_s = what, time.monotonic()
            read = {role: merged([view.figures for view in of]) for role, of in by_role(views).items()}
            consumed = ", ".join(f"{role} {int(figures.get('consumed') or 0):,}" for role, figures in read.items())
            sent = f"{done:,} of {total:,}" if total else f"{done:,}"
            summary = "" if at else sent if done else consumed
            errors = {f"{view.name}: {view.last_error}" for view in views if view.last_error}
            for error in sorted(errors - shown):
                self.print_line(error)
            shown.clear()
            shown.update(errors)

        yield show
        end()

    def _progress(self, *, transient: bool) -> Progress:
        return Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[at]}"),
            console=self.console, transient=transient, disable=not self.console.is_terminal,
        )  # fmt: skip
