"""Determines decimal sign, thousands sign and currency signs of a column, with the values that prove or contradict."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

import polars as pl

from connectors.formats.numbers import read_decimals
from producers.inspection.findings import Example

Form = tuple[str, str | None]
"""Decimal sign and thousands sign."""

FORMS: Final[tuple[Form, ...]] = (
    (".", None), (",", "."), (".", ","), (".", " "), (",", " "), (".", "'"), (",", "'"),
)  # fmt: skip
"""Forms that a mapping can declare, the simplest first. Those that read every value alike are one answer."""

_SYMBOL: Final = r"[^\d\s.,'\u2019()+\-\u2212\x00-\x1f]{1,4}"
_LOOK: Final = (
    rf"^[(]?[-+\u2212]?[ \u00a0\u202f]*(?P<left>{_SYMBOL})?[ \u00a0\u202f]*"
    r"[-+\u2212]?(?P<digits>[.,]\d+|\d+(?:[.,]\d*)?|\d{1,3}(?:[.,'\u2019 \u00a0\u202f]\d{3})+(?:[.,]\d*)?)"
    r"[-\u2212]?[ \u00a0\u202f]*"
    rf"(?P<right>{_SYMBOL})?[-\u2212]?[)]?$"
)
_PLAIN_INTEGER: Final = r"^-?(?:0|[1-9][0-9]{0,17})$"
_EXPONENT: Final = r"^[+-]?\d+(?:[.,]\d*)?[eE][+-]?\d+$"
CURRENCY_CODES: Final = frozenset(
    {
        "AED", "ARS", "AUD", "BGN", "BRL", "CAD", "CHF", "CLP", "CNY", "COP", "CZK", "DKK", "EGP", "EUR", "GBP", "HKD",
        "HRK", "HUF", "IDR", "ILS", "INR", "ISK", "JPY", "KRW", "KZT", "MAD", "MXN", "MYR", "NGN", "NOK", "NZD", "PEN",
        "PHP", "PKR", "PLN", "RON", "RSD", "RUB", "SAR", "SEK", "SGD", "THB", "TRY", "TWD", "UAH", "USD", "UYU", "VND",
        "ZAR",
    }
)  # fmt: skip
_CURRENCY_SIGNS: Final = frozenset(
    {
        "$", "€", "£", "¥", "₹", "₽", "₩", "₪", "₺", "₫", "฿", "₴", "₦", "₱", "US$", "A$", "C$", "R$", "kr", "kr.",
        "zł", "Kč", "Ft", "lei", "Fr", "Fr.", "SFr.", "Rs", "Rs.", "RM", "\u0440\u0443\u0431", "\u0440\u0443\u0431.",
        "\u0440.",
    }
)  # fmt: skip


@dataclass(slots=True)
class Reading:
    """How one form reads a column: unread values, extremes, and values without a fraction."""

    unread: int = 0
    first_unread: Example | None = None
    low: Decimal | None = None
    high: Decimal | None = None
    fractions: bool = False
    negative: Example | None = None
    negatives: int = 0


@dataclass(slots=True)
class NumberForms:
    """Accumulates how each form reads the values of a column.

    Attributes:
        values: number of values with repetitions.
        numeric: values that look like numbers.
        readings: form -> its reading.
        disagreements: two forms -> the first value that both read, but not alike.
        symbols: sign or code before or after numbers -> values.
        exponents: values in scientific notation, and the first one.
        leading_zeros: values such as 007, and the first one.
        whole_floats: values such as 13085.0, and the first one.
        integers: whole numbers without a sign of decimals or thousands, and the first one.
    """

    values: int = 0
    numeric: int = 0
    readings: dict[Form, Reading] = field(default_factory=lambda: {form: Reading() for form in FORMS})
    disagreements: dict[frozenset[Form], Example] = field(default_factory=dict)
    symbols: Counter[str] = field(default_factory=Counter)
    exponents: int = 0
    first_exponent: Example | None = None
    leading_zeros: int = 0
    first_leading_zero: Example | None = None
    whole_floats: int = 0
    first_whole_float: Example | None = None
    integers: int = 0
    first_integer: Example | None = None

    def add(self, uniques: pl.DataFrame) -> None:
        """Add values.

        Args:
            uniques: `value` (trimmed text), `count`, `line` (the first one of the value).
        """
        if uniques.is_empty():
            return
        self.values += int(uniques["count"].sum())
        parts = uniques["value"].str.extract_groups(_LOOK).struct.unnest()
        regular = [
            symbol
            for name in ("left", "right")
            for symbol in parts[name].unique().drop_nulls().to_list()
            if is_currency(symbol)
        ]
        usual = pl.all_horizontal(pl.col("left", "right").is_null() | pl.col("left", "right").is_in(regular))
        looks = parts.select(pl.col("digits").is_not_null() & usual).to_series()
        self._note_texts(uniques)
        self.numeric += int(uniques.filter(looks)["count"].sum())
        if not looks.any():
            self._unread_all(uniques)
            return
        for name in ("left", "right"):
            given = uniques.with_columns(symbol=parts[name]).filter(looks & pl.col("symbol").is_not_null())
            for symbol, count in given.group_by("symbol", maintain_order=True).agg(pl.col("count").sum()).iter_rows():
                self.symbols[symbol] += count
        self._read(uniques, list(self.symbols)[:20])

    def _note_texts(self, uniques: pl.DataFrame) -> None:
        for pattern, name, first in (
            (_EXPONENT, "exponents", "first_exponent"),
            (r"^-?0\d+$", "leading_zeros", "first_leading_zero"),
            (r"^-?(?:0|[1-9]\d*)\.0$", "whole_floats", "first_whole_float"),
            (_PLAIN_INTEGER, "integers", "first_integer"),
        ):
            rows = uniques.filter(pl.col("value").str.contains(pattern))
            if len(rows):
                setattr(self, name, getattr(self, name) + int(rows["count"].sum()))
                setattr(self, first, getattr(self, first) or _first(rows))

    def _unread_all(self, uniques: pl.DataFrame) -> None:
        for reading in self.readings.values():
            reading.unread += int(uniques["count"].sum())
            reading.first_unread = reading.first_unread or _first(uniques)

    def _read(self, uniques: pl.DataFrame, symbols: list[str]) -> None:
        values: dict[Form, pl.Series] = {}
        plain = bool(uniques["value"].str.contains(_PLAIN_INTEGER).all())
        for form in FORMS:
            if plain and values:
                values[form] = values[FORMS[0]]  # forms differ in signs only
            else:
                read = uniques.select(
                    read_decimals(pl.col("value"), form[0], form[1], symbols).struct.field("value")
                ).to_series()
                values[form] = read
            self._note_reading(form, uniques, values[form])
        if plain:
            return
        for first, second in itertools.combinations(FORMS, 2):
            pair = frozenset((first, second))
            if pair in self.disagreements:
                continue
            a, b = (values[form].str.strip_chars_end("0").str.strip_chars_end(".") for form in (first, second))
            a, b = (
                pl.select(pl.when(one.str.contains(".", literal=True)).then(short).otherwise(one)).to_series()
                for one, short in ((values[first], a), (values[second], b))
            )
            differ = uniques.filter((a != b).fill_null(value=False))
            if len(differ):
                self.disagreements[pair] = _first(differ)

    def _note_reading(self, form: Form, uniques: pl.DataFrame, read: pl.Series) -> None:
        reading = self.readings[form]
        unread = uniques.filter(read.is_null())
        if len(unread):
            reading.unread += int(unread["count"].sum())
            reading.first_unread = reading.first_unread or _first(unread)
        numbers = read.cast(pl.Float64, strict=False)
        known = numbers.drop_nulls()
        if known.is_empty():
            return
        low, high = read[numbers.arg_min() or 0], read[numbers.arg_max() or 0]
        reading.low = _extreme(min, reading.low, low)
        reading.high = _extreme(max, reading.high, high)
        reading.fractions |= bool((known != known.floor()).any())
        negative = uniques.filter((numbers < 0).fill_null(value=False))
        if len(negative):
            reading.negatives += int(negative["count"].sum())
            reading.negative = reading.negative or _first(negative)

    def fitting(self) -> list[Form]:
        """Return the forms that read every value, the simplest first."""
        return [form for form in FORMS if self.values and not self.readings[form].unread]

    def best(self) -> Form:
        """Return the form that leaves the fewest values unread."""
        return min(FORMS, key=lambda form: (self.readings[form].unread, FORMS.index(form)))

    def different(self, forms: list[Form]) -> list[Form]:
        """Return the forms that differ from the first one in the reading of a value."""
        return [form for form in forms[1:] if frozenset((forms[0], form)) in self.disagreements]

    def currencies(self) -> dict[str, int]:
        """Return the signs and codes of currencies next to numbers."""
        return dict(self.symbols.most_common())


def is_currency(symbol: str) -> bool:
    """Return whether a text is the code or the sign of a currency."""
    return symbol.upper() in CURRENCY_CODES or symbol in _CURRENCY_SIGNS


def _first(rows: pl.DataFrame) -> Example:
    row = rows.sort("line").row(0, named=True)
    return Example(str(row["value"]), int(row["line"]))


def _extreme(choose: Callable[[Decimal, Decimal], Decimal], known: Decimal | None, text: str | None) -> Decimal | None:
    if text is None:
        return known
    value = Decimal(text)
    return value if known is None else choose(known, value)


def form_text(form: Form) -> str:
    """Return how messages name a form."""
    signs = {" ": "a blank", ".": "a point", ",": "a comma", "'": "an apostrophe", None: "nothing"}
    return f"decimal {'point' if form[0] == '.' else 'comma'}, thousands by {signs[form[1]]}"
