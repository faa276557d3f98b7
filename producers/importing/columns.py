"""Turns the sources of a mapping into polars expressions over the text columns of a foreign table."""

from __future__ import annotations

import functools
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import Final, Literal

import polars as pl

from connectors.formats.ids import plain_ids
from connectors.formats.numbers import read_decimals
from connectors.formats.time_patterns import EPOCHS, EXCEL
from connectors.formats.timestamps import read_times, time_format, times_of, utc
from connectors.messages.envelopes import scaled_text
from connectors.tables.batches import POSITION
from connectors.tables.file_format import FileFormat
from features.errors import UsageError
from features.records.placeholders import RESERVED
from producers.importing.lookups import Lookups
from producers.importing.sources import (
    ANY_WORD,
    ELEMENT,
    Condition,
    Selection,
    Source,
    Value,
    alternatives,
    literals_in,
    names_in,
)
from producers.importing.time_sources import Time

_EXACT: Final = pl.Decimal(38, 18)
_EXACT_WHOLE_DIGITS: Final = 20
"""Digits before the point of _EXACT."""
MISSED_KEY: Final = "\0missed key {}"
"""Column of a field's key that its table lacks."""
MISSED: Final = "\0missed {}"
"""Column of a field with the sentence about such a key."""
NO_TEXT: Final = pl.lit(None, pl.String)
_NO_TIME: Final = pl.struct(ms=pl.lit(None, pl.Int64), is_date=pl.lit(None, pl.Boolean), reason=pl.lit(None, pl.String))
_TABLET: Final = r"(?i)ipad|tablet|kindle|silk/"
_MOBILE: Final = r"(?i)android|mobi|iphone|ipod|phone"


@dataclass(frozen=True, slots=True)
class Unread:
    """Text that refuses its row: names of its columns, reason, text and condition."""

    names: str
    reason: str
    text: pl.Expr
    fails: pl.Expr


