"""Generates a shop's history once and sends it once, in a container that may be killed and restarted at any time.

    archive there? ── no ─> generate ─┐
          │ yes                       │
          └───────────────────────────┴─> slice ─> acknowledged ─> noted ─> slice ─> ... ─> nothing left to do

The archive goes to Kafka in slices of event time. A slice is recorded once all of it is acknowledged. A slice is as
long as consumers remember event ids: after a crash within one, the process sends that slice again. Records that had
arrived are recognized as duplicates and count once; none is late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from connectors.files import read_note, write_note
from connectors.kafka.admin import topic_counts
from features.errors import UsageError
from features.schema import DAY_COLUMN, DAY_MS, EVENT_LATENESS_MS, topic_name
from producers.archive.archive import SHOP_FILE, day_start_ms, days
from producers.archive.event_order import Span
from producers.pacing import Clock
from producers.pacing import Progress as Position
from producers.publisher import Publisher
from producers.replay import Course, failure, replay
from producers.shop.generate import generate
from producers.shop.shop import Shop, shop_from_json
from shopstream.embedded import KafkaEndpoint

SLICE_MS: Final = EVENT_LATENESS_MS
NOTES: Final = "sent-{run}.json"
"""File beside the archive's folder; records how much of the archive a run has."""


class Sent(msgspec.Struct, frozen=True):
    """Progress of sending a history to a run.

    Attributes:
        shop: shop of the history.
        until_ms: event time before which everything is acknowledged, epoch ms.
        delivered: acknowledged messages by source topic; those of a slice that was sent twice count twice.
        whole: whether everything was sent.
    """

    shop: Shop
    until_ms: int
    delivered: dict[str, int] = {}
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Sending:
    """Target of a history, and callbacks while it is sent.

    Attributes:
        kafka: address of the broker.
        run: name of the run.
        clock: clocks for pacing.
        interrupted: returns whether to stop.
        on_progress: called with the position, several times a second.
    """

    kafka: KafkaEndpoint
    run: str
    clock: Clock
    interrupted: Callable[[], bool]
    on_progress: Callable[[Position], None]


def made(wanted: Shop, directory: Path, on_events: Callable[[int], None]) -> Shop:
    """Return the shop of the archive in `directory`; generate the archive if there is none, else leave it unchanged.

    Args:
        wanted: requested shop; the end of its history is not compared.
        directory: folder of the archive.
        on_events: called with the number of further events written.

    Raises:
        UsageError: the existing archive is of another shop.
        ShopstreamError: the archive cannot be written, or the folder holds something else.
    """
    try:
        there = shop_from_json((directory / SHOP_FILE).read_text("utf-8"))
    except FileNotFoundError:
        generate(wanted, directory, on_events=on_events)
        return wanted
    if _size(there) != _size(wanted):
        raise UsageError(
            f"{directory} holds the history of another shop: --customers {there.customers} --events {there.events} "
            f"--days {there.days} --seed {there.seed}.",
            "Give these, or another folder and another run (--run NAME).",
        )
    return there


def send_slices(
    directory: Path, from_ms: int, sending: Sending, on_slice: Callable[[int, Mapping[str, int]], None]
) -> bool:
    """Send an archive from an event time on, slice by slice; profiles go first, with the first slice.

    Args:
        directory: folder of the archive.
        from_ms: event time before which everything is acknowledged; 0 sends all.
        sending: target and callbacks.
        on_slice: called after each acknowledged slice with its end, and this call's messages so far by source topic.

    Returns:
        Whether everything was sent; False after an interruption.

    Raises:
        ShopstreamError: Kafka did not acknowledge.
    """
    # one publisher for all slices: a new connection takes half a second
    publisher = Publisher(sending.kafka.client_properties(), sending.run)
    for start_ms, end_ms in _slices(directory, from_ms):
        report = replay(
            Course(Span(directory, start_ms=start_ms, end_ms=end_ms), customers=from_ms == 0),
            lambda _: publisher,
            sending.clock,
            sending.interrupted,
            sending.on_progress,
        )
        if (error := failure(report)) is not None:
            raise error
        if not report.complete:
            return False
        from_ms = end_ms
        on_slice(end_ms, report.delivery.delivered)
    return True


def send(directory: Path, shop: Shop, sending: Sending) -> Sent:
    """Send what the run does not have yet; profiles go first.

    Args:
        directory: folder of the archive.
        shop: shop of the history.
        sending: target and callbacks.

    Returns:
        The progress of the run; not whole after an interruption.

    Raises:
        UsageError: the run holds events that did not come from this history.
        ShopstreamError: Kafka did not acknowledge.
    """
    notes = directory.parent / NOTES.format(run=sending.run)
    sent = _remembered(notes, shop, sending)
    if sent.whole:
        return sent
    before = sent.delivered

    def note(until_ms: int, delivered: Mapping[str, int]) -> None:
        nonlocal sent
        sent = Sent(shop, until_ms, _sum(before, delivered))
        write_note(notes, sent)

    if send_slices(directory, sent.until_ms, sending, note):
        sent = msgspec.structs.replace(sent, whole=True)
        write_note(notes, sent)
    return sent


def _slices(directory: Path, from_ms: int) -> Iterator[tuple[int, int]]:
    """Yield half-open ranges of event time that cover all records from `from_ms` on."""
    found = [day for topic in DAY_COLUMN for day in days(directory, topic)]
    if not found:
        return
    start_ms, end_ms = day_start_ms(min(found)), day_start_ms(max(found)) + DAY_MS
    at_ms = max(start_ms, from_ms)
    while at_ms < end_ms:
        upto_ms = min(at_ms + SLICE_MS, end_ms)
        yield at_ms, upto_ms
        at_ms = upto_ms


def _remembered(notes: Path, shop: Shop, sending: Sending) -> Sent:
    topic = topic_name(sending.run, "events")
    held = sum(count.messages for count in topic_counts(sending.kafka, topic) if count.topic == topic)
    sent = read_note(notes, Sent, "Delete it and take another run (--run NAME).")
    if sent is None:
        if held:
            raise UsageError(
                f"Run {sending.run} holds {held:,} events that did not come from this history.",
                "Give the history a run of its own: --run NAME.",
            )
        sent = Sent(shop, 0)
        write_note(notes, sent)
        return sent
    if not held:  # the data of this Kafka was deleted
        return Sent(shop, 0)
    if sent.shop != shop:
        raise UsageError(
            f"Run {sending.run} holds the history of another shop.", "Give this one a run of its own: --run NAME."
        )
    return sent


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {topic: one.get(topic, 0) + other.get(topic, 0) for topic in {*one, *other}}


def _size(shop: Shop) -> tuple[int, int, int, int]:
    return shop.customers, shop.events, shop.days, shop.seed
