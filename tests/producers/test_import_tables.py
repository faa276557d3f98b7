"""Tables of a mapping: their keys, their formats, their rows without an order, and how often they are read."""

import io
import os
import sys
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from producers_import import orders_of
from typer.testing import CliRunner

from features.errors import ShopstreamError, UsageError
from producers.importing import lookups
from producers.importing.importer import import_logs
from producers.importing.mapping import parse_mapping
from shopstream.cli.app import build_app

PEOPLE = """\
kind: orders
file: {format: csv}
time: {column: day}
tables: {people: {file: people.csv, key: no}}
order: {rows: order, id: id, customer: {column: who, lookup: {table: people, column: name}}, total: total}
"""
PRICES = """\
kind: orders
file: {format: csv, separator: ";"%s}
time: {column: day}
tables: {prices: {file: prices.csv, key: no%s}}
order: {rows: order, id: id, customer: who, total: {column: sku, lookup: {table: prices, column: price}}}
"""
ITEMS = """\
kind: orders
file: {format: csv, separator: ";"}
time: {column: day}
tables: {items: {file: items.csv, key: order%s}}
order:
  rows: order
  id: id
  customer: who
  lines: {table: items, product: .sku, quantity: {value: 1}, unit_price: .price}
"""
COMMA = ', format: {format: csv, separator: ";", decimal: ","}'
UNUSED = "row of a table whose key no row of the log has"
NO_KEY = "row of a table without a key"


@pytest.fixture
def run(tmp_path):
    """Import `log.csv` by a mapping, with the texts of other files; return the report."""

    def call(mapping, log, names=("log.csv",), **tables):
        for name, text in {"log": log, **tables}.items():
            (tmp_path / f"{name}.csv").write_text(text, "utf-8")
        parsed = parse_mapping(mapping, "m.yaml")
        return import_logs([(tmp_path / name, "m", parsed) for name in names], tmp_path / "a", force=True)

    return call


def counts(report):
    """Name, rows, left out and refused of each file of a report."""
    return [
        (os.path.basename(one.file), one.rows, dict(one.left_out), dict(one.refused))  # noqa: PTH119 - a text
        for one in report.files
    ]


# --- rows without an order --------------------------------------------------------------------------------------------
def test_lines_of_a_table_without_an_order_are_left_out_and_counted(run, tmp_path):
    items = "order;sku;price\n1;mug;5\n8;mug;5\n1;cup;2\n9;pot;7\n"
    report = run(ITEMS % "", "id;who;day\n1;ann;2024-03-01\n2;bob;2024-03-01\n", items=items)
    assert counts(report)[1] == ("items.csv", 2, {UNUSED: 2}, {})
    assert [one.line for one in report.files[1].examples[UNUSED]] == [3, 5]
    assert report.rows == report.rows_used + report.left_out.total() + report.refused.total()
    assert orders_of(tmp_path / "a", "order_id", "total") == [("1", 7.0)]


def test_rows_of_a_lookup_table_are_counted_if_no_row_of_the_log_has_their_key(run):
    log = "id,who,day,total\n1,7,2024-03-01,5\n2,8,2024-03-01,5\n"
    report = run(PEOPLE, log, people="no,name\n7,ann\n5,eve\n8,bob\n")
    assert counts(report) == [("log.csv", 2, {}, {}), ("people.csv", 1, {UNUSED: 1}, {})]


def test_a_table_whose_rows_are_all_used_has_no_line_in_the_report(run):
    report = run(PEOPLE, "id,who,day,total\n1,7,2024-03-01,5\n", people="no,name\n7,ann\n")
    assert counts(report) == [("log.csv", 1, {}, {})]


def test_keys_of_all_files_of_the_log_use_the_rows_of_a_table(run, tmp_path):
    (tmp_path / "b.csv").write_text("id,who,day,total\n2,8,2024-03-01,5\n", "utf-8")
    log, people = "id,who,day,total\n1,7,2024-03-01,5\n", "no,name\n7,ann\n8,bob\n"
    assert counts(run(PEOPLE, log, ("log.csv", "b.csv"), people=people)) == [
        ("log.csv", 1, {}, {}),
        ("b.csv", 1, {}, {}),
    ]


