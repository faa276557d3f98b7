"""The words of the system: records, topics, indices, times and bounds. Every other module imports them from here.

The rule of this file: a field, a bound or a name stands here once; Arrow schemas, Elasticsearch mappings, decoders and
tables are derived from it.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
import pyarrow as pa
from msgspec import Meta

from features.errors import UsageError

SCHEMA_VERSION: Final = 2
"""Part of every checkpoint and model bundle; raised when the meaning of stored state or of a feature changes."""

# --- time -----------------------------------------------------------------------------------------------------------
SECOND_MS: Final = 1_000
HOUR_MS: Final = 3_600 * SECOND_MS
DAY_MS: Final = 24 * HOUR_MS

ABANDONED_AFTER_MS: Final = 1_800_000
"""A cart without a purchase is abandoned this long after the last event; importers cut sessions at this gap."""
FUTURE_MS_MAX: Final = DAY_MS
"""A time further ahead of the record's append time is invalid."""
ORDER_CHANGE_MS_MAX: Final = 400 * DAY_MS
"""Longest time between placing an order and its last change."""
EVENT_LATENESS_MS: Final = 48 * HOUR_MS
ORDER_LATENESS_MS: Final = 402 * DAY_MS
SESSION_RETENTION_MS: Final = 93 * DAY_MS
TS_MAX: Final = 253_402_300_799_999
"""The end of the year 9999: the last millisecond that every date type on the way can hold."""

# --- money ----------------------------------------------------------------------------------------------------------
AMOUNT_MAX: Final = 1e12

# --- bounds of a record -----------------------------------------------------------------------------------------------
ID_BYTES_MAX: Final = 512
"""Most bytes of UTF-8 of an id."""
TEXT_BYTES_MAX: Final = 1_024
"""Most bytes of UTF-8 of any other text."""
ORDER_LINES_MAX: Final = 10_000
"""Most lines of an order. What the three bounds mean for a document: docs/features.md."""

# --- vocabularies ---------------------------------------------------------------------------------------------------
EventType = Literal["page_view", "search", "product_view", "add_to_cart", "remove_from_cart", "checkout", "purchase"]
Device = Literal["mobile", "desktop", "tablet"]
Status = Literal["placed", "cancelled", "refunded"]
Stage = Literal["visit", "view", "cart", "checkout", "purchase"]

EVENT_TYPES: Final[tuple[str, ...]] = typing.get_args(EventType)
DEVICES: Final[tuple[str, ...]] = typing.get_args(Device)
STATUSES: Final[tuple[str, ...]] = typing.get_args(Status)
"""In the order that breaks a tie between records of equal updated_ts: the later one wins."""
STAGES: Final[tuple[str, ...]] = typing.get_args(Stage)
STAGE_EVENT: Final = {"view": "product_view", "cart": "add_to_cart", "checkout": "checkout", "purchase": "purchase"}
"""The event type that takes a session to each stage after `visit`."""

# --- records on the wire ---------------------------------------------------------------------------------------------
# A decoder counts the characters of `max_length`. They are at most as many as the bytes, and `records/rejections.py`
# counts the bytes: a `max_length` of a string is a bound in bytes everywhere.
Id = Annotated[str, Meta(min_length=1, max_length=ID_BYTES_MAX)]
OptionalId = Annotated[str, Meta(max_length=ID_BYTES_MAX)]
Text = Annotated[str, Meta(max_length=TEXT_BYTES_MAX)]
Millis = Annotated[int, Meta(ge=1)]
Amount = Annotated[float, Meta(ge=0, le=AMOUNT_MAX)]
Quantity = Annotated[int, Meta(ge=1)]


class Event(msgspec.Struct, gc=False, frozen=True, omit_defaults=True):
    """One click, as it stands on the topic of events."""

    event_id: Id
    event_type: EventType
    customer_id: Id
    session_id: Id
    ts: Millis
    device: Device
    product_id: OptionalId | None = None
    category: Text | None = None
    price: Amount | None = None
    quantity: Quantity | None = None
    channel: Text | None = None
    country: Text | None = None


