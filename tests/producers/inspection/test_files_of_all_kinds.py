"""Inspect on small files of each kind: what it must report, and what it must not decide alone."""

from __future__ import annotations

import gzip
import io
import json
import zipfile

import polars as pl
import pyarrow as pa
import pytest

from connectors.tables.log_files import log_files
from features.errors import ShopstreamError
from producers.importing.mapping import parse_mapping
from producers.inspection.draft import draft
from producers.inspection.findings import Example
from producers.inspection.fit import fitting_mappings
from producers.inspection.inspection import inspect_logs
from producers.inspection.report import column_sentences, file_sentences, group_as_dict

NOW_MS = 1_735_689_600_000  # 2025-01-01
HEADER = "order_id,customer_id,created_at,total\n"
ROW = "1,ann,2024-03-01,10\n"


def group_of(tmp_path, content, name="log.csv", rows_max=None):
    """Inspect one file with this content, text or bytes."""
    file = tmp_path / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    inspection = inspect_logs(log_files([file]), rows_max, NOW_MS)
    assert not inspection.unreadable, inspection.unreadable
    (group,) = inspection.groups
    return group


def sentences(group):
    return " ".join(file_sentences(group))


def topics(group):
    """Return topic -> choices of what a person must decide, without the zone of local times."""
    return {one.topic: one.choices for one in draft(group).questions if one.topic != "zone"}


def notes(group, column):
    return " ".join(column_sentences(group.column(column)))


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


# --- columns ----------------------------------------------------------------------------------------------------------
def orders(**columns):
    """Return a CSV with the usual columns, some of them replaced."""
    count = len(next(iter(columns.values())))
    table = {
        "order_id": [f"o{n}" for n in range(count)], "customer_id": [f"c{n}" for n in range(count)],
        "created_at": ["2024-03-01T10:00:00Z"] * count, "total": ["10.50"] * count, **columns,
    }  # fmt: skip
    rows = ["\t".join(table), *("\t".join(row) for row in zip(*table.values(), strict=True))]
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "2", "3"], "integer"), (["1.5", "2", "3"], "decimal"), (["60.00", "5.00", "1.00"], "decimal"),
        (["1.0", "2.0", "3.0"], "integer"), (["2024-03-01", "2024-03-02", "2024-03-03"], "date"),
        (["2024-03-01 10:00", "2024-03-02", "2024-03-03"], "time"), (["a", "a", "b", "b"], "words"),
        (["true", "false", "true"], "boolean"), (["one two", "three four", "five"], "text"),
        (["007", "12", "13"], "id"),
        (["a@b.de", "c@d.de", "e@f.com"], "email"), (['{"a": 1}', '{"b": 2}', "{}"], "JSON object"),
        (['[{"a": 1}]', "[]", "[1]"], "JSON list"), (["10:00", "11:30:05", "12:15"], "time of day"),
        ([" ", "", " "], "empty"),
    ],
)  # fmt: skip
def test_the_type_of_a_column_is_that_of_all_its_values(tmp_path, values, kind):
    assert group_of(tmp_path, orders(extra=values)).column("extra").kind == kind


def test_fill_distinct_values_examples_and_extremes_are_exact(tmp_path):
    column = group_of(tmp_path, orders(extra=["2.50", "", "10", "2.50"])).column("extra")
    assert (column.fill, column.distinct, column.distinct_exact) == (0.75, 2, True)
    assert (column.examples, column.low, column.high) == (("2.50", "10"), "2.50", "10")


@pytest.mark.parametrize("word", ["NULL", "(not set)", "N/A", "-", "\\N", "n/a", "None", "nan", "undefined"])
def test_placeholders_are_counted_with_their_first_line(tmp_path, word):
    group = group_of(tmp_path, orders(total=["1.50", word, "2.50", word]))
    assert group.column("total").placeholders == {word: (2, 3)}
    assert group.column("total").kind == "decimal"
    assert parse_mapping(draft(group).text, "draft").file.missing == (word,)


@pytest.mark.parametrize(
    ("values", "text"),
    [(["007", "12", "013"], "2 values with leading zeros, first '007' (line 2)"),
     (["13085.0", "13086.0", "1"], "2 values that a table of floats printed with .0, first '13085.0' (line 2)"),
     (["1.234E+15", "5", "6"], "1 value in scientific notation, whose digits may be lost, first '1.234E+15' (line 2)")],
)  # fmt: skip
def test_the_forms_of_ids_are_reported(tmp_path, values, text):
    assert text in notes(group_of(tmp_path, orders(customer_id=values)), "customer_id")


