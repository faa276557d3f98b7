"""The independent judge of a message: the contract's rules read off plain `json`, with nothing of `features`.

It answers for one message what the decoder must answer: the record's values, or that it is no record and why. Numbers
stay text until a rule asks for them, so that no library's idea of an integer or a float is in the way.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

DAY: Final = 86_400_000
INTEGER_LENGTH_MAX: Final = 4_300
"""Digits of an integer and its minus sign; what is longer is no record, since the decoder reads none such."""
INT64_MAX: Final = 2**63 - 1
YEARS: Final = (-62_135_596_800_000, 253_402_300_799_999)
"""The first millisecond of the year 1 and the last of 9999."""
DEPTH_SURE: Final = 500
DEPTH_REFUSED: Final = 50_000
"""Nesting up to the first is read and from the second on refused; between, the interpreter's stack decides."""
AMOUNT_MAX: Final = 1e12
ID_BYTES_MAX: Final = 512
TEXT_BYTES_MAX: Final = 1_024
LINES_MAX: Final = 10_000

EVENT_TYPES: Final = {*("page_view", "search", "product_view", "add_to_cart", "remove_from_cart", "checkout")} | {
    "purchase"
}
DEVICES: Final = {"mobile", "desktop", "tablet"}
STATUSES: Final = {"placed", "cancelled", "refunded", "void"}

_NUMBER: Final = re.compile(r"(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?)(\d+))?")
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)


class Number(str):
    """A number as it is written."""

    __slots__ = ()


@dataclass(frozen=True)
class Refused:
    """No record.

    Attributes:
        why: the rule that it breaks.
    """

    why: str


@dataclass(frozen=True)
class Removed:
    """A tombstone: the profile of this customer goes."""

    customer_id: str


@dataclass(frozen=True)
class Unsure:
    """Nested so deeply that the stack decides."""


Verdict = dict[str, Any] | Refused | Removed | Unsure


class _BrokenError(Exception):
    """A rule is broken."""


def judge(topic: str, value: bytes | None, key: bytes | None, append_ms: int) -> Verdict:
    """What becomes of a message.

    Args:
        topic: `events`, `orders` or `customers`.
        value: of the message.
        key: of the message.
        append_ms: when it was appended, epoch ms.

    Returns:
        The record's fields (all of them, None where one is missing), or why it is none.
    """
    try:
        if value is None:
            return _removed(topic, key)
        text = _utf8(value)
        depth = _depth(text)
        if depth >= DEPTH_REFUSED:
            return Refused("nested too deeply")
        if depth > DEPTH_SURE:
            return Unsure()
        record = _READ[topic](_parsed(text), append_ms)
    except _BrokenError as error:
        return Refused(str(error))
    return record if key == record["customer_id"].encode() else Refused("key")


def plain(value: bytes) -> Any:
    """The JSON of a message; None where it is none."""
    try:
        text = _utf8(value)
        return None if _depth(text) > DEPTH_SURE else _parsed(text)
    except _BrokenError:
        return None


def _removed(topic: str, key: bytes | None) -> Removed:
    if topic != "customers" or not key:
        raise _BrokenError("null value")
    return Removed(_utf8(key))


def _utf8(data: bytes) -> str:
    try:
        return data.decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise _BrokenError("not UTF-8") from None


