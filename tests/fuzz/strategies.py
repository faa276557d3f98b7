"""Messages that Hypothesis makes, and makes smaller when one of them fails."""

from __future__ import annotations

import json
from typing import Any, Final

from fuzz.corpus import DAY, NOW, Sent
from fuzz.pieces import WORDS
from hypothesis import strategies as st

NAMES: Final = {
    "events": (
        *("event_id", "event_type", "customer_id", "session_id", "ts", "device"),
        *("product_id", "category", "price", "quantity", "channel", "country"),
    ),
    "orders": (
        *("order_id", "customer_id", "ts", "updated_ts", "status", "total"),
        *("session_id", "items", "channel", "country", "payment_method"),
    ),
    "customers": (
        *("customer_id", "name", "email", "country", "gender", "acquisition_channel"),
        *("signup_ts", "age", "premium", "marketing_opt_in"),
    ),
}
ITEM_NAMES: Final = ("product_id", "category", "quantity", "unit_price")

texts = st.text(max_size=6)
ids = st.one_of(st.sampled_from(["c1", "c2", "Zoë", "\n", "\x00"]), st.text(min_size=1, max_size=4))
times = st.one_of(
    st.sampled_from([NOW, NOW + DAY, NOW + DAY + 1, 1, 0, NOW - 400 * DAY, NOW - 400 * DAY - 1]),
    st.integers(-5, 2**70),
    st.floats(),
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**70), 2**70), st.floats(), texts, times,
    st.sampled_from([word for words in WORDS.values() for word in words]),
)  # fmt: skip
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)
items = st.none() | st.lists(st.dictionaries(st.sampled_from(ITEM_NAMES), scalars, max_size=4) | anything, max_size=3)


def _field(name: str) -> st.SearchStrategy[Any]:
    """Mostly what the field should hold, so that a record with one fault is as common as one with ten."""
    right: st.SearchStrategy[Any] = texts | st.none()
    if name in WORDS:
        right = st.sampled_from(WORDS[name])
    elif name.endswith("_id"):
        right = ids
    elif name.endswith("ts"):
        right = st.sampled_from([NOW, float(NOW), NOW + (DAY if name == "updated_ts" else -1)])
    elif name in ("price", "total"):
        right = st.floats(0, 1e12) | st.integers(0, 10**12)
    elif name in ("quantity", "age"):
        right = st.integers(1, 2**64) | st.sampled_from([1.0, 2e10, None])
    elif name == "items":
        right = items
    elif name in ("premium", "marketing_opt_in"):
        right = st.booleans() | st.none()
    return st.integers(0, 19).flatmap(lambda dice: anything if dice == 0 else right)


@st.composite
def _spelling(draw: st.DrawFn, fields: list[tuple[str, Any]]) -> bytes:
    """JSON, or Python's idea of it: NaN, Infinity, halves of surrogate pairs."""
    ascii_only = draw(st.booleans())
    separator = draw(st.sampled_from([":", " : ", "\n:\t"]))
    parts = [
        json.dumps(name, ensure_ascii=ascii_only) + separator + json.dumps(value, ensure_ascii=ascii_only)
        for name, value in fields
    ]
    return ("{" + draw(st.sampled_from([",", " , "])).join(parts) + "}").encode("utf-8", "surrogatepass")


@st.composite
def messages(draw: st.DrawFn, topic: str) -> Sent:
    """A message of a topic: a record or nearly one, changed bytes of one, or bytes that never were one."""
    append_ms = NOW + draw(st.sampled_from([0, 1, -DAY]))
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return Sent(draw(st.none() | st.binary(max_size=4)), draw(st.none() | st.binary(max_size=40)), append_ms)
    fields = [(name, draw(_field(name))) for name in NAMES[topic] if kind != 1 or draw(st.booleans())]
    if draw(st.integers(0, 5)) == 0:
        fields = draw(st.permutations(fields))
    if draw(st.integers(0, 5)) == 0:
        fields += draw(st.lists(st.tuples(st.sampled_from(NAMES[topic]) | texts, anything), max_size=2))
    value = draw(_spelling(fields))
    customer = dict(fields).get("customer_id")
    key = customer.encode("utf-8", "surrogatepass") if isinstance(customer, str) else b"c1"
    if draw(st.integers(0, 14)) == 0:
        key = draw(st.none() | st.binary(max_size=4))
    if kind in (2, 3):
        for _ in range(draw(st.integers(1, 3))):
            position = draw(st.integers(0, len(value)))
            value = value[:position] + draw(st.binary(max_size=3)) + value[position + draw(st.integers(0, 3)) :]
    return Sent(key, value, append_ms)


def batches(topic: str) -> st.SearchStrategy[list[Sent]]:
    """A few messages that are decoded together."""
    return st.lists(messages(topic), min_size=1, max_size=25)
