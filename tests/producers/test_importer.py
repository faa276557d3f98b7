"""Foreign logs to archives: figures of two real logs, and each rule on a few rows."""

import csv
import json
import os
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from features.errors import ShopstreamError, UsageError
from producers.archive.event_order import ArchiveRange, in_time_order
from producers.archive.known_until import read_known_until
from producers.importing.importer import import_logs
from producers.importing.mapping import builtin_mappings, load_mapping, parse_mapping


def real_log(name):
    beside = Path(__file__).parents[2].parent / "shared" / "data"
    path = Path(os.environ.get("SHOPTEST_SHARED_DATA", beside)) / name
    if not path.exists():
        pytest.skip(f"{name} is not here; SHOPTEST_SHARED_DATA names the folder that has it")
    return path


def imported(file, mapping, out, **options):
    found = load_mapping(mapping) if mapping in builtin_mappings() else ("own", parse_mapping(mapping, "own.yaml"))
    return import_logs([(file, *found)], out, force=True, **options)


def records(out):
    return [json.loads(value) for chunk in in_time_order(ArchiveRange(out)) for value in chunk.values]


def text_file(tmp_path, text, name="log.csv"):
    file = tmp_path / name
    file.write_text(text, "utf-8")
    return file


# --- real logs --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rows_max", [2_000_000, 900])
def test_cdnow_import_equals_a_plain_reading_of_the_file(tmp_path, rows_max):
    file = real_log("cdnow_sample.txt")
    report = imported(file, "cdnow", tmp_path / "a", rows_max=rows_max)
    lines = [line.split() for line in file.read_text().splitlines() if line.strip()]
    orders = records(tmp_path / "a")
    assert (report.rows, report.records["orders"], len(report.customers)) == (6_919, 6_919, 2_357)
    assert report.revenue_cents == sum(round(float(line[4]) * 100) for line in lines) == 24_409_194
    assert Counter(order["customer_id"] for order in orders) == Counter(line[1] for line in lines)
    assert len({order["order_id"] for order in orders}) == len(lines)
    assert all(order["ts"] % 86_400_000 == 0 for order in orders)
    assert orders[0]["ts"] == 852_076_800_000  # 1997-01-01
    assert sum(order["items"][0]["quantity"] for order in orders) == sum(int(line[3]) for line in lines)


@pytest.mark.parametrize("rows_max", [2_000_000, 150_000])
def test_online_retail_import_gives_the_published_figures(tmp_path, rows_max):
    report = imported(real_log("online_retail_lines.parquet"), "online-retail", tmp_path / "a", rows_max=rows_max)
    assert (report.records["orders"], len(report.customers), report.revenue_cents) == (18_532, 4_338, 891_140_790)
    assert report.rows == 541_909 == report.rows_used + report.left_out.total()
    assert report.rows_used == 397_884
    orders = records(tmp_path / "a")
    assert sum(len(order["items"]) for order in orders) == 397_884
    assert {order["country"] for order in orders if order["country"]} >= {"GB", "NO", "IE", "ZA"}


def test_import_does_not_depend_on_the_chunk_size(tmp_path):
    file = real_log("cdnow_sample.txt")
    for name, rows_max in (("a", 2_000_000), ("b", 500)):
        imported(file, "cdnow", tmp_path / name, rows_max=rows_max)
    assert sorted(map(str, records(tmp_path / "a"))) == sorted(map(str, records(tmp_path / "b")))


# --- orders -----------------------------------------------------------------------------------------------------------
ORDERS = """\
order_id,customer_id,created_at,updated_at,total,status,country
1,ann,2025-03-01 10:00,,12.50,paid,DE
1,ann,2025-03-01 10:00,2025-03-05T00:00:00Z,12.50,returned,DE
2,,2025-03-01 10:00,,1,paid,DE
3,bob,yesterday,,1,paid,DE
4,bob,2025-03-02T10:00:00+02:00,,-1,paid,DE
5,bob,2025-03-02T10:00:00+02:00,,two,paid,DE
6,bob,2025-03-02T10:00:00.250+02:00,,7,lost,DE
7,bob,2025-03-02T10:00:00.250+02:00,,7.005,,Germany
8,bob,2025-03-02,2025-03-01,7,paid,DE
,bob,2025-03-02,,7,paid,DE
9,bob,1969-12-31,,7,paid,DE
"""


