"""Shapes frames as documents: the columns are the fields of an index, in their order and types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl
from polars import col

from features.schema import Field

_DTYPES: Final[dict[str, pl.DataType]] = {
    "int": pl.Int64(),
    "time": pl.Int64(),  # epoch ms
    "float": pl.Float64(),
    "string": pl.String(),
    "bool": pl.Boolean(),
}


def frame_schema(fields: Sequence[Field]) -> dict[str, pl.DataType]:
    """Return the columns of documents with these fields."""
    return {field.name: _DTYPES[field.kind] for field in fields}


def shaped(frame: pl.DataFrame, fields: Sequence[Field]) -> pl.DataFrame:
    """Select the columns of these fields, cast to their types."""
    return frame.select(col(name).cast(dtype) for name, dtype in frame_schema(fields).items())
