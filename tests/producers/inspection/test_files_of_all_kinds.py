"""Inspect on small files of each kind: form, packing, encoding and extent."""

from __future__ import annotations

import gzip
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from inspected import HEADER, NOW_MS, ROW, group_of, sentences, topics
from workbooks import write_workbook

from connectors.tables.log_files import log_files
from features.errors import ShopstreamError
from producers.importing.mapping import parse_mapping
from producers.inspection.draft import draft
from producers.inspection.findings import Example
from producers.inspection.inspection import inspect_logs


# --- separators, quotes, headers --------------------------------------------------------------------------------------
@pytest.mark.parametrize("separator", [",", ";", "\t", "|", "^", "~", "\x01", "\x1f", "¦"])
def test_the_separator_is_the_sign_that_divides_all_records(tmp_path, separator):
    group = group_of(tmp_path, (HEADER + ROW * 3).replace(",", separator))
    assert group.form.how.separator == separator
    assert group.form.names == ("order_id", "customer_id", "created_at", "total")
    assert topics(group) == {"rows": ("order", "line")}  # the id is repeated


def test_a_decimal_comma_is_no_separator(tmp_path):
    group = group_of(tmp_path, "order_id;customer;created_at;total\n1;ann;2024-03-01;12,50\n2;bob;2024-03-02;3,90\n")
    assert group.form.how.separator == ";"
    assert topics(group) == {}


def test_a_decimal_comma_in_every_column_leaves_the_semicolon(tmp_path):
    group = group_of(tmp_path, "1;12,50\n2;13,20\n3;14,70\n")
    assert (group.form.how.separator, group.form.has_header) == (";", False)


def test_two_separators_that_divide_all_records_are_a_question(tmp_path):
    group = group_of(tmp_path, "a|b;x\n" * 5 + "c|d;y\n")
    assert set(topics(group)["separator"]) == {"|", ";"}


def test_colons_of_times_are_no_separator(tmp_path):
    group = group_of(tmp_path, "ann,2024-03-01 10:00:00,5\nbob,2024-03-01 10:00:01,6\n")
    assert group.form.how.separator == ","


@pytest.mark.parametrize(
    ("before", "skip_lines"),
    [("sep=;\n", 1), ("Report of orders\n", 1), ("Report of orders\nMarch 2024\n\n", 3), ("# ----\n# made by x\n", 2),
     ("Report;;;\n", 1), ("\ufeffsep=;\r\n", 1)],
)  # fmt: skip
def test_lines_before_the_header_are_counted(tmp_path, before, skip_lines):
    group = group_of(tmp_path, before + (HEADER + ROW).replace(",", ";"))
    assert (group.form.how.skip_lines, group.form.names[0]) == (skip_lines, "order_id")
    assert group.rows == 1
    assert f"{skip_lines} line" in sentences(group)


def test_a_missing_header_is_reported_with_the_value_that_shows_it(tmp_path):
    group = group_of(tmp_path, ROW + ROW.replace("ann", "bob"))
    assert group.form.has_header is False
    assert group.form.how.columns == ("c1", "c2", "c3", "c4")
    assert "no header; line 1 is data: it has the value '1'" in sentences(group)
    assert "customer" in draft(group).recognition.missing


def test_words_alone_leave_the_header_open(tmp_path):
    assert topics(group_of(tmp_path, "red,blue\nlarge,small\ngreen,tall\n"))["header"] == ("header", "row")


def test_a_repeated_header_is_reported_by_line(tmp_path):
    group = group_of(tmp_path, HEADER + ROW + HEADER + ROW.replace("1,ann", "2,ann"))
    assert group.files[0].repeated_headers == [3]
    assert "repeats the header in line 3" in sentences(group)


def test_a_name_that_is_twice_in_the_header_gets_two_names(tmp_path):
    group = group_of(tmp_path, "order_id,customer_id,created_at,total,total\n1,ann,2024-03-01,10,12\n")
    assert "'total' is in the header 2 times, at positions 4 and 5" in sentences(group)
    assert group.form.how.columns == ("order_id", "customer_id", "created_at", "total", "total 2")
    assert group.form.how.skip_lines == 1
    assert group.rows == 1
    parse_mapping(draft(group).text, "draft")


def test_ragged_rows_are_reported_with_count_and_first_line(tmp_path):
    group = group_of(tmp_path, HEADER + ROW + "2,bob,2024-03-01\n3,cyd,2024-03-01,1,2\n4,dan,2024-03-01\n")
    ((_, (three, first)), (_, (five, _))) = group.files[0].refused.items()
    assert (three, first.line, five) == (2, 3, 1)


@pytest.mark.parametrize("last", ["Total,,,35\n", ",,Total,35\n", "Summe,,,35\n"])
def test_a_line_of_totals_at_the_end_becomes_a_rule(tmp_path, last):
    group = group_of(tmp_path, HEADER + "1,ann,2024-03-01,10\n2,bob,2024-03-02,25\n" + last)
    ((_, line, column, value),) = group.summaries
    assert line == 4
    mapping = parse_mapping(draft(group).text, "draft")
    assert [(rule.path, rule.equals) for rule in mapping.left_out] == [((column,), value)]


