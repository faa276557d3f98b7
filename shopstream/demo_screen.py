"""What the demo shows while it works: bars and the workers' table on a terminal, a line now and then otherwise."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from consumers.metrics import add_figures
from shopstream.summary import by_role, live_table
from shopstream.workers.words import WorkerView

REFRESH_S: Final = 0.25
LINE_EVERY_S: Final = 5.0


class Show(Protocol):
    """Draws the round anew."""

    def __call__(self, what: str, done: int, total: int | None, views: Sequence[WorkerView], at: str = "") -> None:
        """What is done, how much of how many, the workers, and where it stands."""


class Screen:
    """Where the demo talks.

    Args:
        console: on standard error.
    """

    def __init__(self, console: Console) -> None:
        self.console = console

    def say(self, text: str) -> None:
        """A step that is done or begins."""
        self.console.print(f"[dim]demo[/] {text}", highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Something that should be known."""
        self.console.print(f"[yellow]warning[/] {text}", highlight=False, soft_wrap=True)

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """A bar over a known number; gives the function that advances it."""
        with self._progress(transient=True) as progress:
            task = progress.add_task(what, total=total, at="")
            yield lambda count: progress.advance(task, count)

    @contextmanager
    def round(self) -> Iterator[Show]:
        """A round of workers: what is sent to them above, their table below."""
        if not self.console.is_terminal:
            yield self._line()
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

    def _line(self) -> Show:
        next_s = time.monotonic() + LINE_EVERY_S

        def show(what: str, done: int, total: int | None, views: Sequence[WorkerView], at: str = "") -> None:
            nonlocal next_s
            if time.monotonic() < next_s:
                return
            next_s = time.monotonic() + LINE_EVERY_S
            parts = [f"{what} {done:,}" + (f" of {total:,}" if total else "") if done else what]
            parts += [at] if at else []
            for role, workers in by_role(views).items():
                figures = add_figures([view.figures for view in workers])
                parts.append(f"{role} {int(figures.get('consumed') or 0):,}")
            parts += [f"{view.name}: {view.trouble}" for view in views if view.trouble]
            self.say("; ".join(parts))

        return show

    def _progress(self, *, transient: bool) -> Progress:
        return Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[at]}"),
            console=self.console, transient=transient, disable=not self.console.is_terminal,
        )  # fmt: skip