def test_a_table_of_two_uses_counts_a_row_that_neither_uses(run):
    mapping = PEOPLE.replace("people.csv, key: no}", "people.csv, key: no}, again: {file: people.csv, key: other}")
    mapping = mapping.replace("total: total", "total: total, channel: {column: id, lookup: {table: again, column: no}}")
    log = "id,who,day,total\n1,7,2024-03-01,5\n"
    report = run(mapping, log, people="no,name,other\n7,ann,\n6,eve,1\n5,zoe,4\n,ian,3\n")
    assert counts(report)[1] == ("people.csv", 2, {UNUSED: 1}, {NO_KEY: 1})


def test_a_row_of_a_table_without_a_key_is_refused_and_counted(run):
    log = "id,who,day,total\n1,7,2024-03-01,5\n"
    report = run(PEOPLE, log, people="no,name\n7,ann\n ,bob\n")
    assert counts(report)[1] == ("people.csv", 1, {}, {NO_KEY: 1})
    assert [one.line for one in report.files[1].examples[NO_KEY]] == [3]


def test_a_repeated_header_of_a_table_is_left_out(run):
    log = "id,who,day,total\n1,7,2024-03-01,5\n2,8,2024-03-01,5\n"
    report = run(PEOPLE, log, people="no,name\n7,ann\nno,name\n8,bob\n")
    assert counts(report)[1] == ("people.csv", 1, {"header repeated": 1}, {})


def test_the_command_shows_rows_of_tables_also_in_a_dry_run(run, tmp_path):
    run(PEOPLE, "id,who,day,total\n1,7,2024-03-01,5\n", people="no,name\n7,ann\n5,eve\n,bob\n")
    (tmp_path / "m.yaml").write_text(PEOPLE, "utf-8")
    arguments = ["import", str(tmp_path / "log.csv"), "--mapping", str(tmp_path / "m.yaml"), "--dry-run"]
    shown = CliRunner().invoke(build_app(), arguments, env={"COLUMNS": "200"})
    assert shown.exit_code == 1
    assert f"left out: {UNUSED}" in shown.output
    assert f"1 refused: {NO_KEY}" in shown.output


# --- keys -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("key", "other", "same"),
    [("1", "1.0", True), ("1.0", "1", True), (" 1", "1", True), ("007", "7", False), ("A", "a", False),
     ("1", "1.5", False), ("007.0", "7", False), ("-0", "0", False)],
)  # fmt: skip
def test_keys_are_ids_with_every_character(run, tmp_path, key, other, same):
    log = f"id,who,day,total\n1,{key},2024-03-01,5\n2,base,2024-03-01,5\n"
    report = run(PEOPLE, log, people=f"no,name\nbase,eve\n{other},ann\n")
    assert [who for (who,) in orders_of(tmp_path / "a", "customer_id")] == (["ann", "eve"] if same else ["eve"])
    assert report.refused == ({} if same else {"no customer": 1})
    assert report.left_out == ({} if same else {UNUSED: 1})


@pytest.mark.parametrize("keys", [pa.array([7.0, None]), pa.array([7, None]), pa.array([Decimal("7.00"), None])])
def test_typed_keys_of_a_table_are_the_integers_of_the_log(run, tmp_path, keys):
    pq.write_table(pa.table({"no": keys, "name": ["ann", None]}), tmp_path / "people.parquet")
    mapping = PEOPLE.replace("people.csv, key: no", "people.parquet, key: no, format: {format: parquet}")
    report = run(mapping, "id,who,day,total\n1,7,2024-03-01,5\n")
    assert orders_of(tmp_path / "a", "customer_id") == [("ann",)]
    assert report.refused == {NO_KEY: 1}


