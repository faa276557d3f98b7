"""The law of import (docs/import.md), a test per clause."""

import gzip
import json
import zipfile

import pytest
from producers_import import import_text, orders_of, records
from typer.testing import CliRunner

from features.errors import ShopstreamError, UsageError
from producers.importing.importer import import_logs
from producers.importing.mapping import load_mapping, parse_mapping
from shopstream.cli.app import build_app

ORDERS = """\
kind: orders
file: {format: csv}
time: {column: day}
order: {rows: order, id: id, customer: who, total: total}
"""
LINES = """\
kind: orders
file: {format: csv}
time: {column: day}
order: {rows: line, id: id, customer: who, total: total, status: status, product: sku, quantity: n, unit_price: each}
"""
SUMS = LINES.replace("total: total, ", "")
CLICKS = """\
kind: clicks
file: {format: csv}
time: {column: at}
click: {customer: who, type: {value: product_view}, id: id}
"""


def run(*arguments):
    return CliRunner().invoke(build_app(), ["import", *map(str, arguments)])


@pytest.fixture
def files(tmp_path):
    """Write a text file and return its path."""

    def write(text, name="log.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


# --- 1 to 3: conservation, refusals, exit codes -----------------------------------------------------------------------
def test_rows_read_are_rows_used_left_out_and_refused(tmp_path):
    mapping = ORDERS + "left_out: [{reason: test, column: who, equals: tester}]\n"
    rows = ["1,ann,2024-03-01,1", "2,tester,2024-03-01,1", "3,ann,soon,1", "4,ann,2024-03-01", "", "5,a,2024-03-02,2"]
    text = "id,who,day,total\n" + "\n".join(rows) + "\n"
    report = import_text(tmp_path, text, mapping)
    assert (report.rows, report.rows_used) == (5, 2)
    assert report.left_out == {"test": 1}
    assert report.refused.total() == 2


def test_a_refusal_names_file_line_column_value_and_what_to_write(files, tmp_path):
    log, mapping = files("id,who,day,total\n1,ann,2024-03-01,1\n2,bob,01.03.2024,1\n"), files(ORDERS, "m.yaml")
    done = run(log, "--mapping", mapping, "--out", tmp_path / "a", "--refused", tmp_path / "no.csv")
    assert done.exit_code == 1
    assert "line 3, day = '01.03.2024'" in done.output
    assert "time.format" in done.output
    assert (tmp_path / "no.csv").read_text().splitlines()[1].startswith(f"{log},3,no readable time,day,01.03.2024,")
    assert [order["order_id"] for order in records(tmp_path / "a")] == ["1"]


@pytest.mark.parametrize(
    ("text", "rule", "code"),
    [
        ("id,who,day,total\n1,ann,2024-03-01,1\n", "", 0),
        ("id,who,day,total\n1,ann,2024-03-01,1\n2,,2024-03-01,1\n",
         "left_out: [{reason: guest, column: who, missing: true}]\n", 0),
        ("id,who,day,total\n1,ann,2024-03-01,1\n2,,2024-03-01,1\n", "", 1),
        ("id,who,day,total\n1,ann,2024-03-01,\xff\n".encode("latin-1"), "", 1),
        ("id,who,day\n1,ann,2024-03-01\n", "", 2),
        ("id,who,day,total\n1,ann,2024-03-01,1\n", "left_out: 7\n", 2),
    ],
)  # fmt: skip
def test_exit_code_tells_used_refused_and_wrong(files, tmp_path, text, rule, code):
    done = run(files(text), "--mapping", files(ORDERS + rule, "m.yaml"), "--out", tmp_path / "a")
    got = done.exit_code if not isinstance(done.exception, ShopstreamError) else done.exception.exit_code
    assert got == code


def test_dry_run_reports_and_writes_no_archive(files, tmp_path):
    log = files("id,who,day,total\n1,ann,2024-03-01,1\n2,ann,never,1\n")
    done = run(log, "--mapping", files(ORDERS, "m.yaml"), "--dry-run", "--out", tmp_path / "a")
    assert done.exit_code == 1
    assert "line 3, day = 'never'" in done.output
    assert not (tmp_path / "a").exists()


# --- 4: files ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("id,who,day,total\n1,Jos\xe9,2024-03-01,1\n".encode("latin-1"), "file.encoding"),
        (b'id,who,day,total\n1,"ann,2024-03-01,1\n2,bob,2024-03-01,2\n', "line 2"),
        (gzip.compress(b"id,who,day,total\n1,ann,2024-03-01,1\n" * 9, mtime=0)[:-6], "log.csv"),
    ],
    ids=["encoding", "quote", "packing"],
)
def test_a_damaged_file_is_refused_as_a_whole(files, tmp_path, content, words):
    log = files(content)
    with pytest.raises(ShopstreamError) as caught:
        import_logs([(log, "m", parse_mapping(ORDERS, "m"))], tmp_path / "a")
    assert words in f"{caught.value} {caught.value.remedy}"
    assert not (tmp_path / "a").exists()


