"""Replays an archive: sends profiles, then events and orders in event-time order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
import pyarrow as pa

from features.errors import ShopstreamError
from features.schema import DAY_COLUMN, TS_MAX
from producers.archive import event_order
from producers.archive.archive import read_customers
from producers.archive.event_order import ArchiveRange
from producers.dirt import DELAY_MS_MAX, MessageDirt
from producers.messages import Messages
from producers.pacing import Clock, Progress, Transmitter
from producers.publisher import Delivery, FailureHandler, Publisher

STOP_TIMEOUT_S: Final = 10.0
"""How long a stopped replay waits for acknowledgements."""


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What to send, and how.

    Args:
        span: events and orders of an archive.
        customers: whether to send the profiles first.
        speed: event seconds per second; None sends as fast as Kafka accepts.
        dirt: lateness, disorder and malformed messages to add.
    """

    span: ArchiveRange
    customers: bool = True
    speed: float | None = None
    dirt: MessageDirt | None = None

    def size(self) -> int:
        """Return the number of messages without dirt. Raises ShopstreamError for a missing or unreadable archive."""
        profiles = read_customers(self.span.directory) if self.customers else None
        return sum(event_order.count(self.span).values()) + (0 if profiles is None else profiles.num_rows)


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """Result of a replay."""

    delivery: Delivery
    seconds: float
    planted: Mapping[str, int]
    """Planted dirt by kind."""
    complete: bool
    """Whether everything was sent and acknowledged."""
    resume_ms: int | None
    """If incomplete: start of the span that holds all missing messages; None is the very beginning."""


class _Missing:
    """Tracks the earliest time of a message that was not sent or not acknowledged."""

    def __init__(self) -> None:
        self.time_ms: int | None = None

    def add(self, time_ms: int) -> None:
        self.time_ms = time_ms if self.time_ms is None else min(self.time_ms, time_ms)

    def failed(self, topic: str, value: bytes | None) -> None:
        if topic not in DAY_COLUMN:
            self.add(0)
            return
        try:
            record = _TIMES.decode(value or b"")
        except msgspec.MsgspecError:
            return  # planted, or a row without a time: no range of dates would include it
        time_ms = getattr(record, DAY_COLUMN[topic])
        if time_ms is not None:
            self.add(time_ms)


class _Times(msgspec.Struct):
    ts: int | None = None
    updated_ts: int | None = None


_TIMES: Final = msgspec.json.Decoder(_Times)


def replay(
    options: ReplayOptions,
    open_publisher: Callable[[FailureHandler], Publisher],
    clock: Clock,
    interrupted: Callable[[], bool],
    on_progress: Callable[[Progress], None],
) -> ReplayReport:
    """Send an archive.

    Args:
        options: what to send, and how.
        open_publisher: function that opens a publisher, which reports failures to the given handler.
        clock: clock for pacing and the report.
        interrupted: function that returns whether to stop; called several times a second.
        on_progress: callback for the progress; called several times a second.

    Raises:
        ShopstreamError: the archive is missing or unreadable.
    """
    start_s = clock.monotonic_s()
    profiles = read_customers(options.span.directory) if options.customers else None
    missing = _Missing()
    publisher = open_publisher(missing.failed)
    transmitter = Transmitter(publisher, clock, interrupted, on_progress)
    whole = False
    try:
        unsent_ms = _transmit(options, profiles, transmitter)
        whole = unsent_ms is None
    finally:
        delivery = publisher.finish(None if whole else STOP_TIMEOUT_S)
    if unsent_ms is not None:
        # delayed records of the dirt were read earlier, and are not sent either
        missing.add(unsent_ms if options.dirt is None else max(0, unsent_ms - DELAY_MS_MAX))
    return ReplayReport(
        delivery=delivery,
        seconds=clock.monotonic_s() - start_s,
        planted={} if options.dirt is None else dict(options.dirt.planted),
        complete=whole and not delivery.failed_total,
        resume_ms=_resume_ms(missing.time_ms, options.span),
    )


def _transmit(options: ReplayOptions, profiles: pa.Table | None, transmitter: Transmitter) -> int | None:
    if profiles is not None:
        unsent_ms = transmitter.at_full_speed(event_order.profiles(profiles))
        if unsent_ms is not None:
            return unsent_ms
    chunks: Iterator[Messages] = event_order.in_time_order(options.span)
    if options.dirt is not None:
        chunks = options.dirt.spoil(chunks)
    return transmitter.send(chunks, options.speed)


def _resume_ms(missing_ms: int | None, span: ArchiveRange) -> int | None:
    """Return the resume time. Missing profiles are at time 0, which is where the span begins."""
    if missing_ms is None:
        return None
    start_ms = span.start_ms or 0
    return min(max(missing_ms, start_ms), TS_MAX) or None


def failure(report: ReplayReport) -> ShopstreamError | None:
    """Return the error for unacknowledged messages, or None."""
    return undelivered(report.delivery)


def undelivered(delivery: Delivery) -> ShopstreamError | None:
    """Return the error for messages of an archive that were not acknowledged, or None."""
    if not delivery.failed_total:
        return None
    return ShopstreamError(
        f"{delivery.failed_total:,} of {sum(delivery.sent.values()):,} messages were not acknowledged "
        f"by Kafka: {'; '.join(delivery.reasons)}.",
        "Check that Kafka runs and has disk space (`shopstream status`), then replay the missing dates again.",
    )
