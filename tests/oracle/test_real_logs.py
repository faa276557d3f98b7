"""The oracle itself is held against figures that others counted on logs that nobody here wrote."""

import pytest
from oracle.duckdb_oracle import ArchiveOracle
from oracle.files import write_plain
from oracle.real_logs import (
    CDNOW,
    CDNOW_AS_OF,
    CDNOW_TOTAL,
    RETAIL,
    RETAIL_AS_OF,
    RETAIL_TOTAL,
    assert_figures,
    cdnow_orders,
    retail_orders,
)

AFTER_CDNOW = 1_000_000_000_000


@pytest.mark.parametrize(
    ("read", "as_of", "windows", "whole"),
    [
        (cdnow_orders, CDNOW_AS_OF, CDNOW, None),
        (cdnow_orders, AFTER_CDNOW, (), CDNOW_TOTAL),
        (retail_orders, RETAIL_AS_OF, RETAIL, RETAIL_TOTAL),
    ],
    ids=["cdnow-at-39-weeks", "cdnow-whole", "online-retail"],
)
def test_sql_oracle_gives_the_published_figures_of_a_real_log(tmp_path, read, as_of, windows, whole):
    with ArchiveOracle(write_plain(tmp_path, [], read())) as oracle:
        assert_figures(oracle.rows(as_of), windows, whole)
