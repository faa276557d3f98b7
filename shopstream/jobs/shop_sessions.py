"""Reads what the posterior of a synthetic shop sees: the sessions of customers up to each cut-off, and their profiles.

The rule of this file: nothing after a cut-off is counted at it. A session that continues after it ends there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
from polars import col

from features.records.archive_rows import event_rows
from features.records.columns import EventColumns, Int32, Int64
from features.schema import EVENT_TYPES
from producers.archive.archive import read_customers
from producers.shop.catalogue import CATEGORIES
from producers.shop.population import CHANNELS
from shopstream.jobs.archive_features import archive_days

BATCH_EVENTS: Final = 500_000
"""Events in memory at a time."""

_COUNTED = ("page_view", "search", "product_view", "add_to_cart", "checkout", "purchase")
_CATEGORIES = tuple(category.name for category in CATEGORIES)
_KEYS = ("number", "session")


@dataclass(frozen=True, slots=True)
class ShopSessions:
    """Sessions of some customers, in parts that end at the cut-offs.

    Attributes:
        cutoffs: cut-offs, epoch ms, ascending.
        parts: one row per session and part. The columns are number (of the customer), session, part, start (epoch ms),
            channel and device of the first event (codes), and counts. The counts are events by type, and product views
            by category. Part 0 is up to the first cut-off, part 1 from there to the second, and so on.
    """

    cutoffs: tuple[int, ...]
    parts: pl.DataFrame

    def at(self, cutoff: int) -> pl.DataFrame:
        """Return one row per session that began by a cut-off, with the counts up to then, ordered by time.

        Returns:
            number, session, start, channel, device, `category` (most viewed one, -1 for none), and the counts.
        """
        known = self.parts.filter(col("part") <= self.cutoffs.index(cutoff)).sort("start", "session")
        whole = known.group_by(_KEYS, maintain_order=True).agg(
            col("start").min(), col("channel", "device").first(), col(*_COUNTED, *_CATEGORIES).sum()
        )
        viewed = whole.select(_CATEGORIES).to_numpy()
        most = np.where(viewed.sum(axis=1) > 0, viewed.argmax(axis=1), -1)
        return whole.drop(_CATEGORIES).with_columns(pl.Series("category", most, pl.Int64)).sort("start", "session")


def read_sessions(directory: Path, cutoffs: Sequence[int], customer_ids: Sequence[str]) -> ShopSessions:
    """Read the valid events of some customers up to the last cut-off, a day at a time.

    Args:
        directory: folder of the archive.
        cutoffs: cut-offs, epoch ms.
        customer_ids: ids of the customers; `number` is the position in this sequence.
    """
    times = tuple(sorted(set(cutoffs)))
    numbers = pl.DataFrame({"customer_id": customer_ids}, schema={"customer_id": pl.String}).with_row_index("number")
    parts = [pl.DataFrame(schema=_schema()), *_batches(directory, times, numbers)]
    return ShopSessions(times, pl.concat(parts))


def _schema() -> pl.Schema:
    whole = dict.fromkeys(("number", "part", "start", "channel", "device", *_COUNTED, *_CATEGORIES), pl.Int64())
    return pl.Schema({"number": whole.pop("number"), "session": pl.String(), **whole})


def _batches(directory: Path, times: tuple[int, ...], numbers: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield the sessions of some days at a time; a session over two of them is in both."""
    waiting: list[pl.DataFrame] = []
    days, read_day = archive_days(directory, times[-1])
    for day in days:
        tables = read_day("events", day)
        waiting.extend(_events(table, times).join(numbers, on="customer_id") for table in tables)
        if sum(map(len, waiting)) >= BATCH_EVENTS:
            yield _sessions(pl.concat(waiting))
            waiting.clear()
    if waiting:
        yield _sessions(pl.concat(waiting))


def _events(table: pa.Table, times: tuple[int, ...]) -> pl.DataFrame:
    events = event_rows(table).columns
    frame = pl.DataFrame(
        {
            "customer_id": events.customer_id,
            "session": events.session_id,
            "ts": events.ts,
            "type": events.event_type,
            "device": events.device.astype(np.int64),
            "channel": _coded(events, events.channel, CHANNELS),
            "viewed": _coded(events, events.category, _CATEGORIES),
            "part": np.searchsorted(times, events.ts),
        }
    )
    return frame.filter(col("ts") <= times[-1])


def _coded(events: EventColumns, codes: Int32, words: Sequence[str]) -> Int64:
    """Return the position of each event's word in `words`, -1 for another word or none."""
    position = _codes([*events.words.to_pylist(), None], words)
    return position[codes]  # code -1 is the last one


def _codes(values: Sequence[str | None], words: Sequence[str]) -> Int64:
    code = {word: position for position, word in enumerate(words)}
    return np.fromiter((code.get(value, -1) if value is not None else -1 for value in values), np.int64, len(values))


def _sessions(events: pl.DataFrame) -> pl.DataFrame:
    views = col("type") == EVENT_TYPES.index("product_view")
    counts = [(col("type") == EVENT_TYPES.index(name)).sum().alias(name) for name in _COUNTED]
    viewed = [(views & (col("viewed") == code)).sum().alias(name) for code, name in enumerate(_CATEGORIES)]
    sessions = (
        events.sort("ts", maintain_order=True)
        .group_by("number", "session", "part", maintain_order=True)
        .agg(col("ts").min().alias("start"), col("channel", "device").first(), *counts, *viewed)
    )
    return sessions.select(list(_schema())).cast(_schema())


def read_profiles(directory: Path, customer_ids: Sequence[str]) -> pl.DataFrame:
    """Return signup_ts (epoch ms), acquisition (code of the channel), age and premium of customers, null if unknown."""
    ids = pl.DataFrame({"customer_id": customer_ids}, schema={"customer_id": pl.String})
    table = read_customers(directory)
    names = {
        "signup_ts": pl.Datetime("ms", "UTC"), "acquisition_channel": pl.String(), "age": pl.Int64(),
        "premium": pl.Boolean(),
    }  # fmt: skip
    known = pl.DataFrame(schema={"customer_id": pl.String(), **names})
    if table is not None:
        known = pl.DataFrame(pl.from_arrow(table)).select("customer_id", *names).unique("customer_id", keep="last")
    joined = ids.join(known, on="customer_id", how="left", maintain_order="left")
    return joined.select(
        col("signup_ts").cast(pl.Datetime("ms", "UTC")).dt.epoch("ms"),
        pl.Series("acquisition", _codes(joined["acquisition_channel"].to_list(), CHANNELS), pl.Int64),
        "age",
        "premium",
    )
