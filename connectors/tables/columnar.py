"""Reads Parquet files. Types become text without loss; dates and times keep their type."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, cast

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from connectors.tables.batches import LINE, POSITION, UNNAMED, Batch, Refusal, is_name_pattern, shown, without_faults
from connectors.tables.delimited import column_positions, without_missing
from connectors.tables.file_format import FileFormat
from connectors.tables.json_path import Path, write_path
from connectors.tables.log_files import LogFile
from connectors.tables.records import (
    LOST_DIGITS,
    WHOLE_FLOATS_MAX,
    Unreadable,
    UnreadableValueError,
    decimal_text,
    read_path,
    records_batch,
    text_at,
    text_of,
)
from features.errors import ShopstreamError
from features.schema import DAY_MS

WHOLE_FLOAT32_MAX: Final = 2**24
"""Floats of 32 bits from here on do not hold every integer."""
WHOLE_FLOAT16_MAX: Final = 2**11
"""Floats of 16 bits from here on do not hold every integer."""


def parquet_header(log: LogFile) -> list[str]:
    """Return the columns of a Parquet file; for a struct the paths of its values. Raises ShopstreamError."""
    with _opened(log) as file:
        return [name for one in file.schema_arrow for name in _leaf_names(one)]


def parquet_types(log: LogFile) -> dict[str, str]:
    """Return column -> Arrow type of a Parquet file, for a struct of its values: the columns that `read_parquet` reads.

    Raises:
        ShopstreamError: the file is damaged.
    """
    with _opened(log) as file:
        return {name: str(kind) for name, kind in _all_types(file.schema_arrow)}


def read_parquet(
    log: LogFile, how: FileFormat, columns: Sequence[str] | None, each: str | None, rows_max: int
) -> Iterator[Batch]:
    """Yield the rows of a Parquet file. A row's line is its number in the file, from 1.

    Args:
        log: file to read.
        how: format of the file.
        columns: names of columns, or paths of values within them. None: all columns.
        each: path of a list that gives a row per element, with the columns that begin with a point.
        rows_max: rows of a batch, before lists are expanded.

    Raises:
        UsageError: a column is missing or named twice.
        ShopstreamError: the file is damaged.
    """
    with _opened(log) as file:
        names = file.schema_arrow.names
        if columns is None:
            columns = _all_columns(file.schema_arrow)
        columns = list(dict.fromkeys(columns))
        inner = [name for name in columns if each is not None and name.startswith(".") and name not in names]
        sources = [_source(log, file.schema_arrow, name) for name in columns if name not in inner]
        list_source = None if each is None else _source(log, file.schema_arrow, each)
        line = 1
        positions = {one.position for one in [*sources, *([list_source] if list_source else [])]}
        tops = [names[position] for position in sorted(positions)]  # in the order of the file
        unique = len(set(names)) == len(names)
        for part in file.iter_batches(rows_max, columns=tops if unique else None):
            table = pa.Table.from_batches([part])
            batch = _rows(table, sources, line, file.schema_arrow, how.decimal)
            if list_source is not None:
                _expand(batch, table, list_source, inner, line, file.schema_arrow)
            batch.rows = without_missing(batch.rows, how).select(
                LINE, *columns, *([] if list_source is None else [POSITION])
            )
            yield batch
            line += part.num_rows


@dataclass(frozen=True, slots=True)
class _Source:
    """Column of a batch: the name it gets, its column in the file, and the path within a record of that column."""

    name: str
    position: int
    path: Path | None


@dataclass(slots=True)
class _Faults:
    """Values of one column that are not read."""

    rows: list[int] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def add(self, row: int, value: str, reason: str) -> None:
        self.rows.append(row)
        self.values.append(shown(value))
        self.reasons.append(reason)


@contextmanager
def _opened(log: LogFile) -> Iterator[pq.ParquetFile]:
    opened = log.open_seekable()
    try:
        yield pq.ParquetFile(opened, coerce_int96_timestamp_unit="us", page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError, pl.exceptions.PolarsError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ShopstreamError(
            f"{log.name} cannot be read as Parquet: {reason}.", "Copy or export the file again."
        ) from None
    finally:
        opened.close()


def _leaf_names(one: pa.Field) -> Iterator[str]:
    return (name for name, _ in _leaf_types(one))


def _leaf_types(one: pa.Field) -> Iterator[tuple[str, Any]]:
    if not pa.types.is_struct(one.type):
        yield one.name, one.type
        return
    pending: list[tuple[tuple[str, ...], Any]] = [((one.name,), one.type)]
    while pending:
        steps, kind = pending.pop(0)
        for at in range(kind.num_fields):
            inner = kind.field(at)
            path = (*steps, inner.name)
            if pa.types.is_struct(inner.type):
                pending.append((path, inner.type))
            else:
                yield write_path(path), inner.type


def _all_columns(schema: pa.Schema) -> list[str]:
    return [name for name, _ in _all_types(schema)]


def _all_types(schema: pa.Schema) -> Iterator[tuple[str, Any]]:
    """Yield name and type of each column, for a struct of each value. A column without a unique name has UNNAMED."""
    names = schema.names
    for position, name in enumerate(names):
        one = schema.field(position)
        if name and names.count(name) == 1 and not is_name_pattern(name):
            yield from ((leaf, kind) for leaf, kind in _leaf_types(one) if not is_name_pattern(leaf))
        else:
            yield UNNAMED.format(position + 1), one.type


def _source(log: LogFile, schema: pa.Schema, name: str) -> _Source:
    """Return the column of a name, or of the path that the name is."""
    names = schema.names
    if name not in names and not name.startswith("\0"):
        path = read_path(name, with_elements=False)
        if len(path.steps) > 1 and path.steps[0] in names:
            [(_, position)] = column_positions(log, names, [str(path.steps[0])])
            return _Source(name, position, path)
    [(_, position)] = column_positions(log, names, [name])
    return _Source(name, position, None)


def _column(table: pa.Table, source: _Source, schema: pa.Schema) -> pa.Array:
    """Return the column of a source. The columns of `table` are in any order, or are all if names are repeated."""
    at = table.schema.get_field_index(schema.names[source.position])
    column = table.column(source.position if at < 0 else at)
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _rows(table: pa.Table, sources: Sequence[_Source], line: int, schema: pa.Schema, decimal: str) -> Batch:
    """Return the columns of rows that begin at a line. Rows with an unreadable value are refused."""
    numbers = pl.int_range(line, line + table.num_rows, dtype=pl.Int64, eager=True).alias(LINE)
    columns, refusals = [numbers], dict[int, Refusal]()
    for source in sources:
        faults = _Faults()
        array = _column(table, source, schema)
        values = _text(array, faults) if source.path is None else _nested(array, source.path, faults)
        if decimal != "." and (pa.types.is_floating(array.type) or pa.types.is_decimal(array.type)):
            values = values.str.replace(".", decimal, literal=True)  # so that 1.234 is no 1234
        columns.append(values.alias(source.name))
        for row, value, reason in zip(faults.rows, faults.values, faults.reasons, strict=True):
            refusals.setdefault(line + row, Refusal(line + row, source.name, value, reason))
    return without_faults(pl.DataFrame(columns), refusals, [refusals[one] for one in sorted(refusals)])


def _expand(batch: Batch, table: pa.Table, source: _Source, inner: Sequence[str], line: int, schema: pa.Schema) -> None:
    """Give a batch a row for each element of a list, with the values within the element."""
    column = _column(table, source, schema)
    key = schema.names[source.position]
    steps = (key,) if source.path is None else source.path.steps
    records = [(line + row, {key: value}) for row, value in enumerate(_python(column))]
    elements = records_batch(records, inner, write_path(steps))
    refused = {one.line: one for one in (*elements.refused, *batch.refused)}
    batch.rows = elements.rows.join(batch.rows, on=LINE, how="inner", maintain_order="left")
    batch.refused = [refused[one] for one in sorted(refused)]
    batch.readings = None  # the values within the elements are missing


def _nested(array: pa.Array, path: Path, faults: _Faults) -> pl.Series:
    """Return the values at a path within a column. Structs are read by columns, all else value by value."""
    values = array
    for step in path.steps[1:]:
        if not pa.types.is_struct(values.type) or not isinstance(step, str):
            return _by_value(
                ({path.steps[0]: one} for one in _python(array)), lambda record: text_at(record, path.steps), faults
            )
        at = values.type.get_field_index(step)
        values = pa.nulls(len(values)) if at < 0 else pc.struct_field(values, [at])
    return _text(values, faults)


def _text(array: pa.Array, faults: _Faults) -> pl.Series:
    """Return text, or dates and times, of a column. Unreadable values are null and in `faults`."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType) and kind.extension_name != "arrow.uuid":
        return _text(array.storage, faults)
    if pa.types.is_dictionary(kind):
        return _text(array.dictionary_decode(), faults)
    read = next((read for is_kind, read in _READERS if is_kind(kind)), None)
    return _by_value(_python(array), text_of, faults) if read is None else read(array, faults)


