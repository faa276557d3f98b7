"""Excel workbooks: typed cells, dates, errors, sheets."""

from __future__ import annotations

import datetime as dt
import importlib.util
import io
import zipfile
from xml.sax.saxutils import escape

import polars as pl
import pytest

from connectors.tables.file_format import FileFormat
from connectors.tables.log_files import log_files
from connectors.tables.reader import LINE, header, read_batches
from features.errors import ShopstreamError, UsageError

pytestmark = pytest.mark.skipif(importlib.util.find_spec("python_calamine") is None, reason="the extra for Excel")

EXCEL = FileFormat(format="excel")
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
DATE, MOMENT = 1, 2
PERCENT, SCIENTIFIC, TEXT, ZEROS, EURO, HOURS = 3, 4, 5, 6, 7, 8
STYLES = (0, 14, 22, 10, 11, 49, 100, 101, 46)
"""Number formats of the styles: general, a date, a date with time, and those of the names above."""
FORMATS = '<numFmt numFmtId="100" formatCode="0000000"/><numFmt numFmtId="101" formatCode="#,##0.00 [$€-407]"/>'


def cell(reference: str, value, style: int = 0) -> str:
    if isinstance(value, Xml):
        return f'<c r="{reference}"{value}</c>'
    if isinstance(value, bool):
        return f'<c r="{reference}" t="b"><v>{int(value)}</v></c>'
    if isinstance(value, str) and value.startswith("#"):
        return f'<c r="{reference}" t="e"><v>{value}</v></c>'
    if isinstance(value, str) and value.startswith("="):
        return f'<c r="{reference}" t="str"><f>A1</f><v>{value[1:]}</v></c>'
    if isinstance(value, str):
        return f'<c r="{reference}" t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'
    return f'<c r="{reference}" s="{style}"><v>{value!r}</v></c>'


class Xml(str):
    """A cell as it is in the file, without its reference."""

    __slots__ = ()


def sheet_of(rows: dict[int, dict[str, object]], merged: str = "") -> str:
    xml = "".join(
        f'<row r="{row}">{"".join(cell(f"{column}{row}", *one) if isinstance(one, tuple) else cell(f"{column}{row}", one) for column, one in cells.items())}</row>'  # noqa: E501
        for row, cells in rows.items()
    )
    merges = "".join(f'<mergeCell ref="{one}"/>' for one in merged.split())
    after = f"<mergeCells>{merges}</mergeCells>" if merges else ""
    return f'<worksheet xmlns="{MAIN}"><sheetData>{xml}</sheetData>{after}</worksheet>'


def workbook(merged: str = "", since_1904: str = "", **sheets: dict[int, dict[str, object]]) -> bytes:
    content = io.BytesIO()
    numbers = range(1, len(sheets) + 1)
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        parts = "".join(
            f'<Override PartName="/xl/worksheets/sheet{n}.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>'  # noqa: E501
            for n in numbers
        )
        file.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{PACKAGE}/content-types">{parts}</Types>',
        )
        file.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="r1" Type="{OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',  # noqa: E501
        )
        names = "".join(
            f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in zip(numbers, sheets, strict=True)
        )
        file.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}">{since_1904}<sheets>{names}</sheets></workbook>',
        )
        related = "".join(
            f'<Relationship Id="r{n}" Type="{OFFICE}/worksheet" Target="worksheets/sheet{n}.xml"/>' for n in numbers
        )
        related += f'<Relationship Id="r99" Type="{OFFICE}/styles" Target="styles.xml"/>'
        file.writestr(
            "xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{PACKAGE}/relationships">{related}</Relationships>'
        )
        formats = "".join(f'<xf numFmtId="{one}"/>' for one in STYLES)
        file.writestr(
            "xl/styles.xml",
            f'<styleSheet xmlns="{MAIN}"><numFmts>{FORMATS}</numFmts><cellXfs>{formats}</cellXfs></styleSheet>',
        )
        for n, rows in zip(numbers, sheets.values(), strict=True):
            file.writestr(f"xl/worksheets/sheet{n}.xml", sheet_of(rows, merged))
    return content.getvalue()


