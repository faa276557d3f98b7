"""Defines the vocabulary of the system: records, topics, indices, times and bounds. All other modules import it.

Each field, bound and name is defined here once. Arrow schemas, Elasticsearch mappings, decoders and tables are derived
from it.
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

SCHEMA_VERSION: Final = 3
"""Part of every checkpoint and model bundle; increased when the meaning of stored state or of a feature changes."""

# --- time -----------------------------------------------------------------------------------------------------------
SECOND_MS: Final = 1_000
HOUR_MS: Final = 3_600 * SECOND_MS
DAY_MS: Final = 24 * HOUR_MS

ABANDONED_AFTER_MS: Final = 1_800_000
"""Time after the last event at which a cart without a purchase is abandoned. Importers split sessions at this gap."""
FUTURE_MS_MAX: Final = DAY_MS
"""Most milliseconds that a time may be ahead of the record's append time."""
ORDER_CHANGE_MS_MAX: Final = 400 * DAY_MS
"""Longest time between placing an order and its last change."""
EVENT_LATENESS_MS: Final = 48 * HOUR_MS
ORDER_LATENESS_MS: Final = 402 * DAY_MS
SESSION_RETENTION_MS: Final = 93 * DAY_MS
TS_MAX: Final = 253_402_300_799_999
"""End of the year 9999: the last millisecond that every date type in the system can hold."""

# --- money ----------------------------------------------------------------------------------------------------------
AMOUNT_MAX: Final = 1e12

# --- bounds of a record -----------------------------------------------------------------------------------------------
ID_BYTES_MAX: Final = 512
"""Most bytes of UTF-8 of an id."""
TEXT_BYTES_MAX: Final = 1_024
"""Most bytes of UTF-8 of any other text."""
ORDER_LINES_MAX: Final = 10_000
"""Most lines of an order. docs/features.md describes the effect of the three bounds on documents."""

# --- vocabularies ---------------------------------------------------------------------------------------------------
EventType = Literal["page_view", "search", "product_view", "add_to_cart", "remove_from_cart", "checkout", "purchase"]
Device = Literal["mobile", "desktop", "tablet"]
Status = Literal["placed", "cancelled", "refunded", "void"]
Stage = Literal["visit", "view", "cart", "checkout", "purchase"]

EVENT_TYPES: Final[tuple[str, ...]] = typing.get_args(EventType)
DEVICES: Final[tuple[str, ...]] = typing.get_args(Device)
STATUSES: Final[tuple[str, ...]] = typing.get_args(Status)
"""Statuses in the order that breaks a tie between records of equal updated_ts: the later status wins."""
RETURNED_STATUSES: Final = ("cancelled", "refunded")
VOID_STATUS: Final = "void"
"""Status of an order that the customer does not have, or has no longer, and of a line that its order has no longer."""
STAGES: Final[tuple[str, ...]] = typing.get_args(Stage)
STAGE_EVENT: Final = {"view": "product_view", "cart": "add_to_cart", "checkout": "checkout", "purchase": "purchase"}
"""Event type that moves a session to each stage after `visit`."""

# --- records on the wire ---------------------------------------------------------------------------------------------
# Decoders count characters for `max_length`, never more than the bytes. `records/rejections.py` counts the bytes, so
# the `max_length` of a string is a bound in bytes everywhere.
Id = Annotated[str, Meta(min_length=1, max_length=ID_BYTES_MAX)]
OptionalId = Annotated[str, Meta(max_length=ID_BYTES_MAX)]
Text = Annotated[str, Meta(max_length=TEXT_BYTES_MAX)]
Millis = Annotated[int, Meta(ge=1)]
Amount = Annotated[float, Meta(ge=0, le=AMOUNT_MAX)]
Quantity = Annotated[int, Meta(ge=1)]


class Event(msgspec.Struct, gc=False, frozen=True, omit_defaults=True):
    """One click, as on the events topic."""

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
    """One change of an order, which is identified by customer_id and order_id. The highest updated_ts wins."""

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
    """A customer's profile: a dimension that is joined to indexed documents."""

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
"""Personal contact data: indexed only on request, never logged."""

RECORD_TYPES: Final[dict[str, type[msgspec.Struct]]] = {"events": Event, "orders": Order, "customers": Customer}
"""Source topic (without the run's prefix) -> its record type."""

# --- names of a run ---------------------------------------------------------------------------------------------------
DEFAULT_RUN: Final = "shop"
RUN_NAME_CHARS_MAX: Final = 64
RUN_NAME_PATTERN: Final = "[a-z0-9][a-z0-9_-]*"
"""Pattern of a run name that is valid in the names of topics, groups, indices and folders."""
SOURCE_TOPICS: Final = ("events", "orders", "customers")
FEATURE_TOPIC: Final = "customer-features"
ALERT_TOPIC: Final = "alerts"
DEAD_LETTER_TOPIC: Final = "dead-letter"
REPLAYED_TOPIC: Final = "dead-letter-replays"
"""Topic that records which dead letters were replayed."""
COMPACTED_TOPICS: Final = ("customers", FEATURE_TOPIC)


def check_run(run: str) -> str:
    """Return `run` if topics, groups and indices may be named after it.

    Raises:
        UsageError: the name is not allowed.
    """
    if len(run) > RUN_NAME_CHARS_MAX or not re.fullmatch(RUN_NAME_PATTERN, run, re.ASCII):
        raise UsageError(
            f"The run name {run!r} is not allowed.",
            f"Use up to {RUN_NAME_CHARS_MAX} lowercase letters, digits, `-` and `_`, starting with a letter or digit.",
        )
    return run


def topic_name(run: str, topic: str) -> str:
    """Return `shop.events` for run `shop` and topic `events`."""
    return f"{run}.{topic}"


