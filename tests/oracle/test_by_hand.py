"""Both oracles find the figures that were worked out on paper, and a difference is told in words."""

import polars as pl
import pytest
from oracle.by_hand import ANN, AS_OF, BOB, CAT, EVENTS, ORDERS
from oracle.duckdb_oracle import oracle_rows
from oracle.files import write_plain
from oracle.loops import loop_rows
from oracle.rows import assert_same_rows, feature_frame


@pytest.fixture(scope="module")
def expected() -> pl.DataFrame:
    return feature_frame([ANN, BOB, CAT])


def test_loop_oracle_equals_values_worked_out_by_hand(expected):
    assert_same_rows(feature_frame(loop_rows(EVENTS, ORDERS, AS_OF)), expected)


def test_sql_oracle_equals_values_worked_out_by_hand(tmp_path, expected):
    assert_same_rows(oracle_rows(write_plain(tmp_path, EVENTS, ORDERS), AS_OF), expected)


def test_comparison_shows_the_difference(expected):
    wrong = expected.with_columns(orders_90d=pl.lit(7, pl.Int64()))
    with pytest.raises(AssertionError, match=r"\('ann',\): orders_90d: got 7, expected 1"):
        assert_same_rows(wrong, expected)
    with pytest.raises(AssertionError, match=r"column 0: got \('abandoned_carts_30d', Int64\), expected"):
        assert_same_rows(expected.select(sorted(expected.columns)), expected)
    with pytest.raises(AssertionError, match=r"\('bob',\): missing"):
        assert_same_rows(expected.head(1), expected)
    with pytest.raises(AssertionError, match="not expected"):
        assert_same_rows(expected, expected.head(1))
    near = expected.with_columns(pl.col("revenue_total") * (1 + 1e-10))
    assert_same_rows(near, expected)
    with pytest.raises(AssertionError, match="revenue_total"):
        assert_same_rows(expected.with_columns(pl.col("revenue_total") * (1 + 1e-8)), expected)