def log_of(folder, content: bytes):
    path = folder / "a.xlsx"
    path.write_bytes(content)
    [log] = log_files([path])
    return log


def read(folder, content, columns, how=EXCEL, rows_max=50_000):
    batches = list(read_batches(log_of(folder, content), how, columns, rows_max=rows_max))
    return pl.concat([batch.rows for batch in batches]), [one for batch in batches for one in batch.refused]


ROWS = {
    3: {"B": " id ", "C": "total", "D": "day", "E": "at", "F": "paid", "G": "mixed"},
    4: {"B": 17850.0, "C": 12.35, "D": (45352, DATE), "E": (45352.5, MOMENT), "F": True, "G": (45352, DATE)},
    6: {"B": "007", "C": 1e-7, "D": (45353, DATE), "E": (45353, DATE), "F": False, "G": "=text"},
    7: {"B": " x ", "C": -0.5, "F": "no"},
}


@pytest.mark.parametrize("rows_max", [1, 50_000])
def test_cells_keep_their_types_and_rows_their_numbers(tmp_path, rows_max):
    rows, refused = read(tmp_path, workbook(One=ROWS), None, rows_max=rows_max)
    assert refused == []
    assert rows[LINE].to_list() == [4, 6, 7]
    assert rows["id"].to_list() == ["17850", "007", " x "]
    assert rows["total"].to_list() == ["12.35", "0.0000001", "-0.5"]
    assert rows["day"].to_list() == [dt.date(2024, 3, 1), dt.date(2024, 3, 2), None]
    assert rows["at"].to_list() == [dt.datetime(2024, 3, 1, 12), dt.datetime(2024, 3, 2), None]
    assert rows["paid"].to_list() == ["true", "false", "no"]
    assert rows["mixed"].to_list() == ["2024-03-01", "text", None]
    assert header(log_of(tmp_path, workbook(One=ROWS)), EXCEL) == ["", "id", "total", "day", "at", "paid", "mixed"]


@pytest.mark.parametrize("error", ["#N/A", "#DIV/0!", "#REF!"])
def test_a_cell_with_an_error_refuses_its_row_if_its_column_is_requested(tmp_path, error):
    content = workbook(
        One={1: {"A": "id", "B": "total"}, 2: {"A": "a", "B": error}, 3: {"A": "b", "B": 2.0}, 4: {"B": error}}
    )
    rows, refused = read(tmp_path, content, ["id", "total"])
    assert rows.rows() == [(3, "b", "2")]
    assert [(one.line, one.column, one.value) for one in refused] == [(2, "total", error), (4, "total", error)]
    rows, refused = read(tmp_path, content, ["id"])
    assert rows.rows() == [(2, "a"), (3, "b"), (4, None)]
    assert refused == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.125, "0.125"),
        ((0.125, PERCENT), "0.125"),
        ((1234567.0, SCIENTIFIC), "1234567"),
        (Xml("><v>1.2E+3</v>"), "1200"),
        (Xml("><v>1.2E-3</v>"), "0.0012"),
        ((42.0, ZEROS), "42"),
        ((1234.5, EURO), "1234.5"),
        ((42.0, TEXT), "42"),
        ("0042", "0042"),
        ("1e5", "1e5"),
        (1234567890123456.0, "1234567890123456"),
        (0.1 + 0.2, "0.30000000000000004"),
        (True, "true"),
        (Xml(' t="b"><f>TRUE()</f><v>0</v>'), "false"),
        (Xml("><f>1+1</f><v>2</v>"), "2"),
        (Xml(' t="str"><f>A1</f><v>007</v>'), "007"),
        (Xml(' t="str"><f>""</f><v></v>'), None),
        (Xml(' t="inlineStr"><is><r><t>0</t></r><r><t>07</t></r></is>'), "007"),
        (Xml(' t="inlineStr"><is><t>#N/A</t></is>'), "#N/A"),
        ((0.75, MOMENT), "18:00:00"),
    ],
)
def test_a_cell_has_the_value_that_it_stores(tmp_path, value, text):
    rows, refused = read(tmp_path, workbook(One={1: {"A": "a", "B": "b"}, 2: {"A": value, "B": "x"}}), ["a"])
    assert (rows["a"].to_list(), refused) == ([text], [])


