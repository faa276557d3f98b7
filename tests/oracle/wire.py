"""Records as Kafka messages, in every spelling JSON allows; messages that are no records; and orders of arrival."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from oracle.rows import Record, Row
from oracle.shop import DAY, HOUR, LINES_MAX, TOO_LONG_ID, TOO_LONG_TEXT

TIME_FIELD: Final = {"events": "ts", "orders": "updated_ts"}
LATENESS: Final = {"events": 48 * HOUR, "orders": 402 * DAY}


@dataclass(frozen=True)
class Message:
    """A message for one of the topics `events`, `orders`, `customers` (without the run's prefix)."""

    topic: str
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True)
class BadMessage(Message):
    """A message that is no record.

    Attributes:
        kind: why, one of KINDS.
        field: the field that a reason in words should name; empty where no field is to blame.
        name: what was done to it, for the test's id.
    """

    kind: str
    field: str
    name: str


KINDS: Final = (
    *("not JSON", "not an object", "missing", "null", "empty", "wrong type", "unknown word", "time", "unit", "future"),
    *("order window", "amount", "quantity", "too long", "too many lines", "key", "tombstone"),
)


def wire_message(topic: str, row: Record, rng: np.random.Generator) -> Message:
    """A valid record as one of its many spellings: order of fields, spaces, escapes, 1.0 for 1, null for missing."""
    fields: dict[str, Any] = {}
    for number in rng.permutation(len(row)):
        name, value = list(row.items())[number]
        if value is None and rng.random() < 0.5:
            continue
        fields[name] = _respell(value, rng)
    if rng.random() < 0.2:
        fields["utm"] = {"ts": "not a time", "nested": [1, None, {"customer_id": 5}]}
    spaced = rng.random() < 0.3
    text = json.dumps(
        fields,
        ensure_ascii=bool(rng.random() < 0.3),
        separators=(" , ", " : ") if spaced else (",", ":"),
        indent=1 if spaced and rng.random() < 0.5 else None,
    )
    if rng.random() < 0.1:
        text = text.replace('"ts"', '"\\u0074s"').replace('"customer_id"', '"customer\\u005fid"')
    return Message(topic, str(row["customer_id"]).encode(), text.encode())


def _respell(value: Any, rng: np.random.Generator) -> Any:
    if isinstance(value, list):
        return [_respell(item, rng) for item in value]
    if isinstance(value, dict):
        return {k: _respell(v, rng) for k, v in value.items() if v is not None or rng.random() < 0.5}
    if isinstance(value, int) and not isinstance(value, bool) and rng.random() < 0.2:
        return float(value)
    if isinstance(value, float) and value.is_integer() and value != 0 and rng.random() < 0.5:
        return int(value)
    return value


def in_time(topic: str, rows: Sequence[Row], rng: np.random.Generator, jitter_ms: int = 47 * HOUR) -> list[Row]:
    """The rows in an order of arrival in which none is too late: none overtakes one by more than the jitter.

    Args:
        topic: `events` or `orders`.
        rows: in any order.
        rng: decides who is late.
        jitter_ms: at most 48 hours; 0 gives event-time order.
    """
    delays = rng.integers(0, jitter_ms + 1, len(rows))
    times = [row[TIME_FIELD[topic]] + int(delay) for row, delay in zip(rows, delays, strict=True)]
    return [rows[i] for i in sorted(range(len(rows)), key=times.__getitem__)]