@dataclass(slots=True)
class Columns:
    """Builds expressions over the columns of a table. All columns but real times hold trimmed text.

    Attributes:
        file: name of the file, for errors.
        schema: columns of the batches: those that the mapping reads.
        names: all columns of the table; None if every path may occur, as in JSON.
        tables: table -> lookup -> key -> text.
        guest_salt: key of the hash that makes ids of guests.
        absent: columns that the mapping names and the table lacks, where records do not need them.
        unread: texts that have no entry in `words`, or are no number in a condition.
        formats: table -> its format, in which its numbers are written.
        lines_table: table whose columns begin with a point.
        positions: whether `{i}` in a `join` is the position of a line; otherwise it is a column.
        keys: table of lookups -> its keys.
        missed: field -> key that no row of its table has, and the sentence about it; both null where there is none.
        looked_up: table and key of each lookup, in the order of the plan.
        moments: column -> struct of a time that is read. `time` refers to these columns, so that each is read once.
    """

    file: str
    schema: Mapping[str, pl.DataType]
    names: Sequence[str] | None = None
    tables: Lookups = field(default_factory=dict)
    decimal: str = "."
    thousands: str | None = None
    guest_salt: bytes = b""
    absent: list[str] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    formats: Mapping[str, FileFormat] = field(default_factory=dict)
    lines_table: str | None = None
    positions: bool = False
    keys: Mapping[str, pl.Series] = field(default_factory=dict)
    missed: dict[str, tuple[pl.Expr, pl.Expr]] = field(default_factory=dict)
    looked_up: list[tuple[str, pl.Expr]] = field(default_factory=list)
    moments: dict[str, pl.Expr] = field(default_factory=dict)
    _moment_names: dict[tuple[object, ...], str] = field(default_factory=dict)

    def text(
        self, source: Source | None, *, required: bool = False, number: bool = False, name: str | None = None
    ) -> pl.Expr:
        """Return the text of a source; null where it has no value.

        Args:
            source: source of a field.
            required: whether the table must have one of its columns.
            number: whether the field is a number. Those of a table of the mapping are written as the log writes them.
            name: field whose missed keys are noted.

        Raises:
            UsageError: the source is required and the table has none of its columns.
        """
        if source is None:
            return NO_TEXT
        if required:
            self.require(label(source))
        before = len(self.looked_up)
        text = pl.coalesce(*(self._one(one, number) for one in alternatives(source)))
        if name is not None and len(self.looked_up) > before:
            self._note_missed(name, self.looked_up[before:])
        return text

    def _note_missed(self, name: str, looked_up: Sequence[tuple[str, pl.Expr]]) -> None:
        """Note the keys of a field's lookups that their tables lack."""
        missed = [(table, key, ~key.is_in(self.keys[table].implode())) for table, key in looked_up]
        former = self.missed.get(name, (NO_TEXT, NO_TEXT))
        self.missed[name] = (
            pl.coalesce(*(pl.when(absent).then(key) for _, key, absent in missed), former[0]),
            pl.coalesce(
                *(pl.when(absent).then(key + f" is no key of tables.{table}") for table, key, absent in missed),
                former[1],
            ),
        )

    def missed_texts(self) -> dict[str, pl.Expr]:
        """Return the keys that their tables lack, and the sentences about them: the columns MISSED_KEY and MISSED."""
        keys = {MISSED_KEY.format(name): key for name, (key, _) in self.missed.items()}
        return keys | {MISSED.format(name): message for name, (_, message) in self.missed.items()}

    def missed_drops(self) -> dict[str, tuple[str, pl.Expr]]:
        """Return field -> reason and condition, over the texts of fields, of values that a missed key leaves empty."""
        return {
            name: (
                f"{name} by a key that its table lacks",
                pl.col(MISSED.format(name)).is_not_null() & pl.col(name).is_null(),
            )
            for name in self.missed
        }

    def require(self, paths: Sequence[str]) -> None:
        """Raise UsageError if paths are given and the table has none of them as columns."""
        if paths and self.names is not None and not any(path in self.names for path in paths):
            names = ", ".join(name for name in self.names if not name.startswith("\0"))
            raise UsageError(
                f"{self.file} has no column {' or '.join(paths)}; it has {names}.",
                "Write a mapping with its columns: `shopstream inspect` drafts one.",
            )

    def holds(self, condition: Condition | None) -> pl.Expr:
        """Return whether a condition holds; true without one."""
        if condition is None:
            return pl.lit(True)
        text = self._first(condition.path)
        if condition.missing is not None:
            return text.is_null() == condition.missing
        if condition.at_most is not None:
            return self._at_most(condition.at_most, text, condition.path)
        if condition.one_of is not None:
            known = text.is_in([one for one in condition.one_of if one is not None]).fill_null(False)
            return known | text.is_null() if None in condition.one_of else known
        if condition.starts_with is not None:
            return text.str.starts_with(condition.starts_with).fill_null(False)
        other = pl.lit(condition.equals, pl.String) if condition.same_as is None else self.column(condition.same_as)
        return (text == other).fill_null(False)

    def _at_most(self, limit: float, text: pl.Expr, paths: Sequence[str]) -> pl.Expr:
        number = read_decimals(self._as_in_log(text, self._table_of(paths)), self.decimal, self.thousands).struct
        fails = number.field("reason").is_not_null()
        self.unread.append(Unread(", ".join(paths), "no number, which `at_most` needs", text, fails))
        return (number.field("value").cast(pl.Float64) <= limit).fill_null(False)

    def time(self, times: Sequence[Time], *, required: bool = False) -> tuple[pl.Expr, pl.Expr]:
        """Return the text of a time and its struct of `ms`, `is_date` and `reason`. The first time with a value counts.

        Raises:
            UsageError: the time is required and the table has none of its columns.
        """
        if required:
            self.require([path for time in times for path in time.path])
        text, read = NO_TEXT, _NO_TIME
        for time in reversed(times):
            for path in reversed(time.path):
                own = self.column(path)
                parsed = self._corrected(self._moment(path, time), time)
                present = own.is_not_null() & self.holds(time.when)
                text = pl.when(present).then(own).otherwise(text)
                read = pl.when(present).then(parsed).otherwise(read)
        return text, read

    def _moment(self, path: str, time: Time) -> pl.Expr:
        """Return the column of `moments` with the struct of a time."""
        key = (path, time.format, time.zone, *sorted((time.zones or {}).items()))
        if key not in self._moment_names:
            self._moment_names[key] = name = f"\0moment{len(self.moments)}"
            self.moments[name] = _read_moment(self, path, time)
        return pl.col(self._moment_names[key])

    def _corrected(self, read: pl.Expr, time: Time) -> pl.Expr:
        """Return the struct of a time with the correction of the clock that wrote it."""
        if time.local is not None:
            read = _as_local(read, time.local)
        if time.received is None or time.sent is None or time.skew_max is None:
            return read
        received, sent = (self._moment(path, time) for path in (time.received, time.sent))
        late_ms = received.struct.field("ms") - sent.struct.field("ms")
        late_ms = pl.when(late_ms.abs() > 1000 * time.skew_max).then(late_ms).otherwise(0).fill_null(0)
        reason = pl.coalesce(one.struct.field("reason") for one in (read, received, sent))
        return pl.struct(
            ms=pl.when(reason.is_null()).then(read.struct.field("ms") + late_ms),
            is_date=read.struct.field("is_date"),
            reason=reason,
        )

    def column(self, path: str) -> pl.Expr:
        """Return the text of a column; null, and noted as absent, if the table lacks it."""
        if path not in self.schema:
            if path not in self.absent:
                self.absent.append(path)
            return NO_TEXT
        return pl.col(path).cast(pl.String)

    def _first(self, paths: Sequence[str]) -> pl.Expr:
        return pl.coalesce(*(self.column(path) for path in paths))

    def _one(self, one: str | Value | Selection, number: bool) -> pl.Expr:
        if isinstance(one, str):
            return self._as_in_log(self.column(one), self._table_of([one])) if number else self.column(one)
        if isinstance(one, Value):
            return pl.when(self.holds(one.when)).then(pl.lit(one.value)) if one.when else pl.lit(one.value)
        return self._selected(one, number)

    def _table_of(self, paths: Sequence[str]) -> str | None:
        """Return the table that has the columns; None for the log. Columns of one source are all of one of them."""
        of_lines = {path.startswith(".") for path in paths} if self.lines_table is not None else {False}
        if len(of_lines) > 1 and self._form_of(self.lines_table) != self._form_of(None):
            raise UsageError(
                f"{', '.join(paths)} are columns of two tables whose numbers differ in form.",
                "Write a list of sources instead of a list of paths.",
            )
        return self.lines_table if True in of_lines else None

    def _form_of(self, table: str | None) -> tuple[str, str | None]:
        """Return the decimal sign and the thousands separator of a table; of the log for None."""
        if table is None:
            return self.decimal, self.thousands
        return self.formats[table].decimal, self.formats[table].grouping

    def _as_in_log(self, text: pl.Expr, table: str | None) -> pl.Expr:
        """Return numbers of a table as the log writes them. A text that is no number there is none in the log."""
        decimal, thousands = self._form_of(table)
        if (decimal, thousands) == self._form_of(None):
            return text
        read = read_decimals(text, decimal, thousands).struct
        plain = read.field("value").str.replace(".", self.decimal, literal=True)
        unread = pl.format(f"{{}} (decimal '{decimal}' in tables.{table})", text)
        return pl.when(read.field("reason").is_null()).then(plain).otherwise(unread)

    def _selected(self, one: Selection, number: bool) -> pl.Expr:
        text = self._given(one)
        if one.when is not None:
            text = pl.when(self.holds(one.when)).then(text)
        if one.never:
            text = pl.when(~text.is_in(one.never)).then(text)
        if one.match is not None:
            text = text.str.extract(one.match, 1)
        table = self._table_of(one.path)
        if one.lookup is not None:
            key, table = plain_ids(text), None if one.lookup.sum else one.lookup.table
            self.looked_up.append((one.lookup.table, key))
            text = replaced(key, self.tables[one.lookup.table][one.lookup], None)
        if number:
            text = self._as_in_log(text, table)
        if one.lower:
            text = text.str.to_lowercase()
        if one.upper:
            text = text.str.to_uppercase()
        text = self._amount(text, one)
        if one.guest:
            text = _guests(text, self.guest_salt)
        if one.device:
            text = _device(text)
        if one.words is not None:
            text = self._worded(text, one.words, one.path)
        return text if one.missing is None else text.fill_null(one.missing)

    def _amount(self, text: pl.Expr, one: Selection) -> pl.Expr:
        for path in one.less:
            text = self._combined(text, self._as_in_log(self.column(path), self._table_of([path])), -1)
        if one.base64_scale is not None:
            text = _unscaled(text, one.base64_scale, self.decimal)
        return text if one.minor_units is None else _major_units(text, one.minor_units, self.decimal)

    def _given(self, one: Selection) -> pl.Expr:
        if one.join is not None:
            return self.joined(one.join)
        if one.path:
            return self._first(one.path)
        first, *others = (self._as_in_log(self.column(path), self._table_of([path])) for path in one.sum)
        return functools.reduce(lambda text, other: self._combined(text, other, 1), others, first)

    def joined(self, join: str, own: Mapping[str, pl.Expr] = MappingProxyType({})) -> pl.Expr:
        """Return a text with the values of its names in braces; null if one of them is missing.

        Args:
            join: text with names in braces. {i} is the position of the line, or a column where records have no lines.
            own: name -> value, for names that are no columns.

        Raises:
            UsageError: {i} is neither.
        """
        if self.positions:
            own = {ELEMENT: pl.col(POSITION).cast(pl.String), **own}
        elif ELEMENT in names_in(join) and self.names is not None and ELEMENT not in self.names:
            raise UsageError(
                f"{self.file} has no column {ELEMENT}, and {{{ELEMENT}}} of {join!r} is the position of a line, "
                "but the mapping has no list of lines.",
                "Write columns of the file in the braces.",
            )
        before, *after = literals_in(join)
        parts = [pl.lit(before)]
        for name, literal in zip(names_in(join), after, strict=True):
            parts += [own[name] if name in own else self.column(name), pl.lit(literal)]
        return pl.concat_str(parts)

    def _combined(self, text: pl.Expr, other: pl.Expr, sign: Literal[1, -1]) -> pl.Expr:
        """Return the exact sum or difference of two amounts as text. If one of them is unreadable, so is the result."""
        first, second = (
            _within_exact(read_decimals(one, self.decimal, self.thousands).struct.field("value"))
            for one in (text, other)
        )
        readable = first.is_not_null() & second.is_not_null()
        result = (first + second if sign > 0 else first - second).cast(pl.String)
        result = result.str.strip_chars_end("0").str.strip_chars_end(".")
        if self.decimal != ".":
            result = result.str.replace(".", self.decimal, literal=True)
        word = "plus" if sign > 0 else "less"
        shown = pl.when(readable).then(result).otherwise(pl.format(f"{{}} {word} {{}}", text, other))
        alone = pl.when(text.is_null() & (sign > 0)).then(other).otherwise(text)
        return pl.when(other.is_null() | text.is_null()).then(alone).otherwise(shown)

    def _worded(self, text: pl.Expr, words: Mapping[str, str | None], paths: Sequence[str]) -> pl.Expr:
        named = {word: value for word, value in words.items() if word != ANY_WORD}
        if ANY_WORD not in words:
            unknown = text.is_not_null() & ~text.is_in(list(named))
            self.unread.append(Unread(", ".join(paths), "word without an entry in `words`", text, unknown))
        return replaced(text, named, words.get(ANY_WORD))