def test_generic_orders_are_imported_row_by_row(tmp_path):
    report = imported(text_file(tmp_path, ORDERS), "orders-csv", tmp_path / "a")
    assert report.refused == {
        "no customer": 1,
        "no readable time": 1,
        "amount below 0 or above 1e12": 1,
        "no readable total": 1,
        "unknown status": 1,
        "changed before it was placed, or more than 400 days after": 1,
        "no order id": 1,
        "time before 1970 or after 9999": 1,
    }
    assert report.rows == 11
    first, second, refund = records(tmp_path / "a")
    assert (first["order_id"], first["ts"], first["status"], first["total"]) == ("1", 1740823200000, "placed", 12.5)
    assert (second["order_id"], second["ts"], second["country"]) == ("7", 1740902400250, None)
    assert (refund["order_id"], refund["status"]) == ("1", "refunded")
    assert refund["updated_ts"] - refund["ts"] == (3 * 24 + 14) * 3_600_000
    assert {"product_id", "channel"} <= set(report.files[0].absent)
    assert report.dropped == {"country without a code: the record has none": 1}


OWN = """\
kind: orders
file: {format: csv, separator: ";", decimal: ","}
time: {column: at, format: "%d.%m.%Y %H:%M", zone: Europe/Berlin}
currency: {column: cur, rates: {EUR: 1, USD: 0.5}}
order: {rows: line, id: no, customer: who, quantity: n, unit_price: each, channel: {value: store}}
"""


def test_order_lines_with_local_times_commas_and_currencies_are_imported(tmp_path):
    rows = """\
no;who;at;n;each;cur
A;ann;30.03.2025 03:30;2;1.000,25;EUR
A;ann;30.03.2025 03:31;1;0,30;EUR
B;bob;26.10.2025 02:30;4;10,00;USD
C;bob;30.03.2025 02:30;1;1,00;EUR
D;bob;29.03.2025 12:00;1;1,00;CHF
E;bob;29.03.2025 12:00;1,5;1,00;EUR
F;bob;29.03.2025 12:00;1;1,00;EUR
F;cyd;29.03.2025 12:00;1;1,00;EUR
"""
    report = imported(text_file(tmp_path, rows), OWN, tmp_path / "a")
    assert report.refused == {
        "no readable time": 1,  # the clock jumps from 2 to 3
        "currency without a rate": 1,
        "order id used twice, by several customers": 2,
    }
    a, b, weighed = sorted(records(tmp_path / "a"), key=lambda order: order["order_id"])
    assert (weighed["total"], weighed["items"]) == (
        1.5,
        [{"product_id": None, "category": None, "quantity": None, "unit_price": 1.0}],
    )
    assert a["total"] == 2000.80
    assert a["ts"] == 1743298200000  # 01:30 UTC, the earlier of its lines
    assert [line["quantity"] for line in a["items"]] == [2, 1]
    assert b["total"] == 20.0
    assert b["ts"] == 1761438600000  # 02:30 comes twice: the earlier one is 00:30 UTC
    assert b["channel"] == "store"


@pytest.mark.parametrize(
    ("zones", "archived"),
    [(["zone: Europe/Berlin"], "Europe/Berlin"), (["format: iso"], None), (["zone: UTC"], "UTC"),
     (["zone: Europe/Berlin", "zone: Asia/Kolkata"], None), (["zone: Europe/Berlin", "format: iso"], "Europe/Berlin")],
    ids=str,
)  # fmt: skip
def test_archive_has_the_zone_of_the_local_times_of_its_logs(tmp_path, zones, archived):
    logs = []
    for number, zone in enumerate(zones):
        file = tmp_path / f"{number}.csv"
        file.write_text(f"id,who,day,total\n{number},ann,2024-02-01,10\n")
        how = "order: {rows: order, id: id, customer: who, total: total}"
        text = f"kind: orders\nfile: {{format: csv}}\ntime: {{column: day, {zone}}}\n{how}\n"
        logs.append((file, f"m{number}", parse_mapping(text, f"m{number}")))
    import_logs(logs, tmp_path / "a")
    known = read_known_until(tmp_path / "a")
    assert known is not None
    assert known.time_zone == archived


