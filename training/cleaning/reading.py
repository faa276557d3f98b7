"""Reads an archive file as columns of one type each, whatever types the file has; unreadable values become null.

Times become int64 epoch milliseconds. A quantity that is not a whole number becomes 0, which every rule rejects. NaN is
a missing value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
from polars import col

from connectors.formats.timestamps import OFFSET, iso_times, utc
from features.errors import ShopstreamError
from features.schema import Field, Item, record_fields
from training.cleaning.change_log import FILE, ROW, ChangeLog
from training.cleaning.plan import FIELDS

LINE_DTYPE: Final = pl.Struct(
    {"product_id": pl.String, "category": pl.String, "quantity": pl.Int64, "unit_price": pl.Float64}
)
DTYPES: Final[dict[str, pl.DataType]] = {
    "string": pl.String(), "int": pl.Int64(), "float": pl.Float64(), "time": pl.Int64(), "bool": pl.Boolean(),
    "items": pl.List(LINE_DTYPE),
}  # fmt: skip
UNREADABLE: Final = "_unreadable"
"""Names of the columns whose value in a row does not fit the column's type."""
_WORDS: Final = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """A file and its name in the report."""

    path: Path
    name: str


def read_file(file: ArchiveFile, topic: str, zone: str, log: ChangeLog) -> pl.DataFrame:
    """Return the rows of a file: the columns of the topic's record with DTYPES, then FILE, ROW and UNREADABLE.

    Args:
        file: Parquet file.
        topic: events, orders or customers.
        zone: IANA name of the time zone of times without one.
        log: log of the values that needed a conversion.

    Raises:
        ShopstreamError: the file is not Parquet.
    """
    fields = FIELDS[topic]
    try:
        present = pl.read_parquet_schema(file.path)
        columns = [field.name for field in fields if field.name in present]
        raw = pl.read_parquet(file.path, columns=columns, hive_partitioning=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ShopstreamError(
            f"{file.path} cannot be read: {str(error).splitlines()[0]}.", "Write the archive again, or remove the file."
        ) from error
    frame = raw.select(
        pl.lit(file.name).alias(FILE), pl.int_range(pl.len(), dtype=pl.Int64).alias(ROW)
    ) if columns else pl.DataFrame(schema={FILE: pl.String, ROW: pl.Int64})  # fmt: skip
    unreadable: list[pl.Expr] = []
    for field in fields:
        if field.name not in present:
            frame = frame.with_columns(pl.lit(None, DTYPES[field.kind]).alias(field.name))
            continue
        before = raw[field.name]
        after = _read(before, field, zone).alias(field.name)
        frame = frame.with_columns(after)
        if _fits_as_is(before.dtype, field):
            continue
        lost = before.is_not_null() & after.is_null() & ~_not_a_number(before)
        if lost.any():
            frame = frame.with_columns(lost.alias(f"_lost_{field.name}"))
            unreadable.append(pl.when(col(f"_lost_{field.name}")).then(pl.lit(field.name)))
        _log_changes(topic, field, before, after, frame, log, zone)
    mark = pl.concat_list(unreadable).list.drop_nulls() if unreadable else pl.lit([], pl.List(pl.String))
    frame = frame.with_columns(mark.alias(UNREADABLE))
    return frame.select(*(field.name for field in fields), FILE, ROW, UNREADABLE)


def _fits_as_is(kind: pl.DataType, field: Field) -> bool:
    if field.kind == "time":
        return kind.is_integer() or getattr(kind, "time_zone", None) is not None
    if field.kind == "items":
        return True
    if field.kind in {"int", "float"}:
        return kind.is_numeric()
    return not kind.is_numeric() if field.kind == "string" else kind == DTYPES[field.kind]


def _not_a_number(values: pl.Series) -> pl.Series:
    return (
        values.is_nan().fill_null(value=False) if values.dtype.is_float() else pl.repeat(False, len(values), eager=True)
    )


def _log_changes(
    topic: str, field: Field, before: pl.Series, after: pl.Series, frame: pl.DataFrame, log: ChangeLog, zone: str
) -> None:
    readable = after.is_not_null()
    if field.kind == "time":
        naive = readable if before.dtype != pl.String else readable & ~before.str.strip_chars().str.contains(OFFSET)
        why = f"a time without a zone is read in {zone}"
        if before.dtype.is_float():
            return
        log.change(
            topic, f"{field.name} without a zone", why, field.name, frame.filter(naive), before.filter(naive),
            after.filter(naive), about="time",
        )  # fmt: skip
        return
    why = f"{before.dtype} where {DTYPES[field.kind]} is expected is converted"
    log.change(
        topic, f"{field.name} of another type", why, field.name, frame.filter(readable), before.filter(readable),
        after.filter(readable),
    )  # fmt: skip


# --- one column -------------------------------------------------------------------------------------------------------
def _read(values: pl.Series, field: Field, zone: str) -> pl.Series:
    if values.dtype == pl.Null:
        return pl.repeat(None, len(values), dtype=DTYPES[field.kind], eager=True)
    if field.kind == "time":
        return _times(values, zone)
    readers = {"items": _items, "bool": _booleans, "float": _numbers, "int": _integers, "string": _text}
    return readers[field.kind](values)


def _text(values: pl.Series) -> pl.Series:
    if values.dtype.is_float():
        integral = values.is_finite() & (values == values.floor()) & (values.abs() < 2.0**53)
        texts = values.cast(pl.Int64, strict=False).cast(pl.String)
        return texts.zip_with(integral.fill_null(value=False), values.cast(pl.String))
    return values.cast(pl.String, strict=False)


def _numbers(values: pl.Series) -> pl.Series:
    if values.dtype == pl.String:
        values = values.str.strip_chars()
    elif values.dtype.is_decimal():
        values = values.cast(pl.String)  # to the nearest float, not through a product
    return values.cast(pl.Float64, strict=False).fill_nan(None)


def _integers(values: pl.Series) -> pl.Series:
    if values.dtype.is_integer():
        return values.cast(pl.Int64, strict=False)
    numbers = _numbers(values)
    integral = (numbers == numbers.floor()) & (numbers.abs() < 2.0**53)
    zeros = pl.repeat(0, len(values), dtype=pl.Int64, eager=True)
    return numbers.cast(pl.Int64, strict=False).zip_with(integral.fill_null(value=True), zeros)


def _booleans(values: pl.Series) -> pl.Series:
    if values.dtype == pl.Boolean:
        return values
    words = _text(values).str.strip_chars().str.to_lowercase()
    return words.replace_strict(_WORDS, default=None, return_dtype=pl.Boolean)


def _times(values: pl.Series, zone: str) -> pl.Series:
    frame = values.to_frame("t")
    moment = col("t")
    kind = values.dtype
    if kind.is_integer() or kind.is_float():
        return (
            _numbers(values).floor().cast(pl.Int64, strict=False)
            if kind.is_float()
            else values.cast(pl.Int64, strict=False)
        )
    if kind == pl.String:
        millis = _iso(moment.str.strip_chars(), zone)
    elif kind == pl.Date or getattr(kind, "time_zone", "") is None:
        millis = utc(moment.cast(pl.Datetime("us")), zone).dt.epoch("ms")
    elif isinstance(kind, pl.Datetime):
        millis = moment.dt.epoch("ms")
    else:
        millis = pl.lit(None, pl.Int64)
    return frame.select(millis).to_series()


def _iso(text: pl.Expr, zone: str) -> pl.Expr:
    """Parse times as ISO text or epoch milliseconds."""
    return (
        pl.when(text.str.contains(r"^-?\d+$"))
        .then(text.cast(pl.Int64, strict=False))
        .otherwise(iso_times(text, zone).dt.epoch("ms"))
    )


# --- lines of orders --------------------------------------------------------------------------------------------------
def _items(values: pl.Series) -> pl.Series:
    dtype = DTYPES["items"]
    if values.dtype == dtype:
        return _without_nan(values)
    if not isinstance(values.dtype, pl.List) or not isinstance(values.dtype.inner, pl.Struct):
        return pl.repeat(None, len(values), dtype=dtype, eager=True)

    def conformed(lines: pl.DataFrame) -> pl.DataFrame:
        columns = [
            _read(lines[field.name], field, "UTC").alias(field.name)
            if field.name in lines.columns
            else pl.repeat(None, len(lines), dtype=DTYPES[field.kind], eager=True).alias(field.name)
            for field in record_fields(Item)
        ]
        return pl.DataFrame(columns)

    return map_lines(values, conformed)


def _without_nan(values: pl.Series) -> pl.Series:
    prices = lines_of(values)[1]["unit_price"]
    if not prices.is_nan().any():
        return values
    return map_lines(values, lambda lines: lines.with_columns(col("unit_price").fill_nan(None)))


def lines_of(items: pl.Series) -> tuple[pl.Series, pl.DataFrame]:
    """Return the position of each line's order in `items`, and the lines as columns; a null line is a row of nulls."""
    array = items.to_arrow()
    lengths = pl.Series(items.list.len().fill_null(0))
    lines = pl.Series("line", pl.from_arrow(array.flatten())).to_frame().unnest("line")
    orders = (
        pl.int_range(len(items), eager=True)
        .to_frame("at")
        .select(col("at").repeat_by(lengths).explode(empty_as_null=False))
    )
    return orders.to_series().drop_nulls(), lines


def map_lines(items: pl.Series, change: Callable[[pl.DataFrame], pl.DataFrame]) -> pl.Series:
    """Return lists with each line changed: `change` maps the lines of all orders, as columns, in their order."""
    array = items.to_arrow()
    flat = array.flatten()
    lengths = items.list.len().fill_null(0)
    changed = change(lines_of(items)[1])
    offsets = pl.concat([pl.Series([0], dtype=pl.Int64), lengths.cast(pl.Int64).cum_sum()]).to_arrow()
    arrow = changed.to_arrow()
    struct = pa.StructArray.from_arrays(
        [arrow.column(name).combine_chunks() for name in arrow.column_names], names=arrow.column_names,
        mask=flat.is_null(),
    )  # fmt: skip
    lists = pa.LargeListArray.from_arrays(offsets, struct, mask=array.is_null())
    return pl.Series(items.name, pl.from_arrow(lists)).cast(DTYPES["items"])