@pytest.mark.parametrize(
    ("values", "decimal", "grouping"),
    [
        (["12,50", "3", "1.234,56"], ",", "."), (["12.50", "1,234.56"], ".", ","), (["12.50", "1.234"], ".", None),
        (["1 234,50", "3"], ",", " "), (["1'234.50", "3"], ".", "'"), (["12,5", "1'234"], ",", "'"),
        (["10", "12"], ".", None),
        (["0.125", "7"], ".", None), (["1.234.567", "5"], ",", "."), (["1,234,567", "5"], ".", ","),
    ],
)  # fmt: skip
def test_signs_of_numbers_that_only_one_form_reads_are_decided(tmp_path, values, decimal, grouping):
    group = group_of(tmp_path, orders(total=values))
    mapping = parse_mapping(draft(group).text, "draft")
    assert (mapping.file.decimal, mapping.file.grouping) == (decimal, grouping)
    assert topics(group) == {}


@pytest.mark.parametrize("values", [["1.234", "5.678"], ["1,234", "999"], ["1.234", "5"]])
def test_one_sign_before_three_digits_is_ambiguous(tmp_path, values):
    group = group_of(tmp_path, orders(total=values))
    (question,) = [one for one in draft(group).questions if one.topic == "decimal"]
    assert len(question.choices) > 1
    assert values[0] in question.text
    assert "CHECK: Every number of total fits several forms" in draft(group).text


def test_a_value_of_the_other_form_is_named_with_its_line(tmp_path):
    group = group_of(tmp_path, orders(total=["12,50", "12.50", "1.234,56"]))
    (question,) = [one for one in draft(group).questions if one.topic == "decimal"]
    assert "'12.50' (line 3)" in question.text


def test_a_currency_sign_is_stripped_by_an_expression_that_a_person_confirms(tmp_path):
    group = group_of(tmp_path, orders(total=["€12.50", "€3.00", "7"]))
    made = draft(group)
    assert topics(group)["currency"] == ("€",)
    assert parse_mapping(made.text, "draft").order.total.match.startswith("^(?:€)?")


def test_signs_of_two_currencies_are_never_stripped(tmp_path):
    group = group_of(tmp_path, orders(total=["€12.50", "$3.00"]))
    assert set(topics(group)["currency"]) == {"€", "$"}
    assert parse_mapping(draft(group).text, "draft").order.total == "total"


# --- times ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("values", "format_"),
    [
        (["2024-03-01", "2024-03-02 10:00"], "iso"), (["2024-03-01T10:00:00Z", "2024-03-01 10:00:00+02"], "iso"),
        (["25/03/2024", "03/04/2024"], "%d/%m/%Y"), (["03/25/2024", "03/04/2024"], "%m/%d/%Y"),
        (["25.03.2024 10:15", "3.4.2024 9:05"], "%d.%m.%Y %H:%M"),
        (["3/25/2024 3:05 PM", "3/4/2024 11:00 AM"], "%m/%d/%Y %I:%M %p"),
        (["7 Mar 2024", "17 Dec 2024"], "%d %b %Y"), (["Thu, 07 Mar 2024 10:00:00 +0100"], "%a, %d %b %Y %H:%M:%S %z"),
        (["07/Mar/2024:10:00:00 +0000"], "%d/%b/%Y:%H:%M:%S %z"), (["Mar 7, 2024"], "%b %d, %Y"),
        (["1709287200", "1709287260"], "epoch_s"), (["1709287200000"], "epoch_ms"), (["1709287200000000"], "epoch_us"),
        (["1709287200000000000"], "epoch_ns"), (["45352", "45353.5"], "excel_days"),
        (["20240301101500"], "%Y%m%d%H%M%S"),
        (["20240301"], "iso"), (["2024/03/07 10:00"], "%Y/%m/%d %H:%M"),
    ],
)  # fmt: skip
def test_the_format_of_times_reads_all_values(tmp_path, values, format_):
    group = group_of(tmp_path, orders(created_at=values))
    assert "date order" not in topics(group)
    (time,) = parse_mapping(draft(group).text, "draft").time
    assert time.format == format_


@pytest.mark.parametrize(
    ("values", "choices"),
    [(["03/04/2024", "05/06/2024"], {"%d/%m/%Y", "%m/%d/%Y"}), (["03.04.24"], {"%d.%m.%y", "%m.%d.%y", "%y.%m.%d"}),
     (["25.04.24"], {"%d.%m.%y", "%y.%m.%d"})],
)  # fmt: skip
def test_an_order_of_day_and_month_that_no_value_decides_is_a_question(tmp_path, values, choices):
    group = group_of(tmp_path, orders(created_at=values))
    assert set(topics(group)["date order"]) == choices
    assert "A value with a day above 12 would decide" in draft(group).text.replace("\n  # ", " ")


