"""Rules of mappings for whole orders, clocks, lines in tables and lists within lists, on a few rows."""

import json

import pytest
from producers_import import import_text, orders_of
from test_importer import records

from features.errors import ShopstreamError, UsageError
from producers.importing.importer import import_logs
from producers.importing.lookups import UNUSED
from producers.importing.mapping import parse_mapping

LINES = """
kind: orders
file: {format: csv}
time: {column: at}
order: {rows: line, id: id, customer: who, product: sku, quantity: n, unit_price: price%s}
"""
CLICKS = """
kind: clicks
file: {format: json}
time: %s
click: {id: id, customer: who, type: type, types: {buy: purchase, view: product_view}, product: sku%s}
"""


def imported(tmp_path, mapping, *texts, name="log"):
    files = []
    for number, text in enumerate(texts):
        files.append(tmp_path / f"{name}-{number}")
        files[-1].write_text(text, "utf-8")
    found = parse_mapping(mapping, "own.yaml")
    return import_logs([(file, "own", found) for file in files], tmp_path / "a", force=True)


def totals(tmp_path):
    return {order["order_id"]: order["total"] for order in records(tmp_path / "a")}


def lines(*rows):
    return "id,who,at,sku,n,price,kind\n" + "".join(f"{row}\n" for row in rows)