def test_lines_have_the_key_that_is_the_integer_of_an_integral_float(run, tmp_path):
    run(ITEMS % "", "id;who;day\n1.0;ann;2024-03-01\n", items="order;sku;price\n1;mug;5\n1.0;cup;3\n")
    assert orders_of(tmp_path / "a", "order_id", "total") == [("1", 8.0)]


def test_a_key_with_two_values_is_refused_with_both_lines(run):
    log = "id,who,day,total\n1,7,2024-03-01,5\n"
    with pytest.raises(ShopstreamError, match=r"people\.csv, line 4: name of no '7' is 'bob', but 'ann' in line 2"):
        run(PEOPLE, log, people="no,name\n7,ann\n8,eve\n7.0,bob\n")


def test_a_key_with_one_value_twice_and_a_missing_one_has_this_value(run, tmp_path):
    run(PEOPLE, "id,who,day,total\n1,7,2024-03-01,5\n", people="no,name\n7,ann\n7,\n7,ann\n")
    assert orders_of(tmp_path / "a", "customer_id") == [("ann",)]


# --- keys that no row has ---------------------------------------------------------------------------------------------
def test_a_refusal_for_a_key_that_its_table_lacks_names_key_and_table(run):
    log = "id,who,day,total\n1,7,2024-03-01,5\n2,9,2024-03-01,5\n3,,2024-03-01,5\n4,8,2024-03-01,5\n"
    report = run(PEOPLE, log, people="no,name\n7,ann\n8,\n")
    assert report.refused == {"no customer": 3}
    assert [one.position() for one in report.files[0].examples["no customer"]] == [
        "line 3, who = '9': 9 is no key of tables.people",
        "line 4, who is empty",
        "line 5, who is empty",
    ]


def test_optional_values_of_keys_that_their_table_lacks_are_counted(run, tmp_path):
    mapping = PEOPLE.replace("customer: {column: who", "customer: id, channel: {column: who")
    log = "id,who,day,total\n1,7,2024-03-01,5\n2,9,2024-03-01,5\n3,,2024-03-01,5\n4,8,2024-03-01,5\n"
    report = run(mapping, log, people="no,name\n7,web\n8,\n")
    assert (report.dropped, report.refused) == ({"channel by a key that its table lacks": 1}, {})
    assert [channel for (channel,) in orders_of(tmp_path / "a", "channel")] == ["web", None, None, None]


def test_a_key_that_its_table_lacks_is_not_counted_where_another_source_has_a_value(run, tmp_path):
    mapping = PEOPLE.replace("customer: {column: who", "customer: id, channel: [{column: who")
    mapping = mapping.replace("column: name}}", "column: name}}, {value: other}]")
    report = run(mapping, "id,who,day,total\n1,7,2024-03-01,5\n2,9,2024-03-01,5\n", people="no,name\n7,web\n")
    assert report.dropped == {}
    assert [channel for (channel,) in orders_of(tmp_path / "a", "channel")] == ["web", "other"]


def test_orders_without_a_row_in_the_table_of_lines_are_counted(run, tmp_path):
    log = "id;who;day;total\n1;ann;2024-03-01;5\n2.0;bob;2024-03-01;6\n3;cyd;2024-03-01;7\n"
    mapping = (ITEMS % "").replace("customer: who", "customer: who\n  total: total")
    report = run(mapping, log, items="order;sku;price\n1;mug;5\n2;cup;6\n")
    assert (report.dropped, report.refused) == ({"order without a row in tables.items": 1}, {})
    assert [len(items or ()) for (items,) in orders_of(tmp_path / "a", "items")] == [1, 1, 0]


def test_orders_whose_total_is_a_sum_are_refused_without_a_row_in_the_table_of_lines(run):
    log = "id;who;day\n1;ann;2024-03-01\n3;cyd;2024-03-01\n"
    report = run(ITEMS % "", log, items="order;sku;price\n1;mug;5\n")
    assert report.refused == {"order without a row in tables.items": 1}
    assert report.files[0].examples["order without a row in tables.items"][0].position() == "line 3, id = '3'"


