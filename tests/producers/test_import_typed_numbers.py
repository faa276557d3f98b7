"""Numbers that a table stores as numbers have no decimal sign of their own, whatever sign its texts have."""

import io
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from producers_import import import_text, orders_of
from workbooks import write_workbook

MAPPING = """\
kind: orders
file: {format: %s, decimal: ","}
time: {column: day, format: excel_days}
order: {rows: order, id: id, customer: who, total: total, quantity: n}
"""
ROWS = [["1", "ann", 1.234, 45352.5, 1], ["2", "ann", 12.5, 45352, 2]]


def workbook(tmp_path, rows, edit=lambda xml: xml):
    """Return the bytes of a workbook whose sheet is edited."""
    file = write_workbook(tmp_path / "made.xlsx", {"S": [["id", "who", "total", "day", "n"], *rows]})
    made = io.BytesIO()
    with zipfile.ZipFile(file) as packed, zipfile.ZipFile(made, "w") as edited:
        for name in packed.namelist():
            xml = packed.read(name)
            edited.writestr(name, edit(xml) if "sheet1" in name else xml)
    return made.getvalue()


def parquet(rows):
    made = io.BytesIO()
    pq.write_table(
        pa.table(dict(zip(["id", "who", "total", "day", "n"], map(list, zip(*rows, strict=True)), strict=True))), made
    )
    return made.getvalue()


@pytest.mark.parametrize("form", ["excel", "parquet"])
def test_numbers_of_a_table_are_read_right_with_a_decimal_comma(tmp_path, form):
    content = workbook(tmp_path, ROWS) if form == "excel" else parquet(ROWS)
    report = import_text(tmp_path, content, MAPPING % form)
    assert not report.refused
    assert orders_of(tmp_path / "a", "total", "ts") == [(1.234, 1_709_294_400_000), (12.5, 1_709_251_200_000)]


def test_texts_of_a_workbook_keep_their_decimal_comma(tmp_path):
    content = workbook(tmp_path, [["1", "ann", "1.234", 45352, 1], ["2", "ann", "12,5", 45352, 1]])
    import_text(tmp_path, content, MAPPING % "excel")
    assert orders_of(tmp_path / "a", "total") == [(1234.0,), (12.5,)]


@pytest.mark.parametrize("stored", [b"", b"<v></v>", b"<v/>"])
def test_formula_that_was_never_calculated_refuses_its_row(tmp_path, stored):
    content = workbook(
        tmp_path, [["1", "ann", 5, 45352, 77], ["2", "ann", 5, 45352, 2]],
        lambda xml: xml.replace(b"<v>77</v>", b"<f>2*2</f>" + stored),
    )  # fmt: skip
    report = import_text(tmp_path, content, MAPPING % "excel")
    assert report.refused == {"the cell has an error or a formula instead of a value": 1}
    assert orders_of(tmp_path / "a", "order_id") == [("2",)]


@pytest.mark.parametrize(("kind", "stored"), [(b"", b"<v>4</v>"), (b' t="str"', b"<v></v>")])
def test_formula_with_a_stored_value_is_read(tmp_path, kind, stored):
    content = workbook(
        tmp_path, [["1", "ann", 5, 45352, 77]],
        lambda xml: xml.replace(b'<c r="E2"><v>77</v>', b'<c r="E2"' + kind + b"><f>2*2</f>" + stored),
    )  # fmt: skip
    assert not import_text(tmp_path, content, MAPPING % "excel").refused


def test_number_literals_of_json_are_read_right_with_a_decimal_comma(tmp_path):
    lines = [
        '{"id": 1.0, "who": "ann", "total": 1.234, "day": 45352.5, "n": 1}',
        '{"id": 2, "who": "ann", "total": "1.234", "day": 45352, "n": 2}',
        '{"id": 3, "who": "ann", "total": "12,5", "day": 45352, "n": 2.0}',
        '{"id": 4, "who": "ann", "total": 1e3, "day": 45352, "n": 2}',
    ]
    report = import_text(tmp_path, "\n".join(lines), (MAPPING % "json").replace("column", "path"))
    assert report.refused == {"no readable total": 1}
    assert orders_of(tmp_path / "a", "order_id", "total", "ts") == [
        ("1", 1.234, 1_709_294_400_000), ("2", 1234.0, 1_709_251_200_000), ("3", 12.5, 1_709_251_200_000),
    ]  # fmt: skip