def test_a_declared_encoding_is_read(tmp_path):
    mapping = ORDERS.replace("format: csv", "format: csv, encoding: latin-1")
    text = "id,who,day,total\n1,José,2024-03-01,1\n2,Josè,2024-03-01,1\n"
    import_text(tmp_path, text.encode("latin-1"), mapping)
    assert {order["customer_id"] for order in records(tmp_path / "a")} == {"José", "Josè"}


# --- 5: money ---------------------------------------------------------------------------------------------------------
def test_amounts_are_decimal_and_rounded_once(tmp_path):
    rows = ["1,a,2024-03-01,,,x,3,0.1", "1,a,2024-03-01,,,x,1,0.005", "2,a,2024-03-01,,,x,0.345,15.01"]
    import_text(tmp_path, "id,who,day,total,status,sku,n,each\n" + "\n".join(rows) + "\n", SUMS)
    assert orders_of(tmp_path / "a", "order_id", "total") == [("1", 0.3), ("2", 5.18)]


def test_a_point_that_groups_nothing_refuses_its_row(tmp_path):
    mapping = ORDERS.replace("format: csv", 'format: csv, separator: ";", decimal: ","')
    text = (
        "id;who;day;total\n1;a;2024-03-01;12,50\n2;a;2024-03-01;12.50\n3;a;2024-03-01;1.234,56\n4;a;2024-03-01;1.234\n"
    )
    report = import_text(tmp_path, text, mapping)
    assert orders_of(tmp_path / "a", "order_id", "total") == [("1", 12.5), ("3", 1234.56), ("4", 1234.0)]
    assert report.refused == {"no readable total": 1}


def test_a_log_of_several_currencies_without_rates_is_refused(tmp_path):
    mapping = ORDERS + "currency: {column: cur}\n"
    with pytest.raises(ShopstreamError, match=r"several currencies: EUR in 2 rows, USD in 1 rows"):
        import_text(
            tmp_path,
            "id,who,day,total,cur\n1,a,2024-03-01,1,EUR\n2,a,2024-03-01,1,EUR\n3,a,2024-03-01,1,USD\n",
            mapping,
        )


# --- 6, 7: ids --------------------------------------------------------------------------------------------------------
def test_ids_keep_every_character_and_integral_floats_are_integers(tmp_path):
    ids = ["007", "7", "13085.0", "13085", " eve ", "Ädam", "a,b"]
    text = "id,who,day,total\n" + "".join(f'{n},"{who}",2024-03-01,1\n' for n, who in enumerate(ids, start=1))
    import_text(tmp_path, text, ORDERS)
    found = dict(orders_of(tmp_path / "a", "order_id", "customer_id"))
    assert [found[str(n)] for n in range(1, 8)] == ["007", "7", "13085", "13085", "eve", "Ädam", "a,b"]


@pytest.mark.parametrize("word", ["NULL", "null", "undefined", "nan", "(not set)", "0", "-", "None", "guest", "\\N"])
def test_placeholders_are_no_customers(tmp_path, word):
    report = import_text(tmp_path, f"id,who,day,total\n1,ann,2024-03-01,1\n2,{word},2024-03-01,1\n", ORDERS)
    assert report.refused == {"no customer": 1}
    assert "placeholder" in report.files[0].examples["no customer"][0].detail


