"""Reads decimal numbers of foreign files as plain decimals. A value is read exactly, or it has a reason."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

import polars as pl

from connectors.formats.plain_texts import nulls, plain_decimals

DECIMALS: Final = pl.Struct({"value": pl.String, "reason": pl.String})
"""Type of numbers that are read: the plain decimal, or why it is refused."""

WHOLE_DIGITS_MAX: Final = 20
FRACTION_DIGITS_MAX: Final = 18

_GROUPING: Final = {
    ".": "[.]", ",": ",", " ": "[ \u00a0\u202f]", "'": "['\u2019]",
}  # fmt: skip
"""Thousands separator -> the characters that count as it: blanks that do not break, and the typographic apostrophe."""
_BLANK: Final = "[ \t\u00a0\u202f]*"
PLAIN: Final = r"^-?(?:0|[1-9][0-9]{0,19})(?:\.[0-9]{1,18})?$"
"""Matches what is a plain decimal already, in a file with the decimal sign "."."""
_EXPONENT: Final = r"[+-]?[0-9]+(?:[.,][0-9]*)?[eE][+-]?[0-9]+"
_SHOWN_LENGTH_MAX: Final = 60


def read_decimals(
    text: pl.Expr, decimal: str = ".", thousands: str | None = None, symbols: Collection[str] = ()
) -> pl.Expr:
    """Read numbers exactly.

    A sign is a leading or trailing `-`, a leading `+`, or the minus U+2212. Parentheses and a trailing minus are the
    negative numbers of accountants. Groups have three digits, and either all digits are grouped or none.

    Args:
        text: text; blanks around a number do not matter.
        decimal: decimal sign, "." or ",".
        thousands: sign between groups of three digits: ".", ",", " " (also without a break) or "'". None: no groups.
        symbols: texts such as "€" or "EUR" that may precede or follow a number and are not part of it.

    Returns:
        DECIMALS. A value has at most 20 digits before the point and 18 after it, and no exponent, plus or group. A
        null text has neither a value nor a reason.

    Raises:
        ValueError: the decimal sign or the thousands separator is none of these, or they are equal.
    """
    if decimal not in (".", ","):
        raise ValueError(f"decimal sign {decimal!r}: write '.' or ','")
    if thousands is not None and (thousands not in _GROUPING or thousands == decimal):
        signs = ", ".join(repr(sign) for sign in _GROUPING if sign != decimal)
        raise ValueError(f"thousands separator {thousands!r}: write one of {signs}")
    form = _form(decimal, thousands, symbols)

    def read(series: pl.Series) -> pl.Series:
        texts = series.cast(pl.String)
        if decimal == "." and plain_decimals(texts):
            return _struct(texts, None)
        trimmed = texts.str.strip_chars()
        values = _values(trimmed, form)
        refused = values.is_null() & trimmed.is_not_null()
        if not refused.any():
            return _struct(values, None)
        why = {one: _reason(one, form, decimal, thousands) for one in trimmed.filter(refused).unique()}
        reasons = trimmed.zip_with(refused, nulls(len(series), pl.String)).replace_strict(
            why, default=None, return_dtype=pl.String
        )
        return _struct(values, reasons)

    return text.map_batches(read, return_dtype=DECIMALS, is_elementwise=True)


def _form(decimal: str, thousands: str | None, symbols: Collection[str]) -> str:
    """Return an anchored expression with the groups of a number: signs, symbols, whole digits and fraction."""
    whole = "[0-9]+"
    if thousands is not None:
        # A group that begins with 0, as in 0.125, is the fraction of a file with another decimal sign.
        whole = f"[1-9][0-9]{{0,2}}(?:{_GROUPING[thousands]}[0-9]{{3}})+|{whole}"
    point = re.escape(decimal)
    number = f"(?:(?P<whole>{whole})(?:{point}(?P<fraction>[0-9]*))?|{point}(?P<only>[0-9]+))"
    minus = "[-\u2212]"
    if not symbols:
        return f"^(?P<open>[(])?{_BLANK}(?P<sign>{minus}|[+])?{number}{_BLANK}(?P<after>{minus})?(?P<close>[)])?$"
    alternatives = "|".join(re.escape(symbol).replace("\\ ", " ") for symbol in sorted(symbols, key=len, reverse=True))
    return (
        f"^(?P<open>[(])?{_BLANK}(?P<sign>{minus}|[+])?{_BLANK}(?:(?P<left>{alternatives}){_BLANK})?"
        f"(?P<inner>{minus}|[+])?{number}{_BLANK}(?P<after>{minus})?{_BLANK}(?P<right>{alternatives})?"
        f"{_BLANK}(?P<close>[)])?$"
    )


def _values(text: pl.Series, form: str) -> pl.Series:
    """Return plain decimals, null where the text is no number or has too many digits."""
    parts = text.str.extract_groups(form).struct.unnest()
    col = pl.col
    whole = pl.coalesce("whole", pl.when(col("only").is_not_null()).then(pl.lit("0"))).str.replace_all("[^0-9]", "")
    whole = whole.str.strip_chars_start("0")
    fraction = pl.coalesce("only", "fraction", pl.lit(""))
    marks = [name for name in ("open", "sign", "inner", "after") if name in parts.columns]
    signs = sum((col(name).is_not_null().cast(pl.Int8) for name in marks), start=pl.lit(0, pl.Int8))
    symbols = sum(
        (col(name).is_not_null().cast(pl.Int8) for name in ("left", "right") if name in parts.columns),
        start=pl.lit(0, pl.Int8),
    )
    negative = pl.any_horizontal(col(name).is_in(["-", "\u2212", "("]) for name in marks).fill_null(value=False)
    readable = (
        whole.is_not_null()
        & (signs <= 1)
        & (symbols <= 1)
        & (col("open").is_null() == col("close").is_null())
        & (whole.str.len_bytes() <= WHOLE_DIGITS_MAX)
        & (fraction.str.len_bytes() <= FRACTION_DIGITS_MAX)
    )
    frame = parts.select(whole=whole, fraction=fraction, negative=negative, readable=readable)
    digits = pl.when(col("whole") == "").then(pl.lit("0")).otherwise("whole")
    dotted = pl.when(col("fraction") == "").then(digits).otherwise(digits + "." + col("fraction"))
    signed = pl.when("negative").then("-" + dotted).otherwise(dotted)
    return _without_negative_zero(frame.select(pl.when("readable").then(signed).alias("value")).to_series())


def _without_negative_zero(values: pl.Series) -> pl.Series:
    return values.str.replace(r"^-(0(?:\.0*)?)$", "${1}")


def _struct(values: pl.Series, reasons: pl.Series | None) -> pl.Series:
    why = nulls(len(values), pl.String) if reasons is None else reasons
    return pl.DataFrame([values.alias("value"), why.alias("reason")]).to_struct()


def _reason(text: str, form: str, decimal: str, thousands: str | None) -> str:
    """Return why a text is no number."""
    shown = (text if len(text) <= _SHOWN_LENGTH_MAX else f"{text[:_SHOWN_LENGTH_MAX]}…") or "a blank text"
    match = re.fullmatch(form, text)
    if match is not None:
        whole = re.sub("[^0-9]", "", match["whole"] or "").lstrip("0")
        if len(whole) > WHOLE_DIGITS_MAX or len(match["only"] or match["fraction"] or "") > FRACTION_DIGITS_MAX:
            return f"too many digits: {shown}"
    if re.fullmatch(_EXPONENT, text):
        return f"{shown} has lost its digits"
    grouping = f"thousands {thousands!r}" if thousands is not None else "no thousands separator"
    bare = re.sub(r"^(?:[^\d\s.,'()+-]{1,4})\s*(?=[-+(]?[\d.,])|(?<=[\d.,)-])\s*(?:[^\d\s.,'()+-]{1,4})$", "", text)
    if bare != text and re.search("[0-9]", bare):
        return f"{shown} has a sign or word next to the number: read the number alone by `match`"
    return f"{shown} is no number with decimal {decimal!r} and {grouping}"
