"""Builds the training set: feature rows at many cut-offs, labelled with the later behaviour of each customer.

The rule of this file: a row at a cut-off is evaluated from a state that has seen nothing later. Its label comes from
the same feature declarations at the end of the horizon. One pass over the archive yields both; there is no second way
to compute a feature or a label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from polars import col

from features.backfill import ArchiveCounts, ReadDay, rows_at
from features.errors import ShopstreamError, UsageError
from features.records.archive_rows import ArchiveRows, event_rows, order_rows
from features.schema import DAY_MS
from training.labels import OutcomeCollector, later_cutoffs, outcome_times
from training.options import Horizon

LABEL: Final = "churned"
"""1 if no order placed within the horizon is still valid at its end, else 0; int8."""


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Labelled rows of all cut-offs.

    Attributes:
        rows: `definitions.ROW_SCHEMA` and LABEL; customers with an order by the cut-off, ordered by as_of, customer_id.
        followed: rows of every customer, with or without an order, with the outcomes of `training.labels`, in the same
            order. Includes cut-offs after the last one of `rows`, because shorter windows end sooner.
        latest: unlabelled rows of every customer at `end_ms`, the rows to score now.
        horizon_days: horizon of the labels.
        end_ms: end of the known history, epoch ms.
        counts: numbers of records read.
    """

    rows: pl.DataFrame
    followed: pl.DataFrame
    latest: pl.DataFrame
    horizon_days: int
    end_ms: int
    counts: ArchiveCounts

    @property
    def cutoffs(self) -> list[int]:
        """Cut-offs, epoch ms, ascending."""
        return sorted(self.rows["as_of"].unique().to_list())

    @property
    def labels(self) -> npt.NDArray[np.int8]:
        """LABEL of the rows."""
        return self.rows[LABEL].to_numpy()


def plan_cutoffs(first_ms: int, end_ms: int, horizon: Horizon) -> list[int]:
    """Return the cut-offs of an archive, the latest one a horizon before its end.

    Args:
        first_ms: time of the first record.
        end_ms: end of the known history.
        horizon: requested horizon, history and spacing.

    Returns:
        Epoch ms, ascending; at least one.

    Raises:
        ShopstreamError: history is shorter than history_days and horizon_days together.
    """
    last = end_ms - horizon.horizon_days * DAY_MS
    earliest = first_ms + horizon.history_days * DAY_MS
    if last < earliest:
        have = (end_ms - first_ms) / DAY_MS
        raise ShopstreamError(
            f"The archive holds {have:.0f} days; a cut-off needs {horizon.history_days} days before it and "
            f"{horizon.horizon_days} days after it.",
            "Give a shorter --horizon or --history, or a longer archive.",
        )
    cutoffs = range(last, earliest - 1, -horizon.spacing_days * DAY_MS)
    return sorted(cutoffs[: horizon.cutoffs_max])


def known_span(days: Sequence[int], read_day: ReadDay) -> tuple[int, int]:
    """Return the times of the first and the last valid event or order of an archive, epoch ms.

    Args:
        days: numbers of the UTC days in the archive, ascending.
        read_day: function that reads the rows of one topic and day.

    Raises:
        ShopstreamError: the archive is empty.
    """
    span = span_or_none(days, read_day)
    if span is None:
        raise ShopstreamError("The archive has no events and no orders.", "Name the folder of an archive.")
    return span


def span_or_none(days: Sequence[int], read_day: ReadDay) -> tuple[int, int] | None:
    """Return what `known_span` returns, or None for an empty archive."""
    first = next((min(times) for day in days if (times := _times(day, read_day))), None)
    last = next((max(times) for day in reversed(days) if (times := _times(day, read_day))), None)
    return None if first is None or last is None else (first, last)


def _times(day: int, read_day: ReadDay) -> list[int]:
    """Return the earliest and latest time of a day; orders count by placement, as a refund may be much later."""
    bounds = []
    rows: dict[str, Callable[[pa.Table], ArchiveRows[Any]]] = {"events": event_rows, "orders": order_rows}
    for topic, judge in rows.items():
        for table in read_day(topic, day):
            times = judge(table).columns.ts
            inside = times[(times >= day * DAY_MS) & (times < (day + 1) * DAY_MS)]
            if len(inside):
                bounds += [int(inside.min()), int(inside.max())]
    return bounds


