"""Numbers of foreign files: each form is exactly the decimal that it shows, or it has the reason."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.formats.numbers import DECIMALS, read_decimals

PLAIN = r"^-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,18})?$"


def read(texts, decimal=".", thousands=None, symbols=()):
    """Return (value, reason) of each text."""
    frame = pl.LazyFrame({"t": pl.Series(texts, dtype=pl.String)})
    got = frame.select(read_decimals(pl.col("t"), decimal, thousands, symbols).alias("x")).collect()["x"]
    assert got.dtype == DECIMALS
    rows = [tuple(row.values()) for row in got]
    for text, (value, reason) in zip(texts, rows, strict=True):
        assert (reason is None) == (value is not None or text is None)
    assert got.struct.field("value").drop_nulls().str.contains(PLAIN).all()
    return rows


@pytest.mark.parametrize(
    ("text", "decimal", "thousands", "value"),
    [
        ("12.50", ".", None, "12.50"), ("0", ".", None, "0"), ("007.50", ".", None, "7.50"), (".5", ".", None, "0.5"),
        ("5.", ".", None, "5"), ("+5", ".", None, "5"), ("-5", ".", None, "-5"), ("\u22125", ".", None, "-5"),
        ("5.00-", ".", None, "-5.00"), ("(5.00)", ".", None, "-5.00"), ("( 5 )", ".", None, "-5"),
        ("-0", ".", None, "0"),
        ("-0.00", ".", None, "0.00"), ("(0)", ".", None, "0"), ("-.5", ".", None, "-0.5"), (" 5 ", ".", None, "5"),
        ("\u00a05\u3000", ".", None, "5"), ("0000000000000000000000001", ".", None, "1"),
        ("12345678901234567890.123456789012345678", ".", None, "12345678901234567890.123456789012345678"),
        ("12,50", ",", ".", "12.50"), ("1.234,56", ",", ".", "1234.56"), ("1.234", ",", ".", "1234"),
        ("1234,5", ",", ".", "1234.5"), ("1.234.567", ",", ".", "1234567"), ("-1.234,5", ",", ".", "-1234.5"),
        ("1,234.56", ".", ",", "1234.56"), ("1,234", ".", ",", "1234"), ("12,345,678.9", ".", ",", "12345678.9"),
        ("1 234,5", ",", " ", "1234.5"), ("1\u00a0234\u202f567,5", ",", " ", "1234567.5"),
        ("1'234.5", ".", "'", "1234.5"), ("1\u2019234.5", ".", "'", "1234.5"), ("(1,234.50)", ".", ",", "-1234.50"),
    ],
)  # fmt: skip
def test_a_number_is_the_decimal_that_it_shows(text, decimal, thousands, value):
    assert read([text], decimal, thousands) == [(value, None)]


@pytest.mark.parametrize(
    ("text", "decimal", "thousands", "reason"),
    [
        ("12.50", ",", ".", "12.50 is no number with decimal ',' and thousands '.'"),
        ("1.2345,00", ",", ".", "1.2345,00 is no number with decimal ',' and thousands '.'"),
        ("0.125", ",", ".", "0.125 is no number with decimal ',' and thousands '.'"),
        ("1234.567", ",", ".", "1234.567 is no number with decimal ',' and thousands '.'"),
        ("1.234.56", ",", ".", "1.234.56 is no number with decimal ',' and thousands '.'"),
        ("12.50", ",", None, "12.50 is no number with decimal ',' and no thousands separator"),
        ("1,234.56", ".", None, "1,234.56 is no number with decimal '.' and no thousands separator"),
        ("1,23,456.00", ".", ",", "1,23,456.00 is no number with decimal '.' and thousands ','"),
        ("1,234,56", ".", ",", "1,234,56 is no number with decimal '.' and thousands ','"),
        (",123", ".", ",", ",123 is no number with decimal '.' and thousands ','"),
        ("1 234", ".", None, "1 234 is no number with decimal '.' and no thousands separator"),
        ("1  234", ".", " ", "1  234 is no number with decimal '.' and thousands ' '"),
        ("1.5.2", ".", None, "1.5.2 is no number with decimal '.' and no thousands separator"),
        ("--5", ".", None, "--5 is no number with decimal '.' and no thousands separator"),
        ("-5-", ".", None, "-5- is no number with decimal '.' and no thousands separator"),
        ("(-5)", ".", None, "(-5) is no number with decimal '.' and no thousands separator"),
        ("(5", ".", None, "(5 is no number with decimal '.' and no thousands separator"),
        ("5)", ".", None, "5) is no number with decimal '.' and no thousands separator"),
        (".", ".", None, ". is no number with decimal '.' and no thousands separator"),
        ("-", ".", None, "- is no number with decimal '.' and no thousands separator"),
        ("", ".", None, "a blank text is no number with decimal '.' and no thousands separator"),
        ("  ", ".", None, "a blank text is no number with decimal '.' and no thousands separator"),
        ("NaN", ".", None, "NaN is no number with decimal '.' and no thousands separator"),
        ("inf", ".", None, "inf is no number with decimal '.' and no thousands separator"),
        ("12abc", ".", None, "12abc has a sign or word next to the number: read the number alone by `match`"),
        ("0x10", ".", None, "0x10 is no number with decimal '.' and no thousands separator"),
        ("\u0661\u0662", ".", None, "\u0661\u0662 is no number with decimal '.' and no thousands separator"),
        ("1.2E+03", ".", None, "1.2E+03 has lost its digits"),
        ("1,2E+03", ",", ".", "1,2E+03 has lost its digits"),
        ("5e-7", ".", None, "5e-7 has lost its digits"),
        ("€ 12,50", ",", ".", "€ 12,50 has a sign or word next to the number: read the number alone by `match`"),
        ("12.50 EUR", ".", None, "12.50 EUR has a sign or word next to the number: read the number alone by `match`"),
        ("123456789012345678901", ".", None, "too many digits: 123456789012345678901"),
        ("0.1234567890123456789", ".", None, "too many digits: 0.1234567890123456789"),
        ("5%", ".", None, "5% has a sign or word next to the number: read the number alone by `match`"),
    ],
)
def test_a_text_that_is_no_number_has_the_reason(text, decimal, thousands, reason):
    assert read([text], decimal, thousands) == [(None, reason)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("€ 12.50", "12.50"), ("12.50\u00a0€", "12.50"), ("EUR12.50", "12.50"), ("-€12.50", "-12.50"),
        ("€-12.50", "-12.50"),
        ("(€ 12.50)", "-12.50"), ("12.50- €", "-12.50"), ("kr. 5", "5"), ("12.50", "12.50"), ("U S 5", "5"),
        ("€€5", None), ("€5€", None), ("-€-5", None), ("$5", None), ("€", None), ("eur 5", None), ("krx 5", None),
    ],
)  # fmt: skip
def test_a_declared_symbol_may_be_around_a_number_once(text, value):
    assert read([text], symbols=("€", "EUR", "kr.", "U S"))[0][0] == value


def test_rows_keep_their_order_and_null_stays_null():
    assert [value for value, _ in read(["1", None, "x", "2,5", "-3"], ",", ".")] == ["1", None, None, "2.5", "-3"]
    assert read([None]) == [(None, None)]
    assert read([]) == []


@pytest.mark.parametrize(("decimal", "thousands"), [(";", None), ("", None), (".", "."), (",", ","), (".", "_")])
def test_signs_that_no_file_has_are_refused(decimal, thousands):
    with pytest.raises(ValueError, match=r"decimal sign|thousands separator"):
        read_decimals(pl.col("t"), decimal, thousands)


SIGNS = [(".", None), (".", ","), (".", "'"), (",", "."), (",", " "), (",", None)]


@given(
    st.lists(
        st.tuples(st.integers(-(10**20) + 1, 10**20 - 1), st.integers(0, 18), st.integers(0, 10**18 - 1)), min_size=1
    ),
    st.sampled_from(SIGNS), st.booleans(), st.sampled_from(["-{}", "({})", "{}-", "\u2212{}"]),
)  # fmt: skip
def test_any_number_in_any_form_is_the_same_decimal(numbers, signs, grouped, negative):
    decimal, thousands = signs
    texts, expected = [], []
    for whole, places, fraction in numbers:
        digits = f"{abs(whole):,}".replace(",", thousands) if grouped and thousands else str(abs(whole))
        tail = str(fraction).zfill(18)[:places]
        text = digits + (decimal + tail if places else "")
        texts.append(negative.format(text) if whole < 0 else text)
        expected.append(Decimal(f"{whole}.{tail}" if places else whole))
    assert [Decimal(value) for value, _ in read(texts, decimal, thousands)] == expected


@given(st.text(alphabet="0123456789.,' -+()eE€", max_size=12), st.sampled_from(SIGNS))
def test_no_random_text_is_read_as_another_number(text, signs):
    decimal, thousands = signs
    ((value, _),) = read([text], decimal, thousands)
    if value is not None:
        body = text.strip().strip("()-+ ")
        bare = body.replace(thousands, "") if thousands else body
        assert abs(Decimal(value)) == Decimal(bare.replace(decimal, "."))
        groups = body.split(decimal)[0].split(thousands) if thousands else [body]
        assert all(len(group) == 3 for group in groups[1:])
