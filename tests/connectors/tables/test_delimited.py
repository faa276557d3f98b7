"""CSV and columns between blanks: what is a row, which line it is in, what refuses a row or the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from connectors.tables.file_format import FileFormat
from connectors.tables.log_files import log_files
from connectors.tables.reader import LINE, Refusal, header, read_batches
from features.errors import ShopstreamError, UsageError

CSV = FileFormat(format="csv")


def log_of(folder: Path, content: bytes | str, name: str = "a.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return log_files([path])[0]


def read(folder: Path, content: bytes | str, columns=None, how: FileFormat = CSV, **options):
    """Rows with their lines, and refusals, which must not depend on the size of a batch."""
    log = log_of(folder, content)
    results = []
    for rows_max in (50_000, 2, 1):
        batches = list(read_batches(log, how, columns, rows_max=rows_max, **options))
        rows = [(row[0], row[1:]) for batch in batches for row in batch.rows.rows()]
        results.append((rows, [one for batch in batches for one in batch.refused]))
    assert results[0] == results[1] == results[2]
    return results[0]


def test_quote_within_an_unquoted_value_is_a_plain_character(tmp_path):
    rows, refused = read(tmp_path, 'id,note\n1,RULER 12" LONG\n2,"a ""b"" c"\n3,5" x 7"\n')
    assert rows == [(2, ("1", 'RULER 12" LONG')), (3, ("2", 'a "b" c')), (4, ("3", '5" x 7"'))]
    assert refused == []


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        ('id,note\n1,a\n2,"open\n3,b\n4,c\n', 3, "a quote is opened and never closed"),
        ('id,note\n\n"1\n1",a\n2,"b" c\n3,d\n', 5, "text follows the closing quote"),
        ('"id,note\n1,a\n', 1, "a quote is opened and never closed"),
    ],
)
def test_broken_quotes_refuse_the_file_with_the_line_of_the_record(tmp_path, content, line, reason):
    with pytest.raises(ShopstreamError, match=rf"a\.csv, line {line}: {reason}") as error:
        read(tmp_path, content)
    assert "file.quote: null" in error.value.remedy


def test_a_quote_that_never_closes_ends_at_the_bound_of_a_value(tmp_path):
    with pytest.raises(ShopstreamError, match=r"line 2: a value has more than 16,777,216 characters"):
        read(tmp_path, 'id,note\n1,"' + "x" * (1 << 24) + "\n")


def test_without_a_quote_character_quotes_are_plain_and_line_ends_end_records(tmp_path):
    rows, refused = read(tmp_path, 'id,note\n1,"a\n2,b"c\n', how=FileFormat(format="csv", quote=None))
    assert rows == [(2, ("1", '"a')), (3, ("2", 'b"c'))]
    assert refused == []


def test_ragged_rows_are_refused_with_line_and_text(tmp_path):
    rows, refused = read(tmp_path, "a,b\n1,2\n3\n4,5,6\n7,8\n")
    assert rows == [(2, ("1", "2")), (5, ("7", "8"))]
    assert refused == [
        Refusal(3, None, "3", "1 column where the header has 2"),
        Refusal(4, None, "4 | 5 | 6", "3 columns where the header has 2"),
    ]


def test_blank_lines_are_no_rows_but_count_as_lines(tmp_path):
    rows, refused = read(tmp_path, "\n  \na,b\n\n1,2\n   \n3,4\n\n")
    assert rows == [(5, ("1", "2")), (7, ("3", "4"))]
    assert refused == []


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_numbered_as_editors_count_them(tmp_path, end):
    text = end.join(["a,b", '"x', "", 'y",1', "", "z,2", '"p', 'q","r', '"', "w,\x00", ""])
    rows, refused = read(tmp_path, text)
    assert rows == [
        (2, (f"x{end}{end}y", "1")), (6, ("z", "2")), (7, (f"p{end}q", f"r{end}")), (10, ("w", "\x00")),
    ]  # fmt: skip
    assert refused == []


def test_a_repeated_header_is_left_out_by_rule(tmp_path):
    rows, refused = read(tmp_path, "\ufeff a ,b\n1,2\n a ,b\n\ufeff a ,b\n3,4\n")
    assert [row for _, row in rows] == [("1", "2"), ("3", "4")]
    assert [(one.line, one.reason, one.left_out) for one in refused] == [
        (3, "header repeated", True), (4, "header repeated", True),
    ]  # fmt: skip


def test_a_mark_within_a_headerless_file_refuses_its_row(tmp_path):
    rows, refused = read(tmp_path, "\ufeff1,2\n\ufeff3,4\n", how=FileFormat(format="csv", columns=("a", "b")))
    assert rows == [(1, ("1", "2"))]
    assert [(one.line, one.reason) for one in refused] == [(2, "byte-order mark within the file")]


def test_header_names_are_trimmed_and_duplicates_exposed(tmp_path):
    log = log_of(tmp_path, "\ufeffid , a,a,,\n1,2,3,4,5\n")
    assert header(log, CSV) == ["id", "a", "a", "", ""]
    [batch] = read_batches(log, CSV, ["id"])
    assert batch.rows.rows() == [(2, "1")]
    [batch] = read_batches(log, CSV, None)
    assert batch.rows.columns == [LINE, "id", *(f"\0column {at}" for at in (2, 3, 4, 5))]
    with pytest.raises(UsageError, match="has the column 'a' 2 times, at positions 2 and 3"):
        list(read_batches(log, CSV, ["a"]))
    for missing in ("b", ""):
        with pytest.raises(UsageError, match=f"has no column '{missing}'; it has id, a, a"):
            list(read_batches(log, CSV, [missing]))


def test_columns_have_the_requested_order_and_only_those(tmp_path):
    [(line, row)], _ = read(tmp_path, "a,b,c\n1,2,3\n", ["c", "a"])
    assert (line, row) == (2, ("3", "1"))


def test_missing_texts_are_null_and_others_unchanged(tmp_path):
    how = FileFormat(format="csv", missing=("NULL", " (not set)"))
    rows, _ = read(tmp_path, 'a,b\n NULL ,NULLS\n(not set),""\n  , x \nnull,007\n', how=how)
    assert [row for _, row in rows] == [(None, "NULLS"), (None, None), (None, " x "), ("null", "007")]


def test_lines_before_the_header_are_skipped_and_counted(tmp_path):
    rows, _ = read(tmp_path, 'sep=;\n"title\na;b\n1;2\n', how=FileFormat(format="csv", separator=";", skip_lines=2))
    assert rows == [(4, ("1", "2"))]


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff"])
def test_an_empty_file_is_refused(tmp_path, content):
    with pytest.raises(ShopstreamError, match=r"a\.csv is empty; it has no header"):
        read(tmp_path, content)


def test_a_file_with_a_header_alone_has_no_rows(tmp_path):
    assert read(tmp_path, "a,b\n") == ([], [])


def test_columns_between_blanks_are_split_and_other_counts_refused(tmp_path):
    how = FileFormat(format="whitespace", columns=("a", "b"), skip_lines=1)
    rows, refused = read(tmp_path, 'title\n 1   "2\n\n3\n4 5 6\n7\t8\n', how=how)
    assert rows == [(2, ("1", '"2')), (6, ("7", "8"))]
    assert [(one.line, one.reason) for one in refused] == [
        (4, "1 column where the mapping names 2"), (5, "3 columns where the mapping names 2"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"format": "csv", "separator": '"'},
        {"format": "csv", "separator": "\n"},
        {"format": "csv", "separator": ",,"},
        {"format": "csv", "encoding": "utf-9"},
        {"format": "csv", "encoding": "base64"},
        {"format": "csv", "encoding": "unicode_escape"},
        {"format": "csv", "decimal": ",", "thousands": ","},
        {"format": "csv", "thousands": "."},
        {"format": "csv", "sheet": "One"},
        {"format": "csv", "columns": ["a", "a"]},
        {"format": "csv", "skip_lines": -1},
        {"format": "whitespace"},
        {"format": "parquet", "columns": ["a"]},
        {"format": "json", "separator": ";"},
        {"format": "json", "records": ".a"},
        {"format": "json", "records": "a..b"},
        {"format": "excel", "encoding": "utf-8"},
        {"format": "csv", "unknown": 1},
    ],
)
def test_a_format_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValidationError):
        FileFormat(**wrong)


def test_grouping_sign_of_a_decimal_comma_is_the_point():
    assert FileFormat(format="csv").grouping is None
    assert FileFormat(format="csv", decimal=",").grouping == "."
    assert FileFormat(format="csv", decimal=",", thousands=" ").grouping == " "


@pytest.mark.parametrize("name", ["*", "^name$", "^.*$"])
def test_column_whose_name_is_a_pattern_is_refused_and_not_matched(tmp_path, name):
    path = tmp_path / "a.csv"
    path.write_text(f"{name},name\n1,2\n")
    log, how = log_files([path])[0], FileFormat(format="csv")
    with pytest.raises(UsageError, match="would stand for several columns"):
        list(read_batches(log, how, [name, "name"]))
    (batch,) = read_batches(log, how, None)
    assert batch.rows.row(0) == (2, "1", "2")
    assert batch.rows.columns[2] == "name"
