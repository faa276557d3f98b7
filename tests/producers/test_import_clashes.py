"""Values that clash, are missing or are of another size than usual: each is read right, or its rows are refused."""

import datetime as dt
import json
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from producers_import import import_text, orders_of, records
from typer.testing import CliRunner

from features.errors import ShopstreamError, UsageError
from producers.importing.importer import import_logs
from producers.importing.mapping import parse_mapping
from producers.importing.refusals import remedy
from shopstream.cli.app import build_app

ORDERS = """\
kind: orders
file: {format: csv}
time: {column: day}
order: {rows: order, id: id, customer: who, total: total, status: status, updated: {column: changed}, session: visit}
currency: {column: money, rates: {EUR: 1, USD: 0.5}}
"""
HEADER = "id,who,day,total,status,changed,visit,money\n"
OTHER = "9,z,2024-03-01,1,,,,EUR\n"
NESTED = """\
kind: orders
file: {format: json}
time: {path: day}
order:
  rows: order
  id: id
  customer: who
  total: total
  status: status
  updated: {path: changed}
  lines: {list: items, product: .sku, quantity: .n, unit_price: .each}
"""
PLAIN = (
    "kind: orders\nfile: {format: csv%s}\ntime: {column: day}\norder: {rows: order, id: id, customer: who, total: %s}\n"
)
DIFFERENT = "order id used twice, with different values"


def nested(**other):
    items = [{"sku": "mug", "n": 1, "each": 5}, {"sku": "mug", "n": 1, "each": 5}]
    return json.dumps({"id": "1", "who": "ann", "day": "2024-03-01", "total": 10, "items": items} | other) + "\n"


# --- one order id -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ("1,ann,2024-03-01,5,placed,,v1,USD", "order of several currencies"),
        ("1,ann,2024-03-01,5,refunded,2024-03-04,v1,USD", "order of several currencies"),
        ("1,ann,2024-03-01,5,placed,,v2,EUR", DIFFERENT),
    ],
)
def test_order_with_different_values_at_one_time_is_refused(tmp_path, second, reason):
    report = import_text(tmp_path, f"{HEADER}{OTHER}1,ann,2024-03-01,5,placed,,v1,EUR\n{second}\n", ORDERS)
    assert (report.refused, report.rows_used) == ({reason: 2}, 1)
    assert orders_of(tmp_path / "a", "order_id") == [("9",)]


def test_of_two_statuses_at_one_time_both_records_are_used_and_the_contract_names_the_winner(tmp_path):
    rows = "1,ann,2024-03-01,5,placed,,v1,EUR\n1,ann,2024-03-01,5,cancelled,2024-03-01,v1,EUR\n"
    report = import_text(tmp_path, HEADER + rows, ORDERS)
    assert (report.refused, report.rows_used) == ({}, 2)
    assert [status for (status,) in orders_of(tmp_path / "a", "status")] == ["cancelled", "placed"]


def test_revenue_of_the_report_counts_each_order_by_its_winning_record(tmp_path):
    rows = [
        "1,ann,2024-03-01,10,placed,,,EUR", "1,ann,2024-03-01,8,placed,2024-03-03,,EUR",
        "1,ann,2024-03-01,8,refunded,2024-03-05,,EUR",
        "2,bob,2024-03-01,10,placed,,,EUR", "2,bob,2024-03-01,7,placed,2024-03-03,,EUR",
        "3,cyd,2024-03-01,10,placed,,,EUR", "3,cyd,2024-03-01,10,cancelled,,,EUR",
        "4,dan,2024-03-01,1,placed,,,EUR",
    ]  # fmt: skip
    for text in ("\n".join(rows), "\n".join(rows[::-1])):
        assert import_text(tmp_path, f"{HEADER}{text}\n", ORDERS).revenue_cents == 800


