"""Starts, stops and checks the embedded servers."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from shopstream.cli.options import AsJson, Run, Yes
from shopstream.runtime.tables import table

if TYPE_CHECKING:
    from shopstream.embedded.status import ServerStatus, Status

MARKS = {"ok": "[green]ok[/]     ", "warning": "[yellow]warning[/]", "broken": "[red]broken[/] "}
"""Level of a finding of `doctor` -> its mark."""


def up() -> None:
    """Start Kafka and Elasticsearch in the background, on the loopback interface.

    The first call downloads them (140 MB) into a cache. Running servers are not restarted. An external server of the
    settings (kafka.bootstrap_servers, elasticsearch.url) is checked instead of started.

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
    data: Annotated[
        bool, typer.Option("--data", help="Also delete the whole data folder, after confirmation.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Stop the embedded Kafka and Elasticsearch; keep their data unless --data is given.

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
        how = "stopped" if server.graceful else f"did not stop within {settings.stop_timeout_s:.0f} s and was killed"
        console.print(f"{server.name} {how}", highlight=False)
    if not stopped:
        console.print("nothing was running")
    if data:
        retained = remove_data(settings)
        console.print(f"deleted {settings.home}", highlight=False)
        for folder in retained:
            console.print(
                f"[yellow]note[/] kept {folder}: a link that this data folder did not create. "
                f"If nothing else uses it: rm -r {shlex.quote(str(folder))}",
                highlight=False,
                soft_wrap=True,
            )


def status(
    run: Run = None,
    as_json: AsJson = False,
) -> None:
    """Show the servers and a run: addresses, versions, topics with message counts, lag, rates, freshness.

    The exit code is 1 if a server is not healthy.

    Example: `shopstream status --json`
    """
    from connectors.elasticsearch.admin import quiet_client_logs
    from shopstream.embedded.status import status as read_status
    from shopstream.jobs.runs import check_exists
    from shopstream.settings import load_settings

    quiet_client_logs()
    settings = load_settings(run=run)
    current = read_status(settings)
    if as_json:
        typer.echo(json.dumps(current.as_json(), indent=2))
    else:
        _print_status(current, Console())
    if not current.healthy():
        raise typer.Exit(1)
    if run is not None and not current.topics:
        check_exists(settings)


def _print_status(status: Status, console: Console) -> None:
    from shopstream.runtime.worker_tables import reason_tables

    servers = (("Kafka", status.kafka), ("Elasticsearch", status.elasticsearch))
    console.print(f"data folder {status.home}, run {status.run}", highlight=False)
    rows = [(name, *_server_cells(server)) for name, server in servers]
    console.print(table(None, ("server", "state", "address", "version", "pid"), rows))
    for name, server in servers:
        if server.problem:
            console.print(f"[bold]{name}[/] {escape(server.problem)}", highlight=False)
    if status.password_file:
        user = f"Elasticsearch user {status.username or 'elastic'}, password in {status.password_file}"
        console.print(user, soft_wrap=True)
    if status.topics:
        topics = [(topic.topic, str(topic.partitions), f"{topic.messages:,}") for topic in status.topics]
        console.print(table(None, ("topic", "partitions", "messages"), topics))
    if status.groups:
        groups = [(group.group, group.state, str(group.members), f"{group.lag:,}") for group in status.groups]
        console.print(table(None, ("consumer group", "state", "members", "lag (messages)"), groups))
    if status.metrics:
        now_ms = time.time_ns() // 1_000_000
        console.print(_throughput(status.metrics, now_ms))
        console.print(_health(status.metrics))
        for one in reason_tables([report for name, report in status.metrics.items() if name.startswith("map-")]):
            console.print(one)
        if paths := _empty_paths(status.metrics):
            console.print(f"paths that none of the last messages has: {', '.join(paths)}", markup=False, soft_wrap=True)


def _throughput(reports: Mapping[str, Mapping[str, Any]], now_ms: int) -> Table:
    """Build a table of the throughput of each worker, from its last report."""
    from consumers.metrics.reports import pending_of, rows_of

    rows = [
        (
            name,
            str(report.get("state", "")),
            f"{report.get('consumed', 0):,}",
            f"{report.get('records_per_s', 0):,.0f}",
            f"{report.get('lag_records', 0):,}",
            f"{pending_of(report):,}",
            f"{rows_of(report):,}",
            f"{sum(int(report.get(kind) or 0) for kind in ('rejected', 'late', 'refused')):,}"
            if name.startswith(("features-", "map-"))
            else "",
            f"{max(0, now_ms - int(report.get('at_ms', now_ms))) / 1000:,.0f} s ago",
        )
        for name, report in reports.items()
    ]
    columns = ("worker", "state", "read", "per s", "lag", "pending", "written", "dead letters", "last report")
    return table(None, columns, rows)


def _empty_paths(reports: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the paths of mappings, with the mapping, that no worker has seen in its last messages."""
    from consumers.metrics.definitions import PATH_FILL_PREFIX
    from consumers.metrics.reports import merged

    total = merged([report for name, report in reports.items() if name.startswith("map-")])
    fills = {name.removeprefix(PATH_FILL_PREFIX): fill for name, fill in total.items() if PATH_FILL_PREFIX in name}
    return sorted(path for path, fill in fills.items() if fill == 0)


def _health(reports: Mapping[str, Mapping[str, Any]]) -> Table:
    """Build a table of the health of each worker, from its last report."""
    rows = []
    for name, report in reports.items():
        low, high, memory = report.get("freshness_p50_ms"), report.get("freshness_p99_ms"), report.get("memory_bytes")
        rows.append((
            name,
            f"{low:,.0f} / {high:,.0f} ms" if low and high else "",
            f"{report['unsaved_s']:,.0f} s" if "unsaved_s" in report else "",
            f"{report['checkpoint_bytes'] / 1e6:,.1f} MB" if report.get("checkpoint_bytes") else "",
            f"{memory / 1e6:,.0f} MB" if memory else "",
            escape(str(report.get("trouble") or "")),
        ))  # fmt: skip
    columns = ("worker", "append to visible p50 / p99", "uncheckpointed for", "last checkpoint", "memory", "last error")
    return table(None, columns, rows)


def _server_cells(server: ServerStatus) -> tuple[str, ...]:
    state = "[green]healthy[/]" if server.healthy else "[red]not healthy[/]"
    pid = "" if server.pid is None else str(server.pid)
    return state, server.address or "-", server.version or "-", pid or server.mode


def doctor() -> None:
    """Check what Shopstream needs: Python, Java, disk, memory, ports, cache, permissions, servers.

    Each problem is printed with its remedy. The exit code is 1 if something is broken.

    Example: `shopstream doctor`
    """
    from connectors.elasticsearch.admin import quiet_client_logs
    from shopstream.jobs.doctor import examine
    from shopstream.settings import load_settings

    quiet_client_logs()
    console = Console()
    findings = examine(load_settings())
    for finding in findings:
        console.print(f"{MARKS[finding.level]} {escape(finding.what)}", highlight=False, soft_wrap=True)
        if finding.remedy:
            console.print(f"        [bold]do[/] {escape(finding.remedy)}", highlight=False, soft_wrap=True)
    if any(finding.level == "broken" for finding in findings):
        raise typer.Exit(1)