def test_the_value_that_decides_the_order_of_day_and_month_is_named(tmp_path):
    group = group_of(tmp_path, orders(created_at=["03/04/2024", "25/04/2024"]))
    assert "%m/%d/%Y does not read '25/04/2024' (line 3)" in notes(group, "created_at")


def test_times_of_two_forms_are_named_and_not_drafted_as_one(tmp_path):
    values = ["01.03.2024"] * 20 + ["2024-03-01"]
    group = group_of(tmp_path, orders(created_at=values))
    assert "'2024-03-01' (line 22)" in next(one.text for one in draft(group).questions if one.topic == "time form")


def test_zone_words_offsets_dates_future_and_early_times_are_counted(tmp_path):
    values = [
        "2024-06-01 12:00:00 PDT",
        "2024-06-01 12:00:00 UTC",
        "2024-06-01T12:00+02:00",
        "2024-06-01",
        "1985-01-01",
        "2204-01-01",
    ]
    group = group_of(tmp_path, orders(created_at=values))
    text = notes(group, "created_at")
    for part in ("PDT (1)", "UTC (1)", "1 value with an offset", "3 values are dates without a time",
                 "1 value before 1990, first '1985-01-01' (line 6)",
                 "1 value in the future, first '2204-01-01' (line 7)"):  # fmt: skip
        assert part in text
    assert topics(group)["zone words"] == ("PDT",)


@pytest.mark.parametrize(("word", "offset"), [("PDT", "-07:00"), ("CEST", "+02:00")])
def test_a_zone_word_of_one_meaning_gets_a_proposal(tmp_path, word, offset):
    group = group_of(tmp_path, orders(created_at=[f"2024-06-01 12:00:00 {word}"]))
    (time,) = parse_mapping(draft(group).text, "draft").time
    assert time.zones == {word: offset}


@pytest.mark.parametrize("word", ["CST", "IST", "BST", "XYZ"])
def test_a_zone_word_of_several_meanings_gets_none(tmp_path, word):
    group = group_of(tmp_path, orders(created_at=[f"2024-06-01 12:00:00 {word}"]))
    (time,) = parse_mapping(draft(group).text, "draft").time
    assert time.zones == {}
    assert f"# {word}: ?" in draft(group).text


def test_local_times_ask_for_the_zone_and_times_with_offsets_do_not(tmp_path):
    local = draft(group_of(tmp_path, orders(created_at=["2024-03-01 10:00"])))
    zoned = draft(group_of(tmp_path, orders(created_at=["2024-03-01T10:00:00Z"])))
    assert [one.topic for one in local.questions] == ["zone"]
    assert zoned.questions == []


@pytest.mark.parametrize("name", ["phone", "customer_id"])
def test_ten_digits_are_a_time_only_where_the_name_is_that_of_a_time(tmp_path, name):
    assert group_of(tmp_path, orders(**{name: ["1709287200", "1709287201"]})).column(name).kind == "id"


# --- drafts -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("header", "row", "columns"),
    [
        ("Order Number,Email,Order Date,Grand Total", "1,a@b.de,2024-03-01,5",
         {"id": "Order Number", "customer": "Email", "time": "Order Date", "total": "Grand Total"}),
        ("bestellnr,kundennr,datum,betrag", "1,k1,2024-03-01,5",
         {"id": "bestellnr", "customer": "kundennr", "time": "datum", "total": "betrag"}),
        ("InvoiceNo,StockCode,Quantity,InvoiceDate,UnitPrice,CustomerID", "5,A,1,2024-03-01,2.5,17850",
         {"id": "InvoiceNo", "customer": "CustomerID", "time": "InvoiceDate", "unit_price": "UnitPrice",
          "quantity": "Quantity", "product": "StockCode"}),
        ("event_time,event_type,product_id,price,user_id,user_session", "2024-03-01 00:00:00 UTC,view,1,2.5,7,s",
         {"type": "event_type", "customer": "user_id", "time": "event_time", "session": "user_session",
          "product": "product_id", "price": "price"}),
        ("timestamp,visitorid,event,itemid,transactionid", "1433221332117,257597,view,355908,",
         {"type": "event", "customer": "visitorid", "time": "timestamp", "product": "itemid"}),
    ],
)  # fmt: skip
def test_columns_are_recognised_by_their_names(tmp_path, header, row, columns):
    made = draft(group_of(tmp_path, f"{header}\n{row}\n"))
    assert made.recognition.columns == columns
    assert made.complete
    parse_mapping(made.text, "draft")