def test_equal_amounts_with_other_zeros_and_a_change_at_the_order_time_repeat_an_order(tmp_path):
    rows = "1,ann,2024-03-01,5,placed,,v1,EUR\n1,ann,2024-03-01,5.00,placed,2024-03-01,v1,EUR\n"
    report = import_text(tmp_path, HEADER + rows, ORDERS)
    assert (report.left_out, report.rows_used, report.revenue_cents) == ({"repeats a record": 1}, 1, 500)


def test_total_of_an_order_of_lines_may_have_other_zeros(tmp_path):
    mapping = (PLAIN % ("", "total")).replace("rows: order", "rows: line")
    report = import_text(tmp_path, "id,who,day,total\n1,ann,2024-03-01,60.00\n1,ann,2024-03-01,60.0\n", mapping)
    assert (report.rows_used, report.revenue_cents) == (2, 6000)


@pytest.mark.parametrize(
    ("second", "left_out", "refused", "revenue_cents"),
    [
        (nested(), {"repeats a record": 2}, {}, 1100),
        (nested(total=12), {}, {DIFFERENT: 4}, 100),
        (nested(items=[{"sku": "mug", "n": 2, "each": 5}]), {}, {DIFFERENT: 3}, 100),
        (nested(day="2024-03-02"), {}, {"order id used twice, at several times": 4}, 100),
        (nested(status="refunded", changed="2024-03-09"), {}, {}, 100),
    ],
)
def test_nested_order_that_comes_twice_counts_once_or_is_refused(tmp_path, second, left_out, refused, revenue_cents):
    other = nested(id="9", total=1)
    for texts in ((nested(), other, second), (second, nested(), other)):
        report = import_text(tmp_path, "".join(texts), NESTED)
        assert (report.left_out, report.refused, report.revenue_cents) == (left_out, refused, revenue_cents)
        assert report.rows == report.rows_used + sum(left_out.values()) + sum(refused.values())


def test_order_id_of_an_order_and_of_lines_is_refused(tmp_path):
    logs = []
    for rows, text in (("order", "1,ann,2024-03-01,5\n9,z,2024-03-01,1\n"), ("line", "1,ann,2024-03-01,5\n")):
        file = tmp_path / f"{rows}.csv"
        file.write_text("id,who,day,total\n" + text, "utf-8")
        mapping = (PLAIN % ("", "total")).replace("rows: order", f"rows: {rows}")
        logs.append((file, rows, parse_mapping(mapping, rows)))
    report = import_logs(logs, tmp_path / "a")
    assert (report.refused, report.revenue_cents) == ({DIFFERENT: 2}, 100)


# --- currency and times -----------------------------------------------------------------------------------------------
def test_row_without_currency_is_refused_where_the_log_has_one(tmp_path):
    mapping = PLAIN % ("", "total") + "currency: {column: money}\n"
    text = "id,who,day,total,money\n1,ann,2024-03-01,5,EUR\n2,ann,2024-03-01,7,\n"
    report = import_text(tmp_path, text, mapping)
    assert (report.refused, report.revenue_cents) == ({"currency without a rate": 1}, 500)


@pytest.mark.parametrize("rates", ["", ", rates: {EUR: 2}"])
def test_click_without_price_needs_no_currency(tmp_path, rates):
    mapping = f"""\
kind: clicks
file: {{format: csv}}
time: {{column: day}}
currency: {{column: money{rates}}}
click: {{customer: who, type: {{value: product_view}}, price: price}}
"""
    rows = "ann,2024-03-01,,\nbob,2024-03-01,5,EUR\ncyd,2024-03-01,5,\n"
    report = import_text(tmp_path, "who,day,price,money\n" + rows, mapping)
    assert (report.refused, report.rows_used) == ({"currency without a rate": 1}, 2)


