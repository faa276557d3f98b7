"""Judges the rows of a batch by a plan: a row is used, left out by a rule, or refused with the first reason that holds.

A refusal has the column and its text. Several rows of one order are judged together later (`orders.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import polars as pl

from connectors.tables.batches import LINE, POSITION
from producers.importing.columns import MISSED, MISSED_KEY, NO_TEXT
from producers.importing.lookups import TABLE_POSITION
from producers.importing.refusals import REFUSAL_SCHEMA, VALUE_CHARACTERS_MAX


@dataclass(frozen=True, slots=True)
class Check:
    """Reason to refuse a row, with the field whose column and text the refusal names."""

    reason: str
    field: str | None
    fails: pl.Expr
    detail: pl.Expr | None = None


class Drop(NamedTuple):
    """Reason why a record is without an optional value, the field, and the condition over `texts` and `values`."""

    reason: str
    field: str | None
    lost: pl.Expr


class Dropped(NamedTuple):
    """Optional values that records cannot hold: reason, columns of the field, and the lines of their rows."""

    reason: str
    columns: str | None
    lines: list[int]


@dataclass(frozen=True, slots=True)
class Judged:
    """Rows of a batch after the judgement.

    Attributes:
        used: typed rows. Of orders also the refused rows with an order id, with `_bad` set.
        left_out: rule or word -> lines of the rows that are left out.
        refused: columns of REFUSAL_SCHEMA.
        dropped: optional values that records cannot hold.
    """

    used: pl.DataFrame
    left_out: dict[str, list[int]]
    refused: pl.DataFrame
    dropped: list[Dropped]


@dataclass(frozen=True)
class Plan:
    """Expressions that read a batch, built once for a file.

    Attributes:
        texts: field -> text of its source.
        labels: field -> columns that a refusal names.
        values: field of the typed row -> expression over `texts`.
        rules: reason -> condition over the columns of the file, for rows that are left out.
        word_rules: reason -> condition over `texts`.
        checks: reasons to refuse a row, over `texts` and `values`.
        drops: values that become null.
        output: columns of the typed row.
        moments: columns with the times that are read, to which `texts` refers.
    """

    texts: Mapping[str, pl.Expr]
    labels: Mapping[str, str]
    values: Mapping[str, pl.Expr]
    rules: Sequence[tuple[str, pl.Expr]]
    word_rules: Sequence[tuple[str, pl.Expr]]
    checks: Sequence[Check]
    drops: Sequence[Drop]
    output: Mapping[str, pl.Expr]
    moments: Mapping[str, pl.Expr] = field(default_factory=dict)

    @cached_property
    def left_out_rules(self) -> list[tuple[str, pl.Expr]]:
        """Reason and condition, over the columns after `texts`, of each rule that leaves rows out."""
        rules = [(reason, pl.col(f"\0rule{number}")) for number, (reason, _) in enumerate(self.rules)]
        return [*rules, *self.word_rules]

    @cached_property
    def first_rule(self) -> pl.Expr:
        """Number of the first rule that leaves a row out; null if none does."""
        return _first([condition for _, condition in self.left_out_rules]).alias("\0left_out")

    @cached_property
    def first_check(self) -> pl.Expr:
        """Number of the first check that refuses a row; null if none does."""
        return _first([check.fails for check in self.checks]).alias("\0check")


def trimmed(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows whose texts have no blanks around them; null where nothing remains."""
    return rows.with_columns(pl.col(pl.String).str.strip_chars().replace("", None))


def rows_to_judge(rows: pl.DataFrame, *, has_lines: bool) -> pl.DataFrame:
    """Return the rows of a batch as `judge` takes them: trimmed, with the position of the line if the record has lines.

    Args:
        rows: LINE and the columns of the file, and POSITION if a list is read.
        has_lines: whether the elements of the list are lines of a record.
    """
    rows = trimmed(rows)
    if POSITION in rows.columns and has_lines:
        return rows
    return rows.with_columns(pl.lit(None, pl.Int64).alias(POSITION))


def judge(rows: pl.DataFrame, plan: Plan) -> Judged:
    """Read and judge the rows of a batch.

    Args:
        rows: LINE, POSITION and the columns of the file: trimmed texts, or real times.
        plan: expressions for this file.
    """
    rows = rows.with_columns(**plan.moments)
    rules = [condition.alias(f"\0rule{number}") for number, (_, condition) in enumerate(plan.rules)]
    read = rows.select(LINE, *rules, **plan.texts).with_columns(**plan.values)
    read = read.with_columns(plan.first_rule)
    left_out: dict[str, list[int]] = {}
    if read["\0left_out"].null_count() < len(read):
        ruled = read.select(LINE, "\0left_out").drop_nulls()
        for (number,), part in ruled.group_by("\0left_out", maintain_order=True):
            left_out[plan.left_out_rules[number][0]] = part[LINE].to_list()
        read = read.filter(pl.col("\0left_out").is_null())
    read = read.with_columns(plan.first_check)
    refused = read.filter(pl.col("\0check").is_not_null())
    return Judged(read.select(**plan.output), left_out, _refusals(refused, plan), _dropped(read, plan))


def _dropped(read: pl.DataFrame, plan: Plan) -> list[Dropped]:
    used = pl.col("\0check").is_null()
    lost = [(one.lost & used).fill_null(False) for one in plan.drops]
    # most batches drop nothing: one pass finds what they do
    counts = read.select(one.any().alias(str(number)) for number, one in enumerate(lost)).row(0) if lost else ()
    return [
        Dropped(one.reason, plan.labels.get(one.field or ""), read.filter(condition)[LINE].to_list())
        for one, condition, any_lost in zip(plan.drops, lost, counts, strict=True)
        if any_lost
    ]


def _first(conditions: Sequence[pl.Expr]) -> pl.Expr:
    """Return the number of the first condition that holds; null if none does."""
    if not conditions:
        return pl.lit(None, pl.Int32)
    return pl.coalesce(*(pl.when(one).then(pl.lit(number, pl.Int32)) for number, one in enumerate(conditions)))


def _refusals(refused: pl.DataFrame, plan: Plan) -> pl.DataFrame:
    parts = [pl.DataFrame(schema=REFUSAL_SCHEMA)]
    if refused.is_empty():
        return parts[0]
    for (number,), part in refused.group_by("\0check"):
        check = plan.checks[int(str(number))]
        named = check.field if check.field in plan.labels else None
        detail = NO_TEXT if check.detail is None else check.detail
        value = pl.col(named) if named else NO_TEXT
        if named and MISSED.format(named) in part.columns:
            empty = pl.col(named).is_null()
            detail = pl.when(empty).then(pl.col(MISSED.format(named))).otherwise(detail)
            value = pl.when(empty).then(pl.col(MISSED_KEY.format(named))).otherwise(value)
        if named and plan.labels[named].startswith(".") and TABLE_POSITION in part.columns:
            detail = pl.concat_str(TABLE_POSITION, detail, separator=": ", ignore_nulls=True)
        parts.append(
            part.select(
                pl.col(LINE).cast(pl.Int64).alias("line"),
                pl.lit(check.reason).alias("reason"),
                pl.lit(plan.labels[named] if named else None, pl.String).alias("column"),
                value.str.head(VALUE_CHARACTERS_MAX).alias("value"),
                detail.alias("detail"),
            )
        )
    return pl.concat(parts)
