"""Cents are those of the shortest decimal, rounded half-even."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from features.records.money import to_cents
from features.schema import AMOUNT_MAX


def decimal_cents(amount):
    return int(Decimal(repr(amount)).quantize(Decimal("0.01"), ROUND_HALF_EVEN).scaleb(2))


@pytest.mark.parametrize(
    ("amount", "cents"),
    [
        (1.015, 102),
        (1.005, 100),
        (0.005, 0),
        (0.015, 2),
        (0.025, 2),
        (0.035, 4),
        (2.675, 268),
        (0.285, 28),
        (1.115, 112),
        (0.0, 0),
        (-0.0, 0),
        (5e-324, 0),
        (19.99, 1999),
        (0.29, 29),
        (1e12, 100_000_000_000_000),
        (999_999_999_999.995, 100_000_000_000_000),
        (999_999_999_999.985, 99_999_999_999_998),
        (-1.015, -102),
    ],
)
def test_amount_rounds_to_cents(amount, cents):
    assert to_cents(np.array([amount])).tolist() == [cents]


amounts = st.one_of(
    st.floats(0, AMOUNT_MAX),
    st.floats(0, 1000),
    # halves and their neighbours, where a product rounds to the wrong side
    st.integers(0, 10**15).map(lambda mills: mills / 1000),
    st.integers(0, 10**12).map(lambda n: (10 * n + 5) / 1000),
    st.integers(0, 10**12).map(lambda n: float(np.nextafter((10 * n + 5) / 1000, 0))),
    st.integers(0, 10**12).map(lambda n: float(np.nextafter((10 * n + 5) / 1000, 1e13))),
)


@given(st.lists(amounts, max_size=20))
@example([4.35, 1.255, 8.345, 1.015, 16.075, 549755813888.005])
def test_cents_equal_those_of_the_shortest_decimal(values):
    values = [v for v in values if v <= AMOUNT_MAX]
    assert to_cents(np.array(values, np.float64)).tolist() == [decimal_cents(v) for v in values]


def test_random_halves_of_a_cent_round_like_their_decimals():
    rng = np.random.default_rng(7)
    for scale in (1e2, 1e5, 1e8, 1e11):
        halves = (np.floor(rng.random(5_000) * scale) * 10 + 5) / 1000
        values = np.concatenate([halves, np.nextafter(halves, 0), np.nextafter(halves, 1e13)])
        assert to_cents(values).tolist() == [decimal_cents(v) for v in values.tolist()]


def test_shape_and_type_of_the_array_are_preserved():
    assert to_cents(np.array([[1.015, 2.0]])).tolist() == [[102, 200]]
    cents = to_cents(np.zeros(0))
    assert cents.dtype == np.int64
    assert cents.shape == (0,)


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), 1.1e12, -1.1e12])
def test_nan_and_infinite_amounts_are_refused(amount):
    with pytest.raises(ValueError, match="finite"):
        to_cents(np.array([1.0, amount]))
