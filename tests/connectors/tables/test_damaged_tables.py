"""Damaged files: a refusal of the file, or each record is a row or a refused row. Never another error."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.tables.file_format import FileFormat
from connectors.tables.log_files import log_files
from connectors.tables.reader import LINE, header, read_batches
from features.errors import ShopstreamError

ROWS = [(f"o{n}", f"José {n}", f"{n}.50", 'RULER 12"' if n % 3 else 'a "b",\nc') for n in range(20)]
NAMES = ["id", "customer", "total", "note"]


def csv_bytes() -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([NAMES, *ROWS])
    return text.getvalue().encode()


def parquet_bytes() -> bytes:
    target = io.BytesIO()
    frame = pl.DataFrame([dict(zip(NAMES, row, strict=True)) for row in ROWS])
    pq.write_table(frame.to_arrow(), target, write_page_checksum=True)
    return target.getvalue()


def json_bytes(array: bool) -> bytes:
    records = [json.dumps(dict(zip(NAMES, row, strict=True)), ensure_ascii=False) for row in ROWS]
    return (f"[{','.join(records)}]" if array else "\n".join(records)).encode()


@st.composite
def damages(draw):
    """A function that cuts bytes out, replaces them or adds some."""
    edits = draw(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3), st.binary(max_size=3)), min_size=1, max_size=4))
    cut = draw(st.one_of(st.just(1.0), st.floats(0, 1)))

    def damage(content: bytes) -> bytes:
        for where, removed, added in edits:
            at = int(where * len(content))
            content = content[:at] + added + content[at + removed :]
        return content[: int(cut * len(content))]

    return damage


def outcome(content: bytes, how: FileFormat, columns=None):
    """Lines of rows, refused lines, and rows; None if the file is refused."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log")
        path.write_bytes(content)
        try:
            [log] = log_files([path])
            header(log, how)
            batches = list(read_batches(log, how, columns, rows_max=7))
        except ShopstreamError:
            return None
        lines = [line for batch in batches for line in batch.rows[LINE]]
        refused = [one.line for batch in batches for one in batch.refused]
        return lines, refused, [row[1:] for batch in batches for row in batch.rows.rows()]


@settings(max_examples=300, deadline=None)
@given(damages())
def test_damaged_csv_is_refused_or_each_record_is_accounted_for(damage):
    content = damage(csv_bytes())
    result = outcome(content, FileFormat(format="csv"))
    if result is None:
        return
    lines, refused, _ = result
    records = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    records = [one for one in records if one and not (len(one) == 1 and not one[0].strip())]
    assert len(lines) + len(refused) == len(records) - 1
    assert len({*lines, *refused}) == len(records) - 1


@settings(max_examples=200, deadline=None)
@given(damages())
def test_damaged_json_lines_are_refused_or_each_line_is_accounted_for(damage):
    content = damage(json_bytes(array=False))
    result = outcome(content, FileFormat(format="json"), ["id", "total"])
    if result is None:
        return
    lines, refused, _ = result
    text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    filled = [number for number, line in enumerate(text.split("\n"), start=1) if line.strip(" \t")]
    assert sorted([*lines, *refused]) == filled


@settings(max_examples=200, deadline=None)
@given(damages(), st.sampled_from(["gzip", "zstd", "array", "parquet", "whitespace", "zip"]))
def test_damage_never_raises_another_error_and_checksums_detect_it(damage, kind):
    if kind in ("gzip", "zstd"):
        original = gzip.compress(csv_bytes()) if kind == "gzip" else pa.compress(csv_bytes(), "zstd", asbytes=True)
        result = outcome(damage(original), FileFormat(format="csv"))
        if kind == "gzip" and result is not None and damage(original)[10:] != original[10:]:
            assert damage(original)[:2] != b"\x1f\x8b"
        return
    original, how = {
        "array": (json_bytes(array=True), FileFormat(format="json")),
        "parquet": (parquet_bytes(), FileFormat(format="parquet")),
        "whitespace": (csv_bytes(), FileFormat(format="whitespace", columns=("a", "b"))),
        "zip": (b"PK\x03\x04" + csv_bytes(), FileFormat(format="csv")),
    }[kind]
    result = outcome(damage(original), how)
    if kind == "parquet" and result is not None:
        assert len(result[0]) + len(result[1]) == len(ROWS)
