"""Simulates faults in transit: late records, records out of order and malformed messages.

Invariant: every record still arrives in time to count, and the contract refuses every planted message. So the feature
rows do not change, and the dead letters are exactly those counted in `planted`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
import numpy as np

from features.schema import AMOUNT_MAX, EVENT_LATENESS_MS, HOUR_MS, RECORD_TYPES, SECOND_MS, SOURCE_TOPICS, TS_MAX
from producers.messages import Messages, join

DELAY_MS_MAX: Final = 12 * HOUR_MS
"""Longest delay, in event time. Records count until they are 48 hours late."""
DISORDER_MS_MAX: Final = 60 * SECOND_MS
_LATE_SHARE: Final = 0.25
_DELAYED_SHARE: Final = 0.7
"""Share of the touched records that are delayed. The others get a malformed companion."""

Json = dict[str, object]
Spoiler = Callable[[bytes, Json], bytes]


def _changed(**fields: object) -> Spoiler:
    return lambda _, record: msgspec.json.encode({**record, **fields})


def _without(name: str) -> Spoiler:
    return lambda _, record: msgspec.json.encode({key: value for key, value in record.items() if key != name})


SPOILERS: Final[dict[str, Spoiler]] = {
    "truncated": lambda value, _: value[: len(value) // 2],
    "not JSON": lambda value, _: b"<click>" + value,
    "not UTF-8": lambda value, _: value.replace(b'_id":"', b'_id":"\xff', 1),
    "NaN": lambda value, _: value[:-1] + b',"price":NaN,"total":NaN}',
    "an array": lambda value, _: b"[" + value + b"]",
    "empty": lambda _value, _record: b"",
    "no customer": _without("customer_id"),
    "empty customer": _changed(customer_id=""),
    "time as text": _changed(ts="yesterday"),
    "time in seconds, negative": _changed(ts=-1),
    "far future": _changed(ts=TS_MAX, updated_ts=TS_MAX),
    "unknown word": _changed(event_type="teleport", status="teleported"),
    "amount below zero": _changed(price=-1, total=-1),
    "amount too high": _changed(price=AMOUNT_MAX * 10, total=AMOUNT_MAX * 10),
}
"""Kind -> function that makes a malformed message of a record's bytes and fields. Each is invalid for events and
orders.
"""
WRONG_KEY: Final = "key of another customer"
TOO_LATE: Final = "too late"
"""Events only: a copy with a new id, older than the lateness horizon before its source record."""


class MessageDirt:
    """Adds faults to a stream of messages.

    Args:
        fraction: share of the records touched, above 0 and at most 1.
        seed: seed of the faults. Equal seeds and chunks produce equal faults.
    """

    def __init__(self, fraction: float, seed: int) -> None:
        self._fraction = fraction
        self._random = np.random.default_rng(seed)
        self._pending: list[Messages] = []
        self.planted: Counter[str] = Counter()

    def spoil(self, chunks: Iterator[Messages]) -> Iterator[Messages]:
        """Yield the messages in order of arrival. `times` are the arrival times.

        A record delayed until t comes after all messages of time t and before all later ones. So its delay never
        exceeds DELAY_MS_MAX, however sparse the records are.
        """
        for messages in chunks:
            if len(messages):
                yield self._spoil(messages)
        if self._pending:
            rest = join(self._pending)
            self._pending = []
            yield rest.reordered(np.argsort(rest.times, kind="stable"))

    def _spoil(self, messages: Messages) -> Messages:
        end_ms = int(messages.times[-1])
        touched = self._random.random(len(messages)) < self._fraction
        delayed = touched & (self._random.random(len(messages)) < _DELAYED_SHARE)
        late = self._random.random(len(messages)) < _LATE_SHARE
        longest = np.where(late, DELAY_MS_MAX, DISORDER_MS_MAX)
        delay = (self._random.random(len(messages)) * longest).astype(np.int64) + 1
        arrivals = messages.times + np.where(delayed, delay, 0)
        self.planted["late (counts)"] += int((delayed & late).sum())
        self.planted["out of order (counts)"] += int((delayed & ~late).sum())
        planted = self._plant(messages, np.flatnonzero(touched & ~delayed))
        arriving = Messages(arrivals, messages.topics, messages.keys, messages.values)
        everything = join([*self._pending, arriving, planted])
        order = np.argsort(everything.times, kind="stable")
        now = int(np.searchsorted(everything.times[order], end_ms, side="right"))
        later = everything.reordered(order[now:])
        self._pending = [later] if len(later) else []
        return everything.reordered(order[:now])

    def _plant(self, messages: Messages, rows: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Messages:
        kinds = [*SPOILERS, WRONG_KEY, TOO_LATE]
        chosen = self._random.integers(0, len(kinds), len(rows))
        keys: list[bytes | None] = []
        values: list[bytes | None] = []
        planted_rows: list[int] = []
        for row, number in zip(rows.tolist(), chosen.tolist(), strict=True):
            key, value = messages.keys[row], messages.values[row] or b""
            topic = SOURCE_TOPICS[messages.topics[row]]
            if not _valid(topic, value):
                continue  # a second fault could make an invalid record valid
            planted_rows.append(row)
            record: Json = msgspec.json.decode(value)
            kind = kinds[number] if topic == "events" or kinds[number] != TOO_LATE else WRONG_KEY
            if kind == WRONG_KEY:
                key = (key or b"") + b"-other"
            elif kind == TOO_LATE:
                late_ms = int(messages.times[row]) - EVENT_LATENESS_MS - HOUR_MS
                value = msgspec.json.encode({**record, "event_id": f"{record['event_id']}-late", "ts": late_ms})
            else:
                value = SPOILERS[kind](value, record)
            keys.append(key)
            values.append(value)
            self.planted[kind] += 1
        return Messages(messages.times[planted_rows], messages.topics[planted_rows], keys, values)


def _valid(topic: str, value: bytes) -> bool:
    try:
        msgspec.json.decode(value, type=RECORD_TYPES[topic])
    except msgspec.MsgspecError:
        return False
    return True
