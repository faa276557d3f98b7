"""Reads the rows of an archive in the order of their times, across topics, days and files.

Invariant: one day of a topic is in memory at a time, and only about `rows_max` rows of a larger day. Such a day is
sorted in runs on disk, which are merged slice by slice.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.ipc

from features.schema import DAY_COLUMN, DAY_MS, SOURCE_TOPICS
from producers.archive.archive import count_rows, day_files, day_start_ms, days, read_day, read_day_parts
from producers.archive.columns import reading_schema
from producers.messages import Messages, encode, to_json

ROWS_MAX: Final = 500_000
"""Rows of one topic in memory at a time: about 0.25 GB of events."""
CHUNK_ROWS: Final = 50_000
"""Messages built at a time: with much fewer, the building thread waits too often for the interpreter's lock."""
TOGETHER_ROWS: Final = 100_000
"""Small days are combined up to this many rows, because every step has a fixed cost."""
_SAMPLE: Final = 1_000

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ArchiveRange:
    """Part of an archive: the requested topics, and the records whose time is in [start_ms, end_ms)."""

    directory: Path
    topics: tuple[str, ...] = tuple(DAY_COLUMN)
    start_ms: int | None = None
    end_ms: int | None = None

    def days(self, topic: str) -> list[date]:
        """Return the days of a topic that the span touches, ascending."""
        low = -np.inf if self.start_ms is None else self.start_ms
        high = np.inf if self.end_ms is None else self.end_ms
        return [
            day for day in days(self.directory, topic) if day_start_ms(day) < high and day_start_ms(day) + DAY_MS > low
        ]

    def whole(self, day: date) -> bool:
        """Return whether every row of a day is in the span."""
        first = day_start_ms(day)
        return (self.start_ms is None or self.start_ms <= first) and (
            self.end_ms is None or self.end_ms >= first + DAY_MS
        )


@dataclass(frozen=True, slots=True)
class Sorted:
    """Messages of one topic as columns, ascending by time."""

    topic: str
    keys: pl.Series
    """Binary, with nulls."""
    values: pl.Series
    """JSON, Binary."""
    times: Int64
    """Epoch ms. A row without a time gets the start of its folder's day. A time outside that day is clipped to it."""

    def __len__(self) -> int:
        return len(self.times)

    def part(self, start: int, stop: int) -> Sorted:
        """Return the rows start:stop without copying."""
        length = stop - start
        return Sorted(
            self.topic, self.keys.slice(start, length), self.values.slice(start, length), self.times[start:stop]
        )


def count(span: ArchiveRange) -> dict[str, int]:
    """Count the rows of the span by topic. Whole days are counted from the file footers."""
    return {topic: sum(_count_day(span, topic, day) for day in span.days(topic)) for topic in span.topics}


def _count_day(span: ArchiveRange, topic: str, day: date) -> int:
    if span.whole(day):
        return count_rows(span.directory, topic, day)
    parts = read_day_parts(span.directory, topic, day, ROWS_MAX, [DAY_COLUMN[topic]])
    low, high = span.start_ms or 0, span.end_ms or np.iinfo(np.int64).max
    times = [_times(_frame(part)[DAY_COLUMN[topic]], {day: part.num_rows}) for part in parts]
    return sum(int(((part >= low) & (part < high)).sum()) for part in times)


def in_time_order(span: ArchiveRange, rows_max: int = ROWS_MAX, chunk_rows: int = CHUNK_ROWS) -> Iterator[Messages]:
    """Yield the messages of a span, ascending by time across topics. Rows of equal time keep the order of the files.

    Args:
        span: part of the archive to read.
        rows_max: rows of one topic in memory at a time.
        chunk_rows: approximate number of messages per chunk.

    Raises:
        ShopstreamError: the archive is missing or unreadable.
    """
    streams = [
        (piece.part(start, start + chunk_rows) for piece in sorted_pieces(span, topic, rows_max)
         for start in range(0, len(piece), chunk_rows))
        for topic in span.topics
    ]  # fmt: skip
    return merge(streams)


def merge(streams: Sequence[Iterator[Sorted]]) -> Iterator[Messages]:
    """Merge streams of pieces, each ascending over all of its pieces, into messages ascending by time."""
    heads: dict[int, Sorted] = {}
    for index, stream in enumerate(streams):
        _advance(heads, index, stream)
    while heads:
        # no earlier message can follow up to the lowest end of the pieces; at least the piece with that end is used up
        horizon = min(int(head.times[-1]) for head in heads.values())
        ready = []
        for index in sorted(heads):
            head = heads[index]
            stop = int(np.searchsorted(head.times, horizon, side="right"))
            if stop:
                ready.append(head.part(0, stop))
            if stop < len(head):
                heads[index] = head.part(stop, len(head))
            else:
                _advance(heads, index, streams[index])
        yield _interleaved(ready)


def _interleaved(parts: Sequence[Sorted]) -> Messages:
    """Merge parts into messages ascending by time. Sorting columns costs less than sorting lists."""
    keys, values = pl.concat([part.keys for part in parts]), pl.concat([part.values for part in parts])
    times = np.concatenate([part.times for part in parts])
    topics = np.repeat([SOURCE_TOPICS.index(part.topic) for part in parts], [len(part) for part in parts])
    order = np.argsort(times, kind="stable")
    if len(parts) > 1:
        keys, values = keys[order], values[order]
    return Messages(times[order], topics[order].astype(np.uint8), keys.to_list(), values.to_list())