def _times(array: pa.Array, _faults: _Faults) -> pl.Series:
    """Return instants in UTC, or local times without a zone."""
    return _series(array if array.type.tz is None else array.cast(pa.timestamp(array.type.unit, "UTC")))


def _dates(array: pa.Array, faults: _Faults) -> pl.Series:
    """Return dates. A count of milliseconds within a day is no date: nothing of it is cut."""
    if pa.types.is_date64(array.type):
        ms = _series(array.cast(pa.int64()))
        whole = (ms % DAY_MS == 0).fill_null(value=True)
        for row in (~whole).arg_true():
            faults.add(row, f"{ms[row]} ms", "a date of 64 bits with a time of the day")
        array = pc.if_else(whole.to_arrow(), array, None).cast(pa.date32())
    return _series(array)


def _times_of_day(array: pa.Array, _faults: _Faults) -> pl.Series:
    """Return times of the day as text with all their digits."""
    return _series(array).dt.to_string("%H:%M:%S%.f")


def _durations(array: pa.Array, faults: _Faults) -> pl.Series:
    return _by_value(array.cast(pa.int64()).to_pylist(), _duration_text(array.type), faults)


def _duration_text(kind: Any) -> Callable[[int | None], str | None]:
    def read(count: int | None) -> str | None:
        if count is None:
            return None
        raise UnreadableValueError("a duration is not a value", f"{count} {kind.unit}")

    return read


