"""Decides whether messages are valid records, by applying the rules to a chunk of messages at a time.

Every rule considers one message by itself. The rules for single fields are in the record types of features/schema.py,
and the strict decoder derived from them applies them. This module adds the rules that combine two values: a time and
the append time, a key and an id. It also defines the order of all rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from features.records.columns import Int64
from features.records.rejections import MalformedError, RecordForm, check_utf8, form_of, long_text, quoted, reread
from features.schema import (
    DAY_MS,
    FUTURE_MS_MAX,
    HOUR_MS,
    ID_BYTES_MAX,
    ORDER_CHANGE_MS_MAX,
    SECOND_MS,
    TS_MAX,
    Customer,
    Event,
    Item,
    Order,
)

INT64_MAX: Final = 2**63 - 1
_TS_MIN: Final = -62_135_596_800_000
"""Start of the year 1, the first millisecond that every date type in the system can hold."""
_UNIT_MS_MIN: Final = 631_152_000_000
"""Start of 1990: a number is taken for a count of another unit if that gives a time from here on."""


class Tombstone(msgspec.Struct, frozen=True):
    """A null value on the customers topic: it removes the customer's profile."""

    customer_id: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message that is not a valid record.

    Attributes:
        position: position of the message in the given batch.
        reason: path, expected and received value, in words; at most rejections.REASON_LENGTH_MAX characters; contains
            no name or e-mail address of a customer.
    """

    position: int
    reason: str


# --- one chunk -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Chunk:
    """Valid messages. All lists and arrays except `rejected` have the same length.

    Attributes:
        records: records, in the order of their messages.
        positions: int64, position of each record's message among the given ones.
        ids: customer_id of each record.
        ts: int64, ts of each record; zeros on the customers topic.
        rejected: all other messages, by ascending position.
    """

    records: list[Any]
    positions: Int64
    ids: list[str]
    ts: Int64
    rejected: list[Rejected]


@dataclass(frozen=True, slots=True)
class Reader:
    """Describes how the messages of a topic are read.

    Attributes:
        form: form of the records.
        has_tombstones: whether a null value is allowed.
        times: function that returns the ts of records.
        time_faults: function that checks records, their ts and append times; position -> reason.
        is_unbounded: function that returns whether any record holds an integer beyond int64.
        bound: function that returns the record with such integers replaced by the nearest stored ones.
    """

    form: RecordForm
    has_tombstones: bool
    times: Callable[[list[Any]], Int64]
    time_faults: Callable[[list[Any], Int64, Int64], dict[int, str]]
    is_unbounded: Callable[[list[Any]], bool]
    bound: Callable[[Any], Any]


def read_chunk(
    reader: Reader,
    first: int,
    values: Sequence[bytes | None],
    keys: Sequence[bytes | None],
    append_ms: Sequence[int] | Int64,
) -> Chunk:
    """Read and validate a few thousand messages.

    Args:
        reader: reader of the messages' topic.
        first: position of the first message.
        values: values of the messages.
        keys: keys of the messages, as many.
        append_ms: append times of the messages, epoch ms, as many.

    Returns:
        The valid records and the rejected messages.
    """
    records, parse_faults = _parse(reader, values, keys)
    positions = np.arange(len(records))
    appended = np.asarray(append_ms, np.int64)
    if parse_faults:
        records, keys, positions = _without(parse_faults, records, keys, positions)
        appended = appended[positions]
    ids, ts = [record.customer_id for record in records], reader.times(records)
    # a time fault takes precedence: unlike a key fault, it depends on where the record was appended
    faults = _key_faults(ids, keys) | reader.time_faults(records, ts, appended)
    rejected = [Rejected(first + position, reason) for position, reason in parse_faults.items()]
    if faults:
        rejected += [Rejected(first + int(positions[at]), reason) for at, reason in faults.items()]
        records, ids, positions = _without(faults, records, ids, positions)
        ts = reader.times(records)
    if len(rejected) > 1:
        rejected.sort(key=lambda one: one.position)
    return Chunk(records, positions + first, ids, ts, rejected)


T = TypeVar("T")


def _without(
    faults: dict[int, str], records: list[Any], others: Sequence[T], positions: Int64
) -> tuple[list[Any], list[T], Int64]:
    left = [at for at in range(len(records)) if at not in faults]
    return [records[at] for at in left], [others[at] for at in left], positions[left]


def _parse(
    reader: Reader, values: Sequence[bytes | None], keys: Sequence[bytes | None]
) -> tuple[list[Any], dict[int, str]]:
    """Return a record, or None and a fault, for every message."""
    records: list[Any] = []
    faults: dict[int, str] = {}
    stream = map(reader.form.read, values)  # type: ignore[arg-type]
    while True:
        try:
            records.extend(stream)
            break
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError):
            # `extend` has kept the records before the failure, and the iterator continues after the failed message
            position = len(records)
            try:
                records.append(_parse_alone(reader, values[position], keys[position]))
            except MalformedError as error:
                records.append(None)
                faults[position] = error.reason
    if not _is_ascii(values):
        faults |= _utf8_faults(values, faults)
    if _longest(values) > ID_BYTES_MAX:
        faults |= _long_faults(reader.form, records, values, faults)
    return records, faults


def _parse_alone(reader: Reader, value: bytes | None, key: bytes | None) -> msgspec.Struct:
    if value is not None:
        return reread(reader.form, value)
    if not reader.has_tombstones:
        raise MalformedError("the value is null, which is allowed on the topic of customers alone")
    if not key:
        raise MalformedError("the value is null and there is no key that names the removed profile")
    check_utf8(key)
    return Tombstone(key.decode())


def _is_ascii(values: Sequence[bytes | None]) -> bool:
    try:
        return all(map(bytes.isascii, values))  # type: ignore[arg-type]
    except TypeError:  # a null value
        return False


def _utf8_faults(values: Sequence[bytes | None], known: dict[int, str]) -> dict[int, str]:
    """Find text that is not UTF-8 in the fields that the decoder skips, since it checks only the strings it keeps."""
    faults: dict[int, str] = {}
    for position, value in enumerate(values):
        if value is None or value.isascii() or position in known:
            continue
        try:
            check_utf8(value)
        except MalformedError as error:
            faults[position] = error.reason
    return faults


def _longest(values: Sequence[bytes | None]) -> int:
    try:
        return max(map(len, values), default=0)  # type: ignore[arg-type]
    except TypeError:  # a null value
        return max(map(len, filter(None, values)), default=0)


def _long_faults(
    form: RecordForm, records: list[Any], values: Sequence[bytes | None], known: dict[int, str]
) -> dict[int, str]:
    """Count the bytes of texts where they may exceed the characters, which are all that the decoder counts.

    A message is at least as long as each of its texts in UTF-8, whether or not it escapes them.
    """
    faults: dict[int, str] = {}
    for position, value in enumerate(values):
        if value is None or len(value) <= ID_BYTES_MAX or position in known:
            continue
        if value.isascii() and b"\\u" not in value:
            continue
        reason = long_text(form, records[position])
        if reason is not None:
            faults[position] = reason
    return faults


def _key_faults(ids: list[str], keys: Sequence[bytes | None]) -> dict[int, str]:
    try:
        joined = b"\n".join(keys)  # type: ignore[arg-type]
    except TypeError:  # a message without a key
        pass
    else:
        # One newline fewer than keys means that no key and no id contains one, so equal texts have equal parts.
        if joined.count(b"\n") == len(ids) - 1 and joined == "\n".join(ids).encode():
            return {}
    return {
        position: _key_fault(customer_id, key)
        for position, (customer_id, key) in enumerate(zip(ids, keys, strict=True))
        if key != customer_id.encode()
    }


def _key_fault(customer_id: str, key: bytes | None) -> str:
    got = "no key" if key is None else quoted(key.decode(errors="backslashreplace"))
    return f"message key: expected the customer_id {quoted(customer_id)}, got {got}"


# --- times -----------------------------------------------------------------------------------------------------------
def _int64(numbers: list[int]) -> Int64:
    try:
        return np.array(numbers, np.int64)
    except OverflowError:
        return np.array([min(number, INT64_MAX) for number in numbers], np.int64)


def is_unusual(times: Int64, append_ms: Int64) -> npt.NDArray[np.bool_]:
    """Return which times may be refused: those too far ahead, and those of 1970, which may count a longer unit."""
    latest = append_ms + FUTURE_MS_MAX
    return (times > latest) | (times <= latest // SECOND_MS)


def _range_faults(name: str, times: Int64, append_ms: Int64) -> dict[int, str]:
    unusual = np.flatnonzero(is_unusual(times, append_ms)).tolist()
    faults = {position: _range_fault(name, int(times[position]), int(append_ms[position])) for position in unusual}
    return {position: fault for position, fault in faults.items() if fault is not None}


def _range_fault(name: str, time: int, append_ms: int) -> str | None:
    if unit := _other_unit(time, append_ms):
        return _in_other_unit(name, time, unit)
    if time > append_ms + FUTURE_MS_MAX:
        return f"`{name}`: expected at most {FUTURE_MS_MAX} ms ahead of the append time {append_ms}, got {time}"
    return None


def _in_other_unit(name: str, time: int, unit: str) -> str:
    return f"`{name}` is in epoch {unit}, not milliseconds: got {time}"


def _other_unit(time: int, append_ms: int) -> str | None:
    """Return the unit in which a number is a time from 1990 to its append time and a day; None if there is none."""
    latest = append_ms + FUTURE_MS_MAX
    longer = {"seconds": SECOND_MS, "minutes": 60 * SECOND_MS, "hours": HOUR_MS, "days": DAY_MS}
    in_ms = {unit: time * length_ms for unit, length_ms in longer.items()}
    in_ms |= {"microseconds": time // 1_000, "nanoseconds": time // 1_000_000}
    return next((unit for unit, ms in in_ms.items() if _UNIT_MS_MIN <= ms <= latest), None)


def _ts(records: list[Any]) -> Int64:
    return _int64([record.ts for record in records])


def _event_time_faults(_: list[Event], ts: Int64, append_ms: Int64) -> dict[int, str]:
    return _range_faults("ts", ts, append_ms)


def _order_time_faults(orders: list[Order], ts: Int64, append_ms: Int64) -> dict[int, str]:
    updated = _int64([order.updated_ts for order in orders])
    faults = _range_faults("updated_ts", updated, append_ms) | _range_faults("ts", ts, append_ms)
    # a difference of two positive int64 cannot overflow
    change = updated - ts
    for position in np.flatnonzero((change < 0) | (change > ORDER_CHANGE_MS_MAX)).tolist():
        faults.setdefault(
            position,
            f"`updated_ts`: expected from `ts` {ts[position]} to {ORDER_CHANGE_MS_MAX} ms later, "
            f"got {updated[position]}",
        )
    return faults


def _no_ts(records: list[Any]) -> Int64:
    return np.zeros(len(records), np.int64)


def _profile_time_faults(records: list[Customer | Tombstone], _: Int64, append_ms: Int64) -> dict[int, str]:
    """Find signup times in another unit. Any other time is allowed: a profile may hold one of before 1970."""
    faults: dict[int, str] = {}
    for position, record in enumerate(records):
        signup_ts = None if isinstance(record, Tombstone) else record.signup_ts
        # most profiles are decided by this comparison: their times are of milliseconds since 1990
        if signup_ts is None or _UNIT_MS_MIN <= signup_ts <= TS_MAX:
            continue
        if unit := _other_unit(signup_ts, int(append_ms[position])):
            faults[position] = _in_other_unit("signup_ts", signup_ts, unit)
    return faults


# --- integers beyond the range of a column ---------------------------------------------------------------------------
def _event_is_unbounded(records: list[Event]) -> bool:
    return max(filter(None, [record.quantity for record in records]), default=0) > INT64_MAX


def _bound_event(event: Event) -> Event:
    return msgspec.structs.replace(event, quantity=_bound(event.quantity, 1, INT64_MAX))


def _order_is_unbounded(records: list[Order]) -> bool:
    return any(item.quantity and item.quantity > INT64_MAX for r in records if r.items for item in r.items)


def _bound_order(order: Order) -> Order:
    return msgspec.structs.replace(order, items=order.items and [_bound_item(item) for item in order.items])


def _bound_item(item: Item) -> Item:
    return msgspec.structs.replace(item, quantity=_bound(item.quantity, 1, INT64_MAX))


def _bound_customer(record: Customer | Tombstone) -> Customer | Tombstone:
    if isinstance(record, Tombstone):
        return record
    signup_ts, age = _bound(record.signup_ts, _TS_MIN, TS_MAX), _bound(record.age, -INT64_MAX, INT64_MAX)
    if signup_ts == record.signup_ts and age == record.age:
        return record
    return msgspec.structs.replace(record, signup_ts=signup_ts, age=age)


def _bound(number: int | None, low: int, high: int) -> int | None:
    return None if number is None else min(max(number, low), high)


READERS: Final[dict[str, Reader]] = {
    "events": Reader(form_of(Event), False, _ts, _event_time_faults, _event_is_unbounded, _bound_event),
    "orders": Reader(form_of(Order), False, _ts, _order_time_faults, _order_is_unbounded, _bound_order),
    "customers": Reader(form_of(Customer), True, _no_ts, _profile_time_faults, bool, _bound_customer),
}
"""Reader of each source topic."""
