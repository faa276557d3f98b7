"""`dashboards serve`: serves the live page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve(
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; another one lets others read it.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65_535, help="Port; 0 takes a free one.")] = 8050,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="HOST", help="Further name by which browsers call it; repeatable."),
    ] = None,
    mart: Annotated[
        Path, typer.Option("--mart", metavar="DIR", help="Results of `shopstream segment`, for the page Segments.")
    ] = Path("mart"),
    run: Annotated[str | None, typer.Option("--run", help="The run; default: shop.")] = None,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser of this machine.")] = False,
) -> None:
    """Serve the dashboards as a live page, until Ctrl-C.

    It reads Elasticsearch and writes nothing, as a user who may only read where the server is an embedded one. Whoever
    reaches the port can read all figures and customers; names and e-mail addresses are not among them.

    Example: `shopstream dashboards serve --port 8050`
    """
    import time
    import webbrowser

    from rich.console import Console

    from connectors.elasticsearch.admin import quiet_client_logs
    from shopstream.cli import known_runs
    from shopstream.jobs import serve_dashboards
    from shopstream.jobs.produce import stop_on_signal
    from shopstream.settings import load_settings

    quiet_client_logs()
    settings = load_settings(run=run)
    if run is not None:
        known_runs.check_view(settings)
    listening = serve_dashboards.Listening(host, port, tuple(name or ()))
    with stop_on_signal() as stopped, serve_dashboards.serve_in_thread(settings, mart, listening) as address:
        typer.echo(address)
        Console(stderr=True).print("the live page; Ctrl-C ends it", highlight=False)
        if show:
            webbrowser.open(address)
        while not stopped():
            time.sleep(0.2)