def _floats(values: pl.Series, faults: _Faults) -> pl.Series:
    largest = WHOLE_FLOAT32_MAX if values.dtype == pl.Float32 else WHOLE_FLOATS_MAX
    values = values.fill_nan(None)
    readable = values.abs() < largest
    for row in (~readable).fill_null(value=False).arg_true():
        infinite = values.is_infinite()[row]
        faults.add(row, str(values[row]), "the number is infinite" if infinite else LOST_DIGITS)
    values = pl.select(pl.when(readable).then(values)).to_series()
    text = values.cast(pl.String)
    exponents = text.str.contains("e", literal=True).fill_null(value=False).arg_true()
    if len(exponents):
        numbers = values.to_numpy()
        text = text.scatter(exponents, [np.format_float_positional(numbers[row], trim="-") for row in exponents])
    integers = values.cast(pl.Int64).cast(pl.String)
    return pl.select(pl.when(values == values.floor()).then(integers).otherwise(text)).to_series()


def _decimals(array: pa.Array, faults: _Faults) -> pl.Series:
    if pa.types.is_decimal256(array.type) or array.type.scale < 0:
        return _by_value(array.to_pylist(), lambda one: None if one is None else decimal_text(one), faults)
    text = _series(array).cast(pl.String)
    if array.type.scale == 0:
        return text
    short = text.str.strip_chars_end("0").str.strip_chars_end(".")
    return short.replace("-0", "0")


def _utf8(array: pa.Array, faults: _Faults) -> pl.Series:
    """Return text, or bytes that are UTF-8. Parquet files with other bytes in a text column exist."""
    plain = array.cast(pa.large_binary())
    try:
        text = plain.cast(pa.large_string())
    except pa.ArrowInvalid:
        return _by_value(plain.to_pylist(), text_of, faults)
    return _series(text)


