"""Streams the synthetic shop from the end of its history, never ahead of the wall clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

from features.errors import ShopstreamError
from features.schema import DAY_COLUMN, HOUR_MS, SECOND_MS
from producers.dirt import MessageDirt
from producers.messages import Messages, encode, join
from producers.pacing import Clock, Progress, Transmitter
from producers.publisher import Delivery, FailureHandler, Publisher
from producers.shop.continuation import LiveBatch, live_batches, natural_rate
from producers.shop.shop import Model

TIME_COLUMN: Final = {"customers": "signup_ts", **DAY_COLUMN}
"""Time column that orders live records. Equal times follow the order of these topics."""
RESUME_OVERLAP_MS: Final = 10 * 60 * SECOND_MS
"""Span sent again on resuming, because its records may have been in flight at a crash. Repeated ids are dropped."""
STOP_TIMEOUT_S: Final = 10.0
_BATCH_EVENTS: Final = 5_000
_STEP_MS_MIN: Final = 100
_STEP_MS_MAX: Final = HOUR_MS


@dataclass(frozen=True, slots=True)
class LiveReport:
    """Result of a live run. `resume_ms` is the time to resume from; None if the run has not begun."""

    delivery: Delivery
    seconds: float
    planted: Mapping[str, int]
    resume_ms: int | None

    def failure(self) -> ShopstreamError | None:
        """Return the error for unacknowledged messages, or None."""
        if not self.delivery.failed_total:
            return None
        return ShopstreamError(
            f"{self.delivery.failed_total:,} messages were not acknowledged by Kafka: "
            f"{'; '.join(self.delivery.reasons)}.",
            "Check that Kafka runs and has disk space (`shopstream status`). Run the same command again to continue.",
        )


def resume_from(model: Model, newest_ms: int | None) -> int:
    """Return the time to resume from, epoch ms: the end of history, or shortly before the newest event in the topic."""
    if newest_ms is None:
        return model.shop.end_ms
    return max(model.shop.end_ms, newest_ms - RESUME_OVERLAP_MS)


def live_messages(model: Model, start_ms: int, rate: float | None = None) -> Iterator[Messages]:
    """Yield the shop's records from `start_ms` on, endlessly, as messages ascending by time.

    Args:
        model: model of the shop.
        start_ms: first event time, not before the end of history.
        rate: events per second of event time; default: the shop's own seasonality.
    """
    step_ms = int(_BATCH_EVENTS / (rate or natural_rate(model)) * SECOND_MS)
    step_ms = min(max(step_ms, _STEP_MS_MIN), _STEP_MS_MAX)
    for batch in live_batches(model, start_ms=start_ms, rate=rate, step_ms=step_ms):
        messages = batch_messages(batch)
        if len(messages):
            yield messages


def batch_messages(batch: LiveBatch) -> Messages:
    """Return a batch's records as messages, ascending by time."""
    tables = {"customers": batch.customers, "events": batch.events, "orders": batch.orders}
    parts = [_encode(topic, tables[topic]) for topic in TIME_COLUMN if tables[topic].num_rows]
    messages = join(parts)
    return messages if len(parts) < 2 else messages.reordered(np.argsort(messages.times, kind="stable"))


def _encode(topic: str, table: pa.Table) -> Messages:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return encode(topic, frame, frame[TIME_COLUMN[topic]].to_physical().to_numpy())


def live(
    model: Model,
    open_publisher: Callable[[FailureHandler], Publisher],
    clock: Clock,
    interrupted: Callable[[], bool],
    on_progress: Callable[[Progress], None],
    *,
    start_ms: int,
    speed: float = 1.0,
    rate: float | None = None,
    dirt: MessageDirt | None = None,
) -> LiveReport:
    """Stream the shop until interrupted.

    Args:
        model: model of the shop.
        open_publisher: function that opens a publisher, which reports failures to the given handler.
        clock: clock for pacing. The stream never runs ahead of its wall clock.
        interrupted: function that returns whether to stop; called several times a second.
        on_progress: callback for the progress; called several times a second.
        start_ms: first event time, not before the end of history.
        speed: event seconds per second until the wall clock is reached; 1 from then on.
        rate: events per second of event time.
        dirt: lateness, disorder and malformed messages to add.
    """
    start_s = clock.monotonic_s()
    publisher = open_publisher(lambda _topic, _value: None)
    transmitter = Transmitter(publisher, clock, interrupted, on_progress)
    messages = live_messages(model, start_ms, rate)
    try:
        stopped_ms = transmitter.paced(
            messages if dirt is None else dirt.spoil(messages), speed, origin_ms=start_ms, up_to_wall=True
        )
    finally:
        delivery = publisher.finish(STOP_TIMEOUT_S)
    return LiveReport(delivery, clock.monotonic_s() - start_s, {} if dirt is None else dict(dirt.planted), stopped_ms)
