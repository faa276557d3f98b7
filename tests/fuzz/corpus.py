"""Messages from a seed: valid records in every spelling, and what becomes of them when fields and bytes go wrong.

A record is a list of names and values as they will stand in the JSON, so that a change can break whatever it likes.
Most messages of a corpus come from here, since numpy makes a hundred thousand in seconds; `fuzz.strategies` has those
that Hypothesis can make smaller when one of them fails.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from fuzz.pieces import (
    CUSTOMERS,
    DEPTHS,
    LARGE_BYTES,
    NOT_SPACES,
    NOT_VALUES,
    NUMBERS,
    OTHERS,
    SNIPPETS,
    SPACES,
    STRINGS,
    TEXTS,
    TOO_DEEP,
    WORDS,
)

TOPICS: Final = ("events", "orders", "customers")
NOW: Final = 1_700_000_000_000
DAY: Final = 86_400_000
MARK: Final = "s3cr3t"
"""Stands in names and e-mail addresses, which no reason may tell."""
BATCH_SIZES: Final = (1, 1, 2, 3, 7, 50, 333, 1_999, 2_000, 2_001, 4_100)
"""Around the decoder's chunk of 2,000, and far from it."""


@dataclass(frozen=True)
class Sent:
    """A message as a consumer gets it."""

    key: bytes | None
    value: bytes | None
    append_ms: int


Fields = list[tuple[bytes, bytes]]
"""Names and values as they stand in the JSON."""


def _json(value: Any, *, ascii_only: bool = False) -> bytes:
    return json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":")).encode()


