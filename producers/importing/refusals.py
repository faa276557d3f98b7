"""Records why rows are not used: left out by a rule of the mapping, or refused because a value cannot be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

EXAMPLES: Final = 3
VALUE_CHARACTERS_MAX: Final = 200

REFUSAL_SCHEMA: Final = {
    "line": pl.Int64, "reason": pl.String, "column": pl.String, "value": pl.String, "detail": pl.String,
}  # fmt: skip
"""Columns of refused rows: line in the file from 1, reason, column or path, its text, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Example:
    """One row that is not used."""

    line: int
    column: str | None = None
    value: str | None = None
    detail: str | None = None

    def position(self) -> str:
        """Return line, column and value as text."""
        at = f"line {self.line}"
        if self.column is not None:
            at += f", {self.column}"
            at += " is empty" if self.value is None else f" = {self.value!r}"
        return f"{at}: {self.detail}" if self.detail else at


@dataclass(slots=True)
class FileReport:
    """Rows of one file. Rows read = rows used + left out by rule + refused.

    Attributes:
        file: name of the file, with its member of a zip archive.
        mapping: name of its mapping.
        topic: orders or events.
        rows: rows read.
        left_out: rule of the mapping -> rows that it leaves out.
        refused: reason -> rows that cannot be read right.
        examples: reason -> its rows with the lowest line numbers.
        dropped: optional values that a record cannot hold, by reason. Their rows are used.
        orders_unknown: refused order lines whose order is not certain. An order in the archive may lack them.
        absent: columns that the mapping names, the file lacks and records do not need.
    """

    file: str
    mapping: str
    topic: str
    rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Example]] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    orders_unknown: int = 0
    absent: tuple[str, ...] = ()

    @property
    def rows_used(self) -> int:
        """Rows that are in the archive."""
        return self.rows - self.left_out.total() - self.refused.total()

    def leave_out(self, reason: str, lines: Sequence[int]) -> None:
        """Count rows that a rule leaves out."""
        self._count(self.left_out, reason, lines)

    def count_refused(self, reason: str, lines: Sequence[int]) -> None:
        """Count refused rows of which only the lines are known."""
        self._count(self.refused, reason, lines)

    def refuse(self, rows: pl.DataFrame) -> None:
        """Count refused rows.

        Args:
            rows: columns of REFUSAL_SCHEMA.
        """
        for (reason,), part in rows.sort("line").group_by("reason", maintain_order=True):
            self.refused[str(reason)] += len(part)
            first = part.head(EXAMPLES).select("line", "column", "value", "detail")
            self._remember(str(reason), [Example(*row) for row in first.iter_rows()])

    def _count(self, counter: Counter[str], reason: str, lines: Sequence[int]) -> None:
        if lines:
            counter[reason] += len(lines)
            self._remember(reason, [Example(line) for line in sorted(lines)[:EXAMPLES]])

    def _remember(self, reason: str, examples: Sequence[Example]) -> None:
        every = [*self.examples.get(reason, []), *examples]
        self.examples[reason] = sorted(every, key=lambda example: example.line)[:EXAMPLES]


_REMEDIES: Final = (
    ("no order id", "Correct the rows, or leave them out: left_out: {reason: no order id, column: …, missing: true}."),
    ("no customer", "Leave guests out: left_out: {reason: guest, column: …, missing: true}; ids.allow keeps a word."),
    ("customer id that begins", "Shopstream makes ids that begin with ~. Give these customers other ids."),
    ("no readable time", "Write time.format, time.zone or time.zones for these times."),
    ("time before 1970", "Write time.format with the unit of the numbers: epoch_s, epoch_ms, epoch_us or epoch_ns."),
    ("time ahead of now", "Correct the rows: consumers refuse times more than a day ahead."),
    ("currency without", "Add the currency to currency.rates."),
    ("no rate for the day", "Add the rate of this currency and day to currency.rates_file."),
    ("total with decimals", "Correct the amounts, or name the currency that they have in currency.path."),
    ("order of several currencies", "Correct the rows: an order has one currency."),
    ("unknown status", "Add the word to order.statuses; null leaves its rows out."),
    ("unknown event type", "Add the word to click.types; null leaves its rows out."),
    ("unknown device", 'Add the word to click.devices; "*" stands for the other words.'),
    ("amount below 0", "Leave refunds out by left_out, or write order.negative: net if they are lines of their order."),
    ("quantity not above 0", "Leave the rows out by left_out, or write order.negative: net for returned lines."),
    ("quantity and unit_price are", 'If these are returns, write unit_price: {path: …, match: "^-?(.*)$"}.'),
    (
        "no readable quantity",
        "Write file.decimal and file.thousands as the file has them; file.missing: [N/A] for empty.",
    ),
    (
        "no readable",
        "Write file.decimal and file.thousands as the file has them; file.missing: [N/A] for empty values.",
    ),
    (
        "order id used twice, by",
        "One order number has several customers: make ids unique per shop with order.id: {join: …}.",
    ),
    ("order id used twice", "Make ids unique with order.id: {join: …}; changes of an order need order.updated."),
    ("order with different totals", "Write order.negative: net if each row has its own amount, or sum the lines."),
    ("order whose rows differ in status, and", "Give the words of the order one status in order.statuses."),
    ("order whose rows differ in status", "Write order.mixed_status: net if only placed lines count."),
    ("another row of the order", "Correct the refused row of the same order."),
    ("order without a row", "Add its rows to the table, leave the order out by left_out, or write order.total."),
    ("row of a table without", "Correct the rows: a row of a table in `tables` needs its key."),
    ("event id of different events", "Make event ids unique, or remove click.id from the mapping."),
)


def remedy(reason: str) -> str:
    """Return what to do about a reason."""
    if "without an entry in `words`" in reason:
        return 'Add the word to `words` of the source; "*" stands for the other words.'
    if "which `at_most` needs" in reason:
        return "Correct the value, or write file.missing for texts that mean no value."
    return next((text for start, text in _REMEDIES if reason.startswith(start)), "Correct the file or the mapping.")