def test_orders_without_ids_are_numbered_and_imported(tmp_path):
    mapping = "kind: orders\nfile: {format: csv}\ntime: {column: d}\norder: {rows: order, customer: c, total: t}\n"
    file = text_file(tmp_path, "c,d,t\na,2025-01-01,5\na,2025-01-01,5\nb,2025-01-01,5\n")
    imported(file, mapping, tmp_path / "a")
    ids = [order["order_id"] for order in records(tmp_path / "a")]
    assert sorted(ids) == ["a-1735689600000-0", "a-1735689600000-1", "b-1735689600000-0"]


def test_rows_with_texts_above_their_bounds_are_omitted_and_counted(tmp_path):
    rows = [
        ("é" * 256, "a", "a"),
        ("é" * 256 + "x", "a", "a"),
        ("1", "x" * 513, "a"),
        ("2", "a", "y" * 1_024),
        ("3", "a", "y" * 1_025),
    ]
    mapping = """\
kind: orders
file: {format: csv}
time: {column: d}
order: {rows: order, id: id, customer: c, total: t, category: k}
"""
    text = "id,c,d,t,k\n" + "".join(f"{name},{customer},2025-01-01,5,{k}\n" for name, customer, k in rows)
    report = imported(text_file(tmp_path, text), mapping, tmp_path / "a")
    assert report.refused == {
        "order_id longer than 512 bytes": 1,
        "customer_id longer than 512 bytes": 1,
        "category longer than 1024 bytes": 1,
    }
    assert report.rows == 5 == report.rows_used + report.refused.total()
    assert sorted(len(order["order_id"].encode()) for order in records(tmp_path / "a")) == [1, 512]


def test_order_of_too_many_lines_is_omitted_with_all_of_its_rows(tmp_path):
    mapping = """\
kind: orders
file: {format: csv}
time: {column: d}
order: {rows: line, id: id, customer: c, quantity: n, unit_price: p}
"""
    lines = "".join(f"{name},a,2025-01-01,1,0.5\n" * count for name, count in (("1", 10_000), ("2", 10_001)))
    report = imported(text_file(tmp_path, "id,c,d,n,p\n" + lines), mapping, tmp_path / "a")
    assert report.refused == {"order of more than 10000 lines": 10_001}
    (order,) = records(tmp_path / "a")
    assert (order["order_id"], len(order["items"]), order["total"]) == ("1", 10_000, 5_000.0)


def test_ids_generated_from_long_ids_are_bounded(tmp_path):
    mapping = "kind: orders\nfile: {format: csv}\ntime: {column: d}\norder: {rows: order, customer: c, total: t}\n"
    file = text_file(tmp_path, f"c,d,t\n{'x' * 512},2025-01-01,5\na,2025-01-01,5\n")
    assert imported(file, mapping, tmp_path / "a").refused == {"order_id longer than 512 bytes": 1}
    clicks = f"""\
customer_id,timestamp,event_type,product_id,price,quantity,device
{"x" * 512},2025-01-01T10:00:00Z,home,,,,mobile
{"x" * 490},2025-01-01T10:00:00Z,home,,,,mobile
{"x" * 513},2025-01-01T10:00:00Z,home,,,,mobile
"""
    report = imported(text_file(tmp_path, clicks), "clicks-csv", tmp_path / "b")
    assert report.refused == {"session_id longer than 512 bytes": 1, "customer_id longer than 512 bytes": 1}
    assert report.rows_used == report.records["events"] == 1


# --- clicks -----------------------------------------------------------------------------------------------------------
def test_generic_clicks_are_split_into_sessions(tmp_path):
    rows = """\
customer_id,timestamp,event_type,product_id,price,quantity,device
ann,2025-01-01T10:00:00Z,home,,,,mobile
ann,2025-01-01T10:29:59.999Z,view,p1,9.99,,mobile
ann,2025-01-01T10:59:59.999Z,cart,p1,9.99,1,
ann,2025-01-01T11:00:00Z,hover,p1,,,
bob,2025-01-01T11:00:00Z,view,p1,,0,tv
bob,2025-01-01T11:00:00Z,view,p1,,,tv
bob,2025-01-01T11:00:00Z,view,p1,nan,0,mobile
"""
    report = imported(text_file(tmp_path, rows), "clicks-csv", tmp_path / "a")
    assert report.refused == {"unknown event type": 1, "unknown device": 2, "no readable price": 1}
    home, view, cart = records(tmp_path / "a")
    assert home["session_id"] == view["session_id"] != cart["session_id"]
    assert (view["event_type"], view["price"], cart["device"]) == ("product_view", 9.99, "desktop")


