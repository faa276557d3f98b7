"""The two oracles were written apart, in SQL and in loops; here they must agree on every trap."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from oracle.adversarial import Records, adversarial
from oracle.duckdb_oracle import ArchiveOracle
from oracle.files import write_archive, write_plain
from oracle.loops import loop_order_items, loop_orders, loop_rows, loop_sessions
from oracle.rows import assert_same_rows, feature_frame
from oracle.strategies import streams

from features.schema import ORDER_FIELDS, ORDER_ITEM_FIELDS, SESSION_FIELDS

SEEDS = range(4)
ORDER_KEY = ("customer_id", "order_id")


@pytest.fixture(scope="module", params=SEEDS, ids=lambda seed: f"seed{seed}")
def archive(request, tmp_path_factory) -> tuple[Records, Path]:
    records = adversarial(request.param)
    return records, write_archive(tmp_path_factory.mktemp("archive"), records)


def test_feature_rows_of_both_oracles_agree(archive):
    records, directory = archive
    with ArchiveOracle(directory) as oracle:
        for as_of in records.as_ofs:
            loops = feature_frame(loop_rows(records.events, records.orders, as_of))
            assert_same_rows(oracle.rows(as_of), loops, note=f"seed {records.seed} as_of {as_of}")


def test_documents_of_both_oracles_agree(archive):
    records, directory = archive
    with ArchiveOracle(directory) as oracle:
        for as_of in records.as_ofs[:3]:
            for got, expected, key in (
                (oracle.sessions(as_of), loop_sessions(records.events, as_of), ("customer_id", "session_id")),
                (oracle.orders(as_of), loop_orders(records.orders, as_of), ORDER_KEY),
                (oracle.order_items(as_of), loop_order_items(records.orders, as_of), (*ORDER_KEY, "line")),
            ):
                assert_same_rows(got, pl.DataFrame(expected, schema=got.schema), key, f"as_of {as_of}")


def test_both_oracles_reject_the_broken_rows_only(archive):
    records, directory = archive
    with ArchiveOracle(directory) as oracle:
        assert oracle.invalid() == {"events": len(records.broken_events), "orders": len(records.broken_orders)}


@given(stream=streams())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_feature_rows_of_small_streams_agree(tmp_path_factory, stream):
    with ArchiveOracle(write_plain(tmp_path_factory.mktemp("small"), stream.events, stream.orders)) as oracle:
        for as_of in (stream.as_of, stream.end):
            loops = feature_frame(loop_rows(stream.events, stream.orders, as_of))
            assert_same_rows(oracle.rows(as_of), loops)


def test_oracle_columns_equal_the_schema(archive):
    _, directory = archive
    with ArchiveOracle(directory) as oracle:
        for frame, fields in (
            (oracle.sessions(1), SESSION_FIELDS),
            (oracle.orders(1), ORDER_FIELDS),
            (oracle.order_items(1), ORDER_ITEM_FIELDS),
        ):
            assert frame.columns == [field.name for field in fields]
