"""Reads ids of foreign files. An id is text with every character, and a placeholder such as NULL is never an id."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

import polars as pl

from connectors.formats.plain_texts import nulls
from connectors.formats.plain_texts import plain_ids as are_plain_ids
from features.records.placeholders import AROUND, PLACEHOLDERS, only_zeros

IDS: Final = pl.Struct({"value": pl.String, "reason": pl.String})
"""Type of ids that are read: the id, or why it is refused."""

_WHOLE_FLOAT: Final = r"^(-?(?:0|[1-9][0-9]*))\.0+$"
"""Matches an integer that a table of floats printed, but not 007.0, which no float prints."""
_SCIENTIFIC: Final = r"^[+-]?[0-9](?:[.,][0-9]+[eE][+-]?[0-9]{1,3}|[eE]\+[0-9]{1,3})$"
"""Matches what spreadsheets and floats write for a long number, but not 1e5, which may be an id."""
_SPECIAL: Final = r"^[0-]*$|\p{Cc}"


def read_ids(text: pl.Expr, never: Collection[str] = (), allow: Collection[str] = ()) -> pl.Expr:
    r"""Read ids.

    White space around an id, of all kinds that Unicode has, is not part of it. The same holds for characters without
    a width, such as a byte-order mark. `13085.0` is the id `13085`. All other characters stay: there is no normal
    form, so that two spellings of a name with an accent are two ids.

    Args:
        text: text.
        never: more placeholders, in any spelling of upper and lower case.
        allow: placeholders that are ids in this file, such as `NA`; in any spelling of upper and lower case.

    Returns:
        IDS. A null text has neither a value nor a reason.
    """
    # An id whose letters are not ASCII is compared in Python: only there its case can be folded.
    allowed = {word.strip().casefold() for word in allow}
    placeholders = (PLACEHOLDERS | {word.strip().casefold() for word in never}) - allowed
    longest = max(map(len, placeholders), default=0)
    digits_count = not any(
        set("0123456789").intersection(word) for word in placeholders - {"0", "-1"} if not word.startswith("#")
    )

    def read(series: pl.Series) -> pl.Series:
        texts = series.cast(pl.String)
        if are_plain_ids(texts, longest, digits_count=digits_count):
            return pl.DataFrame([texts.alias("value"), nulls(len(texts), pl.String).alias("reason")]).to_struct()
        trimmed = texts.str.strip_chars(AROUND)
        ids = trimmed.str.replace(_WHOLE_FLOAT, "${1}")
        short = ids.str.len_chars() <= longest
        suspects = (
            ids.str.to_lowercase().is_in(list(placeholders))
            | (short & (ids.str.len_bytes() > ids.str.len_chars()))
            | ids.str.contains(_SPECIAL)
            | ids.str.contains(_SCIENTIFIC)
        ).fill_null(value=False)
        reasons = pl.Series([None], dtype=pl.String).new_from_index(0, len(series))
        if suspects.any():
            pairs = pl.DataFrame({"text": trimmed, "id": ids}).filter(suspects).unique()
            why = {
                text: reason for text, one in pairs.iter_rows() if (reason := _reason(text, one, placeholders, allowed))
            }
            if why:
                reasons = trimmed.replace_strict(why, default=None, return_dtype=pl.String)
        frame = pl.DataFrame({"value": ids, "reason": reasons})
        value = pl.when(pl.col("reason").is_null()).then("value").alias("value")
        return frame.select(pl.struct(value, "reason")).to_series()

    return text.map_batches(read, return_dtype=IDS, is_elementwise=True)


def plain_ids(text: pl.Expr) -> pl.Expr:
    """Return texts as the ids that `read_ids` reads: without blanks around them, and `13085.0` as `13085`.

    Args:
        text: text; null stays null, and an empty text is null.
    """
    trimmed = text.cast(pl.String).str.strip_chars()
    return pl.when(trimmed != "").then(trimmed.str.replace(_WHOLE_FLOAT, "${1}"))


def _reason(text: str, one: str, placeholders: Collection[str], allowed: Collection[str]) -> str | None:
    """Return why a text, which is the id `one`, is no id after all. None if it is one."""
    folded = one.casefold()
    if folded in placeholders or (only_zeros(folded) and folded not in allowed):
        return f'placeholder "{text}"'
    if "\0" in text:
        return f"NUL character in the id {text!r}"
    if re.fullmatch(_SCIENTIFIC, text):
        return f"{text}: id in scientific notation has lost its digits"
    return None