# --- numbers ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("log", "table", "price", "total"),
    [
        ("", COMMA, "1.234", 1234.0), ("", COMMA, "1.234,50", 1234.5), ("", COMMA, "12,50", 12.5),
        (', decimal: ","', ', format: {format: csv, separator: ";"}', "1.234", 1.234),
        (', decimal: ","', ', format: {format: csv, separator: ";", thousands: ","}', "1,234.5", 1234.5),
        (', decimal: ","', "", "1.234", 1234.0), ("", "", "1.234", 1.234),
    ],
)  # fmt: skip
def test_numbers_of_a_table_are_read_in_its_own_format(run, tmp_path, log, table, price, total):
    run(PRICES % (log, table), "id;who;day;sku\n1;ann;2024-03-01;mug\n", prices=f"no;price\nmug;{price}\n")
    assert orders_of(tmp_path / "a", "total") == [(total,)]
    if not log:
        run(ITEMS % table, "id;who;day\n1;ann;2024-03-01\n", items=f"order;sku;price\n1;mug;{price}\n")
        assert orders_of(tmp_path / "a", "total") == [(round(total, 2),)]


def test_a_number_that_its_table_does_not_read_refuses_its_rows_though_the_log_would_read_it(run):
    prices = "no;price\nmug;12.50\ncup;1,5\n"
    log = "id;who;day;sku\n1;ann;2024-03-01;mug\n2;ann;2024-03-01;cup\n"
    report = run(PRICES % ("", COMMA), log, prices=prices)
    assert report.refused == {"no readable total": 1}
    (example,) = report.files[0].examples["no readable total"]
    assert example.position().startswith("line 2, sku = \"12.50 (decimal ',' in tables.prices)\"")


def test_texts_of_a_table_that_look_like_numbers_stay_as_they_are(run, tmp_path):
    mapping = PRICES % ("", COMMA) + "left_out: []\n"
    mapping = mapping.replace("customer: who", "customer: {column: who, lookup: {table: prices, column: price}}")
    mapping = mapping.replace("total: {column: sku, lookup: {table: prices, column: price}}", "total: total")
    run(mapping, "id;who;day;total\n1;7;2024-03-01;5\n", prices="no;price\n7;1.234\n")
    assert orders_of(tmp_path / "a", "customer_id") == [("1.234",)]


def test_conditions_on_lines_compare_texts_as_the_table_has_them_and_numbers_by_its_format(run, tmp_path):
    log = "id;who;day\n1;ann;2024-03-01\n"
    items = "order;sku;price\n1;mug;1.000,00\n1;bag;0,50\n1;pot;2,00\n"
    for rule, total in (("equals: '0,50'", 1002.0), ("at_most: 2", 1000.0)):
        lines = f"unit_price: .price, left_out: {{path: .price, {rule}}}"
        run((ITEMS % COMMA).replace("unit_price: .price", lines), log, items=items)
        assert orders_of(tmp_path / "a", "total") == [(total,)]


def test_an_unreadable_value_of_a_table_of_lines_is_refused_with_its_line(run):
    log = "id;who;day\n1;ann;2024-03-01\n2;bob;2024-03-01\n"
    report = run(ITEMS % "", log, items="order;sku;price\n1;mug;5\n2;mug;x\n")
    (example,) = report.files[0].examples["no readable unit_price"]
    assert example.position().startswith("line 3, .price = 'x': items.csv, line 3: x is no number")


def test_an_unreadable_amount_of_a_sum_is_refused_with_its_line(run):
    mapping = (PRICES % ("", "")).replace("column: price", "column: price, sum: true")
    with pytest.raises(ShopstreamError, match=r"prices\.csv, line 3, price: many is no number"):
        run(mapping, "id;who;day;sku\n1;ann;2024-03-01;mug\n", prices="no;price\nmug;5\nmug;many\n")


