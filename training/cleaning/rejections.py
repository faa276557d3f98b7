"""Defines the rejection rules: the contract of a record, the plan, and a check of the whole row.

A row is dropped under the first rule that applies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import polars as pl
from polars import col

from features.schema import AMOUNT_MAX, DAY_MS, ORDER_CHANGE_MS_MAX
from training.cleaning.change_log import About, ChangeLog
from training.cleaning.plan import FIELDS, KEYS, CleaningPlan
from training.cleaning.reading import UNREADABLE, lines_of
from training.cleaning.repairs import CLOSED_WORDS, WORD_COLUMNS


@dataclass(frozen=True, slots=True)
class Rejection:
    """A rule that drops rows.

    Attributes:
        rule: name in the report.
        why: description of the rule.
        about: subject of the rule.
        rows: mask of the rows to drop; null means no.
    """

    rule: str
    why: str
    about: About
    rows: pl.Expr


_BAD_LINE: Final = "_bad_line"


def rejection_rules(topic: str, plan: CleaningPlan, now_ms: int) -> Iterator[Rejection]:
    """Yield the rules of a topic in the order of their evaluation."""
    fields = FIELDS[topic]
    for one in fields:
        if one.required:
            about: About = "key" if one.name in KEYS[topic] else "time" if one.kind == "time" else "value"
            null = col(one.name).is_null()
            lost = col(UNREADABLE).list.contains(one.name)
            yield Rejection(f"{one.name} unreadable", "required in a record", about, null & lost)
            yield Rejection(f"{one.name} missing", "required in a record", about, null)
    for name, vocabulary in WORD_COLUMNS[topic].items():
        if vocabulary in CLOSED_WORDS:
            words = CLOSED_WORDS[vocabulary]
            yield Rejection(f"{name} unknown", f"one of {', '.join(words)}", "value", ~col(name).is_in(words))
    if topic != "customers":
        yield from _of_times(topic, plan, now_ms)
    if topic == "orders":
        yield from _of_orders()
    for one in fields:
        if one.kind == "float":
            outside = ~col(one.name).is_between(0, AMOUNT_MAX)
            yield Rejection(f"{one.name} out of bounds", "an amount is from 0 to 1e12", "value", outside)
        if one.name == "quantity":
            yield Rejection("quantity out of bounds", "a whole number of at least 1", "value", col("quantity") < 1)
    for name, how in plan.fill.get(topic, {}).items():  # type: ignore[call-overload]
        if how == "drop":
            yield Rejection(f"{name} missing", "the plan drops such rows", "value", col(name).is_null())


def _of_times(topic: str, plan: CleaningPlan, now_ms: int) -> Iterator[Rejection]:
    ahead = f"more than {plan.future_ms / DAY_MS:g} days ahead"
    for one in FIELDS[topic]:
        if one.kind == "time":
            early, late = col(one.name) < plan.earliest_ms, col(one.name) > now_ms + plan.future_ms
            yield Rejection(f"{one.name} too early", f"no valid time is before {plan.earliest}", "time", early)
            yield Rejection(f"{one.name} in the future", ahead, "time", late)


def _of_orders() -> Iterator[Rejection]:
    ahead = col("updated_ts") - col("ts")
    late = f"at most {ORDER_CHANGE_MS_MAX // DAY_MS} days after it was placed"
    lines = "a line has a quantity of at least 1 and a price from 0 to 1e12"
    yield Rejection("changed before it was placed", "updated_ts is at least ts", "time", ahead < 0)
    yield Rejection("changed too late", late, "time", ahead > ORDER_CHANGE_MS_MAX)
    yield Rejection("impossible line", lines, "value", col(_BAD_LINE))


def accepted(topic: str, rows: pl.DataFrame, rules: Iterator[Rejection], log: ChangeLog) -> pl.DataFrame:
    """Return the rows that no rule rejects."""
    checks = list(rules)
    if topic == "orders":
        rows = rows.with_columns(_bad_lines(rows["items"]).alias(_BAD_LINE))
    first = pl.coalesce(
        *(pl.when(rule.rows.fill_null(value=False)).then(pl.lit(number)) for number, rule in enumerate(checks)),
        pl.lit(None, pl.Int32),
    )
    numbers = rows.select(first.alias("rule")).to_series()
    rows = rows.drop(_BAD_LINE, strict=False)
    if numbers.null_count() == len(rows):
        return rows
    for number in sorted(numbers.unique().drop_nulls().to_list()):
        rule = checks[number]
        rejected = (numbers == number).fill_null(value=False)
        log.drop(topic, rule.rule, rule.why, rule.about, rows.filter(rejected))
    return rows.filter(numbers.is_null())


def _bad_lines(items: pl.Series) -> pl.Series:
    orders, lines = lines_of(items)
    bad = lines.select(
        (
            (col("quantity") < 1).fill_null(value=False)
            | ~col("unit_price").is_between(0, AMOUNT_MAX).fill_null(value=True)
        ).alias("bad")
    ).to_series()
    empty = lines.select(pl.all_horizontal(pl.all().is_null())).to_series()
    nothing = pl.zeros(len(items), dtype=pl.Boolean, eager=True)
    positions = orders.filter(bad | empty).unique()
    return nothing.scatter(positions, values=True) if len(positions) else nothing