def replaced(text: pl.Expr, words: Mapping[str, str | None], default: str | pl.Expr | None) -> pl.Expr:
    """Return the words' values of a text, and the default for other texts. Null stays null."""
    other = default if isinstance(default, pl.Expr) else pl.lit(default, pl.String)
    keys, values = (pl.Series(list(texts), dtype=pl.String) for texts in (words.keys(), words.values()))
    replaced_text = text.replace_strict(keys, values, default=other) if words else other
    return pl.when(text.is_not_null()).then(replaced_text)


def makes_guests(source: Source) -> bool:
    """Return whether a source has an alternative that makes ids of guests."""
    return any(isinstance(one, Selection) and one.guest for one in alternatives(source))


def without_guests(source: Source) -> Source | None:
    """Return a source without the alternatives that make ids of guests; None if there are no others."""
    return tuple(one for one in alternatives(source) if not makes_guests(one)) or None


def _guests(text: pl.Expr, salt: bytes) -> pl.Expr:
    """Return the ids of guests: a mark and a keyed hash, so that the text itself is in no record.

    Raises:
        UsageError: there is no key.
    """
    if not salt:
        raise UsageError(
            "The mapping makes ids of guests, which need a secret salt.",
            "Set SHOPSTREAM_GUEST_SALT to a secret text, and keep it: another one gives other ids.",
        )

    def hashed(series: pl.Series) -> pl.Series:
        ids = {text: guest_id(text, salt) for text in series.drop_nulls().unique()}
        return series.replace_strict(ids, default=None, return_dtype=pl.String)

    return text.map_batches(hashed, return_dtype=pl.String, is_elementwise=True)


