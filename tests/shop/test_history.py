"""What a history is: exact in number, the same for the same seed, valid in every row, bounded in memory."""

import subprocess
import sys
from datetime import date
from pathlib import Path

import duckdb
import msgspec
import pyarrow.parquet as pq
import pytest

from features.errors import ShopstreamError, UsageError
from features.schema import DAY_MS, ORDER_CHANGE_MS_MAX, Customer, Event, Order, arrow_schema
from producers.archive import archive
from producers.shop import history
from producers.shop.generate import generate
from producers.shop.shop import Shop, build, checked, shop_from_json, shop_to_json

END_MS = archive.day_start_ms(date(2025, 6, 1))


def contents(directory):
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_gives_others(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        shop = Shop(end_ms=END_MS, seed=seed, customers=200, events=8_000, days=20)
        generate(shop, tmp_path / name, dirt=0.02, csv=True)
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert a == b
    differing = {path for path in a.keys() & c.keys() if a[path] != c[path]}
    assert differing == a.keys() & c.keys()
    assert {"customers.parquet", "truth.parquet", "truth_dirt.parquet", "shop.json", "csv/customers.csv"} < a.keys()


@pytest.mark.parametrize(
    ("customers", "events", "days"),
    [(1, 1, 1), (1, 2, 30), (3, 10, 365), (1, 5_000, 10), (5_000, 300, 7), (50, 1_000, 1), (2_000, 30_000, 3)],
)
def test_numbers_of_events_and_customers_are_exact(customers, events, days):
    model = build(Shop(end_ms=END_MS, seed=5, customers=customers, events=events, days=days))
    batches = list(history.history(model))
    assert sum(batch.events.num_rows for batch in batches) == events
    assert len(model.population) == customers


def test_day_in_many_slices_is_exact_and_ordered(monkeypatch):
    monkeypatch.setattr(history, "SLICE_EVENTS_MAX", 500)
    shop = Shop(end_ms=END_MS, seed=5, customers=400, events=30_001, days=2)
    batches = list(history.history(build(shop)))
    assert len(batches) > 40
    assert sum(batch.events.num_rows for batch in batches) == shop.events
    border = shop.start_ms
    for batch in batches:
        assert batch.start_ms == border
        border = batch.end_ms
        for table, column in ((batch.events, "ts"), (batch.orders, "updated_ts")):
            times = table[column].cast("int64").to_pylist()
            assert times == sorted(times)
            assert all(batch.start_ms <= t < batch.end_ms for t in times)
    ids = [i for batch in batches for i in batch.events["event_id"].to_pylist()]
    assert len(set(ids)) == len(ids)


def millis(row):
    return {k: round(v.timestamp() * 1000) if k.endswith("ts") and v is not None else v for k, v in row.items()}


def test_every_row_is_a_valid_record_in_the_folder_of_its_day(shop, archive_dir):
    first, last = archive.days(archive_dir, "events")[0], archive.days(archive_dir, "events")[-1]
    assert (archive.day_start_ms(first), archive.day_start_ms(last) + DAY_MS) == (shop.start_ms, shop.end_ms)
    for day, table in archive.iter_days(archive_dir, "events"):
        if day.day % 10:
            continue
        for event in msgspec.convert([millis(row) for row in table.to_pylist()], list[Event]):
            assert archive.utc_day(event.ts) == day
            with_product = event.event_type in ("product_view", "add_to_cart", "remove_from_cart", "purchase")
            of_product = (event.product_id, event.category, event.price)
            assert all(v is not None for v in of_product) if with_product else of_product == (None, None, None)
            assert (event.quantity is not None) == (with_product and event.event_type != "product_view")
            assert event.channel is not None
            assert event.country is not None
    for day, table in archive.iter_days(archive_dir, "orders"):
        for order in msgspec.convert([millis(row) for row in table.to_pylist()], list[Order]):
            assert archive.utc_day(order.updated_ts) == day
            assert order.ts <= order.updated_ts <= order.ts + ORDER_CHANGE_MS_MAX
            assert order.updated_ts < shop.end_ms
            assert round(order.total * 100) == sum(i.quantity * round(i.unit_price * 100) for i in order.items)
            assert order.payment_method
    profiles = msgspec.convert([millis(row) for row in archive.read_customers(archive_dir).to_pylist()], list[Customer])
    assert len({p.customer_id for p in profiles}) == len({p.email for p in profiles}) == shop.customers
    assert all(p.email.endswith("@example.com") and p.email.isascii() and 18 <= p.age <= 90 for p in profiles)
    assert all(p.signup_ts < shop.end_ms for p in profiles)


def test_files_have_the_documented_schema(archive_dir):
    for topic, record in (("events", Event), ("orders", Order)):
        for file in sorted((archive_dir / topic).rglob("*.parquet"))[::60]:
            assert pq.read_schema(file).equals(arrow_schema(record))
            assert pq.ParquetFile(file).metadata.row_group(0).column(0).compression == "ZSTD"


@pytest.fixture(scope="module")
def sql(archive_dir):
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        for topic in ("events", "orders"):
            connection.execute(f"create view {topic} as from read_parquet('{archive_dir}/{topic}/*/*.parquet')")
        connection.execute(
            "create table sessions as select customer_id, session_id, min(ts) start_ts, max(ts) last_ts, count(*) n,"
            " bool_or(event_type = 'add_to_cart') cart, bool_or(event_type = 'purchase') bought,"
            " bool_or(event_type = 'checkout') checkout, count(distinct device) devices from events group by all"
        )
        yield lambda query: connection.execute(query).fetchall()


def test_ids_are_unique_and_sessions_have_one_customer_and_last_less_than_a_day(sql):
    assert sql("select count(*) - count(distinct event_id) from events") == [(0,)]
    assert sql("select count(*) - count(distinct session_id) from sessions") == [(0,)]
    assert sql("select count(*) from sessions where last_ts - start_ts >= interval 24 hour or devices > 1") == [(0,)]
    assert sql(
        "select count(*) from (select order_id from orders group by 1 having count(distinct customer_id) > 1)"
    ) == [(0,)]


def test_order_equals_its_purchase_events(sql):
    """One purchase event a line, at the order's ts, with its products, prices and quantities."""
    differing = sql(
        "with lines as (select session_id, ts, unnest(items) i from orders where updated_ts = ts),"
        " a as (select session_id, ts, i.product_id p, i.category c, i.quantity q, i.unit_price u from lines),"
        " b as (select session_id, ts, product_id p, category c, quantity q, price u from events"
        "       where event_type = 'purchase')"
        " select (select count(*) from (from a except all from b)) + (select count(*) from (from b except all from a))"
    )
    assert differing == [(0,)]
    assert sql("select count(*) > 3000 from orders where updated_ts = ts") == [(True,)]


def test_purchased_products_were_viewed_and_added_to_the_cart(sql):
    for later, earlier in (
        ("purchase", "add_to_cart"),
        ("remove_from_cart", "add_to_cart"),
        ("add_to_cart", "product_view"),
    ):
        orphans = sql(
            f"select count(*) from events a where event_type = '{later}' and not exists (from events b"
            f" where b.event_type = '{earlier}' and b.session_id = a.session_id and b.product_id = a.product_id"
            " and b.ts <= a.ts)"
        )
        assert orphans == [(0,)], later


def test_printed_counts_equal_the_archive(sql, shop, archive_dir):
    counts = sum((batch.counts for batch in history.history(build(shop))), start=history.HistoryCounts())
    assert sql("select count(*), sum(cart::int), sum(bought::int) from sessions") == [
        (counts.sessions, counts.cart_sessions, counts.converted_sessions)
    ]
    assert sql(
        "with winning as (select order_id, arg_max(status, updated_ts) status, arg_max(total, updated_ts) total"
        " from orders group by 1)"
        " select count(*), round(sum(total * 100) filter (status = 'placed'))::bigint from winning"
    ) == [(counts.orders, counts.revenue_cents)]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of the process from /proc")
def test_memory_does_not_grow_with_the_length_of_history(tmp_path):
    def peak_mb(days, events):
        code = (
            "from pathlib import Path; from producers.shop.generate import generate;"
            f"from producers.shop.shop import Shop; generate(Shop(end_ms={END_MS}, days={days}, events={events},"
            f" customers=5000), Path({str(tmp_path / str(days))!r}));"
            "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
        )
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=300)
        return int(done.stdout) / 1024

    short, long = peak_mb(30, 300_000), peak_mb(360, 3_600_000)
    assert long < short + 60
    assert long < 350


@pytest.mark.parametrize(
    "impossible",
    [
        {"end_ms": END_MS + 1},
        {"customers": 0},
        {"events": 0},
        {"days": 0},
        {"seed": -1},
        {"conversion": 0.9},
        {"conversion": 0.5, "abandonment": 0.9},
        {"end_ms": DAY_MS * 100},
    ],
)
def test_an_impossible_shop_is_a_usage_error(impossible):
    with pytest.raises(UsageError):
        checked(Shop(**({"end_ms": END_MS} | impossible)))


def test_shop_is_stored_with_its_archive(shop, archive_dir):
    assert shop_from_json((archive_dir / archive.SHOP_FILE).read_text()) == shop
    with pytest.raises(ShopstreamError, match=r"shop\.json"):
        shop_from_json(shop_to_json(shop).replace('"model": 1', '"model": 99'))