def split_late(topic: str, arrived: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """The rows that count and those that came too late, of one topic and partition, in order of arrival."""
    in_good_time: list[Row] = []
    late: list[Row] = []
    highest = 0
    for row in arrived:
        (late if row["ts"] < highest - LATENESS[topic] else in_good_time).append(row)
        highest = max(highest, row[TIME_FIELD[topic]])
    return in_good_time, late


EVENT: Final[Row] = {
    "event_id": "e-bad",
    "event_type": "product_view",
    "customer_id": "bad",
    "session_id": "s-bad",
    "product_id": "p",
    "category": "c",
    "price": 1.5,
    "quantity": 1,
    "device": "mobile",
    "channel": "mail",
    "country": "DE",
}
ITEM: Final[Row] = {"product_id": "p", "category": "c", "quantity": 1, "unit_price": 1.0}
ORDER: Final[Row] = {
    "order_id": "o-bad",
    "customer_id": "bad",
    "session_id": "s-bad",
    "status": "placed",
    "total": 2.5,
    "items": [ITEM],
    "channel": "mail",
    "country": "DE",
    "payment_method": "card",
}
CUSTOMER: Final[Row] = {
    "customer_id": "bad",
    "name": "N",
    "email": "n@example.com",
    "country": "DE",
    "gender": "f",
    "acquisition_channel": "mail",
    "signup_ts": 5,
    "age": 30,
    "premium": True,
    "marketing_opt_in": False,
}
WORDS: Final = {"event_type": "view", "device": "watch", "status": "paid"}
MISSING: Final = object()


def bad_messages(now_ms: int) -> list[BadMessage]:
    """One message of every kind that is no record, for each field it can befall.

    Args:
        now_ms: about the time at which they will be appended; the base records are of an hour before.
    """
    ts = now_ms - HOUR
    bases = {"events": EVENT | {"ts": ts}, "orders": ORDER | {"ts": ts, "updated_ts": ts}, "customers": CUSTOMER}
    result: list[BadMessage] = []
    for topic, base in bases.items():
        result += _bad_bytes(topic, base)
        result += _bad_keys(topic, base)
    changes: list[tuple[str, str, str, Any]] = []
    required = {
        "events": ("event_id", "event_type", "customer_id", "session_id", "ts", "device"),
        "orders": ("order_id", "customer_id", "ts", "updated_ts", "status", "total"),
        "customers": ("customer_id",),
    }
    for topic, names in required.items():
        changes += [(topic, name, "missing", MISSING) for name in names]
        changes += [(topic, name, "null", None) for name in names]
        changes += [(topic, name, "empty", "") for name in names if isinstance(bases[topic][name], str)]
    for topic, base in bases.items():
        for name, value in base.items():
            changes += [(topic, name, "wrong type", wrong) for wrong in _wrong_types(value)]
            changes += [
                (topic, name, "unknown word", w) for w in (WORDS.get(name), str(value).upper()) if name in WORDS
            ]
            if isinstance(value, str) and name not in ("event_type", "device", "status"):
                changes += [(topic, name, "too long", text) for text in _too_long(name)]
    changes += [
        ("orders", f"items.{name}", "too long", text) for name in ("product_id", "category") for text in _too_long(name)
    ]
    changes += [("orders", "items", "too many lines", [ITEM] * (LINES_MAX + 1))]
    for topic, name in (("events", "ts"), ("orders", "ts"), ("orders", "updated_ts")):
        changes += [(topic, name, "time", wrong) for wrong in (0, -1, -(2**63) - 1)]
        changes += [(topic, name, "unit", now_ms // 1_000), (topic, name, "unit", now_ms * 1_000)]
    changes += [("events", "ts", "future", wrong) for wrong in (now_ms + DAY + HOUR, 10**18, 2**63, 10**30)]
    changes += [("orders", "updated_ts", "future", now_ms + DAY + HOUR)]
    for topic, name in (("events", "price"), ("orders", "total"), ("orders", "items.unit_price")):
        changes += [(topic, name, "amount", wrong) for wrong in (-0.01, -1, 1_000_000_000_000.01, 10**13, 1e300)]
    for topic, name in (("events", "quantity"), ("orders", "items.quantity")):
        changes += [(topic, name, "quantity", less) for less in (0, -1, -1.0)]
    for name, value in ITEM.items():
        changes += [("orders", f"items.{name}", "wrong type", wrong) for wrong in _wrong_types(value)]
    lists: tuple[list[Any], ...] = ([None], [5], [[]], ["p"], [ITEM, None])
    changes += [("orders", "items", "wrong type", wrong) for wrong in lists]
    changes += [("orders", "updated_ts", "order window", wrong) for wrong in (ts - 1, 1)]
    result += [_changed(topic, bases[topic], name, kind, value) for topic, name, kind, value in changes]
    old = bases["orders"] | {"ts": ts - 400 * DAY - 1}
    result.append(BadMessage("orders", b"bad", _dump(old), "order window", "updated_ts", "400 days and 1 ms"))
    return result


def _too_long(name: str) -> tuple[str, ...]:
    return tuple((TOO_LONG_ID if name.endswith("_id") else TOO_LONG_TEXT).values())


def _wrong_types(value: Any) -> tuple[Any, ...]:
    if isinstance(value, bool):
        return ("true", 1, [], {})
    if isinstance(value, str):
        return (5, 1.5, True, [], {}, ["x"])
    if isinstance(value, int):
        return ("5", 1.5, True, [], {})
    if isinstance(value, float):
        return ("5", False, [], {})
    return ("x", 5, True, {})


def _changed(topic: str, base: Row, name: str, kind: str, value: Any) -> BadMessage:
    row = dict(base)
    outer, _, inner = name.partition(".")
    if inner:
        row[outer] = [ITEM, ITEM | {inner: value}]
    elif value is MISSING:
        del row[outer]
    else:
        row[outer] = value
    shown = "" if value is MISSING else f" {value!r:.40}"
    # the key goes along with a customer_id that is a string, so that only one thing is wrong
    key = str(row["customer_id"]).encode() if isinstance(row.get("customer_id"), str) else b"bad"
    return BadMessage(topic, key, _dump(row), kind, inner or outer, f"{name} {kind}{shown}")


def _bad_keys(topic: str, base: Row) -> list[BadMessage]:
    keys = (None, b"", b"other", b"BAD", b"bad ", b"bad\x00", b"\xff\xfe", b'"bad"')
    return [BadMessage(topic, key, _dump(base), "key", "customer_id", f"key {key!r}") for key in keys]


def _bad_bytes(topic: str, base: Row) -> list[BadMessage]:
    text = _dump(base).decode()
    inside = text[:-1]
    not_json = {
        "nothing": b"",
        "space": b"  \n",
        "cut short": text[: len(text) // 2].encode(),
        "no end": inside.encode(),
        "a comma too many": f"{inside},}}".encode(),
        "single quotes": text.replace('"', "'").encode(),
        "a comment": f"{text} // end".encode(),
        "more after it": f"{text}x".encode(),
        "two of them": f"{text}{text}".encode(),
        "random": bytes(range(256)),
        "UTF-16": text.encode("utf-16"),
        "Latin-1": f'{inside},"name":"é"}}'.encode("latin-1"),
        "not UTF-8 in a field": text.replace('"DE"', '"D\udcff"').encode("utf-8", "surrogateescape"),
        "not UTF-8 in an unknown field": f'{inside},"x":"\udcff"}}'.encode("utf-8", "surrogateescape"),
        "not UTF-8 in an unknown name": f'{inside},"\udcff":1}}'.encode("utf-8", "surrogateescape"),
        "a bare word": f'{inside},"x":yes}}'.encode(),
        "NaN": f'{inside},"x":NaN}}'.encode(),
        "Infinity": f'{inside},"x":-Infinity}}'.encode(),
        "a leading zero": f'{inside},"x":01}}'.encode(),
        "a line break in a string": f'{inside},"x":"\n"}}'.encode(),
    }
    if topic == "events":
        not_json |= {"NaN as price": text.replace("1.5", "NaN").encode()}
        not_json |= {"Infinity as price": text.replace("1.5", "Infinity").encode()}
    if topic == "orders":
        not_json |= {"NaN as total": text.replace("2.5", "NaN").encode()}
    others = {"null": b"null", "true": b"true", "number": b"5", "string": b'"x"', "list": f"[{text}]".encode()}
    entries = [BadMessage(topic, b"bad", value, "not JSON", "", name) for name, value in not_json.items()]
    entries += [BadMessage(topic, b"bad", value, "not an object", "", name) for name, value in others.items()]
    if topic != "customers":
        entries.append(BadMessage(topic, b"bad", None, "tombstone", "", "no value"))
    return entries


def _dump(row: Row) -> bytes:
    return json.dumps(row, separators=(",", ":")).encode()
