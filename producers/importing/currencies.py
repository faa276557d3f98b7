"""Defines the currencies of a mapping: into which one amounts are converted, and by which rates."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path as FilePath
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from connectors.formats.money_format import ShopMoney, check_currency, currency_decimals, is_currency
from connectors.formats.strict_yaml import YamlText
from features.errors import UsageError
from producers.importing.conversion import Conversion, exact_rate, parse_rates, read_rates
from producers.importing.sources import Path, PathPart
from producers.importing.time_sources import Times

Rate = Annotated[Decimal, BeforeValidator(exact_rate)]


class Currency(PathPart):
    """Conversion factors to the shop's currency. A row in a currency without a rate is refused."""

    path: Path | None = None
    rates: dict[str, Rate] = Field(default_factory=dict)
    """Currency -> rate. Without rates, all rows must have the same currency."""
    rates_file: Path | None = None
    """CSV file of rates by day, in the folder of the mapping. The day is that on which an order was placed."""
    into: Annotated[str, AfterValidator(check_currency)] | None = None
    """Currency that amounts have after the conversion; None: that of the settings."""
    rate: Rate = Decimal(1)
    """Rate for all rows, if there is no currency column."""

    @model_validator(mode="after")
    def _rates(self) -> Self:
        if self.path is None and (self.rates or self.rates_file):
            raise ValueError("rates need the column of the currency")
        if self.path is not None and self.rate != 1:
            raise ValueError("give the rates of the column's currencies, or one rate")
        if self.rates and self.rates_file:
            raise ValueError("give rates or rates_file")
        if self.into is not None and self.rates.get(self.into, 1) != 1:
            raise ValueError(f"amounts are converted into {self.into}, whose rate is 1")
        return self


def conversion_of(
    currency: Currency, times: Times, read: YamlText, shop: ShopMoney, rates_text: str | None = None
) -> Conversion:
    """Return how the amounts of a mapping become those of the shop.

    Args:
        currency: currencies of the mapping.
        times: sources of the time at which an order was placed; the first has the zone of the days if the settings
            have none.
        read: the mapping's file, for errors and for the folder of the rates.
        shop: what the settings say about amounts.
        rates_text: text of the file of rates; None: it is read.

    Raises:
        UsageError: amounts would become those of another currency, or the file of rates is none.
    """
    if wrong := _disagreement(currency, shop):
        key, message, remedy = wrong
        raise UsageError(read.error(("currency", key), message), remedy)
    rates, into = None, currency.into or shop.currency
    if currency.rates_file is not None:
        file = FilePath(read.origin).parent / currency.rates_file
        rates = parse_rates(read_rates(file) if rates_text is None else rates_text, str(file), into)
    zone = shop.time_zone or times[0].local or times[0].zone
    return Conversion(into, currency_decimals(into) if into else shop.decimals, rates, zone)


def _disagreement(currency: Currency, shop: ShopMoney) -> tuple[str, str, str] | None:
    """Return key, mistake and remedy if amounts would not become those of the shop; None if they do."""
    own = shop.currency
    remedy = f"Convert the amounts into {own}, whose rate is 1, or correct shop.currency."
    if currency.rates_file is not None and not (currency.into or own):
        message = "nothing names the currency into which the rates convert"
        return "rates_file", message, "Set shop.currency, or write currency.into."
    if own and currency.into not in (None, own):
        return "into", f"amounts are converted into {currency.into}, but shop.currency is {own}", remedy
    if own and currency.rates.get(own, 1) != 1:
        return "rates", f"the rate of {own} is not 1, but shop.currency is {own}", remedy
    targets = [name for name, rate in currency.rates.items() if rate == 1 and is_currency(name)]
    if own and targets and own not in currency.rates:
        return "rates", f"the rate of {targets[0]} is 1, but shop.currency is {own}", remedy
    return None
