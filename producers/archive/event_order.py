"""The rows of an archive in the order of their times, across topics, days and files.

The rule of this file: one day of a topic is in memory at a time, and of a day with more than `rows_max` rows only about
`rows_max` of them: such a day is sorted in runs on disk, which are merged slice by slice.
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
"""Rows of one topic held at once: about 0.25 GB of events."""
CHUNK_ROWS: Final = 50_000
"""Messages made at a time: much fewer, and the thread that makes them waits for the interpreter's lock too often."""
TOGETHER_ROWS: Final = 100_000
"""Small days are treated together up to this many rows, since every step has a fixed cost."""
_SAMPLE: Final = 1_000

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Span:
    """A part of an archive: the topics wanted, and the records whose time is in [start_ms, end_ms)."""

    directory: Path
    topics: tuple[str, ...] = tuple(DAY_COLUMN)
    start_ms: int | None = None
    end_ms: int | None = None

    def days(self, topic: str) -> list[date]:
        """The days of a topic that the span touches, ascending."""
        low = -np.inf if self.start_ms is None else self.start_ms
        high = np.inf if self.end_ms is None else self.end_ms
        return [
            day for day in days(self.directory, topic) if day_start_ms(day) < high and day_start_ms(day) + DAY_MS > low
        ]

    def whole(self, day: date) -> bool:
        """Whether every row of a day belongs to the span."""
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
    """Epoch ms; a row without a time, or in a foreign day's folder, stands at its folder's nearer border."""

    def __len__(self) -> int:
        return len(self.times)

    def part(self, start: int, stop: int) -> Sorted:
        """Rows start:stop, without copying."""
        length = stop - start
        return Sorted(
            self.topic, self.keys.slice(start, length), self.values.slice(start, length), self.times[start:stop]
        )


def count(span: Span) -> dict[str, int]:
    """Rows of the span by topic; whole days are counted from the files' footers."""
    return {topic: sum(_count_day(span, topic, day) for day in span.days(topic)) for topic in span.topics}


def _count_day(span: Span, topic: str, day: date) -> int:
    if span.whole(day):
        return count_rows(span.directory, topic, day)
    parts = read_day_parts(span.directory, topic, day, ROWS_MAX, [DAY_COLUMN[topic]])
    low, high = span.start_ms or 0, span.end_ms or np.iinfo(np.int64).max
    times = [_times(_frame(part)[DAY_COLUMN[topic]], {day: part.num_rows}) for part in parts]
    return sum(int(((part >= low) & (part < high)).sum()) for part in times)


def in_time_order(span: Span, rows_max: int = ROWS_MAX, chunk_rows: int = CHUNK_ROWS) -> Iterator[Messages]:
    """The messages of a span, ascending by time across its topics; rows of equal time keep the order of the files.

    Args:
        span: what to read.
        rows_max: rows of one topic held in memory at once.
        chunk_rows: about how many messages are given at a time.

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
        # Up to the lowest of the pieces' ends nothing earlier can come; at least the piece that ends there is used up.
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
    """Messages ascending by time; the parts of topics are put in order as columns, which costs less than as lists."""
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


def sorted_pieces(span: Span, topic: str, rows_max: int = ROWS_MAX) -> Iterator[Sorted]:
    """The rows of one topic, ascending over all pieces.

    A piece holds small days together, one day, or about `rows_max` rows of a bigger one.
    """
    together = min(TOGETHER_ROWS, rows_max)
    waiting: dict[date, int] = {}
    for day in span.days(topic):
        rows = count_rows(span.directory, topic, day)
        if waiting and sum(waiting.values()) + rows > together:
            yield _read(span, topic, waiting)
            waiting = {}
        if rows > rows_max:
            yield from _merged_runs(span, topic, day, rows_max)
        else:
            waiting[day] = rows
    if waiting:
        yield _read(span, topic, waiting)


def _read(span: Span, topic: str, rows: Mapping[date, int]) -> Sorted:
    frame = _read_at_once(span, topic, rows)
    if frame is None:
        frame = _frame(pa.concat_tables([read_day(span.directory, topic, day) for day in rows]))
    return _sorted(span, topic, frame, rows)


def _read_at_once(span: Span, topic: str, rows: Mapping[date, int]) -> pl.DataFrame | None:
    """All files of some days, three times as fast as day by day; None where a file has not the archive's own types."""
    wanted = _frame(reading_schema(topic).empty_table()).schema
    files = [file for day in rows for file in day_files(span.directory, topic, day)]
    try:
        frame = pl.read_parquet(files, hive_partitioning=False, columns=wanted.names())
    except (pl.exceptions.PolarsError, OSError):
        return None
    return frame if frame.schema == wanted else None


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _sorted(span: Span, topic: str, frame: pl.DataFrame, rows: Mapping[date, int]) -> Sorted:
    """Rows of some days, which follow each other in the frame, as messages."""
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
    """Epoch ms of each row, brought into the day of its folder."""
    first = np.repeat([day_start_ms(day) for day in rows], list(rows.values()))
    known = column.is_not_null().to_numpy()
    return np.clip(np.where(known, column.to_physical().fill_null(0).to_numpy(), first), first, first + DAY_MS - 1)


def _merged_runs(span: Span, topic: str, day: date, rows_max: int) -> Iterator[Sorted]:
    with tempfile.TemporaryDirectory(prefix="shopstream-replay-") as folder:
        runs = []
        for number, part in enumerate(read_day_parts(span.directory, topic, day, rows_max)):
            run = _sorted(span, topic, _frame(part), {day: part.num_rows})
            if len(run):
                runs.append(_spilt(run, Path(folder) / f"{number}.arrow"))
        yield from _slices(topic, runs, rows_max)


def _spilt(run: Sorted, file: Path) -> Sorted:
    """The run in a file, whose pages the system reads when they are used and drops when memory is short."""
    pl.DataFrame({"keys": run.keys, "values": run.values}).write_ipc(file, compression="uncompressed")
    with pa.memory_map(str(file)) as source:
        frame = _frame(pa.ipc.open_file(source).read_all())
    return Sorted(run.topic, frame["keys"], frame["values"], run.times)


def _slices(topic: str, runs: Sequence[Sorted], rows_max: int) -> Iterator[Sorted]:
    """Pieces of about `rows_max` rows, more only where one millisecond has more."""
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
    """The messages of the archive's customers; they have no time, so all stand at 0."""
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    for part in frame.iter_slices(chunk_rows):
        yield encode(SOURCE_TOPICS[2], part, np.zeros(len(part), np.int64))
