"""Finds the records of a stream that are too late, one by one, so that batch boundaries never change a verdict."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from features.records.columns import Int64

NO_HIGH: Final = 0
"""`high` of a partition without a valid record: valid times start at 1, so nothing is late against it."""


def split_late(
    ts: Int64, high: int, allowance_ms: int, *, clock: Int64 | None = None
) -> tuple[npt.NDArray[np.bool_], int]:
    """Find the records that are too late: ts < H - allowance, where H is the highest time of the earlier records.

    All records must be valid, of one topic and partition, and in the order of their offsets. A late record never raises
    H (its clock is at most ts + ORDER_CHANGE_MS_MAX, less than the allowance), so it may stay in the batch.

    Args:
        ts: times that are compared, epoch ms: `ts` of events and of orders.
        high: highest clock of all earlier batches, or NO_HIGH.
        allowance_ms: EVENT_LATENESS_MS or ORDER_LATENESS_MS.
        clock: times that define H, if not `ts`: `updated_ts` of orders.

    Returns:
        A bool array, True for records that are too late, and the `high` for the next batch.
    """
    clock = ts if clock is None else clock
    if len(ts) == 0:
        return np.zeros(0, np.bool_), high
    highest = np.maximum(np.maximum.accumulate(clock), high)
    before = np.empty_like(highest)
    before[0] = high
    before[1:] = highest[:-1]
    return ts < before - allowance_ms, int(highest[-1])
