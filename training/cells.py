"""Makes frames safe for spreadsheets: no cell of a CSV file begins a formula."""

from __future__ import annotations

import polars as pl
from polars import col

from connectors.formats.csv_safety import FORMULA_BEGINNINGS, safe_text


def safe_frame(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with its string columns and column names made safe for spreadsheets."""
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    pattern = f"^[{''.join(FORMULA_BEGINNINGS).replace('-', '')}-]"
    guarded = frame.with_columns(
        pl.when(col(name).str.contains(pattern)).then(pl.lit("'") + col(name)).otherwise(col(name)).alias(name)
        for name in texts
    )
    return guarded.rename({name: safe_text(name) for name in frame.columns})