@pytest.mark.parametrize(("form", "value"), [("epoch_s", "1735725600"), ("epoch_ms", "1735725600000")])
def test_epoch_times_are_read_in_their_unit(tmp_path, form, value):
    mapping = f"""
kind: clicks
file: {{format: csv}}
time: {{column: t, format: {form}}}
click: {{customer: c, type: {{value: search}}}}
"""
    imported(text_file(tmp_path, f"c,t\na,{value}\n"), mapping, tmp_path / "a")
    assert records(tmp_path / "a")[0]["ts"] == 1735725600000


def test_parquet_times_with_and_without_a_zone_are_read(tmp_path):
    mapping = """
kind: orders
file: {format: parquet}
time: {column: d, zone: Europe/Berlin}
order: {rows: order, customer: c, total: t}
"""
    naive = pl.DataFrame({"c": [17.0], "t": [1], "d": ["2025-01-01T10:00:00"]}).with_columns(
        pl.col("d").str.to_datetime()
    )
    for zone, expected in ((None, 1735722000000), ("UTC", 1735725600000)):
        naive.with_columns(pl.col("d").dt.replace_time_zone(zone)).write_parquet(tmp_path / "x.parquet")
        imported(tmp_path / "x.parquet", mapping, tmp_path / "a")
        assert [(o["customer_id"], o["ts"]) for o in records(tmp_path / "a")] == [("17", expected)]


# --- as a whole -------------------------------------------------------------------------------------------------------
def test_orders_and_clicks_are_imported_into_one_archive(tmp_path):
    orders = text_file(tmp_path, ORDERS, "orders.csv")
    clicks = text_file(tmp_path, "customer_id,timestamp,event_type\nann,2025-01-01,view\n", "clicks.csv")
    logs = [(orders, *load_mapping("orders-csv")), (clicks, *load_mapping("clicks-csv"))]
    report = import_logs(logs, tmp_path / "a")
    assert [file.topic for file in report.files] == ["orders", "events"]
    assert report.records == {"orders": 3, "events": 1}
    assert len(records(tmp_path / "a")) == 4


def test_missing_column_is_named_with_the_existing_ones(tmp_path):
    with pytest.raises(UsageError, match=r"no column created_at; it has order_id, customer_id, total"):
        imported(text_file(tmp_path, "order_id,customer_id,total\n1,a,2\n"), "orders-csv", tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("name", ["cdnow", "orders-csv", "online-retail"])
def test_unreadable_file_is_an_error_and_leaves_no_archive(tmp_path, name):
    file = tmp_path / "log"
    file.write_bytes(b"\x00\xff\x01")
    with pytest.raises(ShopstreamError, match="log"):
        imported(file, name, tmp_path / "a")
    with pytest.raises(ShopstreamError, match="no file"):
        imported(tmp_path / "none", name, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_import_without_any_record_is_an_error_with_the_reasons(tmp_path):
    with pytest.raises(ShopstreamError, match="no customer: 1"):
        imported(
            text_file(tmp_path, ORDERS.splitlines()[0] + "\n2,,2025-03-01,,1,paid,DE\n"), "orders-csv", tmp_path / "a"
        )


def test_quoted_text_with_separators_and_umlauts_is_read(tmp_path):
    with (tmp_path / "q.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["order_id", "customer_id", "created_at", "total"])
        writer.writerow(['a,"b', "Jürgen\nK", "2025-01-01", "5"])
    imported(tmp_path / "q.csv", "orders-csv", tmp_path / "a")
    (found,) = records(tmp_path / "a")
    assert (found["order_id"], found["customer_id"]) == ('a,"b', "Jürgen\nK")
