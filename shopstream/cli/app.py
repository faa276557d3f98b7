"""Assembles the command line: names of the commands, the modules that hold them, and the errors they end with."""

from __future__ import annotations

import ast
import importlib
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup

from features.errors import ShopstreamError

COMMANDS: Final[Mapping[str, Mapping[str, str]]] = {
    "Start": {
        "demo": "demo.demo",
        "up": "servers.up",
        "down": "servers.down",
        "status": "servers.status",
        "doctor": "servers.doctor",
        "setup": "setup.setup",
    },
    "Load data": {
        "generate": "generate.generate",
        "replay": "produce.replay",
        "live": "produce.live",
        "inspect": "inspect_log.inspect_log",
        "import": "import_log.import_log",
        "map list": "map_topics.list_mappings",
        "map show": "map_topics.show",
        "map guess": "map_guess.guess",
        "map check": "map_topics.check",
        "map run": "map_run.run_mappings",
        "seed": "seed.seed_history",
    },
    "Stream": {
        "consume": "consume.consume",
        "runs list": "runs.list_runs",
        "runs drop": "runs.drop",
        "promote": "runs.promote",
    },
    "Operate": {
        "dead-letters list": "dead_letters.list_dead_letters",
        "dead-letters show": "dead_letters.show",
        "dead-letters replay": "dead_letters.replay",
        "forget": "forget.forget",
        "notify alerts": "notify.alerts",
        "notify digest": "notify.digest",
        "notify retry": "notify.retry",
    },
    "Analyse": {
        "clean": "clean.clean",
        "explore": "explore.explore",
        "features": "features.features",
        "train": "train.train",
        "evaluate": "train.evaluate",
        "score": "train.score",
        "schedule": "schedule.schedule",
        "forecast": "forecast.forecast",
        "segment": "segment.segment",
        "cluster": "cluster.cluster",
        "assign": "cluster.assign",
        "report": "report.report",
        "rollup": "rollup.rollup",
        "spark backfill": "spark.backfill",
        "spark stream": "spark.stream",
        "spark train": "spark.train",
        "dashboards build": "dashboards.build",
        "dashboards check": "dashboards.check",
        "dashboards import": "dashboards.import_objects",
        "dashboards serve": "dashboards.serve",
        "contacts import": "contacts.import_file",
        "contacts export": "contacts.export",
        "contacts effect": "contacts.effect",
        "note add": "note.add",
        "note list": "note.list_notes",
        "note delete": "note.delete",
    },
}
"""Panel of `--help` -> name of a command, with its group -> module of `shopstream.cli` and function.

A module is imported for the help or the call of one of its commands, so its functions import the heavy modules.
"""

GROUPS: Final[Mapping[str, str]] = {
    "map": "Map topics of other systems to the topics of a run.",
    "runs": "List and delete runs.",
    "dead-letters": "List, show and replay dead letters: the records that consumers rejected.",
    "notify": "Send alerts and digests to webhooks, Slack, Teams and e-mail.",
    "spark": "Run backfill, stream and training on a Spark cluster (extra `[spark]`).",
    "dashboards": "Build, check, import and serve dashboards.",
    "contacts": "Import and export contacts of customers, and measure their effect.",
    "note": "Add, list and delete notes on the time axis of charts.",
}
"""Group of commands -> its help."""

_STYLE: Final[Mapping[str, Any]] = {"rich_markup_mode": "markdown", "pretty_exceptions_enable": False}


class LazyGroup(TyperGroup):
    """Lists its commands with the summaries of their docstrings, without importing the modules that hold them."""

    def __init__(self, *, name: str | None = None, commands: Any = None, **attributes: Any) -> None:
        super().__init__(name=name, commands=commands, **attributes)
        groups = dict(self.commands)
        prefix = f"{name} " if name in GROUPS else ""
        for panel, targets in COMMANDS.items():
            for path, target in targets.items():
                first, _, second = path.removeprefix(prefix).partition(" ")
                if path.startswith(prefix):
                    self.commands.pop(first, None)
                    self.commands[first] = groups[first] if second else LazyCommand(path, target, panel)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of a name, with the summary that help and completion print."""
        command = super().get_command(ctx, cmd_name)
        if isinstance(command, LazyCommand):
            command.short_help = command.summary()
        return command


class LazyCommand(TyperCommand):
    """Stands for a command until it is called.

    Args:
        path: name of the command, with its group.
        target: module of `shopstream.cli` and function: `runs.drop`.
        panel: panel of `--help` that lists the command.
    """

    def __init__(self, path: str, target: str, panel: str) -> None:
        *group, name = path.split()
        super().__init__(name, rich_help_panel=None if group else panel)
        self._module, _, self._function = target.partition(".")

    def summary(self) -> str:
        """Return the first paragraph of the docstring, read from the source."""
        tree = ast.parse(Path(__file__).with_name(f"{self._module}.py").read_text("utf-8"))
        function = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == self._function)
        return (ast.get_docstring(function) or "").split("\n\n")[0]

    def load(self) -> Any:
        """Import the module and return the command with its options."""
        module = importlib.import_module(f"shopstream.cli.{self._module}")
        single = typer.Typer(add_completion=False, **_STYLE)
        single.command(self.name)(getattr(module, self._function))
        return typer.main.get_command(single)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Parse the arguments of a call by the command itself."""
        return self.load().make_context(info_name, args, parent, **extra)


def load_commands() -> dict[str, TyperCommand]:
    """Import every command: name, with its group -> the command with its options."""
    return {
        path: LazyCommand(path, target, panel).load()
        for panel, targets in COMMANDS.items()
        for path, target in targets.items()
    }


def _root(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show stack traces and debug logs.")] = False,
) -> None:
    context.obj = {"debug": debug}


def build_app() -> typer.Typer:
    """Build the application with every command; the modules of the commands are not imported yet."""
    app = typer.Typer(
        name="shopstream",
        cls=LazyGroup,
        help="Exact streaming customer analytics: a shop through Kafka into features and scores in Elasticsearch.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        **_STYLE,
    )
    app.callback()(_root)
    for name, text in GROUPS.items():
        panel = next(
            panel for panel, targets in COMMANDS.items() if any(path.startswith(f"{name} ") for path in targets)
        )
        app.add_typer(typer.Typer(cls=LazyGroup, help=text, no_args_is_help=True), name=name, rich_help_panel=panel)
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
