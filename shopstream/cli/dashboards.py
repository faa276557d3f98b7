"""Builds, checks and imports Kibana's dashboards, and serves the live page."""

from __future__ import annotations

import json
import os
import time
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.markup import escape

from features.errors import ShopstreamError, UsageError
from shopstream.cli.options import AsJson, Run, time_option
from shopstream.cli.progress import state_currency
from shopstream.runtime.tables import table

if TYPE_CHECKING:
    from dashboards.checks import CheckResult

STOP_POLL_S: Final = 0.2
PASSWORD: Final = "KIBANA_PASSWORD"  # noqa: S105 - the name of a variable
API_KEY: Final = "KIBANA_API_KEY"
STATE_STYLES: Final = {"PASS": "green", "EMPTY": "yellow", "FAIL": "bold red"}


Page = Annotated[
    str,
    typer.Option("--page", metavar="URL", help="Address of the live page; ids of customers then link to their story."),
]


def build(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Output file.", dir_okay=False)] = Path(
        "kibana_saved_objects.ndjson"
    ),
    run: Run = None,
    page: Page = "",
) -> None:
    """Write the saved objects for Kibana: data views and every dashboard, in one file.

    Import the file by `shopstream dashboards import`, or in Kibana (Stack Management, Saved Objects, Import).

    Example: `shopstream dashboards build --out shop.ndjson`

    Example: `shopstream dashboards build --page http://localhost:8050`
    """
    from dashboards.boards import DASHBOARDS
    from dashboards.kibana.saved_objects import ndjson
    from features.schema import DEFAULT_RUN, check_run
    from shopstream.settings import load_settings

    money = load_settings().shop.money
    content = ndjson(DASHBOARDS, check_run(run or DEFAULT_RUN), money, _page(page))
    try:
        out.write_text(content, "utf-8")
    except OSError as error:
        raise ShopstreamError(f"{out} cannot be written: {error.strerror}.", "Choose another --out.") from error
    console = Console(stderr=True)
    console.print(f"{content.count(chr(10))} saved objects in {out}", highlight=False)
    state_currency(console, money)


