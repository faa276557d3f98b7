"""Replays an archive as messages of other systems, in the order of their arrival."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from features.schema import DAY_MS
from producers.archive.event_order import ArchiveRange, in_time_order
from producers.pacing import Clock, Progress, Transmitter
from producers.publisher import Delivery, FailureHandler, Publisher
from producers.replay import STOP_TIMEOUT_S
from producers.source_shapes.moments import Admission, moments
from producers.source_shapes.profiles import read_profiles
from producers.source_shapes.shape import DELIVERY_MS_MAX, Faults, ShapeReport
from producers.source_shapes.shapes import ShapeOptions, open_shapes
from producers.source_shapes.stream import raw_messages


@dataclass(frozen=True, slots=True)
class ShapeReplay:
    """What to send, and how.

    Args:
        span: events and orders of an archive.
        shapes: names of shapes, in the order of the publisher's topics.
        faults: faults of the sources.
        zone: time zone of the shop.
        speed: event seconds per second; None sends as fast as Kafka accepts.
    """

    span: ArchiveRange
    shapes: Sequence[str]
    faults: Faults
    zone: ZoneInfo
    speed: float | None = None


@dataclass(frozen=True, slots=True)
class ShapeReplayReport:
    """Result of a replay.

    Attributes:
        delivery: messages by shape.
        seconds: duration.
        admission: records that no shape can say.
        reports: shape -> what it wrote and refused.
        complete: whether everything was sent and acknowledged.
        resume_ms: if it was stopped: start of a range that has all messages that were not sent. None otherwise.
    """

    delivery: Delivery
    seconds: float
    admission: Admission
    reports: Mapping[str, ShapeReport]
    complete: bool
    resume_ms: int | None

    @property
    def refused(self) -> int:
        """Records that were not sent because their shape cannot say them."""
        return sum(self.admission.refused.values()) + sum(sum(r.refused.values()) for r in self.reports.values())


def replay_shapes(
    options: ShapeReplay,
    open_publisher: Callable[[FailureHandler], Publisher],
    clock: Clock,
    interrupted: Callable[[], bool],
    on_progress: Callable[[Progress], None],
) -> ShapeReplayReport:
    """Send an archive as messages of other systems.

    A replay that continues after a stop repeats some messages, which changes no record.

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
    profiles = read_profiles(options.span.directory)
    shapes = open_shapes(options.shapes, ShapeOptions(options.faults, options.zone, profiles))
    admission = Admission()
    chunks = raw_messages(moments(in_time_order(options.span), admission), shapes)
    publisher = open_publisher(lambda _topic, _value: None)
    transmitter = Transmitter(publisher, clock, interrupted, on_progress)
    whole = False
    unsent_ms: int | None = None
    try:
        unsent_ms = transmitter.send(chunks, options.speed)
        whole = unsent_ms is None
    finally:
        delivery = publisher.finish(None if whole else STOP_TIMEOUT_S)
    return ShapeReplayReport(
        delivery=delivery,
        seconds=clock.monotonic_s() - start_s,
        admission=admission,
        reports={name: shape.report for name, shape in zip(options.shapes, shapes, strict=True)},
        complete=whole and not delivery.failed_total,
        resume_ms=None if unsent_ms is None or delivery.failed_total else _resume_ms(unsent_ms, options.span),
    )


def _resume_ms(unsent_ms: int, span: ArchiveRange) -> int | None:
    """Return the start of the day of the earliest record whose messages may be missing: faults are drawn by day."""
    start_ms = (unsent_ms - DELIVERY_MS_MAX) // DAY_MS * DAY_MS
    return max(start_ms, span.start_ms or 0) or None