def test_change_ahead_of_now_is_refused_as_consumers_refuse_it(tmp_path):
    rows = "1,ann,2024-03-01,5,placed,2024-06-01,,EUR\n2,ann,2024-03-01,5,placed,2024-03-03,,EUR\n"
    report = import_text(tmp_path, HEADER + rows, ORDERS, now_ms=1_709_424_000_000)  # 3 March 2024
    assert (report.refused, report.rows_used) == ({"time ahead of now": 1}, 1)


def test_real_times_of_a_table_are_corrected_by_the_servers_clock(tmp_path):
    noon = dt.datetime(2024, 3, 1, 12, tzinfo=dt.UTC)
    table = pa.table({"who": ["ann"], "at": [noon], "sent": [noon], "got": [noon + dt.timedelta(hours=5)]})
    pq.write_table(table, tmp_path / "c.parquet")
    mapping = """\
kind: clicks
file: {format: parquet}
time: {column: at, received: got, sent: sent, skew_max: 60}
click: {customer: who, type: {value: page_view}}
"""
    import_logs([(tmp_path / "c.parquet", "m", parse_mapping(mapping, "m"))], tmp_path / "a")
    assert [event["ts"] for event in records(tmp_path / "a")] == [1_709_312_400_000]


# --- amounts ----------------------------------------------------------------------------------------------------------
def total_of(tmp_path, source, form, value, less=""):
    """Import an order whose total comes of a source; return the total and the report."""
    text = f"id;who;day;total;less\n1;ann;2024-03-01;{value};{less}\n"
    report = import_text(tmp_path, text, PLAIN % (f', separator: ";"{form}', source))
    return [total for (total,) in orders_of(tmp_path / "a", "total")], report


@pytest.mark.parametrize("form", ["", ', decimal: ","'])
def test_minor_units_are_read_with_every_decimal_sign(tmp_path, form):
    assert total_of(tmp_path, "{path: total, minor_units: 3}", form, 123456)[0] == [123.456]
    assert total_of(tmp_path, "{path: total, minor_units: 2}", form, 1250)[0] == [12.5]
    assert total_of(tmp_path, "{path: total, less: less, minor_units: 2}", form, 1250, 250)[0] == [10.0]


def test_difference_beyond_the_largest_amount_refuses_its_order(tmp_path):
    with pytest.raises(ShopstreamError, match="no readable total"):
        total_of(tmp_path, "{path: total, less: less}", "", "99999999999999999999", "-1")


def test_number_of_a_condition_that_is_unreadable_refuses_its_row(tmp_path):
    mapping = PLAIN % ("", "total") + "left_out: [{reason: returned, column: n, at_most: 0}]\n"
    rows = "1,ann,2024-03-01,5,many\n2,ann,2024-03-01,5,0\n3,ann,2024-03-01,5,\n"
    report = import_text(tmp_path, "id,who,day,total,n\n" + rows, mapping)
    assert report.refused == {"no number, which `at_most` needs": 1}
    assert (report.left_out, report.rows_used) == ({"returned": 1}, 1)


@pytest.mark.parametrize(
    ("amounts", "total"), [(["1.234", "500"], 1734.0), (["5,50", "4,50"], 10.0), (["5,50", "", "-1"], 4.5)]
)
def test_sum_of_a_table_has_its_decimal_sign(tmp_path, amounts, total):
    (tmp_path / "paid.txt").write_text("id;paid\n" + "".join(f"1;{one}\n" for one in amounts), "utf-8")
    source = "{path: id, lookup: {table: paid, column: paid, sum: true}}"
    mapping = PLAIN % (', separator: ";", decimal: ","', source) + "tables: {paid: {file: paid.txt, key: id}}\n"
    import_text(tmp_path, "id;who;day\n1;ann;2024-03-01\n", mapping)
    assert orders_of(tmp_path / "a", "total") == [(total,)]


