"""Files of a log: folders, patterns, zip members, standard input, packings and their damage."""

from __future__ import annotations

import gzip
import io
import os
import sys
import threading
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.tables.file_format import FileFormat
from connectors.tables.log_files import log_files, paths_in_a_call
from connectors.tables.reader import header, read_batches
from features.errors import ShopstreamError, UsageError

CSV = FileFormat(format="csv")
TABLE = b"id,n\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(3000))


def names(paths):
    return [log.name for log in log_files(paths)]


def rows_of(log, how=CSV):
    return [row[1:] for batch in read_batches(log, how, None) for row in batch.rows.rows()]


def zipped(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return content.getvalue()


def zstd(content: bytes) -> bytes:
    return pa.compress(content, "zstd", asbytes=True)


SKIPPABLE = b"\x50\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"abc"
HALF = len(TABLE) // 2
PACKED = {
    "plain": TABLE,
    "gzip": gzip.compress(TABLE),
    "gzip members": gzip.compress(TABLE[:HALF]) + gzip.compress(b"") + gzip.compress(TABLE[HALF:]),
    "zstd": zstd(TABLE),
    "zstd frames": SKIPPABLE + zstd(TABLE[:HALF]) + SKIPPABLE + zstd(TABLE[HALF:]),
    "zip": zipped(a=TABLE),
}


def test_a_folder_is_its_files_sorted_by_name_without_hidden_ones(tmp_path):
    for name in ("b.csv", "a.csv", ".hidden", "sub/c.csv", ".git/d.csv", "sub/.e", "_SUCCESS", "_part.csv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("a\n1\n")
    expected = [str(tmp_path / name) for name in ("_part.csv", "a.csv", "b.csv", "sub/c.csv")]
    assert names([tmp_path]) == expected
    assert names([str(tmp_path / "[ab].csv")]) == expected[1:3]
    assert names([tmp_path / "b.csv", str(tmp_path / "**" / "c.csv"), tmp_path / "a.csv"]) == [
        expected[2],
        expected[3],
        expected[1],
    ]


def test_a_file_whose_name_is_a_pattern_is_itself(tmp_path):
    (tmp_path / "a[1].csv").write_text("a\n")
    assert names([tmp_path / "a[1].csv"]) == [str(tmp_path / "a[1].csv")]


def test_a_file_named_twice_is_a_usage_error(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TABLE)))
    (tmp_path / "a.csv").write_text("a\n")
    (tmp_path / "link.csv").symlink_to(tmp_path / "a.csv")
    (tmp_path / "hard.csv").hardlink_to(tmp_path / "a.csv")
    for twice in (["a.csv", "a.csv"], ["a.csv", "link.csv"], ["a.csv", "hard.csv"], [""], ["a.csv", "*.csv"]):
        with pytest.raises(UsageError, match=r"\w+\.csv is named twice"):
            log_files([str(tmp_path / name) for name in twice])
    with pytest.raises(UsageError, match=r"hard\.csv is named twice, also as .*a\.csv; its rows would count twice"):
        log_files([tmp_path / "a.csv", tmp_path / "hard.csv"])
    with pytest.raises(UsageError, match="- is named twice"):
        log_files(["-", "-"])


def test_paths_without_files_are_usage_errors(tmp_path):
    (tmp_path / "empty").mkdir()
    for path in ("empty", "none.csv", "*.csv"):
        with pytest.raises(UsageError, match=path.replace("*", r"\*")):
            log_files([tmp_path / path])
    with pytest.raises(UsageError):
        log_files([])


@pytest.mark.parametrize("packing", PACKED)
def test_packing_is_detected_by_content_and_not_by_name(tmp_path, packing):
    path = tmp_path / "log.txt"
    path.write_bytes(PACKED[packing])
    [log] = log_files([path])
    assert rows_of(log) == [(str(n), str(n * n)) for n in range(3000)]
    assert header(log, CSV) == ["id", "n"]


def test_members_of_a_zip_file_are_logs(tmp_path):
    path = tmp_path / "all.zip"
    members = {
        "b/two.csv": TABLE,
        "one.csv": b"id,n\n1,1\n",
        "b/": b"",
        "__MACOSX/b/._two.csv": b"x",
        ".DS_Store": b"x",
    }
    path.write_bytes(zipped(**members))
    logs = log_files([path])
    assert [log.name for log in logs] == [f"{path}: b/two.csv", f"{path}: one.csv"]
    assert [len(rows_of(log)) for log in logs] == [3000, 1]


@pytest.mark.parametrize("packing", ["gzip", "gzip members", "zstd", "zstd frames", "zip"])
@pytest.mark.parametrize("cut", [1, 5, 200])
def test_a_packed_file_that_is_cut_off_is_refused(tmp_path, packing, cut):
    path = tmp_path / "a.csv"
    path.write_bytes(PACKED[packing][:-cut])
    [log] = log_files([path])
    with pytest.raises(ShopstreamError, match=r"a\.csv is damaged or cut off"):
        rows_of(log)


@pytest.mark.parametrize("packing", ["gzip", "zip"])
def test_a_wrong_checksum_is_refused(tmp_path, packing):
    content = bytearray(PACKED[packing])
    stored = {"gzip": len(content) - 8, "zip": 14}[packing]
    content[stored] ^= 1
    if packing == "zip":
        content[content.rindex(b"PK\x01\x02") + 16] ^= 1
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(ShopstreamError, match=r"is damaged or cut off: .*CRC"):
        rows_of(log_files([path])[0])


