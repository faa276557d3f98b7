"""The batch rows of an archive equal the oracle's: every column of every customer, at every border.

Nothing here knows how the features are computed; the oracle is written from the contract and shares no code with them.
"""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from oracle.adversarial import Records, adversarial
from oracle.by_hand import ANN, AS_OF, BOB, CAT, EVENTS, ORDERS
from oracle.duckdb_oracle import ArchiveOracle
from oracle.files import write_archive, write_plain
from oracle.loops import in_archive, loop_rows
from oracle.real_logs import (
    LOGS,
    assert_figures,
)
from oracle.rows import FEATURE_DTYPES, assert_same_rows, feature_frame
from oracle.shop import DAY, WINDOWS
from typer.testing import CliRunner

from features.backfill import ArchiveCounts, rows_at
from shopstream.cli.app import build_app
from shopstream.jobs.archive_features import archive_days, batch_features

SEEDS = range(4)
FAR_AHEAD = 4_000_000_000_000


@pytest.fixture(scope="module", params=SEEDS, ids=lambda seed: f"seed{seed}")
def archive(request, tmp_path_factory) -> tuple[Records, Path]:
    records = adversarial(request.param)
    return records, write_archive(tmp_path_factory.mktemp("archive"), records)


def test_rows_of_an_adversarial_archive_equal_the_oracle(archive):
    records, directory = archive
    with ArchiveOracle(directory) as oracle:
        for as_of in records.as_ofs[:3]:
            got, expected = batch_features(directory, as_of), oracle.rows(as_of)
            assert_same_rows(got, expected, note=f"seed {records.seed}, as_of {as_of}")
            assert got["customer_id"].to_list() == expected["customer_id"].to_list(), "order of rows"


def test_one_pass_over_all_cutoffs_equals_single_passes(archive):
    """As training reads it. Half of the cut-offs lie W days after some record, which has just left the window then,
    half of them a millisecond earlier."""
    records, directory = archive
    rng = np.random.default_rng(records.seed)
    times = sorted({row["ts"] for row in (*records.events, *records.orders)})
    borders = [int(rng.choice(times)) + days * DAY for days in WINDOWS for _ in range(3)]
    cut_offs = sorted({*records.as_ofs, *borders, *(border - 1 for border in borders)})
    days, read_day = archive_days(directory)
    with ArchiveOracle(directory) as oracle:
        for as_of, got in rows_at(days, read_day, cut_offs):
            assert_same_rows(got, oracle.rows(as_of), note=f"seed {records.seed}, as_of {as_of}")


def test_every_broken_row_is_counted(archive):
    records, directory = archive
    counts = ArchiveCounts()
    batch_features(directory, FAR_AHEAD, counts)
    assert counts.rejected.total() == len(records.broken_events) + len(records.broken_orders)
    assert counts.duplicates >= len(records.events) - len(in_archive(records.events))


def test_features_command_writes_the_rows(tmp_path):
    out = tmp_path / "rows.parquet"
    directory = write_plain(tmp_path / "archive", EVENTS, ORDERS)
    result = CliRunner().invoke(build_app(), ["features", str(directory), "--as-of", "2024-03-31", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert_same_rows(pl.read_parquet(out), feature_frame([ANN, BOB, CAT]))


def test_archive_without_valid_rows_gives_the_declared_columns(archive):
    _, directory = archive
    rows = batch_features(directory, 0)
    assert rows.is_empty()
    assert list(rows.schema.items()) == list(FEATURE_DTYPES.items())


def test_rows_equal_values_worked_out_by_hand(tmp_path):
    rows = batch_features(write_plain(tmp_path, EVENTS, ORDERS), AS_OF)
    assert_same_rows(rows, feature_frame([ANN, BOB, CAT]))


@pytest.mark.parametrize("table", ["events", "orders"])
def test_archive_with_one_table_equals_the_oracle(tmp_path, table):
    records = adversarial(1)
    events, orders = (records.events, []) if table == "events" else ([], records.orders)
    rows = batch_features(write_plain(tmp_path, events, orders), records.as_of)
    assert_same_rows(rows, feature_frame(loop_rows(events, orders, records.as_of)))


@LOGS
def test_rows_of_a_real_log_equal_the_oracle(tmp_path, read, as_of, windows, whole):
    directory = write_plain(tmp_path, [], read())
    rows = batch_features(directory, as_of)
    assert_figures(rows, windows, whole)
    with ArchiveOracle(directory) as oracle:
        assert_same_rows(rows, oracle.rows(as_of))