def guest_id(text: str, salt: bytes) -> str:
    """Return the id of a guest: `~` and 16 hexadecimal digits of HMAC-SHA256 of the trimmed text in small letters."""
    return RESERVED + hmac.digest(salt, text.strip().lower().encode(), "sha256").hex()[:16]


def label(source: Source | None) -> list[str]:
    """Return the columns or paths whose text becomes the value: those that a refusal names."""
    if source is None:
        return []
    paths: list[str] = []
    for one in alternatives(source):
        if isinstance(one, str):
            paths.append(one)
        elif isinstance(one, Selection):
            paths += [*one.path, *one.sum, *(name for name in names_in(one.join or "") if name != ELEMENT)]
        else:
            return []  # a constant makes the source complete
    return paths


def _read_moment(columns: Columns, path: str, time: Time) -> pl.Expr:
    """Return the struct of a time as its column has it: a real time, or text."""
    kind = columns.schema.get(path, pl.String())
    if isinstance(kind, pl.Datetime | pl.Date):
        return times_of(pl.col(path), kind, time.zone)
    how, text = time_format(time.format), columns.column(path)
    if columns.decimal != "." and (how.pattern in EPOCHS or how.pattern == EXCEL):
        text = text.str.replace(columns.decimal, ".", literal=True)
    return read_times(text, how, time.zone, time.zones)


