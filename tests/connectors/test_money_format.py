"""Amounts are rounded by one rule, and written in the form of the shop's locale."""

from __future__ import annotations

import decimal
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.formats.money_format import PLAIN_MONEY, MoneyFormat, check_currency, money_format, round_amount


def test_float_sum_of_cents_is_the_exact_sum():
    assert PLAIN_MONEY.plain(349888.22000000003) == "349888.22"
    assert PLAIN_MONEY.number(0.1 + 0.2) == 0.3


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=200))
def test_any_float_sum_of_cents_rounds_to_the_exact_sum(cents):
    assert round_amount(sum(one / 100 for one in cents), 2) == Decimal(sum(cents)).scaleb(-2)


@pytest.mark.parametrize(
    ("amount", "decimals", "expected"),
    [(1.015, 2, "1.02"), (0.005, 2, "0.00"), (0.015, 2, "0.02"), (2.5, 0, "2"), (3.5, 0, "4"), (-0.001, 2, "0.00")],
)
def test_half_is_rounded_to_the_even_digit(amount, decimals, expected):
    assert f"{round_amount(amount, decimals):f}" == expected


@given(st.decimals(-(10**12), 10**12, places=6), st.sampled_from([0, 2]))
def test_rounding_is_that_of_decimal_and_of_fractions(amount, decimals):
    with decimal.localcontext(prec=60):
        expected = amount.quantize(Decimal(1).scaleb(-decimals), decimal.ROUND_HALF_EVEN)
    assert round_amount(amount, decimals) == round_amount(Fraction(amount), decimals) == expected


@pytest.mark.parametrize("amount", [float("nan"), float("inf")])
def test_amount_that_is_not_finite_is_refused_and_has_no_number(amount):
    with pytest.raises(ValueError, match="is no amount"):
        round_amount(amount, 2)
    assert PLAIN_MONEY.number(amount) is None


@pytest.mark.parametrize(
    ("currency", "locale", "text", "whole"),
    [
        (None, None, "1,234,567.50", "1,234,568"),
        ("EUR", None, "€1,234,567.50", "€1,234,568"),
        ("EUR", "de-DE", "1.234.567,50\xa0€", "1.234.568\xa0€"),
        ("JPY", "en", "¥1,234,568", "¥1,234,568"),
        ("USD", "en-IN", "$12,34,567.50", "$12,34,568"),
        ("RSD", "sr-RS", "1.234.567,50\xa0RSD", "1.234.568\xa0RSD"),
        (None, "de-DE", "1.234.567,50", "1.234.568"),
    ],
)
def test_amount_has_the_form_of_the_locale_and_the_decimals_of_iso_4217(currency, locale, text, whole):
    money = money_format(currency, locale)
    assert money.text(1234567.5) == text
    assert money.text(1234567.5001, whole=True) == whole


def test_heading_names_the_currency_if_there_is_one():
    assert MoneyFormat("EUR").heading("Revenue") == "Revenue (EUR)"
    assert PLAIN_MONEY.heading("Revenue") == "Revenue"


def test_spreadsheet_amount_has_the_decimals_of_the_currency():
    assert money_format("EUR", "de-DE").plain(1234.5) == "1234.50"
    assert money_format("JPY", None).plain(1234.0) == "1234"


@pytest.mark.parametrize(
    ("code", "reason"),
    [("KWD", "KWD have 3 decimals"), ("XAU", "not a currency"), ("eur", "not a currency"), ("", "not")],
)
def test_currency_that_records_cannot_hold_is_refused_with_the_reason(code, reason):
    with pytest.raises(ValueError, match=reason):
        check_currency(code)


@pytest.mark.parametrize("tag", ["xx", "de-DE-x", "", "C"])
def test_unknown_locale_is_refused(tag):
    with pytest.raises(ValueError, match="is not a locale"):
        money_format(None, tag)
