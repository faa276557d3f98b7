"""Assemble the command line from the modules of all commands."""

from __future__ import annotations

import importlib
import signal
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from features.errors import ShopstreamError

COMMAND_MODULES = {
    "demo": "Start",
    "servers": "Start",
    "setup": "Start",
    "generate": "Load data",
    "produce": "Load data",
    "seed": "Load data",
    "consume": "Stream",
    "runs": "Stream",
    "dead_letters": "Operate",
    "forget": "Operate",
    "clean": "Analyse",
    "explore": "Analyse",
    "features": "Analyse",
    "train": "Analyse",
    "schedule": "Analyse",
    "forecast": "Analyse",
    "segment": "Analyse",
    "cluster": "Analyse",
    "report": "Analyse",
    "rollup": "Analyse",
    "spark": "Analyse",
    "dashboards": "Analyse",
}
"""Modules of shopstream.cli -> panel of `--help` that lists their commands, in this order. Each module has
`register(app)` and imports its heavy dependencies inside the command, so that `--help` answers at once."""


def _root(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show stack traces and debug logs.")] = False,
) -> None:
    context.obj = {"debug": debug}


def build_app() -> typer.Typer:
    """Build an application with every command registered."""
    app = typer.Typer(
        name="shopstream",
        help="Exact streaming customer analytics: a shop through Kafka into features and scores in Elasticsearch.",
        no_args_is_help=True,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name, part in COMMAND_MODULES.items():
        before = len(app.registered_commands), len(app.registered_groups)
        importlib.import_module(f"shopstream.cli.{name}").register(app)
        for command in app.registered_commands[before[0] :]:
            command.rich_help_panel = part
        for group in app.registered_groups[before[1] :]:
            group.rich_help_panel = part
    return app


def main() -> None:
    """Run the `shopstream` script. Exit codes: 0, 1 failure, 2 usage, 130 interrupted, 143 terminated."""
    errors = Console(stderr=True)
    # an exception, as for Ctrl-C, so that unfinished work is cleaned up
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        build_app()()
    except ShopstreamError as error:
        if "--debug" in sys.argv:
            raise
        # a message may hold brackets: from a path, a partition or a library's error
        errors.print(f"[bold red]error[/] {escape(error.message)}", highlight=False)
        if error.remedy:
            errors.print(f"[bold]  do [/] {escape(error.remedy)}", highlight=False)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        errors.print("stopped")
        sys.exit(130)
