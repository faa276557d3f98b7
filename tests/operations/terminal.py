"""Commands called in this process, against the session's servers, with a data folder of their own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from consume.command_line import environment
from typer.testing import CliRunner

from features.errors import ShopstreamError
from shopstream.cli.app import build_app


class Terminal:
    """Types commands of one run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, home: Path, servers: Any, run: str) -> None:
        for name in [name for name in os.environ if name.startswith("SHOPSTREAM_")]:
            monkeypatch.delenv(name)
        for name, value in environment(home, servers).items():
            if name.startswith("SHOPSTREAM_"):
                monkeypatch.setenv(name, value)
        monkeypatch.setenv("COLUMNS", "250")
        self.run = run
        self.home = home

    def type(self, *words: object, code: int = 0, answer: str | None = None) -> str:
        """What is printed; `--run` is added."""
        line = [*map(str, words), "--run", self.run]
        result = CliRunner().invoke(build_app(), line, input=answer)
        if isinstance(result.exception, ShopstreamError):
            assert result.exception.exit_code == code, result.exception
            return f"{result.output}{result.exception}"
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        assert result.exit_code == code, result.output
        return result.output