def test_words_of_a_status_are_listed_with_counts_and_unknown_ones_have_no_entry(tmp_path):
    group = group_of(tmp_path, orders(status=["paid", "paid", "Cancelled", "weird", "pending"]))
    text = draft(group).text
    assert parse_mapping(text, "draft").order.statuses == {"paid": "placed", "Cancelled": "cancelled"}
    assert "paid: placed   # 2 rows" in text
    assert "# weird: ?   CHECK: 1 row" in text
    assert "not paid yet" in text


def test_a_missing_required_part_is_a_comment_with_candidates(tmp_path):
    made = draft(group_of(tmp_path, "order_id,alias,created_at,total\n1,ann,2024-03-01,5\n2,bob,2024-03-02,5\n"))
    assert made.complete is False
    assert "# customer: ?   CHECK: candidates: alias" in made.text


def test_two_columns_of_equal_name_are_a_question(tmp_path):
    group = group_of(tmp_path, orders(**{"customer id": ["x", "y"]}))
    assert set(topics(group)["column"]) == {"customer_id", "customer id"}


def test_rows_that_share_an_id_and_have_products_are_lines(tmp_path):
    content = "order_id,customer_id,created_at,total,sku,quantity\n1,ann,2024-03-01,10,A,1\n1,,2024-03-01,,B,1\n"
    assert parse_mapping(draft(group_of(tmp_path, content)).text, "draft").order.rows == "line"


def test_totals_that_differ_within_an_order_are_a_question(tmp_path):
    content = "order_id,customer_id,created_at,amount,sku\n1,ann,2024-03-01,10,A\n1,ann,2024-03-01,7,B\n"
    group = group_of(tmp_path, content)
    assert "total" in topics(group)


def test_json_lines_have_paths_and_a_list_of_lines(tmp_path):
    record = {"id": 1, "customer": {"id": "c1"}, "created_at": "2024-03-01T10:00:00Z", "total_price": "10.50",
              "line_items": [{"sku": "A", "quantity": 2, "price": "5.25"}]}  # fmt: skip
    group = group_of(tmp_path, "\n".join(json.dumps(record | {"id": n}) for n in range(3)), "orders.jsonl")
    made = draft(group)
    assert made.recognition.lines == (
        "line_items",
        {"product": ".sku", "quantity": ".quantity", "unit_price": ".price"},
    )
    mapping = parse_mapping(made.text, "draft")
    assert (mapping.order.customer, mapping.order.lines.list) == ("customer.id", "line_items")


@pytest.mark.parametrize(
    ("text", "records"),
    [('[{"id": 1}, {"id": 2}]', None), ('{"data": {"orders": [{"id": 1},\n{"id": 2}]}}', "data.orders")],
)
def test_an_array_and_a_list_in_a_document_are_recognised(tmp_path, text, records):
    group = group_of(tmp_path, text, "x.json")
    assert (group.form.how.records, group.rows) == (records, 2)


def test_a_document_with_two_lists_asks_for_the_records(tmp_path):
    group = group_of(tmp_path, '{"a": [{"id": 1},\n{"id": 2}], "b": [{"x": 1}]}', "x.json")
    assert topics(group)["records"] == ("a", "b")


def test_types_of_parquet_are_reported_and_times_need_no_format(tmp_path):
    pl.DataFrame({"no": [1, 2], "cust": [17850.0, None],
                  "when": pl.Series(["2024-03-01", "2024-03-02"]).str.to_datetime(),
                  "total": [5.0, 7.5]}).write_parquet(tmp_path / "x.parquet")  # fmt: skip
    group = group_of(tmp_path, (tmp_path / "x.parquet").read_bytes(), "y")
    assert group.form.types["total"] == "double"
    assert group.column("when").kind == "time"
    assert group_as_dict(group, draft(group), [])["columns"][0]["file_type"] == "int64"


def test_ready_mappings_that_fit_are_ranked_by_matched_columns(tmp_path):
    fits = fitting_mappings(group_of(tmp_path, HEADER + ROW))
    assert (fits[0].name, len(fits[0].columns), fits[0].differences) == ("orders-csv", 4, ())
    assert fitting_mappings(group_of(tmp_path, "a,b\n1,2\n")) == []
    assert fitting_mappings(group_of(tmp_path, HEADER.replace(",", ";") + ROW.replace(",", ";")))[0].differences == (
        "separator",
    )


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