def test_bytes_after_the_packing_are_refused(tmp_path):
    for packing in ("gzip", "zstd"):
        path = tmp_path / f"{packing}.csv"
        path.write_bytes(PACKED[packing] + b"rest")
        with pytest.raises(ShopstreamError, match="is damaged or cut off"):
            rows_of(log_files([path])[0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(gzip.compress(TABLE)), "is packed twice, within by gzip"),
        (gzip.compress(zipped(a=TABLE)), "is packed twice, within by zip"),
        (zipped(a=zstd(TABLE)), "is packed twice, within by zstd"),
        (gzip.compress(b"a.csv".ljust(257, b"\0") + b"ustar" + TABLE), "is packed twice, within by tar"),
        (b"BZh91AY&SY" + TABLE, "is packed by bzip2"),
        (b"\xfd7zXZ\0" + TABLE, "is packed by xz"),
        (zipped(), "The zip file .* has no files"),
    ],
)
def test_other_packings_are_refused_by_name(tmp_path, content, message):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(ShopstreamError, match=message):
        rows_of(log_files([path])[0])


def test_an_encrypted_member_is_refused(tmp_path):
    content = bytearray(zipped(a=TABLE))
    content[6] |= 1
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    with pytest.raises(ShopstreamError, match="a is encrypted"):
        rows_of(log_files([path])[0])


def test_a_text_that_begins_like_a_packing_is_text(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("BZh,n\n1,2\n")
    assert rows_of(log_files([path])[0]) == [("1", "2")]


@pytest.mark.parametrize("packing", ["plain", "gzip", "zip"])
def test_standard_input_is_read_many_times(tmp_path, monkeypatch, packing):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(PACKED[packing])))
    [log] = log_files(["-"])
    assert header(log, CSV) == ["id", "n"]
    assert len(rows_of(log)) == len(rows_of(log)) == 3000
    assert log.name.startswith("standard input")


def test_a_pipe_is_read_many_times(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(TABLE,))
    writer.start()
    [log] = log_files([pipe])
    writer.join()
    assert (log.name, header(log, CSV), len(rows_of(log))) == (str(pipe), ["id", "n"], 3000)


def test_parquet_in_a_packing_is_read(tmp_path):
    target = io.BytesIO()
    pq.write_table(pa.table({"a": ["x", None]}), target)
    how = FileFormat(format="parquet")
    for number, content in enumerate(
        (gzip.compress(target.getvalue()), zstd(target.getvalue()), zipped(a=target.getvalue()))
    ):
        path = tmp_path / f"{number}"
        path.write_bytes(content)
        assert rows_of(log_files([path])[0], how) == [("x",), (None,)]


def test_a_file_that_vanishes_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(TABLE)
    [log] = log_files([path])
    path.unlink()
    with pytest.raises(ShopstreamError, match=r"a\.csv cannot be read"):
        rows_of(log)


# --- members of a zip file --------------------------------------------------------------------------------------------
MEMBERS = ("README.txt", "in/c.csv", "out/2024/d.csv", "out/a.csv", "out/b1.csv", "out/b[1].csv", "out/notes.txt")


@pytest.fixture
def packed(tmp_path):
    (tmp_path / "x.zip").write_bytes(zipped(**dict.fromkeys(MEMBERS, b"a\n1\n")))
    return tmp_path / "x.zip"


@pytest.mark.parametrize(
    ("pattern", "chosen"),
    [
        ("out/a.csv", ["out/a.csv"]),
        ("out/*.csv", ["out/a.csv", "out/b1.csv", "out/b[1].csv"]),
        ("out/b[1].csv", ["out/b[1].csv"]),
        ("out/b[12].csv", ["out/b1.csv"]),
        ("out", ["out/2024/d.csv", "out/a.csv", "out/b1.csv", "out/b[1].csv", "out/notes.txt"]),
        ("**/*.csv", ["in/c.csv", "out/2024/d.csv", "out/a.csv", "out/b1.csv", "out/b[1].csv"]),
        ("out/**/d.csv", ["out/2024/d.csv"]),
        ("*", ["README.txt"]),
    ],
)
def test_a_path_within_a_zip_file_chooses_members(packed, pattern, chosen):
    logs = log_files([packed / pattern])
    assert [log.name for log in logs] == [f"{packed}: {name}" for name in chosen]
    assert all(log.start() == b"a\n1\n" for log in logs)


def test_two_paths_within_a_zip_file_are_two_logs_and_a_member_is_named_once(packed):
    assert len(log_files([packed / "in", packed / "out/*.csv"])) == 4
    for other in (packed / "out/a.csv", packed):
        with pytest.raises(UsageError, match=r"x\.zip: out/\S+ is named twice"):
            log_files([packed / "out", other])


def test_a_path_within_a_zip_file_without_a_member_names_those_it_has(packed, tmp_path):
    with pytest.raises(UsageError, match=r"x\.zip has no member out/\*\.tsv; it has README\.txt, in/c\.csv"):
        log_files([packed / "out/*.tsv"])
    (tmp_path / "a.csv").write_text("a\n")
    with pytest.raises(UsageError, match=r"There is no file .*a\.csv/b"):
        log_files([tmp_path / "a.csv/b"])


def test_logs_are_named_in_a_call_by_the_zip_file_or_by_its_members(packed):
    logs = log_files([packed])
    assert paths_in_a_call(logs) == [str(packed)]
    assert paths_in_a_call(logs[:2]) == [f"{packed}/README.txt", f"{packed}/in/c.csv"]