@pytest.mark.parametrize(
    ("value", "named", "reason"),
    [
        ("#NUM!", "#NUM!", "an error or a formula"),
        (Xml(' t="e"><f>1/0</f><v>#DIV/0!</v>'), "#DIV/0!", "an error or a formula"),
        (Xml("><f>A1+1</f>"), "=A1+1", "an error or a formula"),
        ((1, DATE), "1900-01-01", "a date before 1900-03-01"),
        ((59, MOMENT), "1900-02-28", "a date before 1900-03-01"),
        ((60, DATE), "1900-02-28", "a date before 1900-03-01"),
        ((60.5, MOMENT), "1900-02-28 12:00:00", "a date before 1900-03-01"),
        ((-1, DATE), "-1", "below 0"),
        ((-45352.5, MOMENT), "-45352.5", "below 0"),
        ((0.125, HOURS), "3:00:00", "a duration"),
        (9007199254740993, "9007199254740992.0", "lost digits"),
    ],
)
def test_a_cell_without_an_exact_value_refuses_its_row(tmp_path, value, named, reason):
    sheet = {1: {"A": "a", "B": "b"}, 2: {"A": value, "B": -1.0}, 3: {"A": (45352, DATE)}}
    rows, refused = read(tmp_path, workbook(One=sheet), ["a", "b"])
    assert rows[LINE].to_list() == [3]
    assert [(one.line, one.column, one.value) for one in refused] == [(2, "a", named)]
    assert reason in refused[0].reason
    assert read(tmp_path, workbook(One=sheet), ["b"])[0]["b"].to_list() == ["-1", None]


@pytest.mark.parametrize("flag", ["1", "true"])
def test_a_workbook_that_counts_from_1904_has_its_dates(tmp_path, flag):
    sheet = {1: {"A": "a"}, 2: {"A": (43890, DATE)}, 3: {"A": (59, DATE)}, 4: {"A": (60, DATE)}}
    rows, refused = read(tmp_path, workbook(since_1904=f'<workbookPr date1904="{flag}"/>', One=sheet), ["a"])
    assert refused == []
    assert rows["a"].to_list() == [dt.date(2024, 3, 1), dt.date(1904, 2, 29), dt.date(1904, 3, 1)]


def test_dates_around_the_first_of_march_1900_and_the_last_one_are_exact(tmp_path):
    sheet = {1: {"A": "a"}, 2: {"A": (61, DATE)}, 3: {"A": (62, DATE)}, 4: {"A": (2958465, DATE)}}
    rows, _ = read(tmp_path, workbook(One=sheet), ["a"])
    assert rows["a"].to_list() == [dt.date(1900, 3, 1), dt.date(1900, 3, 2), dt.date(9999, 12, 31)]


def test_an_error_that_the_library_does_not_know_names_its_cell(tmp_path):
    fine = {1: {"A": "a"}, 2: {"A": 1.0}}
    content = workbook(Fine=fine, Other=fine | {30: {"AB": "#N/A"}, 31: {"AB": "#SPILL!"}})
    with pytest.raises(ShopstreamError, match=r"a\.xlsx, sheet Other, cell AB31: the cell has the error #SPILL!"):
        read(tmp_path, content, ["a"], FileFormat(format="excel", sheet="Other"))


def test_cells_that_a_merged_cell_covers_refuse_their_rows_if_their_column_is_requested(tmp_path):
    sheet = {
        1: {"A": "Report"},
        2: {"A": "id", "B": "sku", "C": "n"},
        3: {"A": "7", "B": "mug", "C": 1.0},
        4: {"B": "cup", "C": 2.0},
        5: {"A": "8", "B": "pot", "C": 3.0},
    }
    content = workbook(merged="A1:C1 A3:A4 A7:C8", One=sheet)
    how = FileFormat(format="excel", skip_lines=1)
    rows, refused = read(tmp_path, content, ["id", "n"], how)
    assert rows.rows() == [(3, "7", "1"), (5, "8", "3")]
    assert [(one.line, one.column, one.value, one.reason) for one in refused] == [
        (4, "id", "7", "a part of the merged cell A3:A4")
    ]
    rows, refused = read(tmp_path, content, ["sku"], how)
    assert (rows["sku"].to_list(), refused) == (["mug", "cup", "pot"], [])


