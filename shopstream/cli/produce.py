"""Sends records to Kafka, from archives or a live shop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from features.errors import UsageError
from shopstream.cli.options import (
    Archive,
    From,
    Run,
    To,
    check_range,
    chosen,
    parse_duration_s,
    parsed_option,
    positive,
    time_option,
    with_options,
)
from shopstream.cli.shape_options import ShapeSelection, print_shapes, topics_of
from shopstream.runtime.tables import table

if TYPE_CHECKING:
    from producers.pacing import Progress as Position
    from producers.publisher import Delivery

DirtShare = Annotated[
    float, typer.Option("--dirt", min=0, max=1, help="Share of records made late, disordered or malformed.")
]
DirtSeed = Annotated[int, typer.Option("--seed", min=0, help="Seed for the dirt.")]

_ALL_TOPICS: Final = "events,orders,customers"
_REFRESH_S: Final = 0.2
_HEARTBEAT_S: Final = 1.0


def parse_speed(text: str) -> float | None:
    """Parse the speed: event seconds per second, None for `max`. Raises UsageError."""
    if text == "max":
        return None
    speed = positive(text.removesuffix("x"))
    if speed is None:
        raise UsageError(
            f"Invalid value for --speed: {text!r}.", "Give `max`, or a number above 0: 3600 is an hour in a second."
        )
    return speed


def parse_rate(text: str, option: str) -> float:
    """Parse a rate in events per second, from `500` or `500/s`. Raises UsageError."""
    rate = positive(text.removesuffix("/s"))
    if rate is None:
        raise UsageError(f"Invalid value for {option}: {text!r}.", "Give events per second: 500/s.")
    return rate


@with_options(ShapeSelection, "selection")
def replay(
    directory: Archive,
    *,
    speed: Annotated[str, typer.Option("--speed", help="`max`, or event seconds per second: `1`, `3600`.")] = "max",
    start_ms: From = None,
    end_ms: To = None,
    topics: Annotated[
        str, typer.Option("--topics", help="Comma-separated source topics to send, without --as.")
    ] = _ALL_TOPICS,
    selection: ShapeSelection,
    raw_topics: Annotated[
        list[str] | None,
        typer.Option(
            "--topic",
            metavar="NAME",
            help="With --as: topic of the messages, SHAPE=NAME for several shapes; default: RUN.raw.SHAPE.",
        ),
    ] = None,
    run: Run = None,
    dirt: DirtShare = 0.0,
    seed: DirtSeed = 1,
) -> None:
    """Send an archive to Kafka: profiles first, then events and orders in event-time order.

    With --as the records are messages of other systems, on topics of their own, as mappings of topics read them. The
    dirt is then that of real sources: retries, wrong clocks, late deliveries, and messages that are no records. The
    exit code is 1 if a shape cannot say a record. docs/synthetic-shop.md describes the shapes.

    Ctrl-C stops the replay and prints the --from to continue with.

    Example: `shopstream replay data --from 2025-01-01 --to 2025-02-01`

    Example: `shopstream replay data --as segment,shopify --dirt 0.02 --poison 0.001`

    Example: `shopstream replay data --as debezium --topic shopdb.public.orders --zone Europe/Berlin`
    """
    shapes = selection.checked()
    if shapes:
        if topics != _ALL_TOPICS:
            raise UsageError("--topics is for replays without --as.", "The shapes of --as have their own records.")
        names = topics_of(raw_topics or (), shapes)
        check_range(start_ms, end_ms)
        _replay_shapes(selection, shapes, names, directory, (start_ms, end_ms), parse_speed(speed), run, (dirt, seed))
        return
    if raw_topics:
        raise UsageError("--topic needs --as.", "Add --as segment, or choose source topics with --topics.")
    from connectors.clock import iso
    from features.schema import SOURCE_TOPICS
    from producers.archive.event_order import ArchiveRange
    from producers.dirt import MessageDirt
    from producers.replay import ReplayOptions, failure
    from producers.replay import replay as send
    from shopstream.jobs import produce as produce_job

    requested = chosen("--topics", topics, SOURCE_TOPICS)
    check_range(start_ms, end_ms)
    span = ArchiveRange(directory, tuple(topic for topic in requested if topic != "customers"), start_ms, end_ms)
    options = ReplayOptions(
        span, "customers" in requested, parse_speed(speed), MessageDirt(dirt, seed) if dirt else None
    )
    console = Console(stderr=True)
    total = options.size()
    target = produce_job.open_target(run, console)
    with produce_job.stop_on_signal() as interrupted, replay_bar(total, console) as show:
        report = send(options, target.publisher, produce_job.wall_clock(), interrupted, show)
    _print_delivery(Console(), report.delivery, report.seconds, report.planted)
    if not report.complete:
        rest = "the same command" if report.resume_ms is None else f"--from {iso(report.resume_ms)}"
        console.print(f"not complete; continue with [bold]{rest}[/]", highlight=False)
    if (error := failure(report)) is not None:
        raise error
    if not report.complete:
        raise typer.Exit(130)


def _replay_shapes(
    selection: ShapeSelection, shapes: tuple[str, ...], topics: Mapping[str, str], directory: Path,
    times_ms: tuple[int | None, int | None], speed: float | None, run: str | None, dirt: tuple[float, int],
) -> None:  # fmt: skip
    from connectors.clock import iso
    from producers.archive.event_order import ArchiveRange, count
    from producers.replay import undelivered
    from producers.source_shapes.replay import ShapeReplay, replay_shapes
    from producers.source_shapes.shapes import mapping_of
    from shopstream.jobs import produce as produce_job

    options = ShapeReplay(
        ArchiveRange(directory, start_ms=times_ms[0], end_ms=times_ms[1]), shapes, selection.faults(*dirt),
        selection.time_zone(), speed,
    )  # fmt: skip
    console, out = Console(stderr=True), Console()
    count(options.span)  # an archive that is missing is refused before topics are created
    target = produce_job.open_raw_target(run, shapes, topics, selection.partitions, console)
    with produce_job.stop_on_signal() as interrupted, replay_bar(None, console) as show:
        report = replay_shapes(options, target.publisher, produce_job.wall_clock(), interrupted, show)
    _print_delivery(out, report.delivery, report.seconds, {})
    for shape, name in target.topics.items():
        out.print(f"{shape}: topic {name}, mapping {mapping_of(shape)}", markup=False, highlight=False)
    refused = print_shapes(out, report.admission, report.reports)
    if not report.complete:
        rest = "the same command" if report.resume_ms is None else f"--from {iso(report.resume_ms)}"
        console.print(f"not complete; continue with [bold]{rest}[/]", highlight=False)
    if (error := undelivered(report.delivery)) is not None:
        raise error
    if not report.complete:
        raise typer.Exit(130)
    if refused:
        raise typer.Exit(1)


def live(
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="Archive of the shop to continue; default: a new shop that starts now."),
    ] = None,
    *,
    speed: Annotated[
        float, typer.Option("--speed", min=0.001, help="Event seconds per second, up to the wall clock.")
    ] = 1,
    rate: Annotated[
        float | None,
        parsed_option(
            "--rate", parse_rate, "RATE", "Events per second of event time: `500/s`; default: the shop's own rate."
        ),
    ] = None,
    duration_s: Annotated[
        float | None, parsed_option("--for", parse_duration_s, "DURATION", "Duration of the run: `90s`, `10m`, `1.5h`.")
    ] = None,
    start_ms: Annotated[
        int | None, time_option("--from", "ISO 8601 time of the first event; default: end of the run's events.")
    ] = None,
    run: Run = None,
    dirt: DirtShare = 0.0,
    seed: DirtSeed = 1,
    heartbeat_file: Annotated[
        Path | None,
        typer.Option("--heartbeat-file", metavar="FILE", help="File to touch every second while sending."),
    ] = None,
) -> None:
    """Stream the synthetic shop to Kafka until Ctrl-C, from the end of its history or of the last `live`.

    With --speed above 1 the stream catches up with the wall clock, then continues in real time.

    Example: `shopstream live data --speed 3600`
    """
    from producers.dirt import MessageDirt
    from producers.live import live as stream
    from producers.live import resume_from
    from shopstream.jobs import produce as produce_job

    console = Console(stderr=True)
    clock = produce_job.wall_clock()
    model = produce_job.shop_model(directory, clock.wall_ms())
    target = produce_job.open_target(run, console)
    if start_ms is None:
        start_ms = clock.wall_ms() if directory is None else resume_from(model, target.newest_event_ms())
    until_s = None if duration_s is None else clock.monotonic_s() + duration_s
    with produce_job.stop_on_signal() as interrupted, live_line(console) as show:
        report = stream(
            model,
            target.publisher,
            clock,
            lambda: interrupted() or (until_s is not None and clock.monotonic_s() >= until_s),
            show if heartbeat_file is None else with_heartbeat(heartbeat_file, show),
            start_ms=start_ms,
            speed=speed,
            rate=rate,
            dirt=MessageDirt(dirt, seed) if dirt else None,
        )
    _print_delivery(Console(), report.delivery, report.seconds, report.planted)
    if (error := report.failure()) is not None:
        raise error


# --- progress ---------------------------------------------------------------------------------------------------------
class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.0f}/s")


@contextmanager
def replay_bar(total: int | None, console: Console) -> Iterator[Callable[[Position], None]]:
    """Show a progress bar over a number of messages, with rate, remaining time and event time.

    Args:
        total: number of messages; None if it is not known.
        console: terminal.
    """
    from connectors.clock import iso

    columns = (
        TextColumn("replay"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn(),
        TextColumn("{task.fields[at]}"),
    )  # fmt: skip
    with Progress(*columns, console=console, refresh_per_second=5) as progress:
        task = progress.add_task("replay", total=total, at="")
        due = _Every(_REFRESH_S)

        def show(position: Position) -> None:
            if due() or (total is not None and position.sent >= total):
                at = iso(position.event_ms)[:16] if position.event_ms else "profiles"
                progress.update(task, completed=position.sent, at=at)

        yield show


@contextmanager
def live_line(console: Console) -> Iterator[Callable[[Position], None]]:
    """Show a status line: messages sent, rate, event time and its distance behind the wall clock."""
    from connectors.clock import iso

    columns = (TextColumn("live"), TextColumn("{task.completed:,} sent"), _Rate(), TextColumn("{task.fields[at]}"))
    with Progress(*columns, console=console, refresh_per_second=2) as progress:
        task = progress.add_task("live", total=None, at="")
        due = _Every(_REFRESH_S)

        def show(position: Position) -> None:
            if due() and position.event_ms:
                behind_s = (position.wall_ms - position.event_ms) / 1_000
                where = "at the wall clock" if behind_s < 5 else f"{_duration(behind_s)} behind the wall clock"
                progress.update(task, completed=position.sent, at=f"{iso(position.event_ms)[:19]}Z, {where}")

        yield show


def with_heartbeat(file: Path, show: Callable[[Position], None]) -> Callable[[Position], None]:
    """Wrap `show` so that it touches a heartbeat file for health checks at most once a second.

    Raises:
        UsageError: the file cannot be written.
    """
    due = _Every(_HEARTBEAT_S)
    try:
        file.touch()
    except OSError as error:
        raise UsageError(
            f"The file {file} of --heartbeat-file cannot be written: {error.strerror}.",
            "Name a file in a writable folder.",
        ) from None

    def show_and_touch(position: Position) -> None:
        if due():
            # the stream continues without the file: its age then fails the health check
            with suppress(OSError):
                file.touch()
        show(position)

    return show_and_touch


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


def _duration(seconds: float) -> str:
    days, rest = divmod(int(seconds), 86_400)
    hours, rest = divmod(rest, 3_600)
    return (
        f"{days} d {hours} h" if days else f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"
    )


# --- output -----------------------------------------------------------------------------------------------------------
def _print_delivery(console: Console, delivery: Delivery, seconds: float, planted: Mapping[str, int]) -> None:
    from features.schema import SOURCE_TOPICS

    known = [topic for topic in SOURCE_TOPICS if topic in delivery.sent]
    rows = [
        (topic, f"{delivery.sent[topic]:,}", f"{delivery.delivered[topic]:,}", f"{delivery.failed.get(topic, 0):,}")
        for topic in (*known, *(set(delivery.sent) - set(known)))
    ]
    total = sum(delivery.delivered.values())
    console.print(table(None, ("topic", "sent", "acknowledged", "failed"), rows))
    console.print(f"{total:,} acknowledged in {seconds:.1f} s, {total / max(seconds, 1e-9):,.0f}/s", highlight=False)
    if planted:
        console.print(table(None, ("dirt", "messages"), [(kind, f"{count:,}") for kind, count in planted.items()]))
