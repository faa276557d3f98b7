"""Exact money: products, sums and one rounding against Python's decimal, also beyond int64."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.importing.money import amounts, products, rounded, sums, texts

EXACT = Context(prec=200)

decimals = st.builds(
    lambda whole, scale: str(Decimal(whole).scaleb(-scale, EXACT).__format__("f")),
    st.one_of(st.integers(-(10**6), 10**6), st.integers(-(10**20) + 1, 10**20 - 1), st.integers(-(10**38), 10**38)),
    st.integers(0, 18),
)
prices = st.builds(
    lambda cents, scale: f"{Decimal(cents).scaleb(-scale):f}", st.integers(-(10**9), 10**9), st.integers(0, 3)
)
rates = st.builds(lambda whole: f"{Decimal(whole).scaleb(-8):f}", st.integers(1, 10**10))


def of(*values):
    return amounts(pl.Series(values, dtype=pl.String))


def nearest(value: Decimal, digits: int = 2) -> float:
    return float(value.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN, EXACT))


def exact(values):
    return [None if value is None else Decimal(value) for value in texts(values).to_list()]


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        (("349888.22000000003", "1"), 349888.22), (("0.1", "3"), 0.3), (("0.345", "15.01"), 5.18),
        (("3", "1.015"), 3.04),
        (("1", "0.005"), 0.0), (("1", "0.015"), 0.02), (("1", "0.025"), 0.02), (("1", "-0.015"), -0.02),
        (("1", "-0.005"), 0.0),
        (("0.5", "0.01"), 0.0), (("1.5", "0.01"), 0.02), (("2", "-4.35"), -8.7), (("1", "1.005"), 1.0),
        (("1", "1.0050001"), 1.01),
        (("12345678901234567890", "1"), 12345678901234567890.0), (("1", "90071992547409.93"), 90071992547409.93),
    ],
)  # fmt: skip
def test_a_product_is_rounded_once_half_to_even(factors, expected):
    assert rounded(products(*(of(factor) for factor in factors))).to_list() == [expected]


def test_a_sum_of_many_lines_is_exact():
    lines = amounts(pl.Series(["0.1", "0.7", "-0.3", "1.005"] * 25_000))
    groups = pl.Series([1, 2, 1, 2] * 25_000)
    keys, totals = sums(groups, lines)
    assert keys.to_list() == [1, 2]
    assert exact(totals) == [Decimal("-5000.0"), Decimal("42625.000")]
    assert rounded(totals).to_list() == [-5000.0, 42625.0]


def test_lines_are_added_before_they_are_rounded():
    _, total = sums(pl.Series([7, 7, 7]), of("0.005", "0.005", "0.005"))
    assert rounded(total).to_list() == [0.02]  # 0.015, a tie; the rounded lines would add up to 0


def test_a_null_factor_or_line_makes_the_result_null():
    product = products(of("2", None, "3"), of("1.5", "1", None))
    assert rounded(product).to_list() == [3.0, None, None]
    keys, totals = sums(pl.Series([5, 5, 4]), of("1", None, "2"))
    assert (keys.to_list(), texts(totals).to_list(), rounded(totals).to_list()) == ([4, 5], ["2", None], [2.0, None])


def test_no_rows_give_no_rows():
    nothing = of()
    assert len(products(nothing, of("2"))) == len(rounded(nothing)) == len(texts(nothing)) == 0
    assert len(sums(pl.Series([], dtype=pl.Int64), nothing)[0]) == 0


def test_a_factor_of_length_one_applies_to_all():
    assert rounded(products(of("10", "20"), of("0.92"))).to_list() == [9.2, 18.4]


@pytest.mark.parametrize("text", ["", "1,5", "1e5", "+1", "nan", ".5", "1 2", "-", "--1"])
def test_a_text_that_is_no_plain_decimal_is_refused(text):
    with pytest.raises(ValueError, match="plain decimals"):
        of("1", text)


@given(st.lists(st.one_of(st.none(), decimals), max_size=20))
def test_texts_and_amounts_are_inverse(values):
    assert exact(of(*values)) == [None if value is None else Decimal(value) for value in values]


@given(st.lists(st.tuples(decimals, decimals, rates), min_size=1, max_size=20), st.integers(0, 4))
def test_any_product_of_any_size_is_exact_and_rounded_to_the_nearest_float(rows, digits):
    product = products(*(of(*column) for column in zip(*rows, strict=True)))
    expected = [EXACT.multiply(EXACT.multiply(Decimal(q), Decimal(p)), Decimal(r)) for q, p, r in rows]
    assert exact(product) == expected
    assert rounded(product, digits).to_list() == [nearest(value, digits) for value in expected]


@given(st.lists(st.tuples(st.integers(-3, 3), st.one_of(prices, decimals)), min_size=1, max_size=50))
def test_any_sum_by_group_is_exact_in_any_order(rows):
    expected = {}
    for group, value in rows:
        expected[group] = EXACT.add(expected.get(group, Decimal(0)), Decimal(value))
    for order in (rows, rows[::-1]):
        keys, totals = sums(pl.Series([group for group, _ in order]), of(*(value for _, value in order)))
        assert keys.to_list() == sorted(expected)
        assert exact(totals) == [expected[key] for key in sorted(expected)]
        assert rounded(totals).to_list() == [nearest(expected[key]) for key in sorted(expected)]


@given(st.integers(-(2**63) + 1, 2**63 - 1), st.integers(2, 40))
def test_a_sum_that_leaves_int64_is_exact(unit, count):
    _, total = sums(pl.Series([0] * count), of(*[str(unit)] * count))
    assert exact(total) == [Decimal(unit * count)]
    price = Decimal(unit % 10**18).scaleb(-2)
    _, total = sums(pl.Series([0] * count), of(*[f"{price:f}"] * count))
    assert exact(total) == [EXACT.multiply(price, Decimal(count))]


@given(st.integers(-(10**15), 10**15), st.sampled_from(["5", "50", "4999999", "5000001", "49", "51", ""]))
def test_any_tie_goes_to_the_even_cent(cents, rest):
    value = f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02}{rest}"
    assert rounded(of(value)).to_list() == [nearest(Decimal(value))]
