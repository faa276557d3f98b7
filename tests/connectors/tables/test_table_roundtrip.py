"""Any table, written in any format, encoding, packing and split, is read back equal."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
import zipfile
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.tables.file_format import FileFormat
from connectors.tables.log_files import log_files
from connectors.tables.reader import LINE, header, read_batches

CELLS = st.one_of(
    # without the separators of ASCII, which Python's `strip` takes for blanks
    st.text(st.characters(exclude_characters="\x1c\x1d\x1e\x1f", exclude_categories=["Cs"]), max_size=12),
    st.text(alphabet='a";,\t\r\n |é', max_size=8),
    st.sampled_from(["", " ", "007", "12,50", "NaN", "null", '12" LONG', "2024-03-01", "\ufeff", "\x00", "\u2028"]),
)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252", "utf-16-le")
STYLES = [(csv.QUOTE_ALL, "\n"), (csv.QUOTE_ALL, "\r\n"), (csv.QUOTE_ALL, "\r"), (csv.QUOTE_MINIMAL, "\r\n")]
"""The writer of Python before 3.13 quotes only line ends that it writes itself."""


@st.composite
def tables(draw):
    width = draw(st.integers(1, 4))
    rows = draw(st.lists(st.tuples(*[CELLS] * width), max_size=12))
    return [f"column {n}" for n in range(width)], [row for row in rows if not row[0].startswith("\ufeff")]


def parts_of(rows, count):
    size = -(-len(rows) // count) or 1
    return [rows[at * size : (at + 1) * size] for at in range(count)]


def packed(content: bytes, packing: str) -> bytes:
    if packing == "gzip":  # two members
        half = len(content) // 2
        return gzip.compress(content[:half]) + gzip.compress(content[half:])
    if packing == "zstd":  # two frames
        half = len(content) // 2
        return b"".join(pa.compress(part, "zstd", asbytes=True) for part in (content[:half], content[half:]))
    if packing == "zip":
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("__MACOSX/._a", b"x")
            file.writestr("folder/", b"")
            file.writestr("folder/a", content)
        return target.getvalue()
    return content


def read(paths, how, columns, **options):
    batches = [batch for log in log_files(paths) for batch in read_batches(log, how, columns, **options)]
    assert [one for batch in batches for one in batch.refused] == []
    return [row for batch in batches for row in batch.rows.drop(LINE).rows()]


def without_blanks(rows):
    return [tuple(cell if cell.strip() else None for cell in row) for row in rows]


@settings(max_examples=150, deadline=None)
@given(
    table=tables(),
    separator=st.sampled_from([",", ";", "\t", "|", "a", "é"]),
    quote=st.sampled_from(['"', "'"]),
    style=st.sampled_from(STYLES),
    encoding=st.sampled_from(ENCODINGS),
    packing=st.sampled_from(["", "gzip", "zstd", "zip"]),
    count=st.integers(1, 3),
    rows_max=st.sampled_from([1, 2, 50_000]),
)
def test_csv_of_any_dialect_is_read_back_equal(table, separator, quote, style, encoding, packing, count, rows_max):
    names, rows = table
    quoting, line_end = style
    declared = encoding if encoding in ("cp1252", "utf-16-le") else None
    how = FileFormat(format="csv", separator=separator, quote=quote, encoding=declared)
    with tempfile.TemporaryDirectory() as folder:
        for number, part in enumerate(parts_of(rows, count)):
            text = io.StringIO(newline="")
            writer = csv.writer(
                text, delimiter=separator, quotechar=quote, quoting=quoting, lineterminator=line_end, strict=True
            )
            writer.writerows([names, *part])
            try:
                content = text.getvalue().encode(encoding)
            except UnicodeEncodeError:
                return
            Path(folder, f"{number}.csv").write_bytes(packed(content, packing))
        assert read([folder], how, names, rows_max=rows_max) == without_blanks(rows)
        assert {tuple(header(log, how)) for log in log_files([folder])} == {tuple(names)}


@settings(max_examples=100, deadline=None)
@given(table=tables(), packing=st.sampled_from(["", "gzip", "zstd", "zip"]), spaced=st.booleans(), ascii_=st.booleans())
def test_json_lines_array_document_and_parquet_give_the_same_columns(table, packing, spaced, ascii_):
    names, rows = table
    keys = [name.replace(" ", "_") for name in names]
    records = [dict(zip(keys, row, strict=True)) for row in rows]
    separators = (" , ", " : ") if spaced else (",", ":")
    write = lambda value: json.dumps(value, ensure_ascii=ascii_, separators=separators)  # noqa: E731
    expected = without_blanks(rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log")
        path.write_bytes(packed("\n".join(map(write, records)).encode(), packing))
        assert read([path], FileFormat(format="json"), keys) == expected
        path.write_bytes(packed(write(records).encode(), packing))
        assert read([path], FileFormat(format="json"), keys) == expected
        path.write_bytes(packed(write({"a b": {"list": records}, "n": [1, {}]}).encode(), packing))
        assert read([path], FileFormat(format="json", records="a b.list"), keys) == expected
        target = io.BytesIO()
        columns = {key: [row[at] for row in rows] for at, key in enumerate(keys)}
        pq.write_table(pl.DataFrame(columns, schema=dict.fromkeys(keys, pl.String)).to_arrow(), target)
        path.write_bytes(packed(target.getvalue(), packing))
        assert read([path], FileFormat(format="parquet"), keys) == expected