def test_no_customer_has_an_id_that_shopstream_makes(tmp_path):
    report = import_text(tmp_path, "id,who,day,total\n1,ann~,2024-03-01,1\n2,~ann,2024-03-01,1\n", ORDERS)
    assert report.refused == {"customer id that begins with ~": 1}
    assert orders_of(tmp_path / "a", "customer_id") == [("ann~",)]


def test_a_mapping_adds_and_removes_placeholders(tmp_path):
    mapping = ORDERS + "ids: {never: [tester], allow: ['0']}\n"
    report = import_text(tmp_path, "id,who,day,total\n1,0,2024-03-01,1\n2,tester,2024-03-01,1\n", mapping)
    assert report.refused == {"no customer": 1}
    assert orders_of(tmp_path / "a", "customer_id") == [("0",)]


# --- 8 to 10: times ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2024-03-01T10:00:00+00", 1709287200000), ("2024-03-01 12:00:00+02", 1709287200000),
        ("2024-03-01 10:00:00 UTC", 1709287200000), ("2024-03-01 11:00", 1709287200000),
        ("2024-03-31 02:30", None), ("2024-06-01 12:00:00 PDT", None),
    ],
)  # fmt: skip
def test_times_are_read_in_their_zone_or_refused(tmp_path, text, ms):
    mapping = ORDERS.replace("column: day", "column: day, zone: Europe/Berlin")
    report = import_text(tmp_path, f"id,who,day,total\n1,a,2024-01-01,1\n2,a,{text},1\n", mapping)
    found = dict(orders_of(tmp_path / "a", "order_id", "ts"))
    assert found.get("2") == ms
    assert report.refused.total() == (ms is None)


def test_a_date_is_the_first_instant_of_its_day_where_midnight_does_not_exist(tmp_path):
    mapping = ORDERS.replace("column: day", "column: day, zone: America/Sao_Paulo")
    import_text(tmp_path, "id,who,day,total\n1,a,2018-11-04,1\n", mapping)
    assert orders_of(tmp_path / "a", "ts") == [(1541300400000,)]  # 01:00, UTC-2


def test_time_ahead_of_now_is_refused(tmp_path):
    text = "id,who,day,total\n1,a,2024-03-01,1\n2,a,2204-03-01,1\n"
    report = import_text(tmp_path, text, ORDERS, now_ms=1_709_300_000_000)
    assert report.refused == {"time ahead of now": 1}


# --- 11 to 14: records ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rest", ["1,ann,2024-03-01,,,tea,2,20", "1,,,,,tea,2,20"])
def test_lines_are_joined_whatever_row_has_customer_and_total(tmp_path, rest):
    rows = ["1,ann,2024-03-01,60,placed,mug,1,20", rest, "2,bob,2024-03-02,5,placed,pen,1,5"]
    for order in (rows, rows[::-1]):
        import_text(tmp_path, "id,who,day,total,status,sku,n,each\n" + "\n".join(order) + "\n", LINES)
        assert orders_of(tmp_path / "a", "order_id", "customer_id", "total") == [("1", "ann", 60.0), ("2", "bob", 5.0)]
        assert [len(items) for (items,) in orders_of(tmp_path / "a", "items")] == [2, 1]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (
            ["1,a,2024-03-01,5,placed,x,1,1", "1,b,2024-03-01,5,placed,y,1,1"],
            "order id used twice, by several customers",
        ),
        (["1,a,2024-03-01,5,placed,x,1,1", "1,a,2024-03-01,6,placed,y,1,1"], "order with different totals"),
        (["1,a,2024-03-01,5,placed,x,1,1", "1,a,2024-03-01,5,refunded,y,1,1"], "order whose rows differ in status"),
        (["1,a,2024-03-01,,placed,x,1,1", "1,a,2024-03-01,,placed,y,1,1"], "no readable total"),
    ],
)
def test_an_order_whose_rows_disagree_is_refused_with_all_its_rows(tmp_path, rows, reason):
    text = "id,who,day,total,status,sku,n,each\n9,z,2024-03-01,1,placed,x,1,1\n" + "\n".join(rows) + "\n"
    assert import_text(tmp_path, text, LINES).refused == {reason: 2}
    assert orders_of(tmp_path / "a", "order_id") == [("9",)]


