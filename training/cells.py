"""Frames for spreadsheets: a cell of a CSV file never begins a formula."""

from __future__ import annotations

import polars as pl
from polars import col

from connectors.formats.csv_safety import FORMULA_BEGINNINGS, safe_text


def safe_frame(frame: pl.DataFrame) -> pl.DataFrame:
    """A frame whose string columns are safe to be opened by a spreadsheet; names of columns are made safe too."""
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    pattern = f"^[{''.join(FORMULA_BEGINNINGS).replace('-', '')}-]"
    guarded = frame.with_columns(
        pl.when(col(name).str.contains(pattern)).then(pl.lit("'") + col(name)).otherwise(col(name)).alias(name)
        for name in texts
    )
    return guarded.rename({name: safe_text(name) for name in frame.columns})
