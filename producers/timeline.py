"""The rows of an archive in the order of their times, across topics, days and files.

The rule of this file: one day of a topic is in memory at a time, and of a day with more than `rows_max` rows only about
`rows_max` of them: such a day is sorted in runs on disk, which are merged slice by slice.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.ipc

from features.schema import DAY_MS, SOURCE_TOPICS
from producers.archive import DAY_COLUMN, count_rows, day_start_ms, days, read_day, read_day_parts
from producers.messages import Messages, encode, join

ROWS_MAX: Final = 2_000_000
"""Rows of one topic held at once: about 0.5 GB of events."""
CHUNK_ROWS: Final = 20_000
"""Rows encoded at once."""
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
    """Rows of one topic, ascending by time."""

    topic: str
    frame: pl.DataFrame
    times: Int64
    """Epoch ms; a row without a time, or in a foreign day's folder, stands at its folder's nearer border."""

    def __len__(self) -> int:
        return len(self.times)

    def part(self, start: int, stop: int) -> Sorted:
        """Rows start:stop, without copying."""
        return Sorted(self.topic, self.frame.slice(start, stop - start), self.times[start:stop])


def count(span: Span) -> dict[str, int]:
    """Rows of the span by topic; whole days are counted from the files' footers."""
    return {topic: sum(_count_day(span, topic, day) for day in span.days(topic)) for topic in span.topics}


def _count_day(span: Span, topic: str, day: date) -> int:
    if span.whole(day):
        return count_rows(span.directory, topic, day)
    parts = read_day_parts(span.directory, topic, day, ROWS_MAX, [DAY_COLUMN[topic]])
    return sum(len(_sorted(span, topic, day, part)) for part in parts)


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
                ready.append(encode(head.topic, *_columns(head.part(0, stop))))
            if stop < len(head):
                heads[index] = head.part(stop, len(head))
            else:
                _advance(heads, index, streams[index])
        messages = join(ready)
        yield messages if len(ready) == 1 else messages.reordered(np.argsort(messages.times, kind="stable"))


def _columns(piece: Sorted) -> tuple[pl.DataFrame, Int64]:
    return piece.frame, piece.times


def _advance(heads: dict[int, Sorted], index: int, stream: Iterator[Sorted]) -> None:
    heads.pop(index, None)
    for piece in stream:
        if len(piece):
            heads[index] = piece
            return


def sorted_pieces(span: Span, topic: str, rows_max: int = ROWS_MAX) -> Iterator[Sorted]:
    """The rows of one topic, ascending over all pieces.

    A piece holds a day, or about `rows_max` rows of a bigger one.
    """
    for day in span.days(topic):
        if count_rows(span.directory, topic, day) <= rows_max:
            yield _sorted(span, topic, day, read_day(span.directory, topic, day))
        else:
            yield from _merged_runs(span, topic, day, rows_max)


def _sorted(span: Span, topic: str, day: date, table: pa.Table) -> Sorted:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    first = day_start_ms(day)
    time = pl.col(DAY_COLUMN[topic]).to_physical().fill_null(first).clip(first, first + DAY_MS - 1)
    frame = frame.with_columns(_time=time)
    if not span.whole(day):
        low, high = max(first, span.start_ms or first), min(first + DAY_MS, span.end_ms or first + DAY_MS)
        frame = frame.filter((pl.col("_time") >= low) & (pl.col("_time") < high))
    frame = frame.sort("_time", maintain_order=True)
    return Sorted(topic, frame.drop("_time"), frame["_time"].to_numpy())


def _merged_runs(span: Span, topic: str, day: date, rows_max: int) -> Iterator[Sorted]:
    with tempfile.TemporaryDirectory(prefix="shopstream-replay-") as folder:
        runs = []
        for number, part in enumerate(read_day_parts(span.directory, topic, day, rows_max)):
            run = _sorted(span, topic, day, part)
            if len(run):
                file = Path(folder) / f"{number}.arrow"
                run.frame.write_ipc(file, compression="uncompressed")
                runs.append(Sorted(topic, _mapped(file), run.times))
        yield from _slices(topic, runs, rows_max)


def _mapped(file: Path) -> pl.DataFrame:
    """The frame of an Arrow file, whose pages the system reads when they are used and drops when memory is short."""
    with pa.memory_map(str(file)) as source:
        frame = pl.from_arrow(pa.ipc.open_file(source).read_all())
    assert isinstance(frame, pl.DataFrame)
    return frame


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
        yield Sorted(topic, pl.concat([part.frame for part in parts])[order], times[order])


def profiles(table: pa.Table, chunk_rows: int = CHUNK_ROWS) -> Iterator[Messages]:
    """The messages of the archive's customers; they have no time, so all stand at 0."""
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    for part in frame.iter_slices(chunk_rows):
        yield encode(SOURCE_TOPICS[2], part, np.zeros(len(part), np.int64))