def test_a_ragged_line_of_totals_is_reported(tmp_path):
    group = group_of(tmp_path, HEADER + ROW + "Total: 10\n")
    assert [(line, column) for _, line, column, _ in group.summaries] == [(3, None)]


def test_quotes_that_do_not_close_are_plain_characters_only_by_decision(tmp_path):
    group = group_of(
        tmp_path, 'order_id,customer_id,note,created_at,total\n1,ann,"12 IN,2024-03-01,10\n2,bob,x,2024-03-02,5\n'
    )
    assert group.form.how.quote is None
    assert topics(group)["quote"] == ("null", '"')


def test_values_in_single_quotes_are_recognised(tmp_path):
    group = group_of(
        tmp_path,
        "'order_id','customer_id','created_at','total'\n'1','a, b','2024-03-01','10'\n'2','c','2024-03-02','5'\n",
    )
    assert (group.form.how.quote, group.rows) == ("'", 2)


def test_separators_within_single_quotes_divide_no_value(tmp_path):
    rows = "".join(f"{number},'a, b',2024-03-01,10\n" for number in range(3))
    group = group_of(tmp_path, HEADER + rows)
    assert (group.form.how.quote, group.form.how.columns, group.column("customer_id").examples) == (
        "'",
        None,
        ("a, b",),
    )


def test_apostrophes_within_names_are_no_quotes(tmp_path):
    rows = "".join(
        f"{number},{name},2024-03-01,10\n" for number, name in enumerate(["'t Hooft", "O'Neil", "Ross'", "D'A"])
    )
    assert group_of(tmp_path, HEADER + rows).form.how.quote == '"'


def test_columns_between_blanks_are_a_whitespace_file(tmp_path):
    group = group_of(tmp_path, " 00004 0001 19970101  2   29.33\n 00021 0002 19970102 12 9.75\n" * 3, "x.txt")
    assert group.form.how.format == "whitespace"
    assert [column.kind for column in group.columns] == ["id", "id", "integer", "integer", "decimal"]
    assert group.rows == 6


# --- packing, encodings -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("pack", "packing"),
    [(gzip.compress, "gzip"), (lambda b: pa.compress(b, "zstd", asbytes=True), "zstd"), (bytes, None)],
)
def test_packing_is_recognised_by_content(tmp_path, pack, packing):
    group = group_of(tmp_path, pack((HEADER + ROW).encode()), "orders.parquet")
    assert (group.files[0].kind.packing, group.form.how.format, group.rows) == (packing, "csv", 1)


def test_members_of_a_zip_file_with_the_same_columns_are_one_group(tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as packed:
        packed.writestr("jan.csv", HEADER + ROW)
        packed.writestr("feb.csv", HEADER + ROW.replace("1,", "2,"))
        packed.writestr("clicks.csv", "event_type,user_id,timestamp\nview,ann,2024-03-01T10:00:00Z\n")
    inspection = inspect_logs(log_files([tmp_path / "all.zip"]), None, NOW_MS)
    groups = [sorted(file.name.rsplit(": ")[-1] for file in group.files) for group in inspection.groups]
    assert sorted(groups) == [["clicks.csv"], ["feb.csv", "jan.csv"]]
    both = next(group for group in inspection.groups if len(group.files) == 2)
    assert "same columns" in sentences(both)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_decides_the_encoding(tmp_path, encoding):
    group = group_of(tmp_path, (HEADER + ROW.replace("ann", "José")).encode(encoding))
    assert group.form.how.encoding is None
    assert "byte-order mark" in sentences(group)
    assert group.column("customer_id").examples == ("José",)


def test_utf_16_without_a_mark_is_declared(tmp_path):
    group = group_of(tmp_path, (HEADER + ROW).encode("utf-16-le"))
    assert group.form.how.encoding == "utf-16-le"
    assert group.rows == 1


@pytest.mark.parametrize(
    ("word", "encoding"), [("José", "cp1252"), ("Żółć", "cp1250"), ("Иванов", "cp1251"), ("Καλημέρα", "cp1253")]
)
def test_an_encoding_that_is_not_utf_8_is_a_question_with_its_words(tmp_path, word, encoding):
    content = HEADER + "".join(f"{n},{word},2024-03-01,10\n" for n in range(5))
    group = group_of(tmp_path, content.encode(encoding))
    (question,) = [one for one in draft(group).questions if one.topic == "encoding"]
    assert encoding in question.choices
    assert "Line 2 is not UTF-8" in question.text
    assert group.form.how.encoding is not None


def test_a_file_of_two_encodings_is_reported(tmp_path):
    lines = [HEADER.encode()] + [f"{n},José,2024-03-01,1\n".encode("cp1252" if n == 3 else "utf-8") for n in range(9)]
    group = group_of(tmp_path, b"".join(lines))
    assert any("mixes encodings" in one for one in group.form.warnings)


def test_files_of_one_form_where_only_one_has_accents_are_one_group(tmp_path):
    (tmp_path / "a.csv").write_bytes((HEADER + ROW).encode())
    (tmp_path / "b.csv").write_bytes((HEADER + "2,José,2024-03-01,10\n").encode("cp1252"))
    inspection = inspect_logs(log_files([tmp_path / "a.csv", tmp_path / "b.csv"]), None, NOW_MS)
    (group,) = inspection.groups
    assert group.form.how.encoding is not None
    assert "encoding" in topics(group)


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"", "is empty"), (b"SQLite format 3\0abc", "SQLite"), (b"<?xml version='1.0'?><a/>", "XML"),
     (b"%PDF-1.7", "PDF"),
     (b"\x00\x01\x02\x03" * 50, "NUL"), (b'{"a": {"b": 1},\n "c": 2}', "without a list of records")],
)  # fmt: skip
def test_a_file_that_no_mapping_reads_is_refused_with_a_sentence(tmp_path, content, text):
    (tmp_path / "x").write_bytes(content)
    inspection = inspect_logs(log_files([tmp_path / "x"]), None, NOW_MS)
    assert inspection.groups == []
    assert text in inspection.unreadable[0].error[0]


