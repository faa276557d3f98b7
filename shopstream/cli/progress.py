"""Show the progress of commands that work on files, and write their tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from connectors.clock import iso
from connectors.files import write_whole
from features.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

    from producers.transmit import Progress as Position


@contextmanager
def progress(console: Console) -> Iterator[Callable[[str, float | None], None]]:
    """Show a line with the current step and, where known, its completed share."""
    bar = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    with bar:
        task = bar.add_task("reading the archive", total=None)
        yield lambda said, share: _show(bar, task, said, share)


def _show(bar: Progress, task: TaskID, said: str, share: float | None) -> None:
    bar.update(task, description=said, total=None if share is None else 1.0, completed=share or 0.0)


def write_table(out: Path, frame: pl.DataFrame) -> None:
    """Write Parquet or CSV, by the file's ending. CSV holds no formulas, and joins lists of words by blanks."""
    from polars import List, col

    from connectors.formats.csv_safety import safe_frame

    if out.suffix != ".csv":
        write_whole(out, frame.write_parquet)
        return
    lists = [name for name, dtype in frame.schema.items() if isinstance(dtype, List)]
    write_whole(out, safe_frame(frame.with_columns(col(name).list.join(" ") for name in lists)).write_csv)


_REFRESH_S: Final = 0.2


_SIGN_S: Final = 1.0


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.0f}/s")


@contextmanager
def replay_bar(total: int, console: Console) -> Iterator[Callable[[Position], None]]:
    """Show a progress bar over a known number of messages, with rate, remaining time and event time."""
    columns = (
        TextColumn("replay"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn(),
        TextColumn("{task.fields[at]}"),
    )  # fmt: skip
    with Progress(*columns, console=console, refresh_per_second=5) as progress:
        task = progress.add_task("replay", total=total, at="")
        due = _Every(_REFRESH_S)

        def show(position: Position) -> None:
            if due() or position.sent >= total:
                at = iso(position.event_ms)[:16] if position.event_ms else "profiles"
                progress.update(task, completed=position.sent, at=at)

        yield show


@contextmanager
def live_line(console: Console) -> Iterator[Callable[[Position], None]]:
    """Show a status line: messages sent, rate, event time and its distance behind the wall clock."""
    columns = (TextColumn("live"), TextColumn("{task.completed:,} sent"), _Rate(), TextColumn("{task.fields[at]}"))
    with Progress(*columns, console=console, refresh_per_second=2) as progress:
        task = progress.add_task("live", total=None, at="")
        due = _Every(_REFRESH_S)

        def show(position: Position) -> None:
            if due() and position.event_ms:
                behind_s = (position.wall_ms - position.event_ms) / 1_000
                where = "at the wall clock" if behind_s < 5 else f"{_span(behind_s)} behind the wall clock"
                progress.update(task, completed=position.sent, at=f"{iso(position.event_ms)[:19]}Z, {where}")

        yield show


def leaving_sign(file: Path, show: Callable[[Position], None]) -> Callable[[Position], None]:
    """Wrap `show` so that it touches a heartbeat file for health checks at most once a second.

    Raises:
        UsageError: the file cannot be written.
    """
    due = _Every(_SIGN_S)
    try:
        file.touch()
    except OSError as error:
        raise UsageError(
            f"The file {file} of --sign cannot be written: {error.strerror}.", "Name one in a folder of yours."
        ) from None

    def shown(position: Position) -> None:
        if due():
            # the command goes on without the file: its age then fails the health check
            with suppress(OSError):
                file.touch()
        show(position)

    return shown


class _Every:
    """Returns True at most once in `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next_s = 0.0

    def __call__(self) -> bool:
        now_s = time.monotonic()
        if now_s < self._next_s:
            return False
        self._next_s = now_s + self._seconds
        return True


def _span(seconds: float) -> str:
    days, rest = divmod(int(seconds), 86_400)
    hours, rest = divmod(rest, 3_600)
    return (
        f"{days} d {hours} h" if days else f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"
    )
