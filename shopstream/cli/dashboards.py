"""`dashboards build|check|import|serve`: builds, checks and imports Kibana's dashboards, and serves the live page."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

from shopstream.cli.page import serve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dashboards.checks import CheckResult

PASSWORD: Final = "KIBANA_PASSWORD"  # noqa: S105 - the name of a variable
API_KEY: Final = "KIBANA_API_KEY"

RunOption = Annotated[str | None, typer.Option("--run", help="The run; default: shop.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    group = typer.Typer(help="Dashboards: build, check, import and serve them.", no_args_is_help=True)
    group.command()(build)
    group.command()(check)
    group.command("import")(import_objects)
    group.command()(serve)
    app.add_typer(group, name="dashboards")


def build(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write it.", dir_okay=False)] = Path(
        "kibana_saved_objects.ndjson"
    ),
    run: RunOption = None,
) -> None:
    """Write the saved objects for Kibana: data views and every dashboard, in one file.

    Kibana takes it by `shopstream dashboards import`, or by hand (Stack Management, Saved Objects, Import).

    Example: `shopstream dashboards build --out shop.ndjson`
    """
    from dashboards.boards import DASHBOARDS
    from dashboards.kibana.saved_objects import ndjson
    from features.errors import ShopstreamError
    from features.schema import DEFAULT_RUN, check_run

    content = ndjson(DASHBOARDS, check_run(run or DEFAULT_RUN))
    try:
        out.write_text(content, "utf-8")
    except OSError as error:
        raise ShopstreamError(f"{out} cannot be written: {error.strerror}.", "Choose another --out.") from error
    Console(stderr=True).print(f"{content.count(chr(10))} saved objects in {out}", highlight=False)


def check(
    run: RunOption = None,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="TIME", help="End of the time ranges; default: the newest document."),
    ] = None,
    repeat: Annotated[int, typer.Option("--repeat", min=1, help="Times that each search runs; the median counts.")] = 1,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Panels without data do not fail: of a shop that has just begun.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Run the search of every panel against Elasticsearch: does it answer, with data, from fitting fields?

    What dashboards show of trends needs `shopstream rollup` and `shopstream forecast`. Exit code 1 when a panel fails
    or is empty.

    Example: `shopstream dashboards check --repeat 5`
    """
    from connectors.elasticsearch.admin import quiet_client_logs
    from shopstream.cli import known_runs
    from shopstream.cli.options import parse_time
    from shopstream.jobs import check_dashboards
    from shopstream.settings import load_settings

    quiet_client_logs()
    settings = load_settings(run=run)
    if run is not None:
        known_runs.check_view(settings)
    faults = check_dashboards.declaration_faults(settings.run)
    found = check_dashboards.check_panels(settings, None if as_of is None else parse_time(as_of, "--as-of"), repeat)
    if as_json:
        typer.echo(json.dumps({"faults": faults, "panels": [_as_json(one) for one in found]}, indent=2))
    else:
        _print(found, faults)
    bad = {"FAIL"} if allow_empty else {"FAIL", "EMPTY"}
    if faults or any(one.state in bad for one in found):
        raise typer.Exit(1)


def import_objects(  # noqa: PLR0917 - typer makes an option of each
    url: Annotated[str, typer.Option("--url", help="Kibana, with its base path where it has one.")],
    space: Annotated[str, typer.Option("--space", help="Space to import into; default: the default space.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace objects that are there.")] = False,
    run: RunOption = None,
    username: Annotated[
        str | None, typer.Option("--username", help=f"User; the password comes from {PASSWORD} or --password-file.")
    ] = None,
    password_file: Annotated[
        Path | None, typer.Option("--password-file", metavar="FILE", help="File that holds the password.")
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option("--api-key-file", metavar="FILE", help=f"File that holds an API key; or {API_KEY}."),
    ] = None,
    ca_certs: Annotated[
        Path | None, typer.Option("--ca-certs", metavar="FILE", help="The certificate authority's file.")
    ] = None,
    wait: Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait until Kibana is ready.")] = 180.0,
) -> None:
    """Import the dashboards into a Kibana of version 8.19, 9.1 or later.

    Waits until Kibana is ready. Objects have fixed ids, so importing again with --overwrite replaces them.

    Example: `shopstream dashboards import --url http://localhost:5601 --overwrite`
    """
    from dashboards.boards import DASHBOARDS
    from dashboards.kibana import client as kibana
    from dashboards.kibana.saved_objects import ndjson
    from features.schema import DEFAULT_RUN, check_run

    console = Console(stderr=True)
    target = kibana.Kibana(
        url,
        space,
        username,
        password=_secret(password_file, PASSWORD) if username is not None else None,
        api_key=_secret(api_key_file, API_KEY) if username is None or api_key_file is not None else None,
        ca_certs=None if ca_certs is None else str(ca_certs),
    )
    with console.status("waiting for Kibana ...") as status:
        done = kibana.import_file(
            target,
            ndjson(DASHBOARDS, check_run(run or DEFAULT_RUN)),
            overwrite=overwrite,
            wait_s=wait,
            on_wait=lambda state: status.update(f"waiting for Kibana: {state}"),
        )
    console.print(f"{done.objects} saved objects imported", highlight=False)
    typer.echo(done.address)


def _secret(path: Path | None, variable: str) -> str | None:
    from features.errors import UsageError

    if path is None:
        return os.environ.get(variable)
    try:
        return path.read_text("utf-8").strip()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", "Name a file that holds the secret.") from error


def _print(found: Sequence[CheckResult], faults: Sequence[str]) -> None:
    from rich.markup import escape
    from rich.table import Table

    colours = {"PASS": "green", "EMPTY": "yellow", "FAIL": "bold red"}
    table = Table("panel", "index", "state", "ms", "hits", "rows", "why")
    for one in found:
        state = f"[{colours[one.state]}]{one.state}[/]"
        numbers = (f"{one.ms:.0f}", f"{one.hits:,}", f"{one.rows:,}")
        table.add_row(escape(one.panel), escape(one.index), state, *numbers, escape(one.why))
    console = Console()
    console.print(table)
    for fault in faults:
        console.print(f"[bold red]declaration[/] {escape(fault)}", highlight=False)
    counts = {state: sum(one.state == state for one in found) for state in colours}
    slowest = max(found, key=lambda one: one.ms)
    said = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    console.print(f"{len(found)} panels: {said}; slowest {slowest.panel}, {slowest.ms:.0f} ms", highlight=False)
    if counts["EMPTY"]:
        console.print("empty panels fill with `shopstream rollup`, `shopstream forecast` and a trained bundle")


def _as_json(one: CheckResult) -> dict[str, object]:
    return {name: getattr(one, name) for name in one.__slots__}