REPEATED = {"repeats a record": 1}


@pytest.mark.parametrize(
    ("second", "left_out", "refused"),
    [
        ("1,ann,2024-03-01,5", REPEATED, {}),
        ("1,ann,2024-03-01,6", {}, {"order with different totals": 2}),
        ("1,ann,2024-03-02,5", {}, {"order id used twice, at several times": 2}),
        ("1,bob,2024-03-01,5", {}, {"order id used twice, by several customers": 2}),
        ("1,ann,2024-03-02,5\n1,ann,2024-03-01,5", REPEATED, {"order id used twice, at several times": 2}),
        ("1,ann,2024-03-01,6\n1,ann,2024-03-01,6", REPEATED, {"order with different totals": 2}),
        ("1,bob,2024-03-01,5\n1,ann,2024-03-01,5", REPEATED, {"order id used twice, by several customers": 2}),
    ],
)
def test_an_order_id_belongs_to_one_order(tmp_path, second, left_out, refused):
    text = f"id,who,day,total\n9,z,2024-03-01,1\n1,ann,2024-03-01,5\n{second}\n"
    report = import_text(tmp_path, text, ORDERS)
    assert (report.left_out, report.refused) == (left_out, refused)


def test_an_order_with_a_refused_row_is_refused(tmp_path):
    rows = ["1,a,2024-03-01,,,x,1,5", "1,a,2024-03-01,,,y,1,five", "2,a,2024-03-01,,,x,1,5"]
    text = "id,who,day,total,status,sku,n,each\n" + "\n".join(rows) + "\n"
    report = import_text(tmp_path, text, SUMS)
    assert report.refused == {"no readable unit_price": 1, "another row of the order is refused": 1}
    assert orders_of(tmp_path / "a", "order_id", "total") == [("2", 5.0)]


def test_negative_lines_reduce_their_order_on_request(tmp_path):
    mapping = SUMS.replace("rows: line,", "rows: line, negative: net,")
    rows = [
        "1,a,2024-03-01,,,x,3,10",
        "1,a,2024-03-05,,,x,-1,10",
        "2,a,2024-03-01,,,x,1,10",
        "2,a,2024-03-05,,,x,-1,10",
    ]
    text = "id,who,day,total,status,sku,n,each\n" + "\n".join(rows) + "\n"
    import_text(tmp_path, text, mapping)
    assert orders_of(tmp_path / "a", "order_id", "status", "total") == [("1", "placed", 20.0), ("2", "refunded", 10.0)]
    with pytest.raises(ShopstreamError, match="quantity not above 0"):
        import_text(tmp_path, text, SUMS)


def test_equal_lines_of_an_order_are_two_pieces(tmp_path):
    import_text(tmp_path, "id,who,day,total,status,sku,n,each\n" + "1,a,2024-03-01,,,x,1,5\n" * 2, SUMS)
    assert orders_of(tmp_path / "a", "total") == [(10.0,)]


def test_one_visit_in_three_files_is_one_session(files, tmp_path):
    head = "customer_id,timestamp,event_type\n"
    logs = [
        files(head + "ann,2024-03-01T10:00:00Z,view\nann,2024-03-01T10:10:00Z,view\n", "v.csv"),
        files(head + "ann,2024-03-01T10:05:00Z,cart\n", "c.csv"),
        files(head + "ann,2024-03-01T10:12:00Z,order\n", "o.csv"),
    ]  # fmt: skip
    import_logs([(log, *load_mapping("clicks-csv")) for log in logs], tmp_path / "a")
    assert len({event["session_id"] for event in records(tmp_path / "a")}) == 1
    assert len({event["event_id"] for event in records(tmp_path / "a")}) == 4


