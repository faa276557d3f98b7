"""Repairs values in declared steps, one after the other.

The rule of this file: a repair depends on its own row alone, or on knowledge of the whole archive (see
`ArchiveKnowledge`). A repeated repair changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, get_args

import numpy as np
import polars as pl
import pyarrow as pa
from polars import col

from features.records.money import to_cents
from features.schema import AMOUNT_MAX, DEVICES, EVENT_TYPES, SECOND_MS, STATUSES
from training.cleaning.change_log import About, Action, ChangeLog
from training.cleaning.plan import FIELDS, PROFILE_COLUMN, CleaningPlan, Constant, Vocabulary
from training.cleaning.reading import DTYPES, lines_of, map_lines
from training.cleaning.spelling import folded

CLOSED_WORDS: Final = {"event_type": EVENT_TYPES, "device": DEVICES, "status": STATUSES}
"""Vocabularies with a fixed set of words in the contract."""
WORD_COLUMNS: Final[dict[str, dict[str, Vocabulary]]] = {
    "events": {name: name for name in ("event_type", "device", "category", "channel", "country")},
    "orders": {name: name for name in ("status", "channel", "country", "payment_method")},
    "customers": {"country": "country", "gender": "gender", "acquisition_channel": "channel"},
}
"""Topic -> column -> vocabulary; the lines of orders have `category` too."""
AGE_MAX: Final = 120
AMOUNTS: Final = {"events": ("price",), "orders": ("total",), "customers": ()}
assert set(get_args(Vocabulary)) == {w for words in WORD_COLUMNS.values() for w in words.values()}


@dataclass(frozen=True, slots=True)
class Repair:
    """One repair step.

    Attributes:
        rule: name in the report.
        why: description of the step.
        column: column to change.
        value: new value of the column; neighbouring expressions over different columns are computed together.
        action: changed or filled.
        about: subject of the rule.
    """

    rule: str
    why: str
    column: str
    value: pl.Expr | Callable[[pl.DataFrame], pl.Series]
    action: Action = "changed"
    about: About = "value"


@dataclass(frozen=True, slots=True)
class ArchiveKnowledge:
    """Knowledge of the whole archive that repairs use.

    Attributes:
        spellings: vocabulary -> spelling -> kept spelling.
        categories: product_id -> its only category.
        profiles: customer_id, country, acquisition_channel of each customer with a profile.
        common: topic and column -> most common value or median.
    """

    spellings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    categories: Mapping[str, str] = field(default_factory=dict)
    profiles: pl.DataFrame | None = None
    common: Mapping[tuple[str, str], Any] = field(default_factory=dict)


def repaired(topic: str, rows: pl.DataFrame, steps: Iterable[Repair], log: ChangeLog) -> pl.DataFrame:
    """Return the rows after all steps, and log the changes."""
    for group in _groups(steps):
        if len(group) == 1 and not isinstance(group[0].value, pl.Expr):
            after = rows.select(group[0].value(rows).alias(group[0].column))
        else:
            after = rows.select(step.value.alias(step.column) for step in group if isinstance(step.value, pl.Expr))
        for step in group:
            _log_change(topic, step, rows, rows[step.column], after[step.column], log)
        rows = rows.with_columns(after)
    return rows


def _groups(steps: Iterable[Repair]) -> Iterator[list[Repair]]:
    """Group neighbouring steps that do not depend on one another's columns."""
    group: list[Repair] = []
    changed: set[str] = set()
    for step in steps:
        if isinstance(step.value, pl.Expr):
            needs = {step.column, *step.value.meta.root_names()}
            if not needs & changed:
                group.append(step)
                changed.add(step.column)
                continue
        if group:
            yield group
        group, changed = [], set()
        if isinstance(step.value, pl.Expr):
            group, changed = [step], {step.column}
        else:
            yield [step]
    if group:
        yield group


def _log_change(
    topic: str, step: Repair, rows: pl.DataFrame, before: pl.Series, after: pl.Series, log: ChangeLog
) -> None:
    if step.column == "items":
        _log_line_changes(topic, step, rows, before, after, log)
        return
    changed = before.ne_missing(after)
    if changed.any():
        log.change(
            topic, step.rule, step.why, step.column, rows.filter(changed), before.filter(changed),
            after.filter(changed), action=step.action, about=step.about,
        )  # fmt: skip


def _log_line_changes(
    topic: str, step: Repair, rows: pl.DataFrame, before: pl.Series, after: pl.Series, log: ChangeLog
) -> None:
    orders, old = lines_of(before)
    _, new = lines_of(after)
    for name in old.columns:
        changed = old[name].ne_missing(new[name])
        if changed.any():
            log.change(
                topic, step.rule, step.why, f"items.{name}", rows[orders.filter(changed)], old[name].filter(changed),
                new[name].filter(changed), action=step.action, about=step.about,
            )  # fmt: skip


