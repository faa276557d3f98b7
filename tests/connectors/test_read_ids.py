"""Ids of foreign files: every character stays, a printed float is its integer, and a placeholder is never an id."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.formats.ids import IDS, read_ids
from features.records.placeholders import AROUND, PLACEHOLDERS, is_placeholder


def read(texts, never=(), allow=()):
    """Return (value, reason) of each text."""
    frame = pl.LazyFrame({"t": pl.Series(texts, dtype=pl.String)})
    got = frame.select(read_ids(pl.col("t"), never, allow).alias("x")).collect()["x"]
    assert got.dtype == IDS
    rows = [tuple(row.values()) for row in got]
    for text, (value, reason) in zip(texts, rows, strict=True):
        assert (reason is None) == (value is not None or text is None)
    return rows


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("13085", "13085"), ("13085.0", "13085"), ("-5.000", "-5"), ("007", "007"), ("007.0", "007.0"),
        ("1.50", "1.50"),
        ("1.0.0", "1.0.0"), ("13085.", "13085."), ("12345678901234567890.0", "12345678901234567890"), (" ann ", "ann"),
        ("\u00a0\u2003ann\u3000\n", "ann"), ("a b", "a b"), ("Jose\u0301", "Jose\u0301"), ("José", "José"),
        ("ANN", "ANN"),
        ("1e5", "1e5"), ("12E45", "12E45"), ("nullable", "nullable"), ("nan2", "nan2"), ("0a", "0a"), ("00-1", "00-1"),
        ("guest@example.org", "guest@example.org"), ("an\u200bn", "an\u200bn"), ("10", "10"), ("-2", "-2"),
        ("+1", "+1"),
        ("\u0660", "\u0660"), ("anna's \"x\"", "anna's \"x\""),
    ],
)  # fmt: skip
def test_an_id_has_every_character(text, value):
    assert read([text]) == [(value, None)]


@pytest.mark.parametrize("mark", ["\u200b", "\ufeff", "\u200e", "\u2060", "\u00ad", "\u200d", "\u202c", "\u2069"])
def test_characters_without_a_width_around_an_id_are_no_part_of_it(mark):
    assert read([f"{mark} 7{mark}", f"7 {mark} ", f"{mark}13085.0"]) == [("7", None), ("7", None), ("13085", None)]
    assert read([f"{mark}null", mark]) == [(None, 'placeholder "null"'), (None, 'placeholder ""')]


@pytest.mark.parametrize(
    "text",
    [
        "NULL", "null", "Null", " None ", "nil", "undefined", "nan", "NaN", "NaT", "TRUE", "false", "0", "0.0", "-1",
        "-1.0",
        "anonymous", "Guest", "UNKNOWN", "[object Object]", "(not set)", "(null)", "(None)", "N/A", "#N/A", "NA", "\\N",
        "-", "--", "---", "?", "", "  ", "000", "00000000-0000-0000-0000-000000000000", "<NA>", "#REF!",
    ],
)  # fmt: skip
def test_a_placeholder_is_never_an_id(text):
    assert read([text]) == [(None, f'placeholder "{text.strip()}"')]
    assert is_placeholder(text) or text in ("0.0", "-1.0")


def test_a_mapping_adds_placeholders_and_takes_them_out():
    assert read(["Walk-In", "STRASSE", "stra\u00dfe", "ann"], never=["walk-in", "Stra\u00dfe"]) == [
        (None, 'placeholder "Walk-In"'), (None, 'placeholder "STRASSE"'), (None, 'placeholder "stra\u00dfe"'),
        ("ann", None),
    ]  # fmt: skip
    assert read(["NA", "na", "null", "0", "00"], allow=["NA", "0"]) == [
        ("NA", None), ("na", None), (None, 'placeholder "null"'), ("0", None), (None, 'placeholder "00"'),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["1.23457E+12", "1,23457E+12", "1.23457e12", "-1.2E+5", "1E+12", "9.9E-5"])
def test_an_id_in_scientific_notation_has_lost_its_digits(text):
    assert read([text]) == [(None, f"{text}: id in scientific notation has lost its digits")]


@pytest.mark.parametrize("text", ["a\0b", "\x00"])
def test_a_nul_character_in_an_id_has_the_reason(text):
    assert read([text]) == [(None, f"NUL character in the id {text!r}")]


@pytest.mark.parametrize("text", ["a\nb", "a\tb", "a\x7fb"])
def test_every_other_character_within_an_id_is_part_of_it(text):
    assert read([text]) == [(text, None)]


def test_rows_keep_their_order_and_null_stays_null():
    assert [value for value, _ in read(["7", None, "NULL", "8.0"])] == ["7", None, None, "8"]
    assert read([]) == []


def test_placeholders_are_case_folded_and_trimmed():
    assert all(word == word.casefold() == word.strip() for word in PLACEHOLDERS)


@given(st.lists(st.text(max_size=8)), st.sampled_from([(), ("\ufb01",), ("Stra\u00dfe", "\u212a")]))
def test_any_two_ids_stay_two_and_no_text_is_another_id(texts, never):
    folded = {word.casefold() for word in never}
    for text, (value, _) in zip(texts, read(texts, never), strict=True):
        assert value is None or (value in text and value == value.strip(" \t\n\u00a0\u3000"))
        assert value is None or not (is_placeholder(value) or value.casefold() in folded)
        if value is None:
            assert is_placeholder(text) or text.strip(AROUND).casefold() in folded or any(ord(c) < 160 for c in text)