# --- reading ----------------------------------------------------------------------------------------------------------
def test_a_table_is_read_once_per_mapping_and_folder(run, tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(
        lookups, "log_files", lambda paths, original=lookups.log_files: (read.extend(paths), original(paths))[1]
    )
    for folder, number in (("x", 1), ("x", 2), ("x", 3), ("y", 4)):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"log{number}.csv").write_text(f"id,who,day,total\n{number},7,2024-03-01,5\n", "utf-8")
        (tmp_path / folder / "people.csv").write_text(f"no,name\n7,{folder}\n", "utf-8")
    run(PEOPLE, "", ("x/log*.csv", "y/log*.csv"))
    assert read == [tmp_path / "x" / "people.csv", tmp_path / "y" / "people.csv"]
    assert [who for (who,) in orders_of(tmp_path / "a", "customer_id")] == ["x", "x", "x", "y"]


def test_a_json_log_has_the_lines_of_a_table(run, tmp_path):
    mapping = (ITEMS % COMMA).replace('{format: csv, separator: ";"}', "{format: json}", 1)
    run(mapping, '{"id": 1, "who": "ann", "day": "2024-03-01"}\n', items="order;sku;price\n1;mug;1,5\n")
    assert orders_of(tmp_path / "a", "total") == [(1.5,)]


# --- one file twice ---------------------------------------------------------------------------------------------------
PLAIN = """\
kind: orders
file: {format: csv}
time: {column: day}
order: {rows: order, id: id, customer: who, total: total}
"""
LOG = "id,who,day,total\n1,ann,2024-03-01,5\n"


@pytest.mark.parametrize(
    "names",
    ["log.csv log.csv", "log.csv soft.csv", "log.csv hard.csv", "sub log.csv", "log.csv s*.csv", "sub"],
)
def test_a_file_of_several_names_is_imported_once_per_mapping(run, tmp_path, names):
    (tmp_path / "log.csv").write_text(LOG, "utf-8")
    (tmp_path / "soft.csv").symlink_to(tmp_path / "log.csv")
    (tmp_path / "hard.csv").hardlink_to(tmp_path / "log.csv")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "log.csv").hardlink_to(tmp_path / "log.csv")
    (tmp_path / "sub" / "again.csv").symlink_to(tmp_path / "log.csv")
    with pytest.raises(UsageError, match="is named twice"):
        run(PLAIN, LOG, names.split())


def test_a_copy_of_a_file_is_a_file_of_its_own(run, tmp_path):
    (tmp_path / "copy.csv").write_text(LOG, "utf-8")
    report = run(PLAIN, LOG, ("log.csv", "copy.csv"))
    assert (report.rows, report.left_out) == (2, {"repeats a record": 1})


def test_standard_input_is_read_once_per_mapping(tmp_path, monkeypatch):
    orders = parse_mapping(PLAIN, "m.yaml")
    clicks = "kind: clicks\nfile: {format: csv}\ntime: {column: day}\nclick: {customer: who, type: {value: checkout}}\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(LOG.encode())))
    report = import_logs([("-", "m", orders), ("-", "n", parse_mapping(clicks, "n"))], tmp_path / "a")
    assert report.records == {"orders": 1, "events": 1}
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(LOG.encode())))
    with pytest.raises(UsageError, match="standard input is named twice"):
        import_logs([("-", "m", orders), ("-", "m", orders)], tmp_path / "a", force=True)


def test_a_file_and_the_standard_input_that_reads_it_are_one(tmp_path, monkeypatch):
    (tmp_path / "log.csv").write_text(LOG, "utf-8")
    orders = parse_mapping(PLAIN, "m.yaml")
    with (tmp_path / "log.csv").open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(UsageError, match=r"log\.csv is named twice; .*|named twice, also as standard input"):
            import_logs([("-", "m", orders), (tmp_path / "log.csv", "m", orders)], tmp_path / "a")


def test_tables_of_standard_input_are_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people.csv").write_text("no,name\n7,ann\n", "utf-8")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"id,who,day,total\n1,7,2024-03-01,5\n")))
    import_logs([("-", "m", parse_mapping(PEOPLE, "m.yaml"))], tmp_path / "a")
    assert orders_of(tmp_path / "a", "customer_id") == [("ann",)]