class Item(msgspec.Struct, gc=False, frozen=True):
    """One line of an order."""

    product_id: OptionalId | None = None
    category: Text | None = None
    quantity: Quantity | None = None
    unit_price: Amount | None = None


class Order(msgspec.Struct, gc=False, frozen=True):
    """One change of an order; the record with the highest updated_ts wins."""

    order_id: Id
    customer_id: Id
    ts: Millis
    updated_ts: Millis
    status: Status
    total: Amount
    session_id: OptionalId | None = None
    items: Annotated[list[Item], Meta(max_length=ORDER_LINES_MAX)] | None = None
    channel: Text | None = None
    country: Text | None = None
    payment_method: Text | None = None


class Customer(msgspec.Struct, frozen=True):
    """A customer's profile: a dimension, joined to what is indexed."""

    customer_id: Id
    name: Text | None = None
    email: Text | None = None
    country: Text | None = None
    gender: Text | None = None
    acquisition_channel: Text | None = None
    signup_ts: int | None = None
    age: int | None = None
    premium: bool | None = None
    marketing_opt_in: bool | None = None


CONTACT_FIELDS: Final = ("name", "email")
"""Personal contact data: never in an index unless asked for, never in a log."""

RECORD_TYPES: Final[dict[str, type[msgspec.Struct]]] = {"events": Event, "orders": Order, "customers": Customer}
"""Source topic (without the run's prefix) -> the record that stands on it."""

# --- names of a run ---------------------------------------------------------------------------------------------------
DEFAULT_RUN: Final = "shop"
RUN_NAME_CHARS_MAX: Final = 64
RUN_NAME_PATTERN: Final = "[a-z0-9][a-z0-9_-]*"
"""A run is a part of the names of topics, groups, indices and folders: what all of them take."""
SOURCE_TOPICS: Final = ("events", "orders", "customers")
FEATURE_TOPIC: Final = "customer-features"
ALERT_TOPIC: Final = "alerts"
DEAD_LETTER_TOPIC: Final = "dead-letter"
REPLAYED_TOPIC: Final = "dead-letter-replays"
"""Remembers which letters were sent back."""
COMPACTED_TOPICS: Final = ("customers", FEATURE_TOPIC)


def check_run(run: str) -> str:
    """`run`, when topics, groups and indices may be named after it.

    Raises:
        UsageError: it may not.
    """
    if len(run) > RUN_NAME_CHARS_MAX or not re.fullmatch(RUN_NAME_PATTERN, run, re.ASCII):
        raise UsageError(
            f"The run name {run!r} is not allowed.",
            f"Use up to {RUN_NAME_CHARS_MAX} small letters, digits, `-` and `_`, beginning with a letter or digit.",
        )
    return run


def topic_name(run: str, topic: str) -> str:
    """`shop.events` for run `shop` and topic `events`."""
    return f"{run}.{topic}"


def index_name(run: str, index: str) -> str:
    """`shop-customers` for run `shop` and index `customers`."""
    return f"{run}-{index}"


def group_name(run: str, role: str) -> str:
    """Consumer group of a role of a run: `shop-features`."""
    return f"{run}-{role}"


GROUPS: Final = ("features", "index", "archive", "recount", "ends", "position", "spark", "forget")
"""What consumer groups of a run are called, without the run: those of its roles and of commands that only look."""


def transaction_prefix(run: str) -> str:
    """How the ids of the transactions begin that write rows of a run: `shop-features-`."""
    return f"{run}-features-"


# --- documents --------------------------------------------------------------------------------------------------------
FieldKind = Literal["string", "strings", "text", "int", "float", "bool", "time", "items"]