def own_repairs(topic: str, plan: CleaningPlan, now_ms: int) -> Iterator[Repair]:
    """Yield the repairs that need only the row itself: blanks, words of the contract, times, cents, ages."""
    yield from _of_text(topic)
    for name, vocabulary in WORD_COLUMNS[topic].items():
        if vocabulary in CLOSED_WORDS:
            words = {folded(word): word for word in CLOSED_WORDS[vocabulary]}
            words |= {folded(other): replacement for other, replacement in plan.spellings.get(vocabulary, {}).items()}
            why = "a word that differs only by case, blanks, - or _, or that the plan replaces"
            yield Repair("spelling", why, name, _respelt(name, words))
    if plan.seconds:
        for one in FIELDS[topic]:
            if one.kind == "time":
                late = col(one.name) * SECOND_MS
                seconds = (col(one.name) < plan.earliest_ms) & late.is_between(
                    plan.earliest_ms, now_ms + plan.future_ms
                )
                value = pl.when(seconds & col(one.name).is_between(1, 2**40)).then(late).otherwise(col(one.name))
                yield Repair("seconds for milliseconds", "a time that is plausible only in seconds", one.name,
                             value, about="time")  # fmt: skip
    for name in AMOUNTS[topic]:
        yield Repair("fractions of a cent", "money is rounded half-even to 2 decimals", name, _cents(name))
    if topic == "orders":
        yield Repair("fractions of a cent", "money is rounded half-even to 2 decimals", "items", _line_cents)
    if topic == "customers":
        age = pl.when(col("age").is_between(0, AGE_MAX)).then(col("age"))
        yield Repair("impossible age", f"valid ages: 0 to {AGE_MAX}", "age", age)
        early = col("signup_ts") < plan.earliest_ms
        signup = pl.when(~early & (col("signup_ts") <= now_ms + plan.future_ms)).then(col("signup_ts"))
        yield Repair("impossible sign-up", "a sign-up before the earliest time or in the future is unknown",
                     "signup_ts", signup, about="time")  # fmt: skip


def _of_text(topic: str) -> Iterator[Repair]:
    for one in FIELDS[topic]:
        if one.kind == "string":
            trimmed = col(one.name).str.strip_chars()
            yield Repair("blanks around text", "blanks at the ends of a text are removed", one.name, trimmed)
    for one in FIELDS[topic]:
        if one.kind == "string":
            empty = pl.when(col(one.name) != "").then(col(one.name))
            yield Repair("empty text", "an empty text is a missing value", one.name, empty)


def _respelt(name: str, words: Mapping[str, str]) -> Callable[[pl.DataFrame], pl.Series]:
    def value(rows: pl.DataFrame) -> pl.Series:
        changes = {one: words.get(folded(one), one) for one in rows[name].unique().drop_nulls().to_list()}
        return replaced(rows[name], changes)

    return value


def replaced(values: pl.Series, words: Mapping[str, str]) -> pl.Series:
    """Return text with some words replaced."""
    changes = {old: new for old, new in words.items() if old != new}
    return values.replace(changes) if changes else values


def _rounded(values: pl.Series) -> pl.Series:
    numbers = values.to_numpy().astype(np.float64)
    inside = np.abs(numbers) <= AMOUNT_MAX  # larger values are rejected, not rounded
    rounded = numbers.copy()
    rounded[inside] = to_cents(numbers[inside]) / 100
    return pl.Series(values.name, pl.from_arrow(pa.array(rounded, mask=values.is_null().to_numpy())))


def _cents(name: str) -> Callable[[pl.DataFrame], pl.Series]:
    return lambda rows: _rounded(rows[name])


def _line_cents(rows: pl.DataFrame) -> pl.Series:
    return map_lines(rows["items"], lambda lines: lines.with_columns(_rounded(lines["unit_price"]).alias("unit_price")))


# --- by knowledge of the whole archive --------------------------------------------------------------------------------
def known_repairs(topic: str, plan: CleaningPlan, known: ArchiveKnowledge) -> Iterator[Repair]:
    """Yield the repairs that unify spellings and fill missing values."""
    why = "words that differ by case, blanks, - or _ become the most common one; the plan takes precedence"
    for name, vocabulary in WORD_COLUMNS[topic].items():
        if words := known.spellings.get(vocabulary):
            yield Repair("spelling", why, name, lambda rows, name=name, words=words: replaced(rows[name], words))  # type: ignore[misc]
    if topic == "orders" and (words := known.spellings.get("category")):
        yield Repair("spelling", why, "items", lambda rows: _line_words(rows, words))
    for name, how in plan.fill.get(topic, {}).items():  # type: ignore[call-overload]
        if how not in ("leave", "drop"):
            yield Repair(f"{name} missing", _FILLED[how] if isinstance(how, str) else "the plan's constant", name,
                         _filled(topic, name, how, known), action="filled")  # fmt: skip


def _line_words(rows: pl.DataFrame, words: Mapping[str, str]) -> pl.Series:
    return map_lines(
        rows["items"], lambda lines: lines.with_columns(replaced(lines["category"], words).alias("category"))
    )


_FILLED: Final = {
    "most_common": "the column's most common value",
    "median": "the column's median",
    "by_product": "the only category of the product in the archive",
    "by_customer": "the value of the customer's profile",
}


def _filled(topic: str, name: str, how: Any, known: ArchiveKnowledge) -> pl.Expr | Callable[[pl.DataFrame], pl.Series]:
    kind = next(one.kind for one in FIELDS[topic] if one.name == name)
    if isinstance(how, Constant):
        return col(name).fill_null(pl.lit(how.constant, DTYPES[kind]))
    if how == "by_product":
        products = pl.Series(list(known.categories), dtype=pl.String)
        names = pl.Series(list(known.categories.values()), dtype=pl.String)
        category = col("product_id").replace_strict(products, names, default=None, return_dtype=pl.String)
        return col(name).fill_null(category)
    if how == "by_customer":
        return lambda rows: _from_profile(rows, name, known.profiles)
    value = known.common.get((topic, name))
    return col(name).fill_null(pl.lit(value, DTYPES[kind]))


def _from_profile(rows: pl.DataFrame, name: str, profiles: pl.DataFrame | None) -> pl.Series:
    if profiles is None:
        return rows[name]
    values = profiles.select("customer_id", col(PROFILE_COLUMN[name]).alias("_told"))
    joined = rows.select("customer_id", name).join(values, on="customer_id", how="left", maintain_order="left")
    return joined.select(col(name).fill_null(col("_told"))).to_series()
