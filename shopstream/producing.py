"""What the commands that produce have in common: where to, when to stop, and what to show meanwhile."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from consumers.kafka import ensure_topics
from features.errors import UsageError
from features.schema import DAY_MS, SOURCE_TOPICS
from producers.archive import SHOP_FILE
from producers.publish import FailureHandler, Publisher, newest_event_ms
from producers.shop import Model, Shop, build, shop_from_json
from producers.transmit import Clock
from producers.transmit import Progress as Position
from shopstream import servers
from shopstream.choices import chosen
from shopstream.moments import iso
from shopstream.settings import load_settings

_REFRESH_S: Final = 0.2
_SIGN_S: Final = 1.0


# --- what the options say ---------------------------------------------------------------------------------------------
def parse_time(text: str, option: str) -> int:
    """Epoch milliseconds of an ISO 8601 date or moment, UTC where it names no zone. Raises UsageError.

    A number of eleven digits or more, which no date is, stands for epoch milliseconds.
    """
    if text.isdecimal() and len(text) > 10:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option} is {text!r}, which is not a time.", "Give ISO 8601: 2025-01-31 or 2025-01-31T18:00:00Z."
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    # not by timestamp(): a float of seconds may fall just short of its millisecond
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def date_range(start: str | None, end: str | None) -> tuple[int | None, int | None]:
    """The half-open range of `--from` and `--to`, epoch ms. Raises UsageError for an empty one."""
    start_ms = None if start is None else parse_time(start, "--from")
    end_ms = None if end is None else parse_time(end, "--to")
    if start_ms is not None and end_ms is not None and start_ms >= end_ms:
        raise UsageError(f"Nothing lies from {start} to before {end}.", "Give a --to after --from; it is exclusive.")
    return start_ms, end_ms


def parse_speed(text: str) -> float | None:
    """Event seconds for each second, None for `max`. Raises UsageError."""
    if text == "max":
        return None
    speed = _above_zero(text.removesuffix("x"))
    if speed is None:
        raise UsageError(f"--speed is {text!r}.", "Give `max`, or a number above 0: 3600 is an hour in a second.")
    return speed


def parse_rate(text: str | None) -> float | None:
    """Events a second, from `500` or `500/s`. Raises UsageError."""
    if text is None:
        return None
    rate = _above_zero(text.removesuffix("/s"))
    if rate is None:
        raise UsageError(f"--rate is {text!r}.", "Give events a second: 500/s.")
    return rate


def parse_duration_s(text: str | None, option: str = "--for") -> float | None:
    """Seconds, from `90`, `90s`, `10m`, `1.5h` or `2d`. Raises UsageError, naming the option."""
    if text is None:
        return None
    units = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
    count = _above_zero(text[:-1] if text[-1:] in units else text)
    if count is None:
        raise UsageError(f"{option} is {text!r}.", "Give a duration: 90s, 10m, 1.5h.")
    return count * units.get(text[-1:], 1)


def _above_zero(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None


def chosen_topics(text: str) -> tuple[str, ...]:
    """The source topics of a comma-separated list. Raises UsageError for another name."""
    return chosen("--topics", text, SOURCE_TOPICS)


# --- the outside world ------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Target:
    """A run on a cluster, its topics made."""

    run: str
    properties: dict[str, str]

    def publisher(self, on_failure: FailureHandler) -> Publisher:
        """A publisher to the run's topics."""
        return Publisher(self.properties, self.run, on_failure)

    def newest_event_ms(self) -> int | None:
        """The event time up to which the run's events reach."""
        return newest_event_ms(self.properties, self.run)


def open_target(run: str | None, console: Console) -> Target:
    """The run's topics on the cluster of the settings, created where they are missing."""
    settings = load_settings(run=run)
    properties = servers.kafka_endpoint(settings).client_properties()
    report = ensure_topics(properties, settings.run, settings.kafka.partitions)
    for warning in report.warnings:
        console.print(f"[yellow]warning[/] {warning}", highlight=False)
    return Target(settings.run, properties)


def wall_clock() -> Clock:
    """The clocks of this machine."""
    return Clock(
        monotonic_s=time.monotonic,
        wall_ms=lambda: time.time_ns() // 1_000_000,
        sleep=time.sleep,
    )


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Gives whether Ctrl-C or SIGTERM has come, so that the counts stay whole; a second one ends at once."""
    seen: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def shop_model(directory: Path | None, wall_ms: int) -> Model:
    """The shop of an archive, or without one a new shop whose history ends at the last UTC midnight.

    Raises:
        UsageError: the archive is not of a synthetic shop.
    """
    if directory is None:
        return build(Shop(end_ms=wall_ms // DAY_MS * DAY_MS))
    try:
        text = (directory / SHOP_FILE).read_text("utf-8")
    except OSError:
        raise UsageError(
            f"{directory} has no {SHOP_FILE}: it is not the archive of a synthetic shop, so nothing can go on from it.",
            "Give a folder that `shopstream generate` wrote; `shopstream replay` sends any archive.",
        ) from None
    return build(shop_from_json(text))


# --- what is shown ----------------------------------------------------------------------------------------------------
class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.0f}/s")


@contextmanager
def replay_bar(total: int, console: Console) -> Iterator[Callable[[Position], None]]:
    """A progress bar over a known number of messages, with rate, remaining time and event time."""
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
    """A status line: messages sent, rate, event time and how far it is behind the wall clock."""
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
    """`show`, and a file that is touched each second that something is told: what a health check looks at.

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
            # who cannot write it goes on, and the old sign tells
            with suppress(OSError):
                file.touch()
        show(position)

    return shown


class _Every:
    """True at most once in `seconds`."""

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
