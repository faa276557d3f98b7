"""Converts the columns of an archive's files to the contract's types, whatever types a foreign writer chose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.errors import ShopstreamError
from features.schema import ITEM_ARROW, RECORD_TYPES, arrow_schema

_SCHEMAS: Final = {topic: arrow_schema(record) for topic, record in RECORD_TYPES.items()}
_INVALID_QUANTITY: Final = 0


def reading_schema(topic: str) -> pa.Schema:
    """Return the schema of `read_day` and `read_customers`: the columns of the topic's record, all nullable."""
    return pa.schema([field.with_nullable(True) for field in _SCHEMAS[topic]])


def read_columns(
    source: pq.ParquetFile, location: str, topic: str, schema: pa.Schema, groups: Sequence[int] | None = None
) -> pa.Table:
    """Return the rows of an open file.

    Args:
        source: file of one topic of an archive, on any file system.
        location: name of the file for errors.
        topic: `events`, `orders` or `customers`.
        schema: requested columns, of `reading_schema(topic)`.
        groups: requested row groups, all by default.

    Returns:
        A table of `schema`. Optional columns that the file lacks are null.

    Raises:
        ShopstreamError: a required column is missing or of a foreign type.
        OSError, pa.ArrowException: the file cannot be read.
    """
    required = {f.name for f in _SCHEMAS[topic] if not f.nullable}
    present = set(source.schema_arrow.names)
    names = [name for name in schema.names if name in present]
    table = source.read(names) if groups is None else source.read_row_groups(groups, names)
    arrays = []
    for field in schema:
        if field.name in present:
            arrays.append(_conform(table[field.name].combine_chunks(), field.type, f"{location}: column {field.name}"))
        elif field.name in required:
            raise ShopstreamError(
                f"{location} has no column {field.name}.",
                f"Every row of {topic} needs it; `shopstream import` creates one.",
            )
        else:
            arrays.append(pa.nulls(table.num_rows, field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _conform(array: pa.Array, expected: pa.DataType, location: str) -> pa.Array:
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.nulls(0, array.type)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    actual = array.type
    if actual == expected:
        return array
    if pa.types.is_null(actual):
        return pa.nulls(len(array), expected)
    try:
        if pa.types.is_list(expected) and (pa.types.is_list(actual) or pa.types.is_large_list(actual)):
            return _conform_items(array, location)
        if pa.types.is_timestamp(expected) and (pa.types.is_timestamp(actual) or pa.types.is_integer(actual)):
            return array.cast(expected, safe=False)
        if pa.types.is_int64(expected) and pa.types.is_floating(actual):
            return _whole_numbers(array, location)
        numeric = pa.types.is_integer(actual) or pa.types.is_floating(actual) or pa.types.is_decimal(actual)
        text = pa.types.is_large_string(actual) or pa.types.is_string_view(actual)
        if (numeric and (pa.types.is_float64(expected) or pa.types.is_int64(expected))) or (
            text and pa.types.is_string(expected)
        ):
            # Arrow's own cast of a decimal multiplies by a rounded power of ten: 1.015 becomes 1.0150000000000001
            exact = array.cast(pa.string()) if pa.types.is_decimal(actual) and pa.types.is_float64(expected) else array
            return exact.cast(expected)
    except pa.ArrowException as error:
        raise ShopstreamError(
            f"{location} cannot be converted to {expected}: {error}", "Convert the column."
        ) from error
    raise ShopstreamError(
        f"{location} is {actual}, expected {expected}.", "Convert the column, or use `shopstream import`."
    )


def _conform_items(array: pa.Array, location: str) -> pa.Array:
    lines = array.flatten()
    if pa.types.is_null(lines.type):
        lines = pa.nulls(len(lines), ITEM_ARROW)
    names = {field.name for field in lines.type}
    fields = [
        _conform(lines.field(field.name), field.type, f"{location}.{field.name}")
        if field.name in names
        else pa.nulls(len(lines), field.type)
        for field in ITEM_ARROW
    ]
    lengths = pc.fill_null(pc.list_value_length(array), 0).cast(pa.int32())
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths).cast(pa.int32())])
    items = pa.StructArray.from_arrays(fields, fields=list(ITEM_ARROW), mask=lines.is_null())
    return pa.ListArray.from_arrays(offsets, items, mask=array.is_null())


def _whole_numbers(array: pa.Array, location: str) -> pa.Array:
    """Convert floats to int64: NaN becomes null; in a quantity, a fraction becomes an invalid number."""
    array = pc.if_else(pc.fill_null(pc.is_nan(array), False), pa.scalar(None, array.type), array)
    if location.endswith("quantity"):
        whole = pc.and_(pc.equal(pc.floor(array), array), pc.less(pc.abs(array), 2.0**53))
        array = pc.if_else(pc.fill_null(whole, True), array, pa.scalar(_INVALID_QUANTITY, array.type))
    return array.cast(pa.int64())
