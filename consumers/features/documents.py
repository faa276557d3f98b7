"""Converts dirty rows to documents with id and version: evaluated features, current sessions and orders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl

from connectors.elasticsearch.client import document_id
from connectors.elasticsearch.documents import Doc
from connectors.elasticsearch.mappings import month_indices, write_index
from consumers.features.scoring import DriftWatch, scored_rows
from consumers.state.partition import PartitionState
from features.definitions import evaluate
from features.records.money import to_cents
from features.schema import ABANDONED_AFTER_MS, DEVICES, SESSION_FIELDS, STAGES, STEP_SECONDS, VOID_STATUS, Item, Order
from features.scores.alerts import Alert
from features.scores.score import Scoring
from features.state.int48 import NEVER_MIN, read_int48
from features.state.session_counts import session_counts, top_categories
from features.state.state import State
from features.state.tables import Int32, Rows, take

EPOCH_SHIFT: Final = 30
"""Version of a document: epoch * 2^30 + number of the emission."""
COUNTER_MAX: Final = (1 << EPOCH_SHIFT) - 1
PRICE_BATCH_SIZE: Final = 1_000


@dataclass(frozen=True, slots=True)
class CustomerRows:
    """Rows of customers as lines of JSON, in the order of the ids."""

    customer_ids: list[str]
    lines: list[bytes]
    version: int


def next_version(partition: PartitionState) -> int:
    """Return the version of this owner's next emission."""
    partition.counter += 1
    if partition.counter > COUNTER_MAX:
        # after a billion emissions by one owner, continue with the next epoch
        partition.epoch, partition.counter = partition.epoch + 1, 1
    return (partition.epoch << EPOCH_SHIFT) + partition.counter


def customer_rows(
    partition: PartitionState, codes: Int32, as_of: int, scoring: Scoring | None = None, drift: DriftWatch | None = None
) -> CustomerRows:
    """Evaluate customers at `as_of`, epoch ms, and score them if there is a bundle."""
    version = next_version(partition)
    frame = evaluate(partition.state, codes, as_of)
    if scoring is not None:
        frame = scored_rows(partition, frame, codes, scoring)
        if drift is not None:
            drift.count(partition, frame, codes, as_of, scoring)
    lines = json_lines(frame.with_columns(pl.lit(version, pl.Int64).alias("version")))
    return CustomerRows(frame["customer_id"].to_list(), lines, version)


def customer_docs(partition: PartitionState, rows: CustomerRows, run: str) -> list[Doc]:
    """Return documents of `RUN-customers`: the profile and the newest row."""
    index = write_index(run, "customers")
    docs = []
    for customer_id, line in zip(rows.customer_ids, rows.lines, strict=True):
        profile = partition.profiles.get(customer_id)
        body = b"{" + profile + b"," + line[1:] if profile else line
        docs.append(Doc(index, document_id(customer_id), body, rows.version))
    return docs


def alert_rows(alerts: list[Alert]) -> CustomerRows:
    """Return alerts as rows of their topic, keyed by customer."""
    return CustomerRows([alert.customer_id for alert in alerts], [msgspec.json.encode(alert) for alert in alerts], 0)


def alert_docs(alerts: list[Alert], run: str) -> list[Doc]:
    """Return documents of `RUN-alerts`; existing documents stay unchanged."""
    index = write_index(run, "alerts")
    return [
        Doc(index, document_id(a.customer_id, a.churn_risk, a.day), msgspec.json.encode(a), create=True) for a in alerts
    ]


def session_docs(partition: PartitionState, rows: Int32, as_of: int, run: str) -> list[Doc]:
    """Return documents of `RUN-sessions` at `as_of`."""
    version = next_version(partition)
    state = partition.state
    state.watch_carts(rows, as_of, ABANDONED_AFTER_MS)
    sessions = take(state.sessions, rows)
    customer_ids = state.customer_ids.take(np.ascontiguousarray(sessions["customer"])).to_pylist()
    session_ids = state.session_ids(rows)
    category, _ = top_categories(state, np.arange(len(rows), dtype=np.int32), sessions, len(rows))
    words = {
        name: pl.Series(name, state.words.take(np.ascontiguousarray(codes)), dtype=pl.String)
        for name, codes in (("channel", sessions["channel"]), ("country", sessions["country"]), ("category", category))
    }
    frame = _session_frame(state, sessions, as_of).with_columns(
        pl.Series("customer_id", customer_ids, dtype=pl.String),
        pl.Series("session_id", session_ids, dtype=pl.String),
        *words.values(),
    )
    index = write_index(run, "sessions")
    lines = json_lines(frame.select([item.name for item in SESSION_FIELDS]))
    ids = map(document_id, customer_ids, session_ids)
    return [Doc(index, key, line, version) for key, line in zip(ids, lines, strict=True)]


