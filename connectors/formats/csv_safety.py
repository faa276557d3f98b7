"""Escapes CSV cells so that spreadsheets do not read their text as a formula."""

from __future__ import annotations

from typing import Final

import polars as pl
from polars import col

FORMULA_BEGINNINGS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""Characters that spreadsheets read as the start of a formula, or skip before they look for one."""


def safe_text(text: str) -> str:
    """Return `text`, prefixed with an apostrophe if a spreadsheet would evaluate it."""
    return f"'{text}" if text.startswith(FORMULA_BEGINNINGS) else text


def safe_frame(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with its string columns and column names made safe for spreadsheets."""
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    pattern = f"^[{''.join(FORMULA_BEGINNINGS).replace('-', '')}-]"
    guarded = frame.with_columns(
        pl.when(col(name).str.contains(pattern)).then(pl.lit("'") + col(name)).otherwise(col(name)).alias(name)
        for name in texts
    )
    return guarded.rename({name: safe_text(name) for name in frame.columns})
