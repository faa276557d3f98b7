"""Plans the rate by which the amounts of a row become those of the shop, and what refuses a row without one."""

from __future__ import annotations

from typing import Final

import polars as pl

from connectors.formats.money_format import DECIMALS_MAX
from producers.importing.columns import NO_TEXT, Columns, rates_of, replaced
from producers.importing.conversion import NO_DAY_RATE
from producers.importing.judge import Check
from producers.importing.mapping import ClickMapping, OrderMapping

NO_RATE: Final = "currency without a rate"


def row_rate(mapping: OrderMapping | ClickMapping, columns: Columns, placed: pl.Expr | None) -> tuple[pl.Expr, pl.Expr]:
    """Return the text of the row's currency and the rate as plain decimal text.

    Args:
        mapping: mapping of the log.
        columns: columns of the file.
        placed: time of the order or click, as `Columns.time` returns it. None: a rate of a day is looked up where all
            rows of the order are known, and the currency stands for it until then.
    """
    currency = mapping.currency
    if currency.path is None:
        return NO_TEXT, pl.lit(format(currency.rate, "f"))
    text = columns.text(currency.path, required=True)
    if mapping.conversion.rates is not None:
        return text, text if placed is None else mapping.conversion.rate(text, placed.struct.field("ms"))
    if not currency.rates:  # one currency, which is checked over the whole log
        return text, pl.when(text.is_not_null()).then(pl.lit("1"))
    return text, replaced(text, rates_of(currency.rates), None)


def rate_checks(mapping: OrderMapping | ClickMapping, needed: pl.Expr, *, by_line: bool) -> list[Check]:
    """Return the checks of the rate.

    Args:
        mapping: mapping of the log.
        needed: whether a row needs a rate.
        by_line: whether rows are lines of orders, whose rates of days are looked up later.
    """
    no_rate = Check(NO_RATE, "currency", needed & pl.col("\0rate").is_null())
    if mapping.conversion.rates is None or by_line:
        return [no_rate]
    placed = pl.col("\0ts").struct.field("ms")
    lacks = needed & pl.col("currency").is_not_null() & placed.is_not_null() & pl.col("\0rate").is_null()
    return [Check(NO_DAY_RATE, "currency", lacks, mapping.conversion.lack(pl.col("currency"), placed)), no_rate]


def fraction_checks(mapping: OrderMapping, total: pl.Expr) -> list[Check]:
    """Return the check of totals that the shop's currency cannot have, such as 10.50 JPY; none if it has cents.

    Args:
        mapping: mapping of the log.
        total: plain decimals without zeros at the end.
    """
    conversion = mapping.conversion
    if conversion.decimals == DECIMALS_MAX:
        return []
    more = total.str.contains(rf"\.[0-9]{{{conversion.decimals + 1}}}")
    own = pl.col("\0rate").is_in(["1", conversion.into])
    return [Check(f"total with decimals that {conversion.into} does not have", "total", own & more)]