class Mint:
    """Makes messages of one topic.

    Args:
        topic: `events`, `orders` or `customers`.
        rng: decides everything.
    """

    def __init__(self, topic: str, rng: np.random.Generator) -> None:
        self.topic, self.rng = topic, rng
        self._made = 0
        self._last = b"{}"

    def pick(self, options: Sequence[Any]) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    # --- valid records ---

    def record(self, append_ms: int) -> dict[str, Any]:
        """The fields of a valid record; its times lie on the borders of what is valid, and far from them."""
        self._made += 1
        record = {"customer_id": self.pick(CUSTOMERS)}
        ts = append_ms + int(self.pick((DAY, DAY - 1, 0, -1, -DAY, -DAY * 30, -self._made)))
        return record | {"events": self._event, "orders": self._order, "customers": self._profile}[self.topic](ts)

    def _event(self, ts: int) -> dict[str, Any]:
        return {
            "event_id": f"e{self._made}",
            "event_type": self.pick(WORDS["event_type"]),
            "session_id": f"s{self._made % 7}",
            "ts": ts,
            "device": self.pick(WORDS["device"]),
            "product_id": f"p{self._made % 5}",
            "category": self.pick(TEXTS),
            "price": self._made / 100,
            "quantity": 1 + self._made % 3,
            "channel": self.pick((None, "mail")),
            "country": self.pick((None, "DE", "")),
        }

    def _order(self, updated_ts: int) -> dict[str, Any]:
        item = {"product_id": "p", "category": self.pick(TEXTS), "quantity": 2, "unit_price": 9.5}
        return {
            "order_id": f"o{self._made}",
            "session_id": self.pick((None, "s")),
            "ts": updated_ts - int(self.pick((0, 0, 1, 400 * DAY, DAY))),
            "updated_ts": updated_ts,
            "status": self.pick(WORDS["status"]),
            "total": self._made / 100,
            "items": self.pick((None, [], [item], [item, {}], [item] * 3)),
            "channel": None,
            "country": "DE",
            "payment_method": "card",
        }

    def _profile(self, signup_ts: int) -> dict[str, Any]:
        return {
            "name": f"{MARK} {self._made}",
            "email": f"{MARK}{self._made}@example.com",
            "country": self.pick(TEXTS),
            "gender": "f",
            "acquisition_channel": "mail",
            "signup_ts": signup_ts,
            "age": self._made % 90,
            "premium": self.chance(0.5),
            "marketing_opt_in": None,
        }

    def fields(self, record: dict[str, Any]) -> Fields:
        """A record in one of its many spellings."""
        ascii_only = self.chance(0.3)
        entries = [
            (_json(name), self.respelled(value, ascii_only))
            for name, value in record.items()
            if value is not None or self.chance(0.5)
        ]
        if self.chance(0.2):
            entries = [entries[n] for n in self.rng.permutation(len(entries))]
        if self.chance(0.15):
            entries.insert(
                int(self.rng.integers(len(entries) + 1)), (b'"utm"', self.pick((*OTHERS, *STRINGS, *NUMBERS)))
            )
        return entries

    def respelled(self, value: Any, ascii_only: bool) -> bytes:
        plain = _json(value, ascii_only=ascii_only)
        if type(value) is int and self.chance(0.1):
            return plain + self.pick((b".0", b"e0", b".000", b"E+0", b"0e-1", b".0e0"))
        if type(value) is float and value.is_integer() and self.chance(0.5):
            return b"%d" % int(value)
        return plain

    def joined(self, fields: Fields) -> bytes:
        """The fields as an object, with spaces wherever they may stand."""
        if self.chance(0.8):
            return b"{" + b",".join(name + b":" + value for name, value in fields) + b"}"
        space = self.pick(SPACES)
        inside = (space + b"," + space).join(name + space + b":" + space + value for name, value in fields)
        return space + b"{" + space + inside + space + b"}" + space

    # --- changes of fields ---

    def value(self) -> bytes:
        """A JSON value, or what is almost one."""
        kind = self.rng.random()
        if kind < 0.3:
            return self.pick(NUMBERS)
        if kind < 0.45:
            return self.pick(STRINGS)
        if kind < 0.65:
            return self.pick(OTHERS)
        if kind < 0.95:
            return self.pick(NOT_VALUES)
        return self.nested(int(self.pick(DEPTHS)))

    def nested(self, depth: int) -> bytes:
        if self.chance(0.5):
            return b"[" * depth + b"1" + b"]" * depth
        return b'{"a":' * depth + b"[]" + b"}" * depth

    def changed(self, fields: Fields) -> Fields:
        """The fields with one thing about one of them changed."""
        fields = list(fields)
        at = int(self.rng.integers(len(fields)))
        name, value = fields[at]
        match int(self.rng.integers(9)):
            case 0 | 1 | 2:
                fields[at] = (name, self.value())
            case 3:
                del fields[at]
            case 4:  # a key that stands twice: the last counts
                fields.insert(int(self.rng.integers(len(fields) + 1)), (name, self.pick((value, self.value()))))
            case 5:  # the same name with an escape
                fields[at] = (b'"\\u%04x' % ord(name[1:2] or b"x") + name[2:], value)
            case 6:
                fields[at] = (
                    self.pick((name.upper(), name[:-1] + b' "', b'"\\u0000"', b"5", b"null", b"", name[1:-1])),
                    value,
                )
            case 7:
                fields.insert(at, (self.pick((b'"x"', b'"\xff"', b'"\\ud800"', b'""', b'"\\u0000"')), self.value()))
            case _:
                fields[at] = (name, self.pick(SPACES + NOT_SPACES) + value)
        return fields or [(b'"x"', b"1")]

    # --- changes of bytes ---

    def mutated(self, value: bytes) -> bytes:
        """The bytes with a few of them cut, changed, put in, doubled or moved."""
        for _ in range(1 + int(self.rng.integers(3))):
            position = int(self.rng.integers(len(value) + 1))
            stop = min(len(value), position + int(self.pick((1, 1, 2, 5, 40))))
            match int(self.rng.integers(9)):
                case 0:
                    value = value[:position]
                case 1:
                    value = value[:position] + value[stop:]
                case 2:
                    value = value[:position] + self.pick(SNIPPETS) + value[position:]
                case 3:
                    value = value[:position] + self.pick(SNIPPETS) + value[stop:]
                case 4:
                    value = value[:position] + bytes([int(self.rng.integers(256))]) + value[position + 1 :]
                case 5 if position < len(value):
                    value = (
                        value[:position]
                        + bytes([value[position] ^ (1 << int(self.rng.integers(8)))])
                        + value[position + 1 :]
                    )
                case 6:
                    value = value[:stop] + value[position:]
                case 7:
                    value = value[:position] + self._last[position:]
                case _:
                    value = (
                        value[position:] + value[:position] if self.chance(0.1) else value[:stop] + b" " + value[stop:]
                    )
        return value

    # --- messages ---

    def message(self) -> Sent:
        """The next one."""
        append_ms = NOW + int(self.rng.integers(1_000))
        record = self.record(append_ms)
        key: bytes | None = record["customer_id"].encode()
        fields = self.fields(record)
        kind = self.rng.random()
        if kind < 0.3:
            value: bytes | None = self.joined(fields)
        elif kind < 0.65:
            for _ in range(int(self.pick((1, 1, 1, 2, 4)))):
                fields = self.changed(fields)
            value = self.joined(fields)
        elif kind < 0.95:
            value = self.mutated(self.joined(fields))
        else:
            key, value = self._rare(key, fields, append_ms)
        self._last = value[:5_000] if value else b"{}"
        return Sent(key, value, append_ms)

    def _rare(self, key: bytes | None, fields: Fields, append_ms: int) -> tuple[bytes | None, bytes | None]:
        whole = self.joined(fields)
        match int(self.rng.integers(12)):
            case 0:
                return self.pick((key, key, None, b"", b"\xff", b"\x00")), None
            case 1 | 2:
                keys = (None, b"", key + b" ", key[:-1], b"\xff" + key, key.upper(), b'"' + key + b'"', key + b"\x00")
                return self.pick(keys), whole
            case 3:
                return key, self.pick(
                    (b"", b" ", b"\x00", b"null", b"[]", b"{}", b"5", b'"x"', b"\xef\xbb\xbf", b"true")
                )
            case 4:
                return key, self.rng.bytes(int(self.rng.integers(200)))
            case 5:
                return key, self.pick(
                    (b"\xef\xbb\xbf" + whole, whole + b"\n", whole * 2, b"[" + whole + b"]", whole + b"\x00")
                )
            case 6:
                return key, whole.decode().encode(self.pick(("utf-16", "utf-32", "utf-16-le", "utf-7")))
            case 7:
                return key, self.joined([*fields, (b'"x"', self.nested(int(self.pick(DEPTHS))))])
            case 8:
                fields = [*fields, (b'"x"', self.nested(TOO_DEEP))] if self.chance(0.1) else fields
                return key, self.joined(fields)
            case 9:
                return key, self._edge_of_time(append_ms)[1]
            case 10:
                return key, whole.replace(b'"', b"'") if self.chance(0.5) else whole.replace(b":", b"=")
            case _:
                return key, self.large(fields) if self.chance(0.05) else whole

    def _edge_of_time(self, append_ms: int) -> tuple[bytes, bytes]:
        record = self.record(append_ms)
        name = {"events": "ts", "orders": "updated_ts", "customers": "signup_ts"}[self.topic]
        record[name] = append_ms + int(self.pick((DAY + 1, DAY, 400 * DAY, -append_ms, 1 - append_ms)))
        return record["customer_id"].encode(), self.joined(self.fields(record))

    def large(self, fields: Fields) -> bytes:
        """A message of 5 MB, valid or not."""
        padding = self.pick(
            (
                b'"' + b"z" * LARGE_BYTES + b'"',
                b"[" + (b'"' + b"y" * 1_000 + b'",') * 5_000 + b"0]",
                b" " * LARGE_BYTES + b"1",
            )
        )
        fields = [*fields, (b'"x"', padding)]
        if self.chance(0.3):
            # in a field that counts: one that makes a reason of it
            fields.append((b'"customer_id"', padding))
        return self.joined(fields)[: -1 if self.chance(0.2) else None]


def messages(topic: str, seed: int) -> Iterator[Sent]:
    """The messages of a seed, without end."""
    mint = Mint(topic, np.random.default_rng([seed, TOPICS.index(topic)]))
    while True:
        yield mint.message()


def batches(topic: str, seed: int, count: int) -> Iterator[list[Sent]]:
    """The first `count` messages of a seed in batches of mixed size."""
    rng, sent = np.random.default_rng(seed), messages(topic, seed)
    while count:
        size = min(count, int(rng.choice(BATCH_SIZES)))
        yield list(itertools.islice(sent, size))
        count -= size
