"""Deleted orders: their last record is void, nothing follows it, and the printed revenue is without them."""

from datetime import date

import polars as pl
import pytest

from features.errors import UsageError
from producers.archive import archive
from producers.shop.generate import generate
from producers.shop.shop import Shop

SHOP = Shop(end_ms=archive.day_start_ms(date(2025, 6, 1)), seed=4, customers=400, events=25_000, days=80)


def orders_in(directory):
    return pl.concat([pl.from_arrow(table) for _, table in archive.iter_days(directory, "orders")])


def last_records(orders):
    return orders.sort("updated_ts", maintain_order=True).group_by("order_id").last()


def placed_cents(records):
    return round(records.filter(pl.col("status") == "placed")["total"].sum() * 100)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same shop without and with deletions."""
    folder = tmp_path_factory.mktemp("deletions")
    plain = generate(SHOP, folder / "plain")
    return (folder / "plain", plain), (folder / "deleted", generate(SHOP, folder / "deleted", deleted=0.2))


def test_deletion_changes_only_the_records_of_its_order(both):
    (plain, _), (deleted, counts) = both
    before, after = orders_in(plain), orders_in(deleted)
    void = after.filter(pl.col("status") == "void")
    assert counts.deleted_orders == len(void) == void["order_id"].n_unique() > 20
    assert (
        after.join(void, on="order_id", how="anti")
        .sort("order_id", "updated_ts")
        .equals(before.join(void, on="order_id", how="anti").sort("order_id", "updated_ts"))
    )


def test_deletion_is_the_last_record_and_repeats_the_record_before_it(both):
    _, (deleted, _) = both
    orders = orders_in(deleted).sort("order_id", "updated_ts", maintain_order=True)
    of_deleted = orders.filter((pl.col("status") == "void").any().over("order_id"))
    for _, records in of_deleted.group_by("order_id"):
        *_, former, last = records.to_dicts()
        assert last["status"] == "void"
        assert last["updated_ts"] > former["updated_ts"]
        assert {**last, "status": former["status"], "updated_ts": former["updated_ts"]} == former


def test_revenue_is_without_the_deleted_orders(both):
    (plain, without), (deleted, counts) = both
    assert without.counts.revenue_cents == placed_cents(last_records(orders_in(plain)))
    remaining = counts.counts.revenue_cents - counts.deleted_revenue_cents
    assert remaining == placed_cents(last_records(orders_in(deleted))) < without.counts.revenue_cents
    assert counts.order_records == len(orders_in(deleted))


def test_days_of_the_archive_hold_the_deletions_of_the_day(both):
    _, (deleted, _) = both
    for day, table in archive.iter_days(deleted, "orders"):
        assert {archive.utc_day(ms) for ms in pl.from_arrow(table)["updated_ts"].to_physical()} == {day}


def test_share_of_deletions_out_of_its_bounds_is_refused(tmp_path):
    with pytest.raises(UsageError, match="share of deleted orders"):
        generate(SHOP, tmp_path / "a", deleted=1.5)