def test_rows_and_columns_without_values_at_the_end_are_none(tmp_path):
    styled = Xml(f' s="{DATE}">')
    sheet = {
        1: {"A": "a", "B": "b", "C": styled, "H": styled},
        2: {"A": "x", "B": 1.0},
        3: {"A": styled, "H": styled},
        4: {"A": "", "B": "  "},
        9: {"H": styled},
    }
    rows, refused = read(tmp_path, workbook(One=sheet), ["a", "b"])
    assert (rows.rows(), refused) == ([(2, "x", "1")], [])
    assert [name for name in header(log_of(tmp_path, workbook(One=sheet)), EXCEL) if name] == ["a", "b"]


def test_a_repeated_header_is_left_out_and_does_not_change_types(tmp_path):
    head = {"A": "id", "B": "day"}
    rows, refused = read(tmp_path, workbook(One={1: head, 2: {"A": 1.0, "B": (45352, DATE)}, 3: head}), ["id", "day"])
    assert rows.rows() == [(2, "1", dt.date(2024, 3, 1))]
    assert [(one.line, one.left_out) for one in refused] == [(3, True)]


def test_the_sheet_is_named_or_the_only_one_with_values(tmp_path):
    one, two = {1: {"A": "id"}, 2: {"A": "1"}}, {1: {"A": "id"}, 2: {"A": "2"}}
    with pytest.raises(ShopstreamError, match=r"a\.xlsx has several sheets: First, Second") as error:
        read(tmp_path, workbook(First=one, Second=two), ["id"])
    assert error.value.remedy == "Write `file.sheet: NAME` in the mapping."
    rows, _ = read(tmp_path, workbook(First=one, Second=two), ["id"], FileFormat(format="excel", sheet="Second"))
    assert rows["id"].to_list() == ["2"]
    rows, _ = read(tmp_path, workbook(Empty={}, Second=two), ["id"])
    assert rows["id"].to_list() == ["2"]
    with pytest.raises(ShopstreamError, match="has no sheet Third; it has First"):
        read(tmp_path, workbook(First=one), ["id"], FileFormat(format="excel", sheet="Third"))


def test_rows_before_the_header_are_skipped(tmp_path):
    rows, _ = read(
        tmp_path,
        workbook(One={1: {"A": "Report"}, 3: {"A": "id"}, 4: {"A": 5.0}}),
        ["id"],
        FileFormat(format="excel", skip_lines=1),
    )
    assert rows.rows() == [(4, "5")]


def test_missing_columns_and_damage_are_refused(tmp_path):
    content = workbook(One=ROWS)
    with pytest.raises(UsageError, match="has no column 'nr'"):
        read(tmp_path, content, ["nr"])
    for broken in (content[:-30], content[: len(content) // 2]):
        with pytest.raises(ShopstreamError, match=r"a\.xlsx"):
            read(tmp_path, broken, ["id"])


def test_a_number_whose_digits_are_lost_refuses_its_row(tmp_path):
    rows, refused = read(tmp_path, workbook(One={1: {"A": "id"}, 2: {"A": 1e17}, 3: {"A": 2.0}}), ["id"])
    assert rows.rows() == [(3, "2")]
    assert [(one.line, one.column, one.value) for one in refused] == [(2, "id", "1e+17")]


def test_a_missing_library_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ShopstreamError, match=r'pip install "shopstream\[excel\]"'):
        read(tmp_path, workbook(One=ROWS), ["id"])


def test_a_workbook_that_is_declared_as_csv_is_refused_with_the_format(tmp_path):
    with pytest.raises(ShopstreamError, match="is a file of excel") as error:
        read(tmp_path, workbook(One=ROWS), ["id"], FileFormat(format="csv"))
    assert error.value.remedy == "Write `file.format: excel` in the mapping."