def _depth(text: str) -> int:
    """The deepest nesting of brackets outside of strings; what it says of text that is no JSON does not matter."""
    if text.count("[") + text.count("{") <= DEPTH_SURE:
        return 0
    depth = deepest = 0
    for bracket in re.findall(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', text, re.DOTALL):
        if bracket in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif bracket in "]}":
            depth -= 1
    return deepest


def _parsed(text: str) -> dict[str, Any]:
    def refuse(_: str) -> None:
        raise _BrokenError("not JSON")

    try:
        result = json.loads(text, parse_int=Number, parse_float=Number, parse_constant=refuse)
    except ValueError:
        raise _BrokenError("not JSON") from None
    # half of a surrogate pair is no character, so what holds it is no UTF-8 text
    if "\\u" in text and _has_half_character(text):
        raise _BrokenError("not UTF-8")
    if type(result) is not dict:
        raise _BrokenError("not an object")
    return result


def _has_half_character(text: str) -> bool:
    """Whether an escape of JSON text is half of a surrogate pair, unknown fields and overwritten ones included."""
    expected = -1
    for escape in _ESCAPE.finditer(text):
        code = int(escape[1] or "0", 16)
        is_first, is_second = 0xD800 <= code < 0xDC00, 0xDC00 <= code < 0xE000
        if is_second != (expected == escape.start()):
            return True
        expected = escape.end() if is_first else -1
        if is_first and text[expected : expected + 2] != "\\u":
            return True
    return False


# --- fields ----------------------------------------------------------------------------------------------------------
def _integer(number: Any, name: str) -> int:
    if type(number) is not Number:
        raise _BrokenError(name)
    sign, whole, fraction, exponent_sign, exponent = _NUMBER.fullmatch(number).groups("")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return 0
    # an exponent longer than this moves the point out of every digit that is written
    power = int(exponent[-20:] or "0") if len(exponent.lstrip("0")) <= 20 else 10**20
    power = (-power if exponent_sign == "-" else power) - len(fraction)
    stored = digits.rstrip("0")
    power += len(digits) - len(stored)
    if power < 0 or len(sign) + len(stored) + power > INTEGER_LENGTH_MAX:
        raise _BrokenError(name)
    size = int(stored) * 10**power
    return -size if sign else size


def _optional_integer(fields: dict[str, Any], name: str, low: int | None, held: tuple[int, int]) -> int | None:
    if fields.get(name) is None:
        return None
    number = _integer(fields[name], name)
    if low is not None and number < low:
        raise _BrokenError(name)
    return min(max(number, held[0]), held[1])


def _amount(fields: dict[str, Any], name: str) -> float:
    number = fields.get(name)
    if type(number) is not Number or not 0.0 <= float(number) <= AMOUNT_MAX:
        raise _BrokenError(name)
    return float(number)


def _optional_amount(fields: dict[str, Any], name: str) -> float | None:
    return None if fields.get(name) is None else _amount(fields, name)


def _text(fields: dict[str, Any], name: str, words: set[str] | None = None) -> str:
    """A non-empty string: one of the words, or an id."""
    result = _optional_text(fields, name)
    if not result or (words is not None and result not in words):
        raise _BrokenError(name)
    return result


def _optional_text(fields: dict[str, Any], name: str) -> str | None:
    result = fields.get(name)
    if result is None:
        return None
    if type(result) is not str:
        raise _BrokenError(name)
    if len(result.encode()) > (ID_BYTES_MAX if name.endswith("_id") else TEXT_BYTES_MAX):
        raise _BrokenError(f"{name} too long")
    return result


def _time(fields: dict[str, Any], name: str, append_ms: int) -> int:
    time = _integer(fields.get(name), name)
    if time < 1 or time > append_ms + DAY or _is_of_another_unit(time, append_ms):
        raise _BrokenError(name)
    return time


def _is_of_another_unit(time: int, append_ms: int) -> bool:
    """Whether the number is a time from 1990 on in seconds, minutes, hours, days, or in µs or ns."""
    units = [Fraction(1_000), Fraction(60_000), Fraction(3_600_000), Fraction(DAY), Fraction(1, 1_000)]
    units.append(Fraction(1, 1_000_000))
    return any(631_152_000_000 <= int(time * unit) <= append_ms + DAY for unit in units)


def _flag(fields: dict[str, Any], name: str) -> bool | None:
    result = fields.get(name)
    if result is not None and type(result) is not bool:
        raise _BrokenError(name)
    return result


# --- records ---------------------------------------------------------------------------------------------------------
def _event(fields: dict[str, Any], append_ms: int) -> dict[str, Any]:
    return {
        "event_id": _text(fields, "event_id"),
        "event_type": _text(fields, "event_type", EVENT_TYPES),
        "customer_id": _text(fields, "customer_id"),
        "session_id": _text(fields, "session_id"),
        "ts": _time(fields, "ts", append_ms),
        "device": _text(fields, "device", DEVICES),
        "product_id": _optional_text(fields, "product_id"),
        "category": _optional_text(fields, "category"),
        "price": _optional_amount(fields, "price"),
        "quantity": _optional_integer(fields, "quantity", 1, (1, INT64_MAX)),
        "channel": _optional_text(fields, "channel"),
        "country": _optional_text(fields, "country"),
    }


def _order(fields: dict[str, Any], append_ms: int) -> dict[str, Any]:
    ts, updated_ts = _time(fields, "ts", append_ms), _time(fields, "updated_ts", append_ms)
    if not ts <= updated_ts <= ts + 400 * DAY:
        raise _BrokenError("updated_ts")
    items = fields.get("items")
    if items is not None and type(items) is not list:
        raise _BrokenError("items")
    if items is not None and len(items) > LINES_MAX:
        raise _BrokenError("too many items")
    return {
        "order_id": _text(fields, "order_id"),
        "customer_id": _text(fields, "customer_id"),
        "ts": ts,
        "updated_ts": updated_ts,
        "status": _text(fields, "status", STATUSES),
        "total": _amount(fields, "total"),
        "session_id": _optional_text(fields, "session_id"),
        "items": None if items is None else [_item(item) for item in items],
        "channel": _optional_text(fields, "channel"),
        "country": _optional_text(fields, "country"),
        "payment_method": _optional_text(fields, "payment_method"),
    }


def _item(fields: Any) -> dict[str, Any]:
    if type(fields) is not dict:
        raise _BrokenError("items")
    return {
        "product_id": _optional_text(fields, "product_id"),
        "category": _optional_text(fields, "category"),
        "quantity": _optional_integer(fields, "quantity", 1, (1, INT64_MAX)),
        "unit_price": _optional_amount(fields, "unit_price"),
    }


def _customer(fields: dict[str, Any], append_ms: int) -> dict[str, Any]:
    if fields.get("signup_ts") is not None and _is_of_another_unit(
        _integer(fields["signup_ts"], "signup_ts"), append_ms
    ):
        raise _BrokenError("signup_ts")
    return {
        "customer_id": _text(fields, "customer_id"),
        **{
            name: _optional_text(fields, name) for name in ("name", "email", "country", "gender", "acquisition_channel")
        },
        "signup_ts": _optional_integer(fields, "signup_ts", None, YEARS),
        "age": _optional_integer(fields, "age", None, (-INT64_MAX, INT64_MAX)),
        "premium": _flag(fields, "premium"),
        "marketing_opt_in": _flag(fields, "marketing_opt_in"),
    }


_READ: Final = {"events": _event, "orders": _order, "customers": _customer}