def test_sum_of_a_table_with_an_unreadable_amount_is_refused(tmp_path):
    (tmp_path / "paid.txt").write_text("id,paid\n1,five\n", "utf-8")
    source = "{path: id, lookup: {table: paid, column: paid, sum: true}}"
    mapping = PLAIN % ("", source) + "tables: {paid: {file: paid.txt, key: id}}\n"
    with pytest.raises(ShopstreamError, match="five is no number"):
        import_text(tmp_path, "id,who,day\n1,ann,2024-03-01\n", mapping)


# --- calls ------------------------------------------------------------------------------------------------------------
@pytest.fixture
def call(tmp_path):
    """Import a log with a good and a bad row, with further options; return the result."""
    (tmp_path / "log.csv").write_text("id,who,day,total\n1,ann,2024-03-01,5\n2,ann,2024-03-01,x\n", "utf-8")
    (tmp_path / "m.yaml").write_text(PLAIN % ("", "total"), "utf-8")

    def run(*options):
        files = [str(tmp_path / "log.csv"), "--mapping", str(tmp_path / "m.yaml"), "--out", str(tmp_path / "a")]
        return CliRunner().invoke(build_app(), ["import", *files, "--force", *map(str, options)])

    return run


@pytest.mark.parametrize("name", ["log.csv", "m.yaml", "absent/refused.csv", "."])
def test_refused_rows_replace_no_other_file(call, tmp_path, name):
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    result = call("--refused", tmp_path / name)
    assert isinstance(result.exception, UsageError)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_refused_rows_replace_those_of_the_last_import(call, tmp_path):
    for _ in range(2):
        assert call("--refused", tmp_path / "r.csv").exit_code == 1
    assert len((tmp_path / "r.csv").read_text("utf-8").splitlines()) == 2


def test_answer_that_no_mapping_asks_for_is_refused(call):
    result = call("--set", "zone=Europe/Berlin")
    assert isinstance(result.exception, UsageError)
    assert "no mapping asks for zone" in str(result.exception)


@pytest.mark.parametrize("match", ["^(.)(?=0)", r"^(.)\1", "(?<!x)(5)"])
def test_expression_that_cannot_be_read_is_an_error_of_the_mapping(match):
    with pytest.raises(UsageError, match=r"line 4.*match is an expression that is not read"):
        parse_mapping(PLAIN % ("", f"{{path: total, match: '{match}'}}"), "m.yaml")


def test_a_member_of_a_zip_file_that_is_no_log_is_refused_with_the_way_to_choose_members(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr("README.txt", "hello\nworld\n")
        for month in ("01", "02"):
            packed.writestr(f"out/{month}.csv", f"id,who,day,total\n{month},ann,2024-{month}-01,5\n")
    mapping = parse_mapping(PLAIN % ("", "total"), "m")
    with pytest.raises(UsageError, match=r'README\.txt has no column .* such as ".*x\.zip/\*\*/\*\.csv"'):
        import_logs([(tmp_path / "x.zip", "m", mapping)], tmp_path / "a")
    report = import_logs([(f"{tmp_path}/x.zip/**/*.csv", "m", mapping)], tmp_path / "a")
    assert (len(report.files), report.rows_used) == (2, 2)


def test_log_of_which_every_row_is_refused_gets_the_advice_of_each_reason(tmp_path):
    rows = "1,ann,2024-03-01,x\n2,ann,2024-03-01,y\n3,ann,soon,5\n4,guest,2024-03-01,5\n"
    mapping = PLAIN % ("", "total") + "left_out: [{reason: own order, column: id, equals: '5'}]\n"
    with pytest.raises(ShopstreamError, match="No row of") as error:
        import_text(tmp_path, f"id,who,day,total\n{rows}5,ann,2024-03-01,5\n", mapping)
    for reason in ("no readable total", "no readable time", "no customer"):
        assert f"    {reason}: {remedy(reason)}" in error.value.message.splitlines()
    assert f"{tmp_path}/log.csv, line 2, total = 'x': x is no number" in error.value.message
    assert "own order: 1" in error.value.message
    assert "own order: Correct" not in error.value.message
