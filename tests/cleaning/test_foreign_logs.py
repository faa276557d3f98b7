"""Foreign logs by a mapping: every row of the file is used or explained."""

import sys
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))

from conftest import NOW_MS, read

from features.errors import UsageError
from producers.archive.archive import day_start_ms
from producers.archive.known_until import known_until_ms
from producers.importing.mapping import load_mapping
from shopstream.cli.app import build_app
from shopstream.jobs.clean_logs import clean_logs
from training.cleaning.plan import CleaningPlan

ORDERS = """order_id,customer_id,created_at,total,status,country,email
1,7,2025-05-01 10:00,10.00,Shipped,de,late@example.com
1,7,2025-05-01 10:00,10.00,Shipped,de,late@example.com
2,7,2025-04-01T10:00:00Z,20.005,paid,DE,early@example.com
3,8,2025-05-02 10:00,5,PLACED,DE,alone@example.com
4,8,someday,5,paid,DE,alone@example.com
5,8,2025-05-03 10:00,5,lost,DE,alone@example.com
6,8,2031-05-03 10:00,5,paid,DE,alone@example.com
"""


@pytest.fixture
def orders(tmp_path) -> Path:
    file = tmp_path / "orders.csv"
    file.write_text(ORDERS)
    return file


def test_every_row_of_a_log_is_imported_or_in_the_change_log(orders, tmp_path):
    report = clean_logs(
        [(orders, *load_mapping("orders-csv"))], tmp_path / "out", CleaningPlan(), NOW_MS, person=["email"]
    )
    (file,) = report["source"]["files"]
    assert (file["rows"], file["used"]) == (7, 4)
    assert file["left_out"] == {"no readable time": 1, "unknown status": 1, "repeats another row": 1}
    assert file["examples"]["no readable time"][0].startswith("line 6: ")
    assert "someday" in file["examples"]["no readable time"][0]
    assert file["examples"]["repeats another row"] == ["line 3"]
    assert (file["respelt"], file["zoneless"]) == (2, 5)
    assert report["rows"]["orders"] == {"in": 4, "out": 3, "dropped": 1, "unexplained": 0}
    records = read(tmp_path / "out", "orders").sort("ts")
    assert records.select("order_id", "customer_id", "status", "total").rows() == [
        ("2", "7-1", "placed", 20.0), ("1", "7-2", "placed", 10.0), ("3", "8", "placed", 5.0),
    ]  # fmt: skip
    ids = pl.read_parquet(tmp_path / "out" / "customer_ids.parquet")
    assert ids.select("old_id", "new_id").rows() == [("7", "7-1"), ("7", "7-2")]
    assert "email" not in ids.columns


def test_equal_rows_without_an_id_are_not_duplicates(tmp_path):
    file = tmp_path / "log.txt"
    file.write_text("1 1 19970101 1 10.00\n1 1 19970101 1 10.00\n")
    report = clean_logs([(file, *load_mapping("cdnow"))], tmp_path / "out", CleaningPlan(), NOW_MS)
    assert report["rows"]["orders"]["out"] == 2


def test_equal_lines_of_an_order_are_two_pieces(tmp_path):
    file = tmp_path / "lines.csv"
    file.write_text(
        "no,who,day,piece,n,price\nI1,a,2024-01-01,MUG,1,5\nI1,a,2024-01-01,MUG,1,5\nI2,a,2024-01-02,CUP,2,3\n"
    )
    text = (
        "kind: orders\nfile: {format: csv}\ntime: {column: day}\norder: {rows: line, id: no, "
        "customer: who, product: piece, quantity: n, unit_price: price}\n"
    )
    (tmp_path / "m.yaml").write_text(text)
    report = clean_logs([(file, *load_mapping(str(tmp_path / "m.yaml")))], tmp_path / "out", CleaningPlan(), NOW_MS)
    assert report["source"]["files"][0]["left_out"] == {}
    orders = read(tmp_path / "out", "orders").sort("order_id")
    assert orders["total"].to_list() == [10.0, 6.0]
    assert orders["items"].list.len().to_list() == [2, 1]


