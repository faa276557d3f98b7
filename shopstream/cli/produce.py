"""`replay`, `live`, `import`: send records to Kafka, and convert foreign logs to archives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from connectors.clock import iso
from features.schema import SOURCE_TOPICS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from producers.importing.importer import ImportReport
    from producers.publisher import Delivery

RunOption = Annotated[str | None, typer.Option("--run", help="The run whose topics are written; default: `shop`.")]
DirtOption = Annotated[
    float, typer.Option("--dirt", min=0, max=1, help="Share of records made late, disordered or malformed.")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Of the dirt.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command()(replay)
    app.command()(live)
    app.command("import")(import_log)


def replay(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The archive.")],
    speed: Annotated[str, typer.Option(help="`max`, or event seconds for each second: `1`, `3600`.")] = "max",
    start: Annotated[
        str | None, typer.Option("--from", help="ISO 8601, inclusive; UTC where no zone is given.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="ISO 8601, exclusive; UTC where no zone is given.")] = None,
    topics: Annotated[str, typer.Option(help="Of `events`, `orders`, `customers`.")] = ",".join(SOURCE_TOPICS),
    run: RunOption = None,
    dirt: DirtOption = 0.0,
    seed: SeedOption = 1,
) -> None:
    """Send an archive to Kafka: profiles first, then events and orders in event-time order.

    Ctrl-C stops it, and tells the --from with which another replay goes on.

    Example: `shopstream replay data --from 2025-01-01 --to 2025-02-01`
    """
    from rich.console import Console

    from producers.archive.event_order import Span
    from producers.dirt import Dirt
    from producers.replay import Course, failure
    from producers.replay import replay as send
    from shopstream.cli.options import chosen_topics, date_range, parse_speed
    from shopstream.cli.progress import replay_bar
    from shopstream.jobs import produce as produce_job

    wanted = chosen_topics(topics)
    start_ms, end_ms = date_range(start, end)
    span = Span(directory, tuple(topic for topic in wanted if topic != "customers"), start_ms, end_ms)
    course = Course(span, "customers" in wanted, parse_speed(speed), Dirt(dirt, seed) if dirt else None)
    console = Console(stderr=True)
    total = course.size()
    target = produce_job.open_target(run, console)
    with produce_job.stop_on_signal() as interrupted, replay_bar(total, console) as show:
        report = send(course, target.publisher, produce_job.wall_clock(), interrupted, show)
    _print_delivery(Console(), report.delivery, report.seconds, report.planted)
    if not report.complete:
        where = "the same command" if report.resume_ms is None else f"--from {iso(report.resume_ms)}"
        console.print(f"not complete; go on with [bold]{where}[/]", highlight=False)
    if (error := failure(report)) is not None:
        raise error
    if not report.complete:
        raise typer.Exit(130)


def live(
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="The archive whose shop goes on; default: a new shop, from now."),
    ] = None,
    *,
    speed: Annotated[
        float, typer.Option(min=0.001, help="Event seconds a second, until the wall clock is reached.")
    ] = 1,
    rate: Annotated[
        str | None, typer.Option(help="Events a second of event time: `500/s`; default: its rhythm.")
    ] = None,
    duration: Annotated[str | None, typer.Option("--for", help="Stop after `90s`, `10m`, `1.5h`.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="ISO 8601; default: where the run's events end.")] = None,
    run: RunOption = None,
    dirt: DirtOption = 0.0,
    seed: SeedOption = 1,
    sign: Annotated[
        Path | None,
        typer.Option("--sign", metavar="FILE", help="Touched each second while it sends, for health checks."),
    ] = None,
) -> None:
    """Stream the synthetic shop to Kafka until Ctrl-C, from where its history or the last `live` ended.

    At --speed above 1 it catches up with the wall clock, and then goes on in real time.

    Example: `shopstream live data --speed 3600`
    """
    from rich.console import Console

    from producers.dirt import Dirt
    from producers.live import live as stream
    from producers.live import resume_from
    from shopstream.cli.options import parse_duration_s, parse_rate, parse_time
    from shopstream.cli.progress import leaving_sign, live_line
    from shopstream.jobs import produce as produce_job

    events_a_second = parse_rate(rate)
    seconds = parse_duration_s(duration)
    start_ms = None if start is None else parse_time(start, "--from")
    console = Console(stderr=True)
    clock = produce_job.wall_clock()
    model = produce_job.shop_model(directory, clock.wall_ms())
    target = produce_job.open_target(run, console)
    if start_ms is None:
        start_ms = clock.wall_ms() if directory is None else resume_from(model, target.newest_event_ms())
    until_s = None if seconds is None else clock.monotonic_s() + seconds
    with produce_job.stop_on_signal() as signalled, live_line(console) as show:
        report = stream(
            model,
            target.publisher,
            clock,
            lambda: signalled() or (until_s is not None and clock.monotonic_s() >= until_s),
            show if sign is None else leaving_sign(sign, show),
            start_ms=start_ms,
            speed=speed,
            rate=events_a_second,
            dirt=Dirt(dirt, seed) if dirt else None,
        )
    _print_delivery(Console(), report.delivery, report.seconds, report.planted)
    if (error := report.failure()) is not None:
        raise error


def import_log(
    files: Annotated[list[Path] | None, typer.Argument(metavar="FILE", help="CSV, Parquet or text.")] = None,
    mapping: Annotated[
        list[str] | None, typer.Option("--mapping", help="A ready name or a YAML file; one for all, or one a file.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The archive's folder.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an archive that stands there.")] = False,
    list_ready: Annotated[bool, typer.Option("--list", help="List the ready mappings.")] = False,
    show: Annotated[str | None, typer.Option("--show", help="Print a ready mapping, to start your own from.")] = None,
) -> None:
    """Make an archive of foreign logs of orders or clicks, by mapping files.

    Rows that are no records are left out and counted by reason.

    Example: `shopstream import cdnow.txt --mapping cdnow --out data/cdnow`
    """
    from rich.console import Console

    from features.errors import UsageError
    from producers.importing import mapping as mappings

    if list_ready:
        _print_mappings()
        return
    if show is not None:
        ready = mappings.ready_mappings()
        if show not in ready:
            raise UsageError(f"There is no ready mapping {show}.", f"Give one of {', '.join(ready)}.")
        typer.echo(ready[show], nl=False)
        return
    if not files or not mapping or out is None:
        raise UsageError(
            "An import needs FILE, --mapping and --out.", "shopstream import cdnow.txt --mapping cdnow --out data/cdnow"
        )
    if len(mapping) not in (1, len(files)):
        raise UsageError(
            f"{len(files)} files, but {len(mapping)} mappings.", "Give one mapping for all, or one a file."
        )
    names = mapping * len(files) if len(mapping) == 1 else mapping
    logs = [(file, *mappings.load_mapping(name)) for file, name in zip(files, names, strict=True)]
    console = Console(stderr=True)
    from producers.importing.importer import import_logs

    with console.status("import") as line:
        reports = import_logs(
            logs,
            out,
            force=force,
            on_progress=lambda file, part, parts: line.update(f"import {file.name}: part {part} of {parts}"),
        )
    for report in reports:
        _print_import(Console(), report)


# --- output -----------------------------------------------------------------------------------------------------------
def _print_delivery(console: Console, delivery: Delivery, seconds: float, planted: Mapping[str, int]) -> None:
    from rich.table import Table

    table = Table("topic", "sent", "acknowledged", "failed")
    for topic in SOURCE_TOPICS:
        if topic in delivery.sent:
            numbers = (delivery.sent[topic], delivery.delivered[topic], delivery.failed.get(topic, 0))
            table.add_row(topic, *(f"{number:,}" for number in numbers))
    total = sum(delivery.delivered.values())
    console.print(table)
    console.print(f"{total:,} acknowledged in {seconds:.1f} s, {total / max(seconds, 1e-9):,.0f}/s", highlight=False)
    if planted:
        dirt = Table("dirt", "messages")
        for kind, number in planted.items():
            dirt.add_row(kind, f"{number:,}")
        console.print(dirt)


def _print_mappings() -> None:
    from rich.console import Console
    from rich.table import Table

    from producers.importing import mapping as mappings

    table = Table("mapping", "kind", "what it reads")
    for name, text in mappings.ready_mappings().items():
        found = mappings.parse_mapping(text, name)
        table.add_row(name, found.kind, found.about)
    Console().print(table)


def _print_import(console: Console, report: ImportReport) -> None:
    from rich.table import Table

    table = Table(f"{report.file.name} by {report.mapping}", "")
    table.add_row("rows read", f"{report.rows:,}")
    for reason, rows in report.left_out.most_common():
        table.add_row(f"  left out: {reason}", f"{rows:,}")
    table.add_row("rows used", f"{report.rows_used:,}")
    table.add_row("events" if report.topic == "events" else "order records", f"{report.records:,}")
    table.add_row("customers", f"{len(report.customers):,}")
    if report.first_ms is not None and report.last_ms is not None:
        table.add_row("first", iso(report.first_ms))
        table.add_row("last", iso(report.last_ms))
    if report.topic == "orders":
        table.add_row("revenue", f"{report.revenue_cents / 100:,.2f}")
    console.print(table)
    for column in report.absent:
        console.print(f"the file has no column {column}: null, or the mapping's default", highlight=False)
