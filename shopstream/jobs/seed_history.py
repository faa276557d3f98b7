"""Generates a shop's history once and sends it once, in a process that may be killed and restarted at any time.

    archive there? ── no ─> generate ─┐
          │ yes                       │
          └───────────────────────────┴─> slice ─> acknowledged ─> recorded ─> slice ─> ... ─> nothing left to send

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
from connectors.kafka.admin import topic_sizes
from features.errors import UsageError
from features.schema import DAY_COLUMN, DAY_MS, EVENT_LATENESS_MS, topic_name
from producers.archive.archive import SHOP_FILE, day_start_ms, days
from producers.archive.event_order import ArchiveRange
from producers.pacing import Clock
from producers.pacing import Progress as Position
from producers.publisher import Publisher
from producers.replay import ReplayOptions, failure, replay
from producers.shop.generate import generate
from producers.shop.shop import Shop, shop_from_json
from shopstream.embedded import KafkaEndpoint

SLICE_MS: Final = EVENT_LATENESS_MS
STATE_FILE: Final = "sent-{run}.json"
"""File next to the archive's folder; records how much of the archive a run holds."""
STATE_REMEDY: Final = "Delete it and use another run (--run NAME)."


class HistoryState(msgspec.Struct, frozen=True):
    """Part of a history that a run holds, and all that was sent to the run.

    Attributes:
        shop: shop of the history.
        until_ms: event time before which the whole history is acknowledged, epoch ms; 0: nothing is.
        delivered: acknowledged messages by source topic: of the history, and of live shops that ended; those of a
            slice that was sent twice count twice.
        whole: whether the whole history is acknowledged.
        sent_unknown: whether a process ended without a record of all that it sent, so that `delivered` is too low.
    """

    shop: Shop
    until_ms: int
    delivered: dict[str, int] = {}
    whole: bool = False
    sent_unknown: bool = msgspec.field(name="live_open", default=False)

    def with_delivered(self, delivered: Mapping[str, int]) -> HistoryState:
        """Return the state with further acknowledged messages by source topic."""
        total = {
            topic: self.delivered.get(topic, 0) + delivered.get(topic, 0) for topic in {*self.delivered, *delivered}
        }
        return msgspec.structs.replace(self, delivered=total)


@dataclass(frozen=True, slots=True)
class SeedTarget:
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


def read_state(folder: Path, run: str) -> HistoryState | None:
    """Return the state of a run; None if no history was sent to it from archives in `folder`.

    Raises:
        ShopstreamError: the file is damaged.
    """
    return read_note(folder / STATE_FILE.format(run=run), HistoryState, STATE_REMEDY)


def write_state(folder: Path, run: str, state: HistoryState) -> None:
    """Replace the state of a run atomically."""
    write_note(folder / STATE_FILE.format(run=run), state)


def ensure_archive(requested: Shop, directory: Path, on_events: Callable[[int], None]) -> Shop:
    """Return the shop of the archive in `directory`; generate the archive if there is none, else leave it unchanged.

    Args:
        requested: requested shop; the end of its history is not compared.
        directory: folder of the archive.
        on_events: called with the number of further events written.

    Raises:
        UsageError: the existing archive is of another shop.
        ShopstreamError: the archive cannot be written, or the folder holds something else.
    """
    try:
        shop = shop_from_json((directory / SHOP_FILE).read_text("utf-8"))
    except FileNotFoundError:
        generate(requested, directory, on_events=on_events)
        return requested
    if not same_size(shop, requested):
        raise UsageError(
            f"{directory} holds the history of another shop: {options_of(shop)}.",
            "Give these options, or another folder and another run (--run NAME).",
        )
    return shop


def same_size(one: Shop, other: Shop) -> bool:
    """Return whether two shops have the same options, whatever the ends of their histories."""
    return options_of(one) == options_of(other)


def options_of(shop: Shop) -> str:
    """Return the options that request a shop of this size and seed."""
    return f"--customers {shop.customers} --events {shop.events} --days {shop.days} --seed {shop.seed}"


def remaining(directory: Path, state: HistoryState | None) -> int:
    """Return the number of messages of an archive that are still to be sent."""
    from_ms = 0 if state is None else state.until_ms
    return ReplayOptions(ArchiveRange(directory, start_ms=from_ms or None), customers=from_ms == 0).size()


def send_history(directory: Path, shop: Shop, target: SeedTarget) -> HistoryState:
    """Send the part of an archive that the run lacks, slice by slice; profiles go first, with the first slice.

    Args:
        directory: folder of the archive.
        shop: shop of the history.
        target: target and callbacks.

    Returns:
        The state of the run; not whole after an interruption.

    Raises:
        UsageError: the run holds events from another source.
        ShopstreamError: Kafka did not acknowledge.
    """
    before = state = _state_of(directory.parent, shop, target)
    if state.whole:
        return state
    # one publisher for all slices: a new connection takes half a second
    publisher = Publisher(target.kafka.client_properties(), target.run)
    for start_ms, end_ms in _slices(directory, before.until_ms):
        report = replay(
            ReplayOptions(ArchiveRange(directory, start_ms=start_ms, end_ms=end_ms), customers=state.until_ms == 0),
            lambda _: publisher,
            target.clock,
            target.interrupted,
            target.on_progress,
        )
        if (error := failure(report)) is not None:
            raise error
        if not report.complete:
            return state
        state = msgspec.structs.replace(before.with_delivered(report.delivery.delivered), until_ms=end_ms)
        write_state(directory.parent, target.run, state)
    state = msgspec.structs.replace(state, whole=True)
    write_state(directory.parent, target.run, state)
    return state


def _slices(directory: Path, from_ms: int) -> Iterator[tuple[int, int]]:
    """Yield half-open ranges of event time that cover all records from `from_ms` on."""
    every_day = [day for topic in DAY_COLUMN for day in days(directory, topic)]
    if not every_day:
        return
    start_ms, end_ms = day_start_ms(min(every_day)), day_start_ms(max(every_day)) + DAY_MS
    at_ms = max(start_ms, from_ms)
    while at_ms < end_ms:
        upto_ms = min(at_ms + SLICE_MS, end_ms)
        yield at_ms, upto_ms
        at_ms = upto_ms


def _state_of(folder: Path, shop: Shop, target: SeedTarget) -> HistoryState:
    """Return the state to continue from. Raises UsageError if the run holds something else."""
    topic = topic_name(target.run, "events")
    held = sum(count.messages for count in topic_sizes(target.kafka, topic) if count.topic == topic)
    state = read_state(folder, target.run)
    if state is None and held:
        raise UsageError(
            f"Run {target.run} holds {held:,} events from another source.",
            "Give the history its own run: --run NAME.",
        )
    if state is None:
        state = HistoryState(shop, 0)
        write_state(folder, target.run, state)
        return state
    if not held:  # the data of this Kafka was deleted, or the first slice was interrupted after its profiles
        return HistoryState(shop, 0, sent_unknown=state.until_ms == 0)
    if state.shop != shop:
        raise UsageError(
            f"Run {target.run} holds the history of another shop.", "Give this history its own run: --run NAME."
        )
    # the process that did not complete it may have sent a part of the next slice
    return state if state.whole else msgspec.structs.replace(state, sent_unknown=True)