def index_name(run: str, index: str) -> str:
    """Return `shop-customers` for run `shop` and index `customers`."""
    return f"{run}-{index}"


def group_name(run: str, role: str) -> str:
    """Return the consumer group of a role of a run: `shop-features`."""
    return f"{run}-{role}"


WeekStart = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
"""First day of the shop's week."""
GROUPS: Final = ("features", "index", "archive", "map", "recount", "ends", "position", "spark", "forget", "notify")
"""Names of a run's consumer groups, without the run: those of its roles and of commands that only read."""


def transaction_prefix(run: str) -> str:
    """Return the prefix of the transaction ids that write rows of a run: `shop-features-`."""
    return f"{run}-features-"


# --- partitions of topics ---------------------------------------------------------------------------------------------
Partitioner = Literal["murmur2", "crc32", "fnv1a"]
PARTITIONERS: Final[tuple[Partitioner, ...]] = typing.get_args(Partitioner)
"""Functions from a key to its partition; `features/placement.py` describes them."""

# --- documents --------------------------------------------------------------------------------------------------------
FieldKind = Literal["string", "strings", "text", "int", "float", "bool", "time", "items"]


@dataclass(frozen=True, slots=True)
class Field:
    """A named, typed field of a record or document. `time` is epoch ms, UTC; `strings` is a list of strings."""

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
    """Return the fields of a record type, in declaration order."""
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
"""Field of a session document -> the two times whose difference it gives in seconds. The field is null if either time
is missing or the second is before the first."""

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
"""Fields of a document of `shop-sessions`. `channel`, `country` and `device` come from the earliest event. `category`
is the one with most product views (a tie: the smallest in byte order)."""

ORDER_FIELDS: Final[tuple[Field, ...]] = (
    *(field for field in record_fields(Order) if field.kind != "items"),
    Field("items", "int", required=True),
)
"""Fields of a document of `shop-orders-YYYY.MM`: the winning record. `items` is the number of its lines."""

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
"""Fields of a document of `shop-order-items-YYYY.MM`: one line. `amount` is quantity x unit_price. Status `void` marks
a line that the order's newest record no longer has."""

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
"""Fields of a document of `shop-forecast`: a UTC day of the total or of a category (`level`), starting at `ts`. A past
day has `revenue`. A future day has the forecast, bounds of its 80 and 95 % intervals, and the name of the model."""

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
    Field("bundle", "string"),
)
"""Fields of a document of `shop-segments-daily`: customers in a segment at the end of a UTC day and their revenue of
that day. `churn_sum` is the sum of the known churn probabilities, of `churn_customers` customers. They are those of
`bundle`."""

COHORT_FIELDS: Final[tuple[Field, ...]] = (
    Field("ts", "time", required=True),
    Field("cohort", "string", required=True),
    Field("months_since", "int", required=True),
    Field("month", "string", required=True),
    Field("country", "string", required=True),
    Field("channel", "string", required=True),
    Field("known", "bool", required=True),
    Field("customers", "int", required=True),
    Field("active", "int", required=True),
    Field("orders", "int", required=True),
    Field("revenue", "float", required=True),
    Field("complete", "bool", required=True),
)
"""Fields of a document of `shop-cohorts`: customers with the first order in the month `cohort` who ordered in the month
that begins at `ts`. `known`: whether these orders are known to be the customers' first; a history may begin late."""

SECOND_ORDER_FIELDS: Final[tuple[Field, ...]] = (
    Field("ts", "time", required=True),
    Field("day", "string", required=True),
    Field("cohort", "string", required=True),
    Field("days", "float", required=True),
    Field("country", "string", required=True),
    Field("channel", "string", required=True),
    Field("known", "bool", required=True),
    Field("number", "int", required=True),
)
"""Fields of a document of `shop-second-orders`: the second order of a customer at `ts`, `days` after the first order in
the month `cohort`. `known` is as in `shop-cohorts`. `number` counts equal documents, so that no id names a customer."""

MOVEMENT_FIELDS: Final[tuple[Field, ...]] = (
    Field("ts", "time", required=True),
    Field("week", "string", required=True),
    *(Field(name, "int", required=True) for name in ("new", "returning", "reactivated", "lost")),
    Field("net", "int", required=True),
    Field("active", "int", required=True),
    Field("lost_after_days", "int", required=True),
    Field("complete", "bool", required=True),
)
"""Fields of a document of `shop-movement`: customers of the week that begins on the Monday `ts`. A customer is `lost`
after `lost_after_days` without an order, and `active` (at the end of the week) until then. An order makes a lost
customer `reactivated`. Any other order that is not the first makes a customer `returning`. `net` is new and
reactivated customers, less lost ones: the change of `active` since the week before."""

TREND_KEYS: Final = {
    "segments-daily": ("day", "segment", "country", "channel"),
    "cohorts": ("cohort", "month", "country", "channel", "known"),
    "second-orders": ("ts", "days", "country", "channel", "known", "number"),
    "movement": ("week",),
    "forecast": ("level", "category", "day"),
}
"""Index computed from an archive -> the key fields of its documents."""

NOT_KNOWN: Final = "(none)"
"""Value for an unknown segment, country, channel or category in trends, so that sums over values are complete."""
ALL_CATEGORIES: Final = "(all)"
"""Category of a forecast of the total."""

# --- the archive ------------------------------------------------------------------------------------------------------
DAY_COLUMN: Final = {"events": "ts", "orders": "updated_ts"}
"""Topic stored in daily folders -> the column whose UTC day names the folder."""
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
    """Return the Arrow schema of a record type in the archive: times as timestamp[ms, UTC], money as float64."""
    return pa.schema([pa.field(f.name, _ARROW[f.kind](), nullable=not f.required) for f in record_fields(record)])