def _session_frame(state: State, sessions: Rows, as_of: int) -> pl.DataFrame:
    counts = session_counts(state, sessions)
    times = {f"{stage}_ts": read_int48(sessions, f"first_{stage}") for stage in STAGES[1:]}
    frame = pl.DataFrame(
        {
            "start_ts": read_int48(sessions, "start"),
            "last_ts": read_int48(sessions, "last"),
            "events": sum(counts.values()),
            "device": pl.Series([DEVICES[code] for code in sessions["device"].tolist()], dtype=pl.String),
            **counts,
            **times,
        }
    )
    frame = frame.with_columns(pl.when(pl.col(name) != NEVER_MIN).then(pl.col(name)).alias(name) for name in times)
    stage = pl.lit(STAGES[0])
    for name in STAGES[1:]:
        stage = pl.when(pl.col(f"{name}_ts").is_not_null()).then(pl.lit(name)).otherwise(stage)
    converted = pl.col("n_purchase") > 0
    frame = frame.with_columns(_seconds(*ends).alias(name) for name, ends in STEP_SECONDS.items())
    return frame.with_columns(
        ((pl.col("last_ts") - pl.col("start_ts")).cast(pl.Float64) / 1000).round(3).alias("duration_s"),
        stage.alias("stage"),
        converted.alias("converted"),
        ((pl.col("n_add_to_cart") > 0) & ~converted & (pl.col("last_ts") <= as_of - ABANDONED_AFTER_MS)).alias(
            "abandoned"
        ),
    )


def _seconds(first: str, second: str) -> pl.Expr:
    """Seconds from one time to the other; null unless both exist in this order."""
    passed = pl.col(second) - pl.col(first)
    return pl.when(passed >= 0).then((passed.cast(pl.Float64) / 1000).round(3))


def order_docs(partition: PartitionState, rows: Int32, run: str) -> Iterator[Doc]:
    """Yield documents of `RUN-orders-*` and `RUN-order-items-*`: the winning records, their lines, and void lines.

    Each document is made on demand, since one order may have 10,001. Their contents are fixed at the call.
    """
    version = next_version(partition)
    records = [partition.order_records[row] for row in rows.tolist()]
    ts = np.array([record.ts for record in records], np.int64)
    order_indices = month_indices(run, "orders", ts)
    item_indices = month_indices(run, "order-items", ts)
    orders = take(partition.state.orders, rows)
    totals, lines = read_int48(orders, "cents").tolist(), orders["lines"].tolist()
    return _order_docs(zip(records, totals, order_indices, item_indices, lines, strict=True), records, version)


def _order_docs(
    orders: Iterable[tuple[Order, int, str, str, int]], records: list[Order], version: int
) -> Iterator[Doc]:
    unit_cents = _unit_cents(records)
    for record, total, order_index, item_index, lines_ever in orders:
        items = record.items or []
        body = {**msgspec.structs.asdict(record), "total": total / 100, "items": len(items)}
        yield Doc(order_index, document_id(record.customer_id, record.order_id), msgspec.json.encode(body), version)
        for line in range(1, max(lines_ever, len(items)) + 1):
            key = document_id(record.customer_id, record.order_id, str(line))
            item = _item_fields(items[line - 1], next(unit_cents)) if line <= len(items) else {}
            yield Doc(item_index, key, msgspec.json.encode(_item_body(record, line, item)), version)


def _unit_cents(records: list[Order]) -> Iterator[int]:
    """Yield the unit price of every item of the records in order, in cents; 0 without a price."""
    prices = (item.unit_price or 0.0 for record in records for item in record.items or ())
    while batch := list(islice(prices, PRICE_BATCH_SIZE)):
        yield from to_cents(np.array(batch, np.float64)).tolist()


def _item_fields(item: Item, cents: int) -> dict[str, Any]:
    fields = msgspec.structs.asdict(item)
    if item.unit_price is not None:
        # documents hold rounded amounts, so that their sums are the features' sums
        fields["unit_price"] = cents / 100
        if item.quantity is not None:
            fields["amount"] = item.quantity * cents / 100
    return fields


def _item_body(record: Order, line: int, item: dict[str, Any]) -> dict[str, Any]:
    return {
        "order_id": record.order_id,
        "line": line,
        "customer_id": record.customer_id,
        "ts": record.ts,
        "status": record.status if item else VOID_STATUS,
        **item,
        "channel": record.channel,
        "country": record.country,
    }


def json_lines(frame: pl.DataFrame) -> list[bytes]:
    """Return each row as a JSON object on a line; nulls are written."""
    if frame.is_empty():
        return []
    return frame.write_ndjson().encode().split(b"\n")[:-1]