def test_a_damaged_packing_is_refused_with_a_sentence(tmp_path):
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"a,b\n" * 1000)[:-20])
    inspection = inspect_logs(log_files([tmp_path / "x.gz"]), None, NOW_MS)
    assert "damaged" in inspection.unreadable[0].error[0]


# --- workbooks --------------------------------------------------------------------------------------------------------
TABLE = [
    ["order_id", "customer_id", "created_at", "total"],
    ["1", "ann", "2024-03-01", 10.5],
    ["2", "bob", "2024-03-02", 3],
]


def group_of_workbook(tmp_path, sheets):
    return group_of(tmp_path, write_workbook(tmp_path / "made", sheets).read_bytes(), "x")


def test_a_workbook_has_sheets_with_sizes_and_the_largest_is_drafted(tmp_path):
    group = group_of_workbook(tmp_path, {"notes": [["made by x"]], "orders": TABLE})
    assert topics(group)["sheet"] == ("notes", "orders")
    assert "notes (1 row, 1 column), orders (3 rows, 4 columns)" in sentences(group)
    mapping = parse_mapping(draft(group).text, "draft")
    assert (mapping.file.format, mapping.file.sheet, mapping.order.total) == ("excel", "orders", "total")


def test_sheets_with_the_same_header_are_one_log(tmp_path):
    group = group_of_workbook(tmp_path, {"jan": TABLE, "feb": [*TABLE, ["3", "c", "2024-04-01", 1]], "notes": [["x"]]})
    mapping = parse_mapping(draft(group).text, "draft")
    assert (mapping.file.sheet, group.rows) == (("jan", "feb"), 5)
    assert "sheet" in topics(group)


def test_titles_above_the_header_of_a_sheet_are_skipped(tmp_path):
    group = group_of_workbook(tmp_path, {"orders": [["Report of March"], [], *TABLE]})
    assert (group.form.how.skip_lines, group.form.names) == (2, tuple(TABLE[0]))
    assert group.rows == 2


# --- extent -----------------------------------------------------------------------------------------------------------
def test_findings_rest_on_the_first_rows_and_this_is_known(tmp_path):
    content = HEADER + "".join(f"{n},c{n},2024-03-01,1\n" for n in range(50))
    part, whole = (group_of(tmp_path, content, rows_max=count) for count in (10, 50))
    assert (part.rows, part.complete) == (10, False)
    assert (whole.rows, whole.complete) == (50, True)


def test_a_fault_ends_the_reading_and_is_reported(tmp_path):
    group = group_of(tmp_path, HEADER + ROW * 3 + '5,"ann"x,2024-03-01,1\n6,b"c,d,1\n7,x\n')
    assert group.files[0].error is not None
    assert "line 5" in group.files[0].error[0]


def test_an_example_names_value_and_line():
    assert str(Example("a", 3)) == "'a' (line 3)"


def test_an_unknown_name_is_refused(tmp_path):
    with pytest.raises(ShopstreamError):
        log_files([tmp_path / "nothing.csv"])


def test_columns_of_parquet_that_no_mapping_can_name_are_described_by_their_position(tmp_path):
    day = pa.array(["2024-01-01", "2024-01-02"])
    names = ["order_id", "*", "^x$", "customer_id", "total", "created_at", "note", "note"]
    table = pa.table([["1", "2"], ["x", "y"], ["p", None], ["a", "b"], [1.5, 2.0], day, day, day], names=names)
    pq.write_table(table, tmp_path / "a.parquet")
    (group,) = inspect_logs(log_files([tmp_path / "a.parquet"]), None, NOW_MS).groups
    expected = ["order_id", "column 2", "column 3", "customer_id", "total", "created_at", "column 7", "column 8"]
    assert [one.name for one in group.columns] == expected
    assert (group.rows, group.files[0].error) == (2, None)
    [warning] = group.form.warnings
    assert warning.startswith("column 2 is called '*', column 3 is called '^x$', column 7 is called 'note', column 8")
    assert warning.endswith("a mapping cannot name them. Rename them.")