# --- workbooks --------------------------------------------------------------------------------------------------------
def workbook(**tables):
    """Return an .xlsx file: sheet -> rows of texts and numbers."""
    spreadsheet = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    documents = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    packages = "http://schemas.openxmlformats.org/package/2006/relationships"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        names = "".join(f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in enumerate(tables, 1))
        links = "".join(
            f'<Relationship Id="r{n}" Type="{documents}/worksheet" Target="worksheets/sheet{n}.xml"/>'
            for n in range(1, len(tables) + 1)
        )
        packed.writestr("[Content_Types].xml", "<Types/>")
        packed.writestr("_rels/.rels", f'<Relationships xmlns="{packages}"><Relationship Id="w" '
                        f'Type="{documents}/officeDocument" Target="xl/workbook.xml"/></Relationships>')  # fmt: skip
        packed.writestr("xl/workbook.xml", f'<workbook xmlns="{spreadsheet}" xmlns:r="{documents}"><sheets>{names}'
                        "</sheets></workbook>")  # fmt: skip
        packed.writestr("xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{packages}">{links}</Relationships>')
        for n, rows in enumerate(tables.values(), 1):
            body = "".join(
                f'<row r="{at}">{"".join(cell(one, f"{chr(65 + x)}{at}") for x, one in enumerate(row))}</row>'
                for at, row in enumerate(rows, 1)
            )
            packed.writestr(f"xl/worksheets/sheet{n}.xml",
                            f'<worksheet xmlns="{spreadsheet}"><sheetData>{body}</sheetData></worksheet>')  # fmt: skip
    return content.getvalue()


def cell(value, at):
    if isinstance(value, str):
        return f'<c r="{at}" t="inlineStr"><is><t>{value}</t></is></c>'
    return f'<c r="{at}"><v>{value}</v></c>'


TABLE = [
    ["order_id", "customer_id", "created_at", "total"],
    ["1", "ann", "2024-03-01", 10.5],
    ["2", "bob", "2024-03-02", 3],
]


def test_a_workbook_has_sheets_with_sizes_and_the_largest_is_drafted(tmp_path):
    group = group_of(tmp_path, workbook(notes=[["made by x"]], orders=TABLE), "x.xlsx")
    assert topics(group)["sheet"] == ("notes", "orders")
    assert "notes (1 row, 1 column), orders (3 rows, 4 columns)" in sentences(group)
    mapping = parse_mapping(draft(group).text, "draft")
    assert (mapping.file.format, mapping.file.sheet, mapping.order.total) == ("excel", "orders", "total")


def test_titles_above_the_header_of_a_sheet_are_skipped(tmp_path):
    group = group_of(tmp_path, workbook(orders=[["Report of March"], [], *TABLE]), "x.xlsx")
    assert (group.form.how.skip_lines, group.form.names) == (2, tuple(TABLE[0]))
    assert group.rows == 2


# --- names ------------------------------------------------------------------------------------------------------------
def test_a_name_that_contains_a_fields_name_is_a_question(tmp_path):
    made = draft(
        group_of(tmp_path, "Order Number,Email (Billing),Order Date,Order Total Amount\n1,a@b.de,2024-03-01,5\n")
    )
    assert made.recognition.columns["total"] == "Order Total Amount"
    assert "Order Total Amount is recognised by a part of its name" in made.text
    assert "column" in {one.topic for one in made.questions}


def test_lines_without_a_total_or_a_price_lack_the_total(tmp_path):
    made = draft(
        group_of(tmp_path, "order_id,customer_id,created_at,sku,quantity\n1,a,2024-03-01,A,1\n1,a,2024-03-01,B,1\n")
    )
    assert made.complete is False
    assert "total" in made.recognition.missing


def test_a_column_of_clocks_next_to_dates_is_named(tmp_path):
    made = draft(group_of(tmp_path, orders(created_at=["2024-03-01", "2024-03-02"], hour=["10:00", "11:30"])))
    assert "hour has times of day, which a mapping cannot join to a date" in made.text.replace("\n  # ", " ")


@pytest.mark.parametrize(
    ("header", "kind"),
    [("customer_id,timestamp,product_id", "clicks"), ("customer_id,timestamp,amount", "orders")],
)
def test_rows_without_an_amount_are_clicks(tmp_path, header, kind):
    assert draft(group_of(tmp_path, f"{header}\nann,2024-03-01T10:00:00Z,5\n")).recognition.kind == kind


def test_guests_are_counted_only_in_orders_without_any_customer(tmp_path):
    content = "order_id,customer_id,created_at,total,sku\n1,ann,2024-03-01,10,A\n1,,2024-03-01,,B\n2,,2024-03-01,5,A\n"
    assert draft(group_of(tmp_path, content)).recognition.guests == 1
