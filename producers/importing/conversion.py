"""Converts amounts to the shop's currency by fixed rates, or by the rates of the day on which an order was placed.

The day of a later change, such as a refund, has no effect: it would move revenue by the exchange rate.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from connectors.formats.money_format import DECIMALS_MAX
from connectors.formats.strict_yaml import read_text
from features.calendar import day_number
from features.errors import UsageError
from features.local_times import wall_ms
from features.schema import DAY_MS
from producers.importing.money import amounts, products, rounded

if TYPE_CHECKING:
    from _csv import Reader

RATE_DECIMALS_MAX: Final = 8
COLUMNS: Final = ("day", "currency", "rate")
"""Columns of a file of rates."""
NO_DAY_RATE: Final = "no rate for the day of the order"
_REMEDY: Final = "Write a CSV file with a line `day,currency,rate`, and lines such as `2026-03-05,USD,0.92`."
_PLAIN: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?")


@dataclass(frozen=True, slots=True)
class DayRates:
    """Rates by day and currency.

    Attributes:
        text: the file.
        table: day (number, int64), currency, rate (plain decimal).
    """

    text: str
    table: pl.DataFrame = field(compare=False)


@dataclass(frozen=True, slots=True)
class Conversion:
    """How the amounts of a log become amounts of the shop.

    Attributes:
        into: currency that the amounts then have; empty: not known.
        decimals: decimals to which an amount is rounded once, half to even.
        rates: rates of days; None: the mapping has fixed rates.
        time_zone: zone of the days.
    """

    into: str = ""
    decimals: int = DECIMALS_MAX
    rates: DayRates | None = None
    time_zone: str = "UTC"

    def rate(self, currency: pl.Expr, placed_ms: pl.Expr) -> pl.Expr:
        """Return the rates of amounts as plain decimals, from their currencies and the times of their orders.

        A rate is null without a currency or a time, and where the file lacks the currency on that day.
        """
        given = pl.struct(currency.cast(pl.String).alias("currency"), self._day(placed_ms).alias("day"))
        return given.map_batches(self._rates_of, return_dtype=pl.String, is_elementwise=True)

    def lack(self, currency: pl.Expr, placed_ms: pl.Expr) -> pl.Expr:
        """Return texts such as `no rate for USD on 2026-03-05`."""
        return pl.format("no rate for {} on {}", currency, self._day(placed_ms).cast(pl.Int32).cast(pl.Date))

    def _day(self, ms: pl.Expr) -> pl.Expr:
        return ms.cast(pl.Int64).map_batches(
            lambda times: wall_ms(times, self.time_zone) // DAY_MS, return_dtype=pl.Int64, is_elementwise=True
        )

    def _rates_of(self, given: pl.Series) -> pl.Series:
        assert self.rates is not None
        joined = given.struct.unnest().join(self.rates.table, on=["day", "currency"], how="left", maintain_order="left")
        own = (pl.col("currency") == self.into) & pl.col("day").is_not_null()
        return joined.select(pl.when(own).then(pl.lit("1")).otherwise("rate")).to_series()

    def amounts(self, amount: pl.Series, rate: pl.Series) -> pl.Series:
        """Return amounts in the shop's currency as float64.

        Args:
            amount: plain decimals as text.
            rate: rate of each amount, as text.

        Returns:
            Exact products, rounded once. An amount with rate 1 stays as it is if the currency has cents: the contract
            rounds it by the same rule.
        """
        if self.decimals == DECIMALS_MAX and (rate == "1").all():
            return amount.cast(pl.Float64)
        converted = rounded(products(amounts(amount), amounts(rate)), self.decimals)
        return converted if self.decimals < DECIMALS_MAX else (
            pl.select(pl.when(rate == "1").then(amount.cast(pl.Float64)).otherwise(converted)).to_series()
        )  # fmt: skip


def exact_rate(given: Any) -> Decimal:
    """Return a rate of a mapping or of a file. Raises ValueError with a readable message."""
    try:
        rate = None if isinstance(given, bool) else Decimal(str(given))
    except ArithmeticError:
        rate = None
    if rate is None or not rate.is_finite() or not 0 < rate < 10**8:
        raise ValueError("a rate is a number above 0 and below 100,000,000")
    if round(rate, RATE_DECIMALS_MAX) != rate:
        raise ValueError(f"a rate has at most {RATE_DECIMALS_MAX} decimals")
    return rate


def read_rates(path: Path) -> str:
    """Return the text of a file of rates. Raises UsageError if it cannot be read."""
    return read_text(path, f"There is no file of rates {path}", "Correct currency.rates_file of the mapping.")


def parse_rates(text: str, origin: str, into: str) -> DayRates:
    """Return the rates of a CSV file.

    Args:
        text: file with the columns COLUMNS. A rate is the price of one unit in the shop's currency.
        origin: name of the file, for errors.
        into: the shop's currency, whose rate is 1.

    Raises:
        UsageError: the text is no file of rates; the message names the line.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    try:
        rows = list(_rate_rows(reader, into))
    except (ValueError, csv.Error) as error:
        raise UsageError(f"{origin}, line {max(reader.line_num, 1)}: {error}.", _REMEDY) from None
    schema = {"day": pl.Int64, "currency": pl.String, "rate": pl.String}
    return DayRates(text, pl.DataFrame(rows, schema=schema, orient="row"))


def _rate_rows(reader: Reader, into: str) -> Iterator[tuple[int, str, str]]:
    """Yield day, currency and rate of each line. Raises ValueError at the line that is wrong."""
    seen: dict[tuple[int, str], int] = {}
    header = [name.strip() for name in next(reader, [])]
    if sorted(header) != sorted(COLUMNS):
        raise ValueError(f"the columns are {', '.join(header) or 'missing'}, not {', '.join(COLUMNS)}")
    order = [header.index(name) for name in COLUMNS]
    for cells in reader:
        if not cells:
            continue
        day, currency, rate = _rate_line(cells, order)
        if (day, currency) in seen:
            raise ValueError(f"{currency} has two rates for the day, also in line {seen[day, currency]}")
        if currency == into and rate != 1:
            raise ValueError(f"amounts are converted into {into}, whose rate is 1")
        seen[day, currency] = reader.line_num
        yield day, currency, format(rate, "f")
    if not seen:
        raise ValueError("there is no rate")


def _rate_line(cells: list[str], order: list[int]) -> tuple[int, str, Decimal]:
    if len(cells) != len(order):
        raise ValueError(f"there are {len(cells)} values, not {len(order)}")
    day, currency, rate = (cells[column].strip() for column in order)
    try:
        number = day_number(day)
    except UsageError as error:
        raise ValueError(f"{error.message.removesuffix('.')}, such as 2026-03-05") from None
    if not currency:
        raise ValueError("the currency is empty")
    if not _PLAIN.fullmatch(rate):
        raise ValueError(f"the rate {rate[:50]!r} is no decimal number above 0, such as 0.92")
    return number, currency, exact_rate(rate)