def _advance(heads: dict[int, Sorted], index: int, stream: Iterator[Sorted]) -> None:
    heads.pop(index, None)
    for piece in stream:
        if len(piece):
            heads[index] = piece
            return


def sorted_pieces(span: ArchiveRange, topic: str, rows_max: int = ROWS_MAX) -> Iterator[Sorted]:
    """Yield the rows of one topic, ascending over all pieces.

    A piece holds several small days, one day, or about `rows_max` rows of a larger one.
    """
    together = min(TOGETHER_ROWS, rows_max)
    pending: dict[date, int] = {}
    for day in span.days(topic):
        rows = count_rows(span.directory, topic, day)
        if pending and sum(pending.values()) + rows > together:
            yield _read(span, topic, pending)
            pending = {}
        if rows > rows_max:
            yield from _merged_runs(span, topic, day, rows_max)
        else:
            pending[day] = rows
    if pending:
        yield _read(span, topic, pending)


def _read(span: ArchiveRange, topic: str, rows: Mapping[date, int]) -> Sorted:
    frame = _read_together(span, topic, rows)
    if frame is None:
        frame = _frame(pa.concat_tables([read_day(span.directory, topic, day) for day in rows]))
    return _sorted(span, topic, frame, rows)


def _read_together(span: ArchiveRange, topic: str, rows: Mapping[date, int]) -> pl.DataFrame | None:
    """Read all files of some days, three times as fast as by day; None if a file's types are not the archive's own."""
    schema = _frame(reading_schema(topic).empty_table()).schema
    files = [file for day in rows for file in day_files(span.directory, topic, day)]
    try:
        frame = pl.read_parquet(files, hive_partitioning=False, columns=schema.names())
    except (pl.exceptions.PolarsError, OSError):
        return None
    return frame if frame.schema == schema else None


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _sorted(span: ArchiveRange, topic: str, frame: pl.DataFrame, rows: Mapping[date, int]) -> Sorted:
    """Convert the rows of some days, which are consecutive in the frame, to messages."""
    times = _times(frame[DAY_COLUMN[topic]], rows)
    if not all(span.whole(day) for day in rows):
        inside = (times >= (span.start_ms or 0)) & (times < (span.end_ms or np.iinfo(np.int64).max))
        frame, times = frame.filter(inside), times[inside]
    keys, values = frame["customer_id"].cast(pl.Binary), to_json(topic, frame).cast(pl.Binary)
    if np.all(times[1:] >= times[:-1]):
        return Sorted(topic, keys, values, times)
    order = np.argsort(times, kind="stable")
    return Sorted(topic, keys[order], values[order], times[order])


def _times(column: pl.Series, rows: Mapping[date, int]) -> Int64:
    """Return the epoch ms of each row, clipped to the day of its folder."""
    first = np.repeat([day_start_ms(day) for day in rows], list(rows.values()))
    known = column.is_not_null().to_numpy()
    return np.clip(np.where(known, column.to_physical().fill_null(0).to_numpy(), first), first, first + DAY_MS - 1)


def _merged_runs(span: ArchiveRange, topic: str, day: date, rows_max: int) -> Iterator[Sorted]:
    with tempfile.TemporaryDirectory(prefix="shopstream-replay-") as folder:
        runs = []
        for number, part in enumerate(read_day_parts(span.directory, topic, day, rows_max)):
            run = _sorted(span, topic, _frame(part), {day: part.num_rows})
            if len(run):
                runs.append(_spilt(run, Path(folder) / f"{number}.arrow"))
        yield from _slices(topic, runs, rows_max)


def _spilt(run: Sorted, file: Path) -> Sorted:
    """Move a run to a memory-mapped file, whose pages the system loads on use and drops when memory is short."""
    pl.DataFrame({"keys": run.keys, "values": run.values}).write_ipc(file, compression="uncompressed")
    with pa.memory_map(str(file)) as source:
        frame = _frame(pa.ipc.open_file(source).read_all())
    return Sorted(run.topic, frame["keys"], frame["values"], run.times)


def _slices(topic: str, runs: Sequence[Sorted], rows_max: int) -> Iterator[Sorted]:
    """Yield pieces of about `rows_max` rows; larger only if one millisecond has more."""
    sample = np.sort(np.concatenate([run.times[::_SAMPLE] for run in runs])) if runs else np.empty(0, np.int64)
    borders = sample[:: max(1, rows_max // _SAMPLE)][1:]
    starts = [0] * len(runs)
    for border in [*np.unique(borders).tolist(), None]:
        stops = [len(run) if border is None else int(np.searchsorted(run.times, border, side="left")) for run in runs]
        parts = [run.part(start, stop) for run, start, stop in zip(runs, starts, stops, strict=True)]
        starts = stops
        times = np.concatenate([part.times for part in parts])
        order = np.argsort(times, kind="stable")
        keys, values = pl.concat([part.keys for part in parts]), pl.concat([part.values for part in parts])
        yield Sorted(topic, keys[order], values[order], times[order])


def profiles(table: pa.Table, chunk_rows: int = CHUNK_ROWS) -> Iterator[Messages]:
    """Yield the messages of the archive's customers, all at time 0 because they have no time."""
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    for part in frame.iter_slices(chunk_rows):
        yield encode(SOURCE_TOPICS[2], part, np.zeros(len(part), np.int64))
