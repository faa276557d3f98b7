"""Which records of a stream come too late: judged record by record, so that no batch border changes a verdict."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from features.records.columns import Int64

NO_HIGH: Final = 0
"""The `high` of a partition that has had no valid record: valid times start at 1, so nothing is late against it."""


def split_late(
    ts: Int64, high: int, allowance_ms: int, *, clock: Int64 | None = None
) -> tuple[npt.NDArray[np.bool_], int]:
    """Finds the records that are too late: ts < H - allowance, H being the highest time of the earlier records.

    Every record given must be valid and of one topic and partition, in the order of its offsets. A late record never
    raises H (its clock is at most ts + ORDER_CHANGE_MS_MAX, less than the allowance), so it may stay in the batch.

    Args:
        ts: the times that are judged, epoch ms: `ts` of events and of orders.
        high: the highest clock of all earlier batches, or NO_HIGH.
        allowance_ms: EVENT_LATENESS_MS or ORDER_LATENESS_MS.
        clock: the times H is made of, where they are not `ts`: `updated_ts` of orders.

    Returns:
        A bool array, True where the record is too late, and the `high` for the next batch.
    """
    clock = ts if clock is None else clock
    if len(ts) == 0:
        return np.zeros(0, np.bool_), high
    highest = np.maximum(np.maximum.accumulate(clock), high)
    before = np.empty_like(highest)
    before[0] = high
    before[1:] = highest[:-1]
    return ts < before - allowance_ms, int(highest[-1])