def test_cleaned_log_of_dates_is_known_to_the_end_of_its_last_day(tmp_path):
    file = tmp_path / "orders.csv"
    lines = "1,a,2025-05-01,5\n2,a,2025-05-03,5\n3,a,2031-01-01,5\n"
    file.write_text(f"order_id,customer_id,created_at,total\n{lines}")
    clean_logs([(file, *load_mapping("orders-csv"))], tmp_path / "out", CleaningPlan(), NOW_MS)
    assert known_until_ms(tmp_path / "out") == day_start_ms(date(2025, 5, 4))


def test_event_types_and_devices_in_other_spellings_are_corrected(tmp_path):
    file = tmp_path / "clicks.csv"
    file.write_text(
        "timestamp,customer_id,event_type,device,event_id\n"
        "2025-05-01T10:00:00Z,a,Product View,MOBILE,1\n2025-05-01T10:01:00Z,a,VIEW,Desktop,2\n"
        "2025-05-01T10:02:00Z,a,wish,mobile,3\n"
    )
    report = clean_logs([(file, *load_mapping("clicks-csv"))], tmp_path / "out", CleaningPlan(), NOW_MS)
    assert report["source"]["files"][0]["left_out"] == {"unknown event type": 1}
    rows = read(tmp_path / "out", "events").sort("ts")
    assert rows.select("event_type", "device").rows() == [("product_view", "mobile"), ("product_view", "desktop")]


def test_all_customer_ids_are_replaced_after_shared_ids_are_split(orders, tmp_path):
    clean_logs(
        [(orders, *load_mapping("orders-csv"))], tmp_path / "out", CleaningPlan(ids="all"), NOW_MS, person=["email"]
    )
    ids = pl.read_parquet(tmp_path / "out" / "customer_ids.parquet")
    assert ids.select("old_id", "new_id").rows() == [("7", "c0000001"), ("7", "c0000002"), ("8", "c0000003")]


def test_a_missing_column_is_named(orders, tmp_path):
    with pytest.raises(UsageError, match="has no column phone"):
        clean_logs([(orders, *load_mapping("orders-csv"))], tmp_path / "out", CleaningPlan(), NOW_MS, person=["phone"])
    assert [path.name for path in tmp_path.iterdir()] == ["orders.csv"]


def test_amount_with_a_decimal_comma_is_read_exactly(tmp_path):
    text = load_mapping("orders-csv")[1].model_copy()
    file = tmp_path / "o.csv"
    file.write_text('order_id,customer_id,created_at,total\n1,a,2025-05-01,"1.234,50"\n')
    mapping = text.model_copy(update={"file": text.file.model_copy(update={"decimal": ","})})
    clean_logs([(file, "o", mapping)], tmp_path / "out", CleaningPlan(), NOW_MS)
    assert read(tmp_path / "out", "orders")["total"].to_list() == [1234.5]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["orders.csv", "--out", "x"], "Foreign logs need a mapping"),
        (["a", "--identity-column", "email", "--out", "x"], "--identity-column applies to foreign logs"),
        (["a", "b", "c", "--mapping", "x", "--mapping", "y", "--out", "x"], "3 files, but 2 mappings"),
    ],
)
def test_a_wrong_call_is_a_usage_error(arguments, said, orders, monkeypatch):
    monkeypatch.chdir(orders.parent)
    done = CliRunner().invoke(build_app(), ["clean", *arguments])
    assert isinstance(done.exception, UsageError)
    assert said in str(done.exception)


def test_clean_command_writes_the_report(orders, tmp_path):
    arguments = ["clean", str(orders), "--mapping", "orders-csv", "--out", str(tmp_path / "o"), "--now", "2025-06-01"]
    done = CliRunner().invoke(build_app(), arguments)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "o" / "cleaning_report.html").is_file()
    assert day_start_ms(date(2025, 6, 2)) == NOW_MS
