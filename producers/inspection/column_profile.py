"""Profiles columns: type, fill, distinct values, examples, extremes, placeholders, and forms of numbers and times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import polars as pl

from connectors.tables.batches import LINE, shown
from features.records.placeholders import PLACEHOLDERS
from producers.inspection.field_names import QUANTITY, name_rank, names_a_time, names_an_id
from producers.inspection.findings import Example
from producers.inspection.number_forms import FORMS, NumberForms
from producers.inspection.time_forms import TIME_OF_DAY, TimeForms, iso_day

DISTINCT_MAX: Final = 100_000
"""Distinct values of a column that are counted exactly."""

WORDS_MAX: Final = 40
"""Distinct values of a list of words."""

EXAMPLES: Final = 3
_MOSTLY: Final = 0.9
_NO_PLACEHOLDERS: Final = frozenset({"0", "-1", "true", "false", ""})
"""Placeholders of ids that are values of other columns."""

_BOOLEANS: Final = ({"true", "false"}, {"yes", "no"}, {"y", "n"}, {"t", "f"})
_EMAIL: Final = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"
_JSON: Final = r"^\s*(?:\{.*\}|\[.*\])\s*$"


@dataclass(slots=True)
class ColumnProfile:
    """Statistics of a column over the rows that are read.

    Attributes:
        name: column or path.
        kind: `id`, `integer`, `decimal`, `time`, `date`, `time of day`, `boolean`, `words`, `email`, `text`,
            `JSON list`, `JSON object` or `empty`.
        rows: rows read.
        filled: rows with a value, placeholders included.
        distinct: distinct values, up to DISTINCT_MAX.
        distinct_exact: whether there are no more.
        examples: first distinct values.
        low: lowest number, or earliest time.
        high: highest number, or latest time.
        words: value -> rows, the most frequent first, for columns of few values.
        placeholders: text for a missing value -> rows, and the first line of each.
        blanks: values with surrounding blanks.
        addresses: values that are e-mail addresses.
        numbers: forms of numbers.
        times: forms of times; None for a column whose format has times.
        typed: type of a column that is no text: of Parquet or Excel.
    """

    name: str
    kind: str = "empty"
    rows: int = 0
    filled: int = 0
    distinct: int = 0
    distinct_exact: bool = True
    examples: tuple[str, ...] = ()
    low: str | None = None
    high: str | None = None
    words: dict[str, int] = field(default_factory=dict)
    placeholders: dict[str, tuple[int, int]] = field(default_factory=dict)
    blanks: int = 0
    addresses: int = 0
    numbers: NumberForms = field(default_factory=NumberForms)
    times: TimeForms | None = None
    typed: str | None = None

    @property
    def values(self) -> int:
        """Rows with a value that is no placeholder."""
        return self.filled - sum(count for count, _ in self.placeholders.values())

    @property
    def fill(self) -> float:
        """Share of rows with a value that is no placeholder."""
        return self.values / self.rows if self.rows else 0.0

    @property
    def is_time(self) -> bool:
        """Whether the column has times or dates."""
        return self.kind in ("time", "date")

    @property
    def is_number(self) -> bool:
        """Whether the column has numbers."""
        return self.kind in ("integer", "decimal")


class ColumnStatistics:
    """Accumulates the statistics of one column over batches.

    Args:
        name: column or path.
        late_ms: times after it are in the future, epoch ms.
    """

    def __init__(self, name: str, late_ms: int) -> None:
        self._profile = ColumnProfile(name, times=TimeForms(late_ms))
        self._late_ms = late_ms
        self._counts: Counter[str] = Counter()
        self._exact = True
        self._kinds: Counter[str] = Counter()
        self._extremes: list[Any] = []

    def add(self, rows: pl.DataFrame, rows_read: int) -> None:
        """Add the values of a batch.

        Args:
            rows: LINE and the column.
            rows_read: rows of the batch, which may lack the column.
        """
        profile = self._profile
        profile.rows += rows_read
        values = rows.rename({profile.name: "value"}).drop_nulls("value")
        if values.is_empty():
            return
        if values["value"].dtype != pl.String:
            self._add_typed(values)
            return
        profile.filled += len(values)
        trimmed = values.with_columns(pl.col("value").str.strip_chars())
        profile.blanks += int((trimmed["value"] != values["value"]).sum())
        uniques = (
            trimmed.group_by("value", maintain_order=True)
            .agg(pl.len().alias("count"), pl.col(LINE).min().alias("line"))
            .filter(pl.col("value") != "")
        )
        profile.filled -= len(values) - int(uniques["count"].sum())
        self._count(uniques)
        usual = self._without_placeholders(uniques)
        for kind, pattern in (("email", _EMAIL), ("json", _JSON), ("time of day", TIME_OF_DAY)):
            self._kinds[kind] += int(usual.filter(pl.col("value").str.contains(pattern))["count"].sum())
        assert profile.times is not None
        profile.numbers.add(usual)
        profile.times.add(usual)

    def _add_typed(self, values: pl.DataFrame) -> None:
        profile = self._profile
        column = values["value"]
        profile.typed = "date" if column.dtype == pl.Date else "time"
        profile.filled += len(column)
        self._extremes += [column.min(), column.max()]
        counts = column.cast(pl.String).value_counts(sort=True)
        uniques = counts.rename({column.name: "value"}).with_columns(pl.lit(0).alias("line"))
        self._count(uniques)

    def _count(self, uniques: pl.DataFrame) -> None:
        for value, count, *_ in uniques.iter_rows():
            if value in self._counts or len(self._counts) < DISTINCT_MAX:
                self._counts[value] += count
            else:
                self._exact = False

    def _without_placeholders(self, uniques: pl.DataFrame) -> pl.DataFrame:
        folded = pl.col("value").str.to_lowercase()
        is_placeholder = folded.is_in(sorted(PLACEHOLDERS - _NO_PLACEHOLDERS))
        for value, count, line in uniques.filter(is_placeholder).iter_rows():
            known, first = self._profile.placeholders.get(value, (0, line))
            self._profile.placeholders[value] = (known + count, min(first, line))
        return uniques.filter(~is_placeholder)

    def profile(self) -> ColumnProfile:
        """Return the profile of the values so far."""
        profile = self._profile
        usual = [value for value in self._counts if value not in profile.placeholders]
        profile.distinct, profile.distinct_exact = len(usual), self._exact
        profile.examples = tuple(shown(value) for value in usual[:EXAMPLES])
        profile.kind = self._kind(usual)
        profile.addresses = self._kinds["email"]
        if profile.typed is not None:
            profile.times = None
            profile.low, profile.high = (str(one(self._extremes)) for one in (min, max))
        elif profile.is_time:
            self._note_time_range()
        elif profile.is_number:
            reading = profile.numbers.readings[profile.numbers.best()]
            profile.low, profile.high = (None if one is None else _plain(one) for one in (reading.low, reading.high))
        if self._exact and 0 < len(usual) <= WORDS_MAX and profile.typed is None:
            profile.words = dict(Counter({value: self._counts[value] for value in usual}).most_common())
        return profile

    def _note_time_range(self) -> None:
        profile = self._profile
        assert profile.times is not None
        reading = profile.times.readings[str(profile.times.chosen())]
        if reading.low_ms is not None and reading.high_ms is not None:
            profile.low, profile.high = iso_day(reading.low_ms), iso_day(reading.high_ms)

    def _kind(self, usual: Sequence[str]) -> str:
        profile, numbers = self._profile, self._profile.numbers
        if not profile.values:
            return "empty"
        if profile.typed is not None:
            return profile.typed
        regular = next((kind for kind, count in self._kinds.items() if count >= _MOSTLY * profile.values), None)
        if regular == "json":
            return "JSON list" if usual[0].startswith("[") else "JSON object"
        if {value.casefold() for value in usual} in _BOOLEANS:
            return "boolean"
        if numbers.numeric >= _MOSTLY * profile.values:
            return regular or self._time_kind() or self._number_kind()
        return regular or self._time_kind() or self._text_kind()

    def _time_kind(self) -> str | None:
        profile = self._profile
        times = profile.times
        best = times.best() if times is not None else None
        if times is None or best is None:
            return None
        fits = times.fitting()
        reading = times.readings[fits[0] if fits else best]
        if reading.unread > (1 - _MOSTLY) * times.values:
            return None
        weak = best.startswith("epoch") or best == "excel_days"
        compact = best == "%Y%m%d" or (best == "iso" and len(profile.examples[0]) == 8)
        named = names_a_time(profile.name)
        if (weak and not named) or (compact and not named and profile.distinct < 10):
            return None
        return "date" if reading.dates == times.values - reading.unread else "time"

    def _number_kind(self) -> str:
        profile, numbers = self._profile, self._profile.numbers
        if name_rank(profile.name, QUANTITY) is None and names_an_id(profile.name):
            return "id"
        if numbers.leading_zeros and not numbers.symbols:
            return "id"
        return "integer" if numbers.integers + numbers.whole_floats >= numbers.numeric else "decimal"

    def _text_kind(self) -> str:
        profile = self._profile
        if names_an_id(profile.name):
            return "id"
        if self._exact and profile.distinct <= WORDS_MAX and profile.distinct * 2 <= max(profile.values, 2):
            return "words"
        return "text"


def _plain(value: Decimal) -> str:
    return format(value, "f")


def fitting_everywhere(columns: Sequence[ColumnProfile]) -> list[tuple[str, str | None]]:
    """Return the number forms that read every value of all columns, the simplest first."""
    return [
        form
        for form in FORMS
        if all(form in one.numbers.fitting() for one in columns if one.numbers.values and one.is_number)
    ]


def first_example(words: dict[str, tuple[int, int]]) -> Example | None:
    """Return the placeholder with the lowest line."""
    return min((Example(value, line) for value, (_, line) in words.items()), key=lambda one: one.line, default=None)
