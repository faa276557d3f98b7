"""The command line explains itself: help for everything, with examples that are right."""

from __future__ import annotations

import importlib
import re
import shlex

import pytest
import typer
from guards.repository import commands, split_command

from shopstream.cli import app as cli

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


def test_every_declared_module_has_commands():
    for name in cli.COMMAND_MODULES:
        app = typer.Typer()
        importlib.import_module(f"shopstream.cli.{name}").register(app)
        assert app.registered_commands or app.registered_groups


def test_an_unexplained_option_is_caught():
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
def test_a_wrong_command_line_is_caught(line):
    with pytest.raises(Exception, match=r"(?i)no such|missing|valid|unexpected"):
        parses(shlex.split(line))
