"""Text is decoded by mark, by declaration or as UTF-8, or the file is refused with the encoding to write."""

from __future__ import annotations

import codecs

import pytest

from connectors.tables.encodings import detect
from connectors.tables.file_format import FileFormat
from connectors.tables.log_files import log_files
from connectors.tables.reader import read_batches
from features.errors import ShopstreamError


def names(folder, content: bytes, encoding=None, format_="csv"):
    path = folder / "a.csv"
    path.write_bytes(content)
    how = FileFormat(format=format_, encoding=encoding)
    return [name for batch in read_batches(log_files([path])[0], how, ["name"]) for name in batch.rows["name"]]


TEXT = "name,city\nJosé,São Paulo\nJosè,Köln\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_with_a_mark_or_in_utf8_needs_no_declaration(tmp_path, encoding):
    assert names(tmp_path, TEXT.encode(encoding)) == ["José", "Josè"]
    assert names(tmp_path, TEXT.encode(encoding), encoding) == ["José", "Josè"]


def test_a_big_endian_mark_is_read(tmp_path):
    assert names(tmp_path, codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be")) == ["José", "Josè"]


@pytest.mark.parametrize("encoding", ["iso-8859-1", "cp1252", "cp850", "mac-roman", "utf-16-le", "utf-16-be"])
def test_a_declared_encoding_is_used(tmp_path, encoding):
    assert names(tmp_path, TEXT.encode(encoding), encoding) == ["José", "Josè"]


def test_bytes_that_are_not_utf8_refuse_the_file_with_line_byte_and_likely_encoding(tmp_path):
    rows = "".join(f"customer {n},x\n" for n in range(50_000))
    text = f"name,city\n{rows}José,Café à la crème\nJosè,Übergröße\n"
    with pytest.raises(ShopstreamError, match=r"a\.csv, line 50002: 0xE9 is not UTF-8\.") as error:
        names(tmp_path, text.encode("cp1252"))
    assert "Write `file.encoding: " in error.value.remedy
    assert "cp1252" in error.value.remedy


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_line_of_a_wrong_byte_is_exact_whatever_the_line_end(tmp_path, end):
    lines = ["name,city", *(f"n{n},{'x' * (n % 50)}" for n in range(20_000)), "a,"]
    with pytest.raises(ShopstreamError, match=r"line 20002: 0xFF"):
        names(tmp_path, end.join(lines).encode() + b"\xff" + end.encode())


def test_json_is_decoded_as_strictly(tmp_path):
    with pytest.raises(ShopstreamError, match=r"a\.csv, line 2: 0xE9 is not UTF-8"):
        names(tmp_path, b'{"name":"a"}\n{"name":"Jos\xe9"}\n', format_="json")


def test_utf16_without_a_mark_is_refused_and_named(tmp_path):
    for format_, text in (("csv", "name,city\na,b\n"), ("json", '{"name":"a"}\n'), ("whitespace", "a b\n")):
        how = FileFormat(format=format_, columns=("name", "city") if format_ == "whitespace" else None)
        for encoding in ("utf-16-be", "utf-16-le", "utf-32-le", "utf-32-be"):
            (tmp_path / "a").write_bytes(text.encode(encoding))
            with pytest.raises(ShopstreamError, match=f"NUL bytes of {encoding}") as error:
                list(read_batches(log_files([tmp_path / "a"])[0], how, ["name"]))
            assert error.value.remedy == f"Write `file.encoding: {encoding}` in the mapping."


def test_a_header_with_nul_is_refused(tmp_path):
    with pytest.raises(ShopstreamError, match="NUL characters"):
        names(tmp_path, b"name,ci\0ty\na,b\n")


def test_utf16_without_a_mark_cannot_be_declared_without_byte_order(tmp_path):
    with pytest.raises(ShopstreamError, match="no byte-order mark"):
        names(tmp_path, "name,city\na,b\n".encode("utf-16-le"), "utf-16")


def test_a_mark_that_contradicts_the_declaration_refuses_the_file(tmp_path):
    with pytest.raises(ShopstreamError, match="begins with the byte-order mark of utf-8, but the mapping has cp1252"):
        names(tmp_path, TEXT.encode("utf-8-sig"), "cp1252")


def test_text_that_is_cut_within_a_character_is_refused(tmp_path):
    with pytest.raises(ShopstreamError, match="line 3: 0xC3 is not UTF-8"):
        names(tmp_path, "name,city\na,b\nJosé".encode()[:-1])


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("utf-16", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32-le", "utf-32-le"),
    ],
)
def test_the_detector_names_unicode_encodings(encoding, expected):
    assert detect(TEXT.encode(encoding))[0] == expected


def test_the_refusal_shows_how_the_likely_encodings_read_the_text(tmp_path):
    with pytest.raises(ShopstreamError) as error:
        names(tmp_path, b"name,city\nJos\xe9,a\nJos\xe8,b\n")
    assert "cp1252 reads 'José,a\\nJosè,b'" in error.value.remedy
    assert "cp1250 reads 'José,a\\nJosč,b'" in error.value.remedy


def test_the_detector_names_likely_encodings_of_bytes_that_are_not_utf8():
    assert "cp1252" in detect("name,city\nJosé,Café à la crème\nJosè,Übergröße\n".encode("cp1252"))


@pytest.mark.parametrize("encoding", ["iso-8859-1", "cp1252", "cp850", "cp1251"])
@pytest.mark.parametrize("end", ["", "x" * 300_000 + ",last\n"])
def test_a_file_of_utf8_is_refused_where_another_encoding_is_declared(tmp_path, encoding, end):
    with pytest.raises(ShopstreamError, match=r"a\.csv is UTF-8, but the mapping has .* Remove `file\.encoding`"):
        names(tmp_path, TEXT.encode() + end.encode(), encoding)


def test_one_character_that_is_not_utf8_proves_the_declared_encoding(tmp_path):
    assert names(tmp_path, "name,city\nÃ©,x\nJosé,y\n".encode("cp1252"), "cp1252") == ["Ã©", "José"]


def test_ascii_is_read_by_every_declared_encoding(tmp_path):
    assert names(tmp_path, b"name,city\nann,x\n", "cp1252") == ["ann"]


def test_a_control_character_refuses_an_iso_encoding_and_names_the_windows_one(tmp_path):
    content = "name,city\nann,x\nJosé,5 €\n".encode("cp1252")
    with pytest.raises(
        ShopstreamError, match=r"line 3: 0x80 is a control.*iso8859-1\. Write `file.encoding: cp1252`.*€"
    ):
        names(tmp_path, content, "latin1")
    assert names(tmp_path, content, "cp1252") == ["ann", "José"]