def _by_value(values: Iterable[Any], read: Callable[[Any], str | None], faults: _Faults) -> pl.Series:
    texts: list[str | None] = []
    for row, value in enumerate(values):
        try:
            texts.append(read(value))
        except UnreadableValueError as error:
            texts.append(None)
            reason, shown_value = error.args
            faults.add(row, shown_value, reason)
    return pl.Series(values=texts, dtype=pl.String)


def _python(array: pa.Array) -> list[Any]:
    """Return Python values. A map is a dictionary; one with a key twice is a list of pairs, and so no value."""
    try:
        values = cast("list[Any]", array.to_pylist(maps_as_pydicts="strict"))
    except KeyError:
        values = [_pairs_if_repeated(one) for one in array]
    exact = _exact(array.type)
    return values if exact is None else [exact(one) for one in values]


def _exact(kind: Any) -> Callable[[Any], Any] | None:
    """Return what makes Python values of a type exact: those of short floats and of nanoseconds are not. None: all are.

    A float of 32 bits becomes the shortest decimal that is this float and no other of 32 bits.
    """
    if pa.types.is_float16(kind) or pa.types.is_float32(kind):
        half = pa.types.is_float16(kind)
        short, largest = (np.float16, WHOLE_FLOAT16_MAX) if half else (np.float32, WHOLE_FLOAT32_MAX)
        return lambda value: short_float(value, short, largest)
    if pa.types.is_time64(kind) and kind.unit == "ns":
        return lambda value: None if value is None else Unreadable("a time of nanoseconds within a list", str(value))
    if pa.types.is_struct(kind):
        inner = {one.name: exact for one in kind if (exact := _exact(one.type)) is not None}
        return _each_field(inner) if inner else None
    if pa.types.is_map(kind):
        exact = _exact(kind.item_type)
        return None if exact is None else _each_item(exact)
    is_list = any(one(kind) for one in _LISTS)
    exact = _exact(kind.value_type) if is_list else None
    return None if exact is None else lambda value: None if value is None else [exact(one) for one in value]


def _each_field(inner: Mapping[str, Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def read(value: dict[str, Any] | None) -> Any:
        return None if value is None else {name: inner.get(name, _same)(one) for name, one in value.items()}

    return read


def _each_item(exact: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        return {key: exact(one) for key, one in value.items()} if isinstance(value, dict) else value

    return read


def _same(value: Any) -> Any:
    return value


def short_float(value: float | None, kind: type[np.floating[Any]], largest: int) -> Any:
    """Return the shortest decimal that is this float of a kind and no other; Unreadable from `largest` on.

    None, NaN and infinite numbers are returned unchanged.
    """
    if value is None or not np.isfinite(value):
        return value
    if abs(value) >= largest:
        return Unreadable(LOST_DIGITS, str(value))
    return Decimal(np.format_float_positional(kind(value), trim="-"))


def _pairs_if_repeated(value: pa.Scalar) -> Any:
    try:
        return value.as_py(maps_as_pydicts="strict")
    except KeyError:
        return value.as_py()


def _series(array: pa.Array) -> pl.Series:
    return cast("pl.Series", pl.from_arrow(array))


_LISTS: Final = (
    pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view,
    pa.types.is_large_list_view,
)  # fmt: skip
_READERS: Final[tuple[tuple[Callable[[Any], bool], Callable[[Any, _Faults], pl.Series]], ...]] = (
    *((is_text, _utf8) for is_text in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)),
    *((is_bytes, _utf8) for is_bytes in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)),
    (pa.types.is_fixed_size_binary, _utf8),
    (
        lambda kind: pa.types.is_float32(kind) or pa.types.is_float64(kind),
        lambda array, faults: _floats(_series(array), faults),
    ),
    (pa.types.is_decimal, _decimals),
    (pa.types.is_timestamp, _times),
    (pa.types.is_date, _dates),
    (pa.types.is_time, _times_of_day),
    (pa.types.is_duration, _durations),
    (pa.types.is_integer, lambda array, _faults: _series(array).cast(pl.String)),
    (pa.types.is_boolean, lambda array, _faults: _series(array).cast(pl.String)),
    (pa.types.is_null, lambda array, _faults: pl.Series(values=[None] * len(array), dtype=pl.String)),
)
"""Test of a type -> how its columns are read. Types without an entry are read value by value."""
