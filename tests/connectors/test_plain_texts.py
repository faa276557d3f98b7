"""Columns in a common form: the compiled readers give exactly what the general ones give."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.formats import ids, numbers, timestamps
from connectors.formats.plain_texts import epoch_ms, iso_ms, plain_decimals, plain_ids
from connectors.formats.time_patterns import EPOCHS, time_format
from features.records.placeholders import PLACEHOLDERS

LONGEST = max(map(len, PLACEHOLDERS))
alphabet = st.sampled_from([*"0123456789-+.,:eETtZz #/aNulé\u00a0\0~", "null", "-1", "00", "12.50", "\u0661"])
rough = st.lists(alphabet, max_size=6).map("".join)
numbers_like = st.from_regex(r"-?[0-9]{1,22}(\.[0-9]{0,20})?", fullmatch=True)
ids_like = st.one_of(
    st.sampled_from(sorted(PLACEHOLDERS)), st.from_regex(r"[a-zA-Z0-9#~-]{1,20}", fullmatch=True), numbers_like,
    st.from_regex(r"[+-]?[0-9]([.,][0-9]{1,3})?[eE][+-]?[0-9]{1,3}", fullmatch=True),
)  # fmt: skip
isos = st.from_regex(
    r"(19[67]|20[02]|999)[0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9](\.[0-9]{1,10})?"
    r"(Z|[+-][0-2][0-9]:[0-6][0-9])",
    fullmatch=True,
)
epochs = st.integers(0, 10**19).map(str)


def columns(texts):
    """Few texts, so that often all are in a common form."""
    return st.lists(st.one_of(st.none(), texts), min_size=1, max_size=3)


def both(monkeypatch, module, name, off, expression, texts):
    """The results of a reader with and without its compiled form."""
    frame = pl.LazyFrame({"\0t": pl.Series(texts, dtype=pl.String)})
    fast = frame.select(expression.alias("x")).collect()["x"].to_list()
    with monkeypatch.context() as patch:
        patch.setattr(module, name, off)
        return fast, frame.select(expression.alias("x")).collect()["x"].to_list()


@given(
    columns(st.one_of(ids_like, rough)),
    st.sampled_from([(), ("test1",), ("kunde",)]),
    st.sampled_from([(), ("0",), ("NA",)]),
)
def test_plain_ids_are_the_ids_of_the_general_reader(texts, never, allow):
    with pytest.MonkeyPatch.context() as patch:
        reader = ids.read_ids(pl.col("\0t"), never, allow)
        fast, general = both(patch, ids, "are_plain_ids", lambda *_, **__: False, reader, texts)
    assert fast == general


@given(columns(st.one_of(numbers_like, rough)), st.sampled_from([".", ","]))
def test_plain_decimals_are_those_of_the_general_reader(texts, decimal):
    with pytest.MonkeyPatch.context() as patch:
        reader = numbers.read_decimals(pl.col("\0t"), decimal)
        fast, general = both(patch, numbers, "plain_decimals", lambda _: False, reader, texts)
    assert fast == general


@given(columns(st.one_of(isos, rough)), st.sampled_from(["UTC", "Europe/Berlin"]))
def test_iso_times_are_those_of_the_general_reader(texts, zone):
    with pytest.MonkeyPatch.context() as patch:
        reader = timestamps.read_times(pl.col("\0t"), time_format("iso"), zone)
        fast, general = both(patch, timestamps, "_common", lambda *_: None, reader, texts)
    assert fast == general


@given(columns(st.one_of(epochs, st.integers(0, 10**13).map(str), rough)), st.sampled_from(sorted(EPOCHS)))
def test_epochs_are_those_of_the_general_reader(texts, unit):
    with pytest.MonkeyPatch.context() as patch:
        reader = timestamps.read_times(pl.col("\0t"), time_format(unit), "UTC")
        fast, general = both(patch, timestamps, "_common", lambda *_: None, reader, texts)
    assert fast == general


def test_plain_texts_are_read_by_the_compiled_code():
    """Otherwise the tests above would compare the general readers with themselves."""
    assert plain_ids(pl.Series(["u-17", "P-00000", None, "4711", "a.b7", "x" * 40]), LONGEST, digits_count=True)
    assert plain_decimals(pl.Series(["0", "12.50", "-3", None]))
    times = ["2026-05-04T08:00:00.250Z", None, "2024-02-29T23:59:59+02:00"]
    assert iso_ms(pl.Series(times)).to_list() == [1_777_881_600_250, None, 1_709_243_999_000]
    assert epoch_ms(pl.Series(["1777881600", None]), 0, 0).to_list() == [1_777_881_600_000, None]


def test_column_without_texts_is_in_each_common_form():
    for texts in (pl.Series([None, None], dtype=pl.String), pl.Series([], dtype=pl.String)):
        assert plain_ids(texts, LONGEST, digits_count=True)
        assert plain_decimals(texts)
        assert iso_ms(texts).null_count() == epoch_ms(texts, 3, 10**11).null_count() == len(texts)


def test_part_of_a_column_is_read_from_its_own_texts():
    texts = pl.Series(["no id ", "c1", "c2", " "])
    assert plain_ids(texts[1:3], LONGEST, digits_count=True)
    assert not plain_ids(texts[:2], LONGEST, digits_count=True)