def test_rows_without_ids_in_two_files_are_two_orders(files, tmp_path):
    mapping = parse_mapping(ORDERS.replace("id: id, ", ""), "m")
    logs = [files("who,day,total\nxia,2024-01-01,5\n", "n.csv"), files("who,day,total\nxia,2024-01-01,10\n", "s.csv")]
    import_logs([(log, "m", mapping) for log in logs], tmp_path / "a")
    assert {total for (total,) in orders_of(tmp_path / "a", "total")} == {5.0, 10.0}
    ids = [("xia-1704067200000-0",), ("xia-1704067200000-1",)]
    assert orders_of(tmp_path / "a", "order_id") == ids


def test_a_repeated_event_is_left_out_and_a_different_one_with_its_id_refused(tmp_path):
    rows = "e1,a,2024-03-01\n" * 2 + "e2,a,2024-03-01\n" * 2 + "e2,a,2024-03-02\ne3,a,2024-03-01\n"
    report = import_text(tmp_path, "id,who,at\n" + rows, CLICKS)
    assert report.left_out == {"repeats a record": 2}
    assert report.refused == {"event id of different events": 2}
    assert sorted(event["event_id"] for event in records(tmp_path / "a")) == ["e1", "e3"]


def test_a_fraction_of_an_optional_quantity_is_dropped_and_counted(tmp_path):
    report = import_text(
        tmp_path,
        "order_id,customer_id,created_at,total,quantity\n1,ann,2024-03-01,5.18,0.345\n",
        load_mapping("orders-csv")[1],
    )
    assert report.dropped == {"fraction of a piece: the record has no quantity": 1}
    assert orders_of(tmp_path / "a", "total") == [(5.18,)]


# --- files, packings, names -------------------------------------------------------------------------------------------
def test_a_folder_of_packed_files_is_one_log(files, tmp_path):
    (tmp_path / "logs").mkdir()
    head = b"id,who,day,total\n"
    (tmp_path / "logs" / "jan.csv.gz").write_bytes(gzip.compress(head + b"1,a,2024-01-01,1\n"))
    with zipfile.ZipFile(tmp_path / "logs" / "rest.zip", "w") as archive:
        archive.writestr("feb.csv", head + b"2,a,2024-02-01,2\n")
        archive.writestr("mar.csv", b"total,day,who,id\n3,2024-03-01,a,3\n")
    import_logs([(tmp_path / "logs", "m", parse_mapping(ORDERS, "m"))], tmp_path / "a")
    assert orders_of(tmp_path / "a", "order_id", "total") == [("1", 1.0), ("2", 2.0), ("3", 3.0)]


def test_a_file_is_named_once_per_mapping(files, tmp_path):
    log = files("id,who,day,total\n1,a,2024-03-01,1\n")
    mapping = parse_mapping(ORDERS, "m")
    with pytest.raises(UsageError, match="named twice"):
        import_logs([(log, "m", mapping), (log, "m", mapping)], tmp_path / "a")


def test_columns_with_inner_names_are_harmless(tmp_path):
    import_text(tmp_path, "id,_row,_line,_file,_key,who,day,total\n1,0,0,0,0,a,2024-03-01,1\n", ORDERS)
    assert orders_of(tmp_path / "a", "total") == [(1.0,)]


# --- sources ----------------------------------------------------------------------------------------------------------
def test_sources_select_join_look_up_and_replace(files, tmp_path):
    mapping = """\
kind: orders
file: {format: csv}
time: {column: day}
tables: {people: {file: people.csv, key: no}, paid: {file: paid.csv, key: order}}
order:
  rows: order
  id: {join: "{shop}-{id}"}
  customer: {column: who, lookup: {table: people, column: id}}
  total: {column: id, lookup: {table: paid, column: amount, sum: true}, less: back}
  status:
    - {value: cancelled, when: {column: stop, missing: false}}
    - {column: state, words: {ok: placed, "*": refunded}}
  channel: {column: agent, match: "^(\\\\w+)/", missing: none}
  country: {value: DE}
"""
    files("no,id\n1,ann\n2,bob\n", "people.csv")
    files("order,amount\n1,1.10\n1,2.20\n2,5\n3,1\n", "paid.csv")
    rows = ["n,1,1,2024-03-01,0.30,,ok,web/1", "n,2,2,2024-03-01,,x,ok,", "n,3,2,2024-03-01,,,lost,"]
    text = "shop,id,who,day,back,stop,state,agent\n" + "\n".join(rows) + "\n"
    import_text(tmp_path, text, mapping)
    assert orders_of(tmp_path / "a", "order_id", "customer_id", "total", "status", "channel", "country") == [
        ("n-1", "ann", 3.0, "placed", "web", "DE"),
        ("n-2", "bob", 5.0, "cancelled", "none", "DE"),
        ("n-3", "bob", 1.0, "refunded", "none", "DE"),
    ]