@dataclass(frozen=True, slots=True)
class Field:
    """A named, typed field of a record or document. `time` is epoch milliseconds, UTC; `strings` a list of them."""

    name: str
    kind: FieldKind
    required: bool = False


def _kind(name: str, annotation: object) -> FieldKind:
    if name == "ts" or name.endswith("_ts"):
        return "time"
    origin = typing.get_origin(annotation)
    if origin in (types.UnionType, typing.Union):
        (inner,) = (a for a in typing.get_args(annotation) if a is not type(None))
        return _kind(name, inner)
    if origin is Annotated:
        return _kind(name, typing.get_args(annotation)[0])
    if origin is Literal:
        return "string"
    if origin is list:
        return "strings" if typing.get_args(annotation) == (str,) else "items"
    kinds: dict[object, FieldKind] = {str: "string", int: "int", float: "float", bool: "bool"}
    return kinds[annotation]


def record_fields(record: type[msgspec.Struct]) -> tuple[Field, ...]:
    """The fields of a record type, in the order of their declaration."""
    hints = typing.get_type_hints(record, include_extras=True)
    required = {f.name for f in msgspec.structs.fields(record) if f.required}
    return tuple(Field(name, _kind(name, hint), name in required) for name, hint in hints.items())


STEP_SECONDS: Final = {
    "to_view_s": ("start_ts", "view_ts"),
    "view_to_cart_s": ("view_ts", "cart_ts"),
    "cart_to_checkout_s": ("cart_ts", "checkout_ts"),
    "checkout_to_purchase_s": ("checkout_ts", "purchase_ts"),
    "to_purchase_s": ("start_ts", "purchase_ts"),
}
"""Field of a session's document -> the two times between which it tells the seconds; null where one of them is
missing, or the second comes before the first."""

SESSION_FIELDS: Final[tuple[Field, ...]] = (
    Field("customer_id", "string", required=True),
    Field("session_id", "string", required=True),
    Field("start_ts", "time", required=True),
    Field("last_ts", "time", required=True),
    Field("duration_s", "float", required=True),
    Field("events", "int", required=True),
    *(Field(f"n_{event_type}", "int", required=True) for event_type in EVENT_TYPES),
    Field("device", "string", required=True),
    Field("channel", "string"),
    Field("country", "string"),
    Field("category", "string"),
    Field("stage", "string", required=True),
    *(Field(f"{stage}_ts", "time") for stage in STAGES[1:]),
    *(Field(name, "float") for name in STEP_SECONDS),
    Field("converted", "bool", required=True),
    Field("abandoned", "bool", required=True),
)
"""A document of `shop-sessions`. channel and country are those of the earliest event, like device; category is the one
with most product views (a tie: the smallest in byte order)."""

ORDER_FIELDS: Final[tuple[Field, ...]] = (
    *(field for field in record_fields(Order) if field.kind != "items"),
    Field("items", "int", required=True),
)
"""A document of `shop-orders-YYYY.MM`: the winning record; `items` is the number of its lines."""

ORDER_ITEM_FIELDS: Final[tuple[Field, ...]] = (
    Field("order_id", "string", required=True),
    Field("line", "int", required=True),
    Field("customer_id", "string", required=True),
    Field("ts", "time", required=True),
    Field("status", "string", required=True),
    *record_fields(Item),
    Field("amount", "float"),
    Field("channel", "string"),
    Field("country", "string"),
)
"""A document of `shop-order-items-YYYY.MM`: one line. `amount` is quantity x unit_price; status `void` marks a line
that the order's newest record no longer has."""

VOID_STATUS: Final = "void"

FORECAST_FIELDS: Final[tuple[Field, ...]] = (
    Field("ts", "time", required=True),
    Field("day", "string", required=True),
    Field("level", "string", required=True),
    Field("category", "string", required=True),
    Field("revenue", "float"),
    Field("forecast", "float"),
    *(Field(f"{side}_{level}", "float") for level in (80, 95) for side in ("low", "high")),
    Field("model", "string"),
)
"""A document of `shop-forecast`: a UTC day of the total or of a category (`level`), from its start `ts`. A day that is
known has `revenue`; a day to come has forecast, bounds of its 80 and 95 % intervals, and the model's name."""

