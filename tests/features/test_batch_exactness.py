"""The batch rows of an archive equal the oracle's: every column of every customer, at every border.

Nothing here knows how the features are computed; the oracle is written from the contract and shares no code with them.
"""

from pathlib import Path

import polars as pl
import pytest
from oracle.adversarial import Records, adversarial
from oracle.by_hand import ANN, AS_OF, BOB, EVENTS, ORDERS
from oracle.duckdb_oracle import ArchiveOracle
from oracle.files import write_archive, write_plain
from oracle.loops import loop_rows
from oracle.real_logs import (
    CDNOW,
    CDNOW_AS_OF,
    RETAIL,
    RETAIL_AS_OF,
    RETAIL_TOTAL,
    assert_figures,
    cdnow_orders,
    retail_orders,
)
from oracle.rows import FEATURE_DTYPES, assert_same_rows, feature_frame
from oracle.shop import DAY, WINDOWS

batch_features = pytest.importorskip("shopstream.commands.features", exc_type=ModuleNotFoundError).batch_features

SEEDS = range(12)


@pytest.fixture(scope="module", params=SEEDS, ids=lambda seed: f"seed{seed}")
def archive(request, tmp_path_factory) -> tuple[Records, Path]:
    records = adversarial(request.param)
    return records, write_archive(tmp_path_factory.mktemp("archive"), records)


def test_adversarial_archive(archive):
    records, directory = archive
    with ArchiveOracle(directory) as oracle:
        for as_of in records.as_ofs:
            got = batch_features(directory, as_of)
            assert_same_rows(got, oracle.rows(as_of), note=f"seed {records.seed}, as_of {as_of}")


def test_at_each_window_border(archive):
    """as_of walks over single records: W days after one it has just left the window, 1 ms earlier it has not."""
    records, directory = archive
    times = sorted({row["ts"] for row in (*records.events, *records.orders)})
    chosen = [times[records.seed * 37 % len(times)] + days * DAY + step for days in WINDOWS[:3] for step in (-1, 0)]
    with ArchiveOracle(directory) as oracle:
        for as_of in chosen:
            assert_same_rows(batch_features(directory, as_of), oracle.rows(as_of), note=f"as_of {as_of}")


def test_columns_and_types(archive):
    records, directory = archive
    for as_of in (records.as_of, 0):
        assert list(batch_features(directory, as_of).schema.items()) == list(FEATURE_DTYPES.items())
    assert batch_features(directory, 0).is_empty()


def test_figures_worked_out_on_paper(tmp_path):
    rows = batch_features(write_plain(tmp_path, EVENTS, ORDERS), AS_OF)
    assert_same_rows(rows, feature_frame([ANN, BOB]))


@pytest.mark.parametrize("table", ["events", "orders"])
def test_archive_of_one_table(tmp_path, table):
    records = adversarial(1)
    events, orders = (records.events, []) if table == "events" else ([], records.orders)
    rows = batch_features(write_plain(tmp_path, events, orders), records.as_of)
    assert_same_rows(rows, feature_frame(loop_rows(events, orders, records.as_of)))


@pytest.mark.parametrize(
    ("read", "as_of", "windows", "whole"),
    [(cdnow_orders, CDNOW_AS_OF, CDNOW, None), (retail_orders, RETAIL_AS_OF, RETAIL, RETAIL_TOTAL)],
    ids=["cdnow", "online-retail"],
)
def test_real_log(tmp_path, read, as_of, windows, whole):
    directory = write_plain(tmp_path, [], read())
    rows = batch_features(directory, as_of)
    assert_figures(rows, windows, whole)
    with ArchiveOracle(directory) as oracle:
        assert_same_rows(rows, oracle.rows(as_of))


def test_rows_are_in_order_of_customer(archive):
    records, directory = archive
    ids = batch_features(directory, records.as_of)["customer_id"]
    assert ids.n_unique() == len(ids)
    assert isinstance(ids.dtype, pl.String)