def check(
    run: Run = None,
    as_of: Annotated[
        int | None, time_option("--as-of", "ISO 8601 end of the time ranges; default: time of the newest document.")
    ] = None,
    repeat: Annotated[int, typer.Option("--repeat", min=1, help="Runs of each search, to report the median time.")] = 1,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Accept panels without data, such as those of a new shop.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run the searches of every panel against Elasticsearch: responses, data, types of fields, the previous period.

    Panels of trends need `shopstream rollup` and `shopstream forecast`. The exit code is 1 if a panel fails or is
    empty.

    Example: `shopstream dashboards check --repeat 5`
    """
    from connectors.elasticsearch.admin import quiet_client_logs
    from shopstream.jobs import check_dashboards
    from shopstream.jobs.runs import check_visible
    from shopstream.settings import load_settings

    quiet_client_logs()
    settings = load_settings(run=run)
    if run is not None:
        check_visible(settings)
    faults = check_dashboards.declaration_faults(settings.run)
    panels = check_dashboards.check_panels(settings, as_of, repeat)
    if as_json:
        rows = [{name: getattr(panel, name) for name in panel.__slots__} for panel in panels]
        typer.echo(json.dumps({"faults": faults, "panels": rows}, indent=2))
    else:
        _print(panels, faults)
    bad = {"FAIL"} if allow_empty else {"FAIL", "EMPTY"}
    if faults or any(panel.state in bad for panel in panels):
        raise typer.Exit(1)


def import_objects(  # noqa: PLR0917 - typer makes an option of each
    url: Annotated[str, typer.Option("--url", help="URL of Kibana, with its base path if it has one.")],
    space: Annotated[str, typer.Option("--space", help="Target space; default: the default space.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing objects.")] = False,
    run: Run = None,
    username: Annotated[
        str | None, typer.Option("--username", help=f"User name; the password is in {PASSWORD} or --password-file.")
    ] = None,
    password_file: Annotated[
        Path | None, typer.Option("--password-file", metavar="FILE", help="File with the password.")
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option("--api-key-file", metavar="FILE", help=f"File with an API key; alternative: {API_KEY}."),
    ] = None,
    ca_certs: Annotated[
        Path | None, typer.Option("--ca-certs", metavar="FILE", help="File of the certificate authority.")
    ] = None,
    calendar: Annotated[
        bool,
        typer.Option(
            "--calendar",
            help="Set the space's time zone and first day of the week to the shop's (dateFormat:tz, dateFormat:dow).",
        ),
    ] = False,
    page: Page = "",
    rules: Annotated[
        bool,
        typer.Option("--rules", help="Create alert rules: revenue, a silent or slow pipeline, rejections, churn risk."),
    ] = False,
    wait: Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait until Kibana is ready.")] = 180.0,
) -> None:
    """Import the dashboards into a Kibana of version 8.19, 9.1 or later.

    Waits until Kibana is ready. Objects have fixed ids, so another import with --overwrite replaces them.
    Kibana shows days of the browser's zone unless the space has one: --calendar sets that of the shop.
    With --rules, alert rules that do not exist are created. Connectors are added in Kibana (Stack Management, Rules).

    Example: `shopstream dashboards import --url http://localhost:5601 --overwrite`

    Example: `shopstream dashboards import --url http://localhost:5601 --calendar`

    Example: `shopstream dashboards import --url http://localhost:5601 --rules --page http://localhost:8050`
    """
    from dashboards.boards import DASHBOARDS
    from dashboards.kibana import client as kibana
    from dashboards.kibana.rules import alert_rules
    from dashboards.kibana.saved_objects import ndjson
    from features.schema import DEFAULT_RUN, check_run
    from shopstream.jobs.shop_calendar import chosen_calendar
    from shopstream.settings import load_settings

    console = Console(stderr=True)
    shop = load_settings().shop
    money = shop.money
    if calendar and shop.time_zone is None:
        raise UsageError("--calendar needs the shop's zone.", "Set shop.time_zone (SHOPSTREAM_SHOP__TIME_ZONE).")
    target = kibana.Kibana(
        url,
        space,
        username,
        password=_secret(password_file, PASSWORD) if username is not None else None,
        api_key=_secret(api_key_file, API_KEY) if username is None or api_key_file is not None else None,
        ca_certs=None if ca_certs is None else str(ca_certs),
    )
    with console.status("waiting for Kibana ...") as status:
        imported = kibana.import_file(
            target,
            ndjson(DASHBOARDS, check_run(run or DEFAULT_RUN), money, _page(page)),
            overwrite=overwrite,
            wait_s=wait,
            on_wait=lambda reason: status.update(f"waiting for Kibana: {reason}"),
        )
    console.print(f"{imported.objects} saved objects imported", highlight=False)
    state_currency(console, money)
    if calendar:
        chosen = chosen_calendar(shop)
        kibana.set_calendar(target, chosen)
        console.print(f"calendar of the space: {chosen}", highlight=False)
    if rules:
        declared = alert_rules(check_run(run or DEFAULT_RUN), space)
        created = kibana.create_rules(target, declared)
        console.print(f"{created} alert rules created, {len(declared) - created} exist", highlight=False)
    typer.echo(imported.address)


def serve(
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; any but loopback opens the page to the network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65_535, help="Port; 0 takes a free one.")] = 8050,
    names: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="HOST", help="Further host name that browsers may use; repeatable."),
    ] = None,
    segments: Annotated[
        Path, typer.Option("--segments", metavar="DIR", help="Output folder of `segment`, for the page Segments.")
    ] = Path("mart"),
    run: Run = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser of this machine.")] = False,
) -> None:
    """Serve the dashboards as a live page, until Ctrl-C.

    The page reads Elasticsearch, and writes saved views and states of the work list only. Any client that reaches the
    port can do both; names and e-mail addresses are not among what it reads.

    Example: `shopstream dashboards serve --port 8050`
    """
    from connectors.elasticsearch.admin import quiet_client_logs
    from shopstream.jobs import serve_dashboards
    from shopstream.jobs.produce import stop_on_signal
    from shopstream.jobs.runs import check_visible, other_runs
    from shopstream.settings import load_settings

    quiet_client_logs()
    settings = load_settings(run=run)
    if run is not None:
        check_visible(settings)
    elif others := other_runs(settings):
        Console(stderr=True).print(
            f"there is no run {settings.run} yet; --run selects one of: {', '.join(others)}", highlight=False
        )
    listening = serve_dashboards.Listening(host, port, tuple(names or ()))
    with stop_on_signal() as stopped, serve_dashboards.serve_in_thread(settings, segments, listening) as address:
        typer.echo(address)
        Console(stderr=True).print("live page; Ctrl-C stops it", highlight=False)
        if open_browser:
            webbrowser.open(address)
        while not stopped():
            time.sleep(STOP_POLL_S)


def _page(address: str) -> str:
    """Return the address of the live page, checked: empty, or http(s) with a host."""
    url = urlsplit(address)
    if address and (url.scheme not in ("http", "https") or not url.netloc or url.query or url.fragment):
        raise UsageError(f"{address!r} is not an address of the live page.", "Give --page http://host:port.")
    return address


def _secret(path: Path | None, variable: str) -> str | None:
    if path is None:
        return os.environ.get(variable)
    try:
        return path.read_text("utf-8").strip()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", "Name a file that holds the secret.") from error


def _print(panels: Sequence[CheckResult], faults: Sequence[str]) -> None:
    rows = [
        (
            escape(panel.panel), escape(panel.index), f"[{STATE_STYLES[panel.state]}]{panel.state}[/]",
            f"{panel.ms:.0f}", f"{panel.compared_ms:.0f}" if panel.compared_ms else "",
            f"{panel.hits:,}", f"{panel.rows:,}", escape(panel.why),
        )
        for panel in panels
    ]  # fmt: skip
    console = Console()
    console.print(table(None, ("panel", "index", "state", "ms", "previous ms", "hits", "rows", "reason"), rows))
    for fault in faults:
        console.print(f"[bold red]declaration[/] {escape(fault)}", highlight=False)
    counts = {state: sum(panel.state == state for panel in panels) for state in STATE_STYLES}
    slowest = max(panels, key=lambda panel: max(panel.ms, panel.compared_ms))
    slowest_ms = max(slowest.ms, slowest.compared_ms)
    summary = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    console.print(f"{len(panels)} panels: {summary}; slowest {slowest.panel}, {slowest_ms:.0f} ms", highlight=False)
    if counts["EMPTY"]:
        console.print("empty panels need `shopstream rollup`, `shopstream forecast` or a trained bundle")