def _as_local(read: pl.Expr, zone: str) -> pl.Expr:
    """Return times whose epoch is the local time of a zone as if it were UTC."""
    given = read.struct.field("ms")
    ms = utc(given.cast(pl.Datetime("ms")), zone).cast(pl.Int64)
    missing = pl.when(given.is_not_null() & ms.is_null()).then(pl.lit(f"this local time does not exist in {zone}"))
    reason = pl.coalesce(read.struct.field("reason"), missing)
    return pl.struct(ms=ms, is_date=read.struct.field("is_date"), reason=reason)


def _within_exact(value: pl.Expr) -> pl.Expr:
    """Return plain decimals as _EXACT; null where a difference of two of them may not fit."""
    whole = value.str.strip_prefix("-").str.split(".").list.first()
    return pl.when(whole.str.len_bytes() < _EXACT_WHOLE_DIGITS).then(value).cast(_EXACT)


def _major_units(text: pl.Expr, decimals: int, decimal: str) -> pl.Expr:
    """Return an amount of minor units with the decimal sign of the file. Text of another form is unreadable."""
    digits = text.str.strip_prefix("-").str.zfill(decimals + 1)
    sign = pl.when(text.str.starts_with("-")).then(pl.lit("-")).otherwise(pl.lit(""))
    whole = (
        pl.concat_str(sign, digits.str.head(-decimals), pl.lit(decimal), digits.str.tail(decimals))
        if decimals
        else text
    )
    return pl.when(text.str.contains(r"^-?\d+$")).then(whole).otherwise(text + " of minor units")


def _unscaled(text: pl.Expr, scale: int, decimal: str) -> pl.Expr:
    """Return the decimals of base64 texts as Debezium writes them. A text with a point is a decimal already."""

    def read(series: pl.Series) -> pl.Series:
        values = {}
        for one in series.drop_nulls().unique():
            try:
                values[one] = one if "." in one else scaled_text(one, scale)
            except ValueError:
                values[one] = f"{one} is no base64"
        numbers = series.replace_strict(values, default=None, return_dtype=pl.String)
        return numbers if decimal == "." else numbers.str.replace(".", decimal, literal=True)

    return text.map_batches(read, return_dtype=pl.String, is_elementwise=True)


def _device(agent: pl.Expr) -> pl.Expr:
    """Return the device class of a user agent. An Android agent without "Mobile" is a tablet."""
    large_android = agent.str.contains("(?i)android") & ~agent.str.contains("(?i)mobile")
    return (
        pl.when(agent.is_null()).then(NO_TEXT)
        .when(agent.str.contains(_TABLET) | large_android).then(pl.lit("tablet"))
        .when(agent.str.contains(_MOBILE)).then(pl.lit("mobile"))
        .otherwise(pl.lit("desktop"))
    )  # fmt: skip


def rates_of(rates: Mapping[str, Decimal]) -> dict[str, str]:
    """Return exchange rates as plain decimal texts."""
    return {currency: format(rate, "f") for currency, rate in rates.items()}
