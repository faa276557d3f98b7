"""Defines what an inspection reports: questions that only a person can answer, and examples with their lines."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """Value with the first line that has it."""

    value: str
    line: int

    def __str__(self) -> str:
        return f"{self.value!r} (line {self.line})"


@dataclass(frozen=True, slots=True)
class Question:
    """Ambiguity that the file does not decide.

    Attributes:
        topic: what is ambiguous: `encoding`, `separator`, `header`, `decimal`, `date order`, `zone`, `currency` ...
        column: column in question, if it is one column.
        choices: readings that fit every value, the drafted one first.
        text: sentence with the evidence.
        decides: what would decide it.
    """

    topic: str
    column: str | None
    choices: tuple[str, ...]
    text: str
    decides: str


def listed(items: list[str], most: int = 5) -> str:
    """Return items separated by commas, the first `most` of them."""
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: `1 row`, `2 rows`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
