"""Rounds amounts of money by one rule, and writes them for people and for spreadsheets.

The rule: an amount is the shortest decimal that reads as its float, rounded once, half to even, to the decimals of the
currency. Sums that Elasticsearch or NumPy made of whole cents are exact again after it: 349888.22000000003 becomes
349888.22.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from typing import Final

NO_CURRENCY: Final = "Amounts have no currency: set shop.currency."
"""Line of a command that shows amounts to people while the settings have no currency."""
DECIMALS_MAX: Final = 2
"""Decimals of an amount in the contract, which counts hundredths."""

Amount = int | float | Decimal | Fraction

_EXACT: Final = Context(prec=400)
"""More digits than a float64 has before its point."""


@dataclass(frozen=True, slots=True)
class MoneyFormat:
    """How a shop's amounts are rounded and written.

    Attributes:
        currency: code of ISO 4217; empty: amounts have no currency.
        locale: BCP 47 tag of the language and country whose form amounts have; empty: English.
        decimals: decimals of the currency, 0 to 2.
    """

    currency: str = ""
    locale: str = ""
    decimals: int = DECIMALS_MAX

    def rounded(self, amount: Amount) -> Decimal:
        """Return an amount with the decimals of the currency. Raises ValueError if it is not finite."""
        return round_amount(amount, self.decimals)

    def number(self, amount: Amount | None) -> float | None:
        """Return the float64 nearest to the rounded amount, for JSON; None if there is no finite amount."""
        return None if amount is None or not math.isfinite(amount) else float(self.rounded(amount))

    def plain(self, amount: Amount) -> str:
        """Return the rounded amount for a CSV file: `349888.20`, in every locale."""
        return f"{self.rounded(amount):f}"

    def text(self, amount: Amount, *, whole: bool = False) -> str:
        """Return an amount for people: `€349,888.20`, or `349.888,20 €` in German; `349,888.20` without a currency.

        Args:
            amount: amount.
            whole: whether an estimate is shown, which needs no decimals.

        Returns:
            The text; `nan` or `inf` for a number that is none.
        """
        if not math.isfinite(amount):
            return str(amount)
        decimals = 0 if whole else self.decimals
        value = round_amount(amount, decimals)
        if not self.currency and not self.locale:
            return f"{value:,f}"
        return _writer(self.currency, self.locale, decimals)(value)

    def heading(self, label: str) -> str:
        """Return the label of a column of amounts: `Revenue (EUR)`; unchanged without a currency."""
        return f"{label} ({self.currency})" if self.currency else label


PLAIN_MONEY: Final = MoneyFormat()
"""Format of amounts without a currency."""


@dataclass(frozen=True, slots=True)
class ShopMoney:
    """What the settings say about the amounts of mappings.

    Attributes:
        currency: currency of the shop's amounts; empty: not set.
        decimals: decimals of the currency.
        time_zone: zone of the shop's days; empty: not set.
    """

    currency: str = ""
    decimals: int = DECIMALS_MAX
    time_zone: str = ""


UNSET_MONEY: Final = ShopMoney()
"""Settings that say nothing about amounts."""


def money_format(currency: str | None, locale: str | None) -> MoneyFormat:
    """Return the format of a shop's amounts.

    Args:
        currency: code of ISO 4217, or None.
        locale: BCP 47 tag, or None.

    Raises:
        ValueError: there is no such currency or locale, with a readable message.
    """
    return MoneyFormat(
        "" if currency is None else check_currency(currency),
        "" if locale is None else check_locale(locale),
        DECIMALS_MAX if currency is None else currency_decimals(currency),
    )


def round_amount(amount: Amount, decimals: int) -> Decimal:
    """Return an amount rounded half to even. A float stands for the shortest decimal that reads as it.

    Raises:
        ValueError: the amount is not finite.
    """
    if isinstance(amount, Fraction):
        units = amount * 10**decimals
        return Decimal(round(units)).scaleb(-decimals, _EXACT)  # Python rounds fractions half to even
    value = Decimal(repr(amount)) if isinstance(amount, float) else Decimal(amount)
    if not value.is_finite():
        raise ValueError(f"{amount} is no amount")
    result = value.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN, _EXACT)
    return abs(result) if result.is_zero() else result  # -0.001 is 0.00


def check_currency(code: str) -> str:
    """Return the code if amounts may be in this currency. Raises ValueError with a readable message."""
    decimals = currency_decimals(code)
    if decimals > DECIMALS_MAX:
        raise ValueError(
            f"amounts in {code} have {decimals} decimals, but records hold hundredths; convert the amounts by "
            "`currency` of the mapping, and set the currency that they then have"
        )
    return code


def currency_decimals(code: str) -> int:
    """Return the decimals of a currency: 2 for EUR, 0 for JPY. Raises ValueError if ISO 4217 has no such currency."""
    decimals = _decimals_of().get(code)
    if decimals is None:
        raise ValueError(f"{code!r} is not a currency of ISO 4217, such as EUR")
    return decimals


def is_currency(code: str) -> bool:
    """Return whether ISO 4217 has a currency."""
    return code in _decimals_of()


@functools.cache
def _decimals_of() -> dict[str, int]:
    """Return code -> decimals of the currencies; metals and units of account have none and are left out."""
    from iso4217 import Currency  # noqa: PLC0415 - most commands show no money

    return {one.code: int(one.exponent) for one in Currency if one.exponent is not None}


def check_locale(tag: str) -> str:
    """Return a locale as a BCP 47 tag. Raises ValueError with a readable message."""
    from babel import Locale, UnknownLocaleError  # noqa: PLC0415

    try:
        locale = Locale.parse(tag.replace("_", "-"), sep="-")
    except (UnknownLocaleError, ValueError, TypeError):
        raise ValueError(f"{tag!r} is not a locale, such as de-DE") from None
    return str(locale).replace("_", "-")


@functools.cache
def _writer(currency: str, locale: str, decimals: int) -> Callable[[Decimal], str]:
    """Return the function that writes rounded amounts in the form of a locale."""
    from babel import Locale  # noqa: PLC0415
    from babel.numbers import parse_pattern  # noqa: PLC0415

    known = Locale.parse(locale or "en", sep="-")
    formats = known.currency_formats["standard"] if currency else known.decimal_formats[None]
    fraction = f"0.{'0' * decimals}" if decimals else "0"
    # the decimals are those of ISO 4217: those of the locale data are customs of cash for some currencies
    pattern = parse_pattern(re.sub(r"0(?:\.[0#]+)?(?![0#,.])", fraction, formats.pattern))

    def write(value: Decimal) -> str:
        return str(pattern.apply(value, known, currency=currency or None, currency_digits=False))

    return write