def labelled(rows: pl.DataFrame, outcome: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of customers with an order, with LABEL.

    Args:
        rows: rows of every customer at a cut-off.
        outcome: `customer_id` and `last_order_ts` of every customer at the end of the horizon, as known then.
    """
    buyers = rows.filter(col("orders_total") > 0)
    later = outcome.select("customer_id", col("last_order_ts").alias("_later"))
    joined = buyers.join(later, on="customer_id", how="left", maintain_order="left")
    # the last valid order is after the cut-off exactly if any valid order is
    ordered = (col("_later") > col("as_of")).fill_null(value=False)
    return joined.with_columns((~ordered).cast(pl.Int8).alias(LABEL)).drop("_later")


def build(
    days: Sequence[int],
    read_day: ReadDay,
    cutoffs: Sequence[int],
    horizon_days: int,
    *,
    end_ms: int,
    on_day: Callable[[int], None] = lambda _: None,
) -> TrainingSet:
    """Build the training set of an archive in one pass.

    Args:
        days: numbers of the UTC days in the archive, ascending.
        read_day: function that reads the rows of one topic and day.
        cutoffs: cut-offs, epoch ms, ascending, each at least a horizon before `end_ms`.
        horizon_days: horizon of the labels.
        end_ms: end of the known history.
        on_day: callback before each day is read.

    Raises:
        UsageError: a horizon ends after `end_ms`.
        ShopstreamError: no customer has ordered by the last cut-off.
    """
    counts = ArchiveCounts()
    times = times_needed(cutoffs, horizon_days, end_ms)
    return assemble(rows_at(days, read_day, times, counts, on_day), cutoffs, horizon_days, end_ms=end_ms, counts=counts)


def times_needed(cutoffs: Sequence[int], horizon_days: int, end_ms: int) -> list[int]:
    """Return the evaluation times that a training set needs, epoch ms, ascending; arguments as for `build`.

    Raises:
        UsageError: a horizon ends after `end_ms`.
    """
    horizon_ms = horizon_days * DAY_MS
    if not cutoffs or max(cutoffs) + horizon_ms > end_ms:
        raise UsageError("The horizon of a cut-off ends after the archive.")
    followed = {*cutoffs, *later_cutoffs(max(cutoffs), end_ms)}
    return sorted(
        {
            *followed,
            *(cutoff + horizon_ms for cutoff in cutoffs),
            *outcome_times(followed, end_ms, horizon_days),
            end_ms,
        }
    )


def assemble(
    rows_by_time: Iterable[tuple[int, pl.DataFrame]],
    cutoffs: Sequence[int],
    horizon_days: int,
    *,
    end_ms: int,
    counts: ArchiveCounts,
) -> TrainingSet:
    """Build the training set from rows that are already evaluated.

    Args:
        rows_by_time: rows of every customer, in any order, at each of `times_needed`, ascending.
        cutoffs: as for `build`.
        horizon_days: as for `build`.
        end_ms: as for `build`.
        counts: numbers of records read, complete once all rows are consumed.

    Raises:
        ShopstreamError: no customer has ordered by the last cut-off.
    """
    rows, followed, latest = labelled_frames(rows_by_time, cutoffs, horizon_days, end_ms=end_ms)
    if rows.is_empty():
        raise ShopstreamError("No customer has ordered by the last cut-off.", "Choose later cut-offs.")
    return TrainingSet(rows, followed, latest, horizon_days, end_ms, counts)


def labelled_frames(
    rows_by_time: Iterable[tuple[int, pl.DataFrame]], cutoffs: Sequence[int], horizon_days: int, *, end_ms: int
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return `rows`, `followed` and `latest` of a `TrainingSet`, possibly empty; arguments as for `assemble`."""
    ends = {cutoff + horizon_days * DAY_MS: cutoff for cutoff in cutoffs}
    starts = set(cutoffs)
    followed = {*cutoffs, *later_cutoffs(max(cutoffs), end_ms)}
    open_rows: dict[int, pl.DataFrame] = {}
    collectors: list[OutcomeCollector] = []
    parts: list[pl.DataFrame] = []
    latest = pl.DataFrame()
    for time, rows in rows_by_time:
        for collector in collectors:
            collector.observe(time, rows)
        if time in ends:
            parts.append(labelled(open_rows.pop(ends[time]), rows).sort("customer_id"))
        if time in starts:
            open_rows[time] = rows
        if time in followed:
            collectors.append(OutcomeCollector(rows.sort("customer_id"), time, horizon_days))
        if time == end_ms:
            latest = rows.sort("customer_id")
    return pl.concat(parts), pl.concat([collector.labelled() for collector in collectors]), latest
