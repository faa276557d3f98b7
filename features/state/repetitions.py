"""Finds events of an archive that come after another event of the same id, in batches of any order.

No strings are copied or compared: two bits for each event, spread over its hash, leave few suspects, and 128 bits of
their hashes decide.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from features.records.columns import EventColumns, Int64, joined, taken, where
from features.state.hash_index import mark_ids, marked_twice
from features.state.tables import string_buffers

Hashes = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

BITS_PER_EVENT: Final = 16


def earliest_first(batches: Sequence[EventColumns]) -> tuple[Sequence[EventColumns], EventColumns | None]:
    """Separate the events that come later than another event of their id.

    Args:
        batches: events of a time range, in any order.

    Returns:
        The other events, as batches, and the separated ones by ascending ts; None: there are none. Applied in this
        order, the earliest event of each id is first.
    """
    if _is_ascending([batch.ts for batch in batches]):
        return batches, None
    later = _later([batch for batch in batches if len(batch)])
    if not any(mask.any() for mask in later):
        return batches, None
    filled = [batch for batch in batches if len(batch)]
    again = joined([where(batch, mask) for batch, mask in zip(filled, later, strict=True) if mask.any()])
    first = [where(batch, ~mask) for batch, mask in zip(filled, later, strict=True)]
    return first, taken(again, np.argsort(again.ts, kind="stable"))


def _is_ascending(times: Sequence[Int64]) -> bool:
    filled = [ts for ts in times if len(ts)]
    if any(before[-1] > after[0] for before, after in itertools.pairwise(filled)):
        return False
    return all(bool((ts[1:] >= ts[:-1]).all()) for ts in filled)


def _later(batches: Sequence[EventColumns]) -> list[Mask]:
    """Return for each batch which of its events come later than another event of their id."""
    sizes = [len(batch) for batch in batches]
    low, high = np.empty(sum(sizes), np.uint64), np.empty(sum(sizes), np.uint64)
    words = np.zeros((2, 1 << max(0, (sum(sizes) * BITS_PER_EVENT - 1).bit_length() - 6)), np.uint64)
    starts = [0, *itertools.accumulate(sizes)]
    for batch, (start, end) in zip(batches, itertools.pairwise(starts), strict=True):
        mark_ids(*string_buffers(batch.event_id), words, low[start:end], high[start:end])
    suspects = np.flatnonzero(marked_twice(words, low))
    ts = np.concatenate([batch.ts for batch in batches])[suspects]
    order = np.lexsort((ts, high[suspects], low[suspects]))
    rows, times = suspects[order], ts[order]
    begins = np.ones(len(rows), np.bool_)
    begins[1:] = (low[rows[1:]] != low[rows[:-1]]) | (high[rows[1:]] != high[rows[:-1]])
    earliest = times[begins][np.cumsum(begins) - 1]
    later = np.zeros(sum(sizes), np.bool_)
    later[rows[times > earliest]] = True
    return [later[start:end] for start, end in itertools.pairwise(starts)]
