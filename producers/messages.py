"""Encodes rows of the archive as Kafka messages, with JSON built by column.

Invariant: rows are published unchanged as far as JSON permits, so that only the consumers validate them. A null
optional field is omitted or null. NaN becomes null, and an infinity the largest float64, which is just as invalid.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.schema import RECORD_TYPES, SOURCE_TOPICS, Field, record_fields

FIELDS: Final[dict[str, tuple[Field, ...]]] = {topic: record_fields(RECORD_TYPES[topic]) for topic in SOURCE_TOPICS}
_FLOAT_MAX: Final = sys.float_info.max


@dataclass(frozen=True, slots=True)
class Messages:
    """Messages in sending order. All four columns have the same length."""

    times: npt.NDArray[np.int64]
    """Epoch ms that order and pace the messages; differs from the records' own time if that is missing or misplaced."""
    topics: npt.NDArray[np.uint8]
    """Index into schema.SOURCE_TOPICS."""
    keys: Sequence[bytes | None]
    """UTF-8 of customer_id; None if the record has none."""
    values: Sequence[bytes | None]

    def __len__(self) -> int:
        return len(self.keys)

    def reordered(self, order: npt.NDArray[np.intp]) -> Messages:
        """Return the messages at the positions in `order`."""
        if len(order) == 0:
            return EMPTY
        if len(order) == 1:
            at = int(order[0])
            return Messages(self.times[order], self.topics[order], [self.keys[at]], [self.values[at]])
        pick = itemgetter(*order.tolist())
        return Messages(self.times[order], self.topics[order], pick(self.keys), pick(self.values))


EMPTY: Final = Messages(np.empty(0, np.int64), np.empty(0, np.uint8), (), ())


def join(parts: Sequence[Messages]) -> Messages:
    """Concatenate the messages of all parts."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return EMPTY
    return Messages(
        np.concatenate([part.times for part in parts]),
        np.concatenate([part.topics for part in parts]),
        [key for part in parts for key in part.keys],
        [value for part in parts for value in part.values],
    )


def encode(topic: str, frame: pl.DataFrame, times: npt.NDArray[np.int64]) -> Messages:
    """Encode rows of the archive as messages, in the order of the rows.

    Args:
        topic: one of schema.SOURCE_TOPICS.
        frame: columns of that topic's record, times as Datetime("ms").
        times: epoch ms of each row, for `Messages.times`.
    """
    topics = np.full(len(frame), SOURCE_TOPICS.index(topic), np.uint8)
    keys = frame["customer_id"].cast(pl.Binary).to_list()
    return Messages(times, topics, keys, to_json(topic, frame).cast(pl.Binary).to_list())


def to_json(topic: str, frame: pl.DataFrame) -> pl.Series:
    """Return one JSON object per row, as a String series."""
    if frame.is_empty():
        return pl.Series("json", [], pl.String)
    fields = FIELDS[topic]
    frame = frame.select(_as_json_type(field) for field in fields)
    optional = [field.name for field in fields if not field.required]
    missing = frame[optional[0]].is_null()
    if missing.all() or not missing.any():
        return _to_json(frame, optional)
    # rows without the first optional field mostly lack the same other fields: split off, they skip those columns
    apart = [(frame.filter(mask), np.flatnonzero(mask.to_numpy())) for mask in (missing, ~missing)]
    texts = pl.concat([_to_json(part, optional) for part, _ in apart])
    back = np.empty(len(frame), np.int64)
    back[np.concatenate([rows for _, rows in apart])] = np.arange(len(frame))
    return texts.gather(back)


def _to_json(frame: pl.DataFrame, optional: Sequence[str]) -> pl.Series:
    frame = frame.drop([name for name in optional if frame[name].null_count() == len(frame)])
    return frame.select(json=pl.struct(pl.all()).struct.json_encode())["json"]


def _as_json_type(field: Field) -> pl.Expr:
    column = pl.col(field.name)
    if field.kind == "time":
        return column.to_physical()
    if field.kind == "float":
        return column.clip(-_FLOAT_MAX, _FLOAT_MAX)
    if field.kind == "items":
        price = pl.element().struct.field("unit_price").clip(-_FLOAT_MAX, _FLOAT_MAX)
        return column.list.eval(
            pl.when(pl.element().is_not_null()).then(pl.element().struct.with_fields(unit_price=price))
        )
    return column