SEGMENT_DAY_FIELDS: Final[tuple[Field, ...]] = (
    Field("ts", "time", required=True),
    Field("day", "string", required=True),
    Field("segment", "string", required=True),
    Field("country", "string", required=True),
    Field("channel", "string", required=True),
    Field("customers", "int", required=True),
    Field("revenue", "float", required=True),
    Field("churn_sum", "float", required=True),
    Field("churn_customers", "int", required=True),
    Field("in_training", "bool", required=True),
    Field("complete", "bool", required=True),
)
"""A document of `shop-segments-daily`: the customers in a segment at the end of a UTC day, what they bought on it, and
the sum of the churn probabilities of those who have one (`churn_customers`)."""

COHORT_FIELDS: Final[tuple[Field, ...]] = (
    Field("ts", "time", required=True),
    Field("cohort", "string", required=True),
    Field("months_since", "int", required=True),
    Field("month", "string", required=True),
    Field("country", "string", required=True),
    Field("channel", "string", required=True),
    Field("customers", "int", required=True),
    Field("active", "int", required=True),
    Field("orders", "int", required=True),
    Field("revenue", "float", required=True),
    Field("complete", "bool", required=True),
)
"""A document of `shop-cohorts`: of the customers whose first order was in the month `cohort`, those who ordered in the
month that begins at `ts`."""

MOVEMENT_FIELDS: Final[tuple[Field, ...]] = (
    Field("ts", "time", required=True),
    Field("week", "string", required=True),
    *(Field(name, "int", required=True) for name in ("new", "returning", "reactivated", "lost")),
    Field("active", "int", required=True),
    Field("lost_after_days", "int", required=True),
    Field("complete", "bool", required=True),
)
"""A document of `shop-movement`: customers of the week that begins on the Monday `ts`. A customer is `lost` when
`lost_after_days` have passed without an order, `active` (at the end of the week) until then, `reactivated` by an order
afterwards, `returning` by any other that is not the first."""

TREND_KEYS: Final = {
    "segments-daily": ("day", "segment", "country", "channel"),
    "cohorts": ("cohort", "month", "country", "channel"),
    "movement": ("week",),
    "forecast": ("level", "category", "day"),
}
"""Index of what is computed from an archive -> the fields that its documents are told apart by."""

NOT_KNOWN: Final = "(none)"
"""Stands in trends where a segment, country, channel or category is not known, so that sums over values are whole."""
ALL_CATEGORIES: Final = "(all)"
"""The category of a forecast of the total."""

# --- the archive ------------------------------------------------------------------------------------------------------
DAY_COLUMN: Final = {"events": "ts", "orders": "updated_ts"}
"""Topic kept in folders by day -> the column whose UTC day names the folder."""
CUSTOMERS_FILE: Final = "customers.parquet"

ITEM_ARROW: Final = pa.struct(
    [("product_id", pa.string()), ("category", pa.string()), ("quantity", pa.int64()), ("unit_price", pa.float64())]
)

_ARROW: Final[dict[str, Callable[[], Any]]] = {
    "string": pa.string,
    "strings": lambda: pa.list_(pa.string()),
    "text": pa.string,
    "int": pa.int64,
    "float": pa.float64,
    "bool": pa.bool_,
    "time": lambda: pa.timestamp("ms", tz="UTC"),
    "items": lambda: pa.list_(ITEM_ARROW),
}


def arrow_schema(record: type[msgspec.Struct]) -> pa.Schema:
    """The Parquet columns of a record type in the archive: times as timestamp[ms, UTC], money as float64."""
    return pa.schema([pa.field(f.name, _ARROW[f.kind](), nullable=not f.required) for f in record_fields(record)])