def clicks(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


# --- whole orders -----------------------------------------------------------------------------------------------------
RULES = ", left_out: [{reason: test, column: kind, equals: test}, {reason: no one, column: who, missing: true}]"


def test_rule_for_whole_orders_leaves_out_all_rows_of_the_order(tmp_path):
    first, second = lines("1,ann,2026-05-01,a,1,5,test", "2,bob,2026-05-01,b,1,7,"), lines("1,,2026-05-01,c,1,6,")
    report = imported(tmp_path, LINES % RULES, first, second)
    assert totals(tmp_path) == {"2": 7.0}
    assert report.left_out == {"test": 2}
    assert [file.rows_used for file in report.files] == [1, 0]


def test_missing_value_leaves_an_order_out_only_if_no_row_has_it(tmp_path):
    report = imported(
        tmp_path, LINES % RULES,
        lines("1,,2026-05-01,a,1,5,", "1,ann,2026-05-01,b,1,6,", "2,,2026-05-01,a,1,5,", "2,,2026-05-01,a,1,5,"),
    )  # fmt: skip
    assert totals(tmp_path) == {"1": 11.0}
    assert report.left_out == {"no one": 2}


def test_first_rule_that_holds_for_an_order_is_counted(tmp_path):
    report = imported(
        tmp_path, LINES % RULES, lines("1,,2026-05-01,a,1,5,", "1,,2026-05-01,a,1,5,test", "2,a,2026-05-01,a,1,5,")
    )
    assert report.left_out == {"test": 2}


# --- copies -----------------------------------------------------------------------------------------------------------
COPIES = ', copies: {reason: twice, column: at, starts_with: "2026-05-01"%s}'


def test_one_of_two_copies_counts_and_equal_lines_elsewhere_are_pieces(tmp_path):
    copied = ["1,ann,2026-05-01,a,1,5,"] * 4 + ["1,ann,2026-05-01,b,1,6,"] * 2
    report = imported(
        tmp_path, LINES % COPIES % "", lines(*copied[::2], *["2,ann,2026-05-02,a,1,5,"] * 2), lines(*copied[1::2])
    )
    assert totals(tmp_path) == {"1": 16.0, "2": 10.0}
    assert report.left_out == {"twice": 3}


def test_order_with_an_odd_number_of_copies_is_refused(tmp_path):
    report = imported(
        tmp_path, LINES % COPIES % "", lines(*["1,ann,2026-05-01,a,1,5,"] * 3, *["2,bob,2026-05-01,a,1,5,"] * 2)
    )
    assert totals(tmp_path) == {"2": 5.0}
    assert dict(report.refused) == {"the order has a row that the file does not have as often as `copies` states": 3}


def test_three_copies_count_once(tmp_path):
    imported(tmp_path, LINES % COPIES % ", times: 3", lines(*["1,ann,2026-05-01,a,1,5,"] * 3))
    assert totals(tmp_path) == {"1": 5.0}


# --- clocks -----------------------------------------------------------------------------------------------------------
def times(tmp_path):
    return [event["ts"] for event in records(tmp_path / "a")]


def test_epoch_of_local_time_is_read_in_its_zone(tmp_path):
    time = "{path: at, format: epoch_s, local: Europe/Berlin}"
    report = imported(
        tmp_path, CLICKS % (time, ""),
        clicks(
            {"id": "1", "who": "ann", "type": "view", "at": 1_777_896_000},  # 12:00 in summer
            {"id": "2", "who": "ann", "type": "view", "at": 1_768_478_400},  # 12:00 in winter
            {"id": "3", "who": "ann", "type": "view", "at": 1_774_751_400},  # 02:30 on 29 March, which does not occur
        ),
    )  # fmt: skip
    assert times(tmp_path) == [1_768_474_800_000, 1_777_888_800_000]
    assert dict(report.refused) == {"no readable time": 1}
    (example,) = report.files[0].examples["no readable time"]
    assert "does not exist in Europe/Berlin" in example.position()


def test_rule_with_same_as_holds_where_two_columns_have_the_same_text(tmp_path):
    mapping = CLICKS % ("{path: at}", "") + "left_out: [{reason: copied, path: who, same_as: device}]\n"
    rows = [
        {"id": "e1", "who": "ann", "device": "ann"}, {"id": "e2", "who": "ann", "device": "Ann"},
        {"id": "e3", "who": "ann"},
    ]  # fmt: skip
    for row in rows:
        row |= {"type": "view", "at": "2026-05-01T10:00:00Z"}
    report = imported(tmp_path, mapping, clicks(*rows))
    assert report.left_out == {"copied": 1}
    assert report.files[0].rows_used == 2


@pytest.mark.parametrize(
    ("sent", "received", "ts"),
    [
        ("10:00:01", "10:00:31", "10:00:00"),  # half a minute of network: the clock is right
        ("10:00:01", "10:01:01", "10:00:00"),  # 60 s are not above 60 s
        ("10:00:01", "10:01:02", "10:01:01"),
        ("10:00:01", "09:00:01", "09:00:00"),  # a clock that is an hour ahead
        (None, "12:00:00", "10:00:00"),
        ("10:00:01", None, "10:00:00"),
    ],
)
def test_time_of_a_wrong_clock_is_corrected_by_the_servers(tmp_path, sent, received, ts):
    def moment(text):
        return None if text is None else f"2026-05-04T{text}Z"

    time = "{path: at, received: got, sent: sent, skew_max: 60}"
    row = {
        "id": "1",
        "who": "ann",
        "type": "view",
        "at": moment("10:00:00"),
        "sent": moment(sent),
        "got": moment(received),
    }
    imported(tmp_path, CLICKS % (time, ""), clicks(row))
    hours, minutes, seconds = map(int, ts.split(":"))
    assert times(tmp_path) == [1_777_852_800_000 + 1000 * (3600 * hours + 60 * minutes + seconds)]


def test_unreadable_time_of_the_server_refuses_the_row(tmp_path):
    time = "{path: at, received: got, sent: sent, skew_max: 60}"
    row = {
        "id": "1",
        "who": "ann",
        "type": "view",
        "at": "2026-05-04T10:00:00Z",
        "sent": "soon",
        "got": "2026-05-04T10:00:00Z",
    }
    with pytest.raises(ShopstreamError, match="no readable time: 1"):
        imported(tmp_path, CLICKS % (time, ""), clicks(row))


# --- lists ------------------------------------------------------------------------------------------------------------
BUYS = ', lines: {list: items, types: [purchase], id: "{order}#{i}", product: .sku%s}'
BOUGHT = {"id": "m1", "who": "ann", "type": "buy", "order": "O", "items": [{"sku": "a"}, {"sku": "b"}]}


def test_reloaded_purchase_counts_once_at_its_first_time_with_repeats_first(tmp_path):
    again = [BOUGHT | {"id": "m2", "at": "2026-05-04T10:05:00Z"}, BOUGHT | {"at": "2026-05-04T10:00:00Z"}]
    report = imported(tmp_path, CLICKS % ("{path: at}", BUYS % ", repeats: first"), clicks(*again))
    events = records(tmp_path / "a")
    assert sorted((event["event_id"], event["ts"]) for event in events) == [
        ("O#0", 1_777_888_800_000),
        ("O#1", 1_777_888_800_000),
    ]
    assert dict(report.left_out) == {"repeats a record": 2}


def test_event_id_of_different_events_is_refused_without_repeats_first(tmp_path):
    rows = [BOUGHT | {"at": "2026-05-04T10:00:00Z"}, BOUGHT | {"id": "m2", "at": "2026-05-04T10:05:00Z"}]
    with pytest.raises(ShopstreamError, match="event id of different events: 4"):
        imported(tmp_path, CLICKS % ("{path: at}", BUYS % ""), clicks(*rows))


def test_equal_ids_within_one_record_are_counted_each(tmp_path):
    row = BOUGHT | {"at": "2026-05-04T10:00:00Z", "items": [{"sku": "a"}] * 3}
    same = ', lines: {list: items, types: [purchase], id: "{order}-{.sku}", product: .sku}'
    report = imported(tmp_path, CLICKS % ("{path: at}", same), clicks(row))
    assert (report.rows, report.rows_used, dict(report.left_out)) == (3, 1, {"repeats a record": 2})


def test_lists_within_elements_give_a_row_per_innermost_element(tmp_path):
    mapping = """
kind: clicks
file: {format: json}
each: acts
time: {path: .at}
click:
  customer: who
  id: {join: "{visit}-{.n}"}
  type: .type
  types: {buy: purchase, view: product_view}
  product: .sku
  lines: {list: .items, types: [purchase], id: "{visit}-{.n}-{i}", product: ..sku, quantity: ..n}
"""
    at = "2026-05-04T10:00:00Z"
    acts = [
        {"n": 1, "at": at, "type": "view", "sku": "v", "items": []},
        {"n": 2, "at": at, "type": "buy", "items": [{"sku": "a", "n": 3}, {"sku": "b", "n": 4}]},
        {"n": 3, "at": at, "type": "buy", "sku": "own"},
        {"n": 4, "at": at, "type": "view", "sku": "w", "items": [{"sku": "x"}, {"sku": "y"}]},
    ]
    report = imported(tmp_path, mapping, clicks({"who": "ann", "visit": "9", "acts": acts}))
    found = sorted((e["event_id"], e["product_id"], e.get("quantity")) for e in records(tmp_path / "a"))
    assert found == [("9-1", "v", None), ("9-2-0", "a", 3), ("9-2-1", "b", 4), ("9-3", "own", None), ("9-4", "w", None)]
    assert dict(report.left_out) == {"further line of a record that is one event": 1}
    assert report.rows == 6


# --- lines of a table -------------------------------------------------------------------------------------------------
TABLES = """
kind: orders
file: {format: csv}
tables: {items: {file: items.csv, key: order}}
time: {column: at}
order:
  rows: order
  id: id
  customer: who
  total: total
  lines: {table: items, product: .sku, quantity: {value: 2}, unit_price: .price}
"""


def test_lines_of_an_order_come_from_the_rows_of_a_table(tmp_path):
    (tmp_path / "items.csv").write_text("order,sku,price\n1,a,5\n 1 ,b,0.5\n3,c,1\n", "utf-8")
    report = imported(tmp_path, TABLES, "id,who,at,total\n1,ann,2026-05-01,20\n2,bob,2026-05-01,7\n")
    orders = {order["order_id"]: order for order in records(tmp_path / "a")}
    assert orders["1"]["total"] == 20.0
    assert [(item["product_id"], item["quantity"], item["unit_price"]) for item in orders["1"]["items"]] == [
        ("a", 2, 5.0), ("b", 2, 0.5),
    ]  # fmt: skip
    assert not orders["2"].get("items")
    assert (report.rows, report.rows_used, dict(report.left_out)) == (4, 3, {UNUSED: 1})


def test_table_of_lines_without_a_column_is_an_error_of_the_mapping(tmp_path):
    (tmp_path / "items.csv").write_text("order,sku\n1,a\n", "utf-8")
    with pytest.raises(UsageError, match=r"items\.csv has no column price"):
        imported(tmp_path, TABLES, "id,who,at,total\n1,ann,2026-05-01,20\n")


# --- conditions and words ---------------------------------------------------------------------------------------------
def test_rule_with_when_needs_both_conditions(tmp_path):
    rule = "left_out: [{reason: visitor, path: who, missing: true, when: {path: device, missing: false}}]\n"
    row = {"type": "view", "at": "2026-05-04T10:00:00Z"}
    report = imported(
        tmp_path, rule + CLICKS % ("{path: at}", ""),
        clicks(row | {"id": "1", "device": "d"}, row | {"id": "2"}, row | {"id": "3", "who": "ann", "device": "d"}),
    )  # fmt: skip
    assert dict(report.left_out) == {"visitor": 1}
    assert dict(report.refused) == {"no customer": 1}
    assert [event["event_id"] for event in records(tmp_path / "a")] == ["3"]


def test_country_codes_in_lower_case_are_read_with_upper(tmp_path):
    row = {"type": "view", "at": "2026-05-04T10:00:00Z", "who": "ann"}
    country = ", country: {path: land, never: [xx], upper: true}"
    report = imported(tmp_path, CLICKS % ("{path: at}", country), clicks(row | {"land": "pl"}, row | {"land": "xx"}))
    assert sorted(str(event.get("country")) for event in records(tmp_path / "a")) == ["None", "PL"]
    assert not report.dropped


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (CLICKS % ("{path: at, local: Europe/Berlin}", ""), "local is the zone of an epoch"),
        (CLICKS % ("{path: at, received: got}", ""), "received, sent and skew_max go together"),
        ("each: acts\n" + LINES % "", "a list is in a JSON record"),
        ("each: acts\n" + CLICKS % ("{path: .at}", BUYS % ""), "begins with a point"),
        (LINES % RULES.replace("reason: test", "reason: test, unless: true"), "unknown key"),
        ((LINES % RULES).replace("rows: line", "rows: order, total: price"), "write left_out at the top"),
        (TABLES.replace("table: items", "table: lines"), "the table lines, which is not in tables"),
        (TABLES.replace("table: items", "table: items, list: items"), "give list or table"),
        (TABLES.replace("id: id", "id: [id, other]"), "must be one column"),
    ],
)
def test_rule_that_cannot_hold_is_an_error_of_the_mapping(mapping, message):
    with pytest.raises(UsageError, match=message):
        parse_mapping(mapping, "own.yaml")