def test_lines_of_a_json_record_are_the_lines_of_its_order(tmp_path):
    mapping = """\
kind: orders
file: {format: json}
time: {path: created}
order:
  rows: order
  id: id
  customer: customer.id
  total: total
  updated: {path: changed}
  lines: {list: items, product: .sku, quantity: .n, unit_price: .price, left_out: {path: .n, at_most: 0}}
"""
    first = {
        "id": 2**60 + 1, "created": "2024-03-01T10:00:00Z", "changed": "2024-03-01T10:00:00Z", "customer": {"id": 7},
        "total": 12.10, "items": [{"sku": "b", "n": 1, "price": 2.1}, {"sku": "a", "n": 2, "price": 5}],
    }  # fmt: skip
    later = first | {
        "changed": "2024-03-02T10:00:00Z",
        "total": 10,
        "items": [*first["items"][1:], {"sku": "b", "n": 0}],
    }
    import_text(tmp_path, json.dumps(first) + "\n" + json.dumps(later) + "\n", mapping)
    assert orders_of(tmp_path / "a", "order_id", "customer_id", "total", "updated_ts") == [
        (str(2**60 + 1), "7", 12.1, 1709287200000), (str(2**60 + 1), "7", 10.0, 1709373600000),
    ]  # fmt: skip
    assert [[line["product_id"] for line in items] for (items,) in orders_of(tmp_path / "a", "items")] == [
        ["a", "b"],
        ["a"],
    ]


def test_lines_of_a_click_are_events_of_their_own(tmp_path):
    mapping = """\
kind: clicks
file: {format: json}
time: {path: at}
click:
  customer: user
  id: id
  type: event
  types: {View: product_view, Order: purchase, "*": null}
  product: sku
  lines: {list: products, types: [purchase], id: ["{order}#{i}", "{id}#{i}"], product: .sku, price: .price}
"""
    rows = [
        {
            "id": "e1",
            "user": "u",
            "at": "2024-03-01",
            "event": "View",
            "sku": "p",
            "products": [{"sku": "x"}, {"sku": "y"}],
        },
        {
            "id": "e2",
            "user": "u",
            "at": "2024-03-01",
            "event": "Order",
            "order": "o",
            "products": [{"sku": "x", "price": "1.5"}, {"sku": "y"}],
        },
        {"id": "e3", "user": "u", "at": "2024-03-01", "event": "Order", "sku": "p", "products": []},
        {"id": "e4", "user": "u", "at": "2024-03-01", "event": "Hover"},
    ]
    report = import_text(tmp_path, "\n".join(map(json.dumps, rows)), mapping)
    found = {(event["event_id"], event["product_id"], event["price"]) for event in records(tmp_path / "a")}
    assert found == {("e1", "p", None), ("o#0", "x", 1.5), ("o#1", "y", None), ("e3", "p", None)}
    assert report.left_out == {"further line of a record that is one event": 1, "event_type not counted": 1}


def test_a_mapping_asks_for_what_only_the_user_knows(files, tmp_path):
    mapping = files(
        ORDERS.replace("column: day", "column: day, zone: {ask: zone}") + 'ask: {zone: "zone of the shop"}\n', "m.yaml"
    )
    log = files("id,who,day,total\n1,a,2024-03-01 11:00,1\n")
    done = run(log, "--mapping", mapping, "--out", tmp_path / "a")
    assert isinstance(done.exception, UsageError)
    assert "zone of the shop" in str(done.exception)
    assert run(log, "--mapping", mapping, "--out", tmp_path / "a", "--set", "zone=Europe/Berlin").exit_code == 0
    assert orders_of(tmp_path / "a", "ts") == [(1709287200000,)]
