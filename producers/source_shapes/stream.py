"""Orders the messages of shapes by the time at which their topics get them."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from producers.messages import Messages
from producers.source_shapes.shape import Moment, SourceShape

CHUNK_MESSAGES: Final = 10_000

Pending = tuple[int, int, int, bytes | None, bytes | None]
"""Arrival, number of the message, number of the shape, key and value."""


def raw_messages(
    moments: Iterable[Moment], shapes: Sequence[SourceShape], chunk_messages: int = CHUNK_MESSAGES
) -> Iterator[Messages]:
    """Yield the messages of all shapes, ascending by arrival. Messages of equal arrival stay in their order.

    Args:
        moments: records, ascending by time.
        shapes: shapes; `Messages.topics` are their positions.
        chunk_messages: messages of a chunk.
    """
    waiting: list[Pending] = []
    ready: list[Pending] = []
    count = 0
    for moment in moments:
        # all later messages arrive at the moment or after it
        while waiting and waiting[0][0] < moment.time_ms:
            ready.append(heapq.heappop(waiting))
        while len(ready) >= chunk_messages:
            yield _chunk(ready[:chunk_messages])
            del ready[:chunk_messages]
        for shape_number, shape in enumerate(shapes):
            for arrival_ms, key, value in shape.messages(moment):
                heapq.heappush(waiting, (arrival_ms, count, shape_number, key, value))
                count += 1
    ready += sorted(waiting)
    for start in range(0, len(ready), chunk_messages):
        yield _chunk(ready[start : start + chunk_messages])


def _chunk(messages: Sequence[Pending]) -> Messages:
    times, _, shapes, keys, values = zip(*messages, strict=True)
    return Messages(np.asarray(times, np.int64), np.asarray(shapes, np.uint8), keys, values)