# --- columns whose name is a word of the mapping language -------------------------------------------------------------
def test_column_called_i_is_a_column_like_others(tmp_path):
    mapping = """
kind: clicks
file: {format: csv}
time: {column: at}
click: {id: i, customer: who, type: {value: product_view}}
"""
    row = "7,ann,2026-05-01T10:00:00Z"
    report = imported(tmp_path, mapping, f"i,who,at\n{row}\n{row}\n8,ann,2026-05-01T10:00:00Z\n")
    assert [event["event_id"] for event in records(tmp_path / "a")] == ["7", "8"]
    assert report.left_out == {"repeats a record": 1}


JOINED = """
kind: orders
file: {format: csv}
time: {column: at}
order: {rows: order, id: {join: "{id}-{i}"}, customer: who, total: total}
"""


def test_column_called_i_is_read_in_a_join_where_records_have_no_lines(tmp_path):
    report = imported(tmp_path, JOINED, "id,i,who,at,total\n1,0,ann,2026-05-01,5\n1,1,ann,2026-05-01,6\n")
    assert (report.refused, totals(tmp_path)) == ({}, {"1-0": 5.0, "1-1": 6.0})


def test_position_in_a_join_without_lines_is_an_error_of_the_mapping(tmp_path):
    with pytest.raises(UsageError, match=r"no column i, and \{i\} of .* is the position of a line"):
        imported(tmp_path, JOINED, "id,who,at,total\n1,ann,2026-05-01,5\n")


LINES_WITH_STATUS = """\
kind: orders
file: {format: csv}
time: {column: day}
order: {rows: line, id: id, customer: who, quantity: n, unit_price: price, status: %s, statuses: {back: refunded}}
"""


@pytest.mark.parametrize("rows", [("back", ""), ("", "back"), ("back", "back")])
def test_row_without_a_status_has_that_of_its_order(tmp_path, rows):
    text = "id,who,day,n,price,status\n" + "".join(f"1,ann,2024-01-01,1,5,{status}\n" for status in rows)
    report = import_text(tmp_path, text, LINES_WITH_STATUS % "status")
    assert not report.refused
    assert orders_of(tmp_path / "a", "status", "total") == [("refunded", 10.0)]


def test_status_that_a_mapping_gives_to_empty_rows_is_their_own(tmp_path):
    text = "id,who,day,n,price,status\n1,ann,2024-01-01,1,5,back\n1,ann,2024-01-01,1,5,\n2,ann,2024-01-01,1,5,\n"
    report = import_text(tmp_path, text, LINES_WITH_STATUS % "{path: status, missing: placed}")
    assert dict(report.refused) == {"order whose rows differ in status": 2}
    assert orders_of(tmp_path / "a", "order_id", "status") == [("2", "placed")]
