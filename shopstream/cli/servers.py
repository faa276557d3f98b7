"""`up`, `down`, `status`, `doctor`: manage and check the embedded servers, for people and for scripts."""

from __future__ import annotations

import json
import shlex
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from rich.table import Table

    from shopstream.embedded.status import ServerStatus, Status


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command()(up)
    app.command()(down)
    app.command()(status)
    app.command()(doctor)


def up() -> None:
    """Start Kafka and Elasticsearch in the background, on the loopback interface.

    The first run downloads them (140 MB) into a cache. Servers that run already are left alone; a server that the
    settings name (kafka.bootstrap_servers, elasticsearch.url) is checked instead of started.

    Example: `shopstream up`
    """
    from connectors.elasticsearch.admin import quiet_client_logs
    from shopstream import embedded
    from shopstream.settings import load_settings

    quiet_client_logs()
    console = Console(stderr=True)
    settings = load_settings()
    endpoints = embedded.up(settings, console)
    out = Console()
    out.print(f"Kafka          {endpoints.kafka.bootstrap_servers}", highlight=False)
    out.print(f"Elasticsearch  {endpoints.elasticsearch.url}", highlight=False)
    if settings.elasticsearch.url is None:
        password_file = settings.home / "secrets" / "elastic-password"
        out.print(f"user {endpoints.elasticsearch.username}, password in {password_file}", highlight=False)


def down(
    data: Annotated[bool, typer.Option("--data", help="Delete the whole data folder too, after asking.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --data: do not ask.")] = False,
) -> None:
    """Stop the embedded Kafka and Elasticsearch; their data stay unless --data is given.

    Example: `shopstream down`
    """
    from shopstream import embedded
    from shopstream.embedded.removal import remove_data
    from shopstream.settings import load_settings

    console = Console(stderr=True)
    settings = load_settings()
    if data and not yes:
        typer.confirm(f"Delete everything in {settings.home}?", abort=True)
    stopped = embedded.down(settings, console)
    for server in stopped:
        how = "stopped" if server.by_itself else f"did not stop within {settings.stop_timeout_s:.0f} s and was killed"
        console.print(f"{server.name} {how}", highlight=False)
    if not stopped:
        console.print("nothing was running")
    if data:
        kept = remove_data(settings)
        console.print(f"deleted {settings.home}", highlight=False)
        for folder in kept:
            console.print(
                f"[yellow]note[/] a link named {folder}, which this data folder did not make: it stays. "
                f"If nothing else uses it: rm -r {shlex.quote(str(folder))}",
                highlight=False,
                soft_wrap=True,
            )


def status(
    run: Annotated[str | None, typer.Option("--run", help="Name of the run.", show_default="shop")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Show what runs: addresses, versions, topics with message counts, lag, rates, freshness.

    Exit code 1 when a server is not healthy.

    Example: `shopstream status --json`
    """
    from connectors.elasticsearch.admin import quiet_client_logs
    from shopstream.cli import known_runs
    from shopstream.embedded.status import status as read_status
    from shopstream.settings import load_settings

    quiet_client_logs()
    settings = load_settings(run=run)
    found = read_status(settings)
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        _print_status(found, Console())
    if not found.healthy():
        raise typer.Exit(1)
    if run is not None and not found.topics:
        known_runs.check_anywhere(settings)


def _print_status(found: Status, console: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    console.print(f"data folder {found.home}, run {found.run}", highlight=False)
    table = Table("server", "state", "address", "version", "pid")
    for name, server in (("Kafka", found.kafka), ("Elasticsearch", found.elasticsearch)):
        table.add_row(name, *_server_cells(server))
    console.print(table)
    for name, server in (("Kafka", found.kafka), ("Elasticsearch", found.elasticsearch)):
        if server.problem:
            console.print(f"[bold]{name}[/] {escape(server.problem)}", highlight=False)
    if found.password_file:
        console.print(
            f"Elasticsearch user {found.username or 'elastic'}, password in {found.password_file}", soft_wrap=True
        )
    if found.topics:
        table = Table("topic", "partitions", "messages")
        for topic in found.topics:
            table.add_row(topic.topic, str(topic.partitions), f"{topic.messages:,}")
        console.print(table)
    if found.groups:
        table = Table("consumer group", "state", "members", "lag (messages)")
        for group in found.groups:
            table.add_row(group.group, group.state, str(group.members), f"{group.lag:,}")
        console.print(table)
    if found.metrics:
        for table in _worker_tables(found.metrics):
            console.print(table)


def _worker_tables(reports: dict[str, Any]) -> tuple[Table, Table]:
    """Build two tables from the last report of each worker: throughput and health."""
    from rich.markup import escape
    from rich.table import Table

    from consumers.metrics.reports import rows_of

    work = Table("worker", "state", "read", "per s", "lag", "waiting", "written", "dead letters", "said")
    health = Table("worker", "append to visible p50 / p99", "not kept for", "last checkpoint", "memory", "trouble")
    now_ms = time.time_ns() // 1_000_000
    for name, said in reports.items():
        letters = sum(int(said.get(kind) or 0) for kind in ("rejected", "late", "refused"))
        work.add_row(
            name,
            str(said.get("state", "")),
            f"{said.get('consumed', 0):,}",
            f"{said.get('records_per_s', 0):,.0f}",
            f"{said.get('lag_records', 0):,}",
            f"{said.get('dirty') or said.get('waiting_records') or 0:,}",
            f"{rows_of(said):,}",
            f"{letters:,}" if name.startswith("features-") else "",
            f"{max(0, now_ms - int(said.get('at_ms', now_ms))) / 1000:,.0f} s ago",
        )
        low, high, memory = said.get("freshness_p50_ms"), said.get("freshness_p99_ms"), said.get("memory_bytes")
        health.add_row(
            name,
            f"{low:,.0f} / {high:,.0f} ms" if low and high else "",
            f"{said['unsaved_s']:,.0f} s" if "unsaved_s" in said else "",
            f"{said['checkpoint_bytes'] / 1e6:,.1f} MB" if said.get("checkpoint_bytes") else "",
            f"{memory / 1e6:,.0f} MB" if memory else "",
            escape(str(said.get("trouble") or "")),
        )
    return work, health


def _server_cells(server: ServerStatus) -> tuple[str, ...]:
    state = "[green]healthy[/]" if server.healthy else "[red]not healthy[/]"
    pid = "" if server.pid is None else str(server.pid)
    return state, server.address or "-", server.version or "-", pid or server.mode


def doctor() -> None:
    """Check what Shopstream needs: Python, Java, disk, memory, ports, cache, permissions, servers.

    Exit code 1 when something is broken; each finding comes with what to do.

    Example: `shopstream doctor`
    """
    from rich.markup import escape

    from connectors.elasticsearch.admin import quiet_client_logs
    from shopstream.jobs.doctor import examine
    from shopstream.settings import load_settings

    quiet_client_logs()
    console = Console()
    findings = examine(load_settings())
    marks = {"ok": "[green]ok[/]     ", "warning": "[yellow]warning[/]", "broken": "[red]broken[/] "}
    for finding in findings:
        console.print(f"{marks[finding.level]} {escape(finding.what)}", highlight=False, soft_wrap=True)
        if finding.remedy:
            console.print(f"        [bold]do[/] {escape(finding.remedy)}", highlight=False, soft_wrap=True)
    if any(finding.level == "broken" for finding in findings):
        raise typer.Exit(1)
