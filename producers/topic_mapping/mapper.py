"""Maps messages to records: every message gives all of its records, or is left out or refused with one reason.

The result of a message depends on the message alone. Mapping it again gives the same records, so a repetition after a
crash changes nothing: consumers drop events by id, and equal order records have one winner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate, repeat
from typing import Any, Final

import msgspec
import polars as pl

from connectors.messages.change_fields import ChangeReader, ChangeRows
from connectors.messages.decoder import Decoder, decode_json_object
from connectors.messages.envelopes import LeftOut, Record, open_message
from connectors.messages.mapped import Mapped, MappedRecord, Message
from connectors.tables.batches import LINE, collector_paused
from connectors.tables.delimited import without_missing
from connectors.tables.json_fields import FieldReader
from connectors.tables.json_path import parse_path
from connectors.tables.records import Unreadable, records_batch, text_at
from features.errors import UsageError
from features.schema import TS_MAX, VOID_STATUS, Event, Item, Order
from producers.importing.columns import Columns, label
from producers.importing.conversion import NO_DAY_RATE
from producers.importing.events import EVENT_COLUMNS, event_rows
from producers.importing.judge import Plan, judge, rows_to_judge
from producers.importing.mapping import ClickMapping, OrderMapping
from producers.importing.orders import ORDER_COLUMNS, message_orders
from producers.importing.row_rates import NO_RATE
from producers.importing.rows import click_plan, order_plan
from producers.importing.sources import paths_of
from producers.topic_mapping.checks import topic_fault

NO_SESSION: Final = "no session id"
"""Reason of a click without a session: sessions of a topic are not cut."""
_FIELD_OF: Final = {"no customer": "customer_id", "no readable time": "ts", "no readable total": "total"}
"""Reason about a whole order -> field that has no value."""
_ITEMS, _UPDATED = ORDER_COLUMNS.index("items"), ORDER_COLUMNS.index("updated_ts")
_TS: Final = EVENT_COLUMNS.index("ts")
_MADE: Final[Callable[[tuple[Any, ...]], MappedRecord]] = partial(tuple.__new__, MappedRecord)
"""Makes a record of its fields in half the time of a call of the class."""
# records are made of rows by position
assert Event.__struct_fields__ == EVENT_COLUMNS
assert Order.__struct_fields__ == ORDER_COLUMNS
assert EVENT_COLUMNS[0] == "event_id"


class TopicMapper:
    """Maps the messages of one topic.

    Args:
        name: name of the mapping, for errors.
        mapping: mapping with the topic's format.
        guest_salt: key of the hash that makes ids of guests.
        decoder: decoder of the values; None for a topic of JSON.
        shows_values: whether reasons of refusals hold values of messages, which may be personal data.

    Attributes:
        name: name of the mapping.
        topic: full name of the topic.
        has_schemas: whether its values have a schema in a registry.
        decoder: decoder of the values.

    Raises:
        UsageError: the mapping has no topic, has an operation that needs other tables, or lacks an order id.
        ValueError: the values have a schema, and there is no decoder.
    """

    def __init__(
        self,
        name: str,
        mapping: OrderMapping | ClickMapping,
        guest_salt: bytes = b"",
        *,
        decoder: Decoder | None = None,
        shows_values: bool = True,
    ) -> None:
        if (fault := topic_fault(mapping)) is not None:
            raise UsageError(f"The mapping {name} {fault.message}.", fault.remedy)
        assert mapping.topic is not None
        self.name = name
        self._shows_values = shows_values
        self.topic = mapping.topic.topic
        self._mapping = mapping
        self._envelope = mapping.topic.envelope
        self.has_schemas = mapping.topic.format != "json"
        if self.has_schemas and decoder is None:
            raise ValueError(f"a topic of {mapping.topic.format} needs a decoder")
        self.decoder: Decoder = decoder or decode_json_object
        self._schema_times = mapping.schema_times()
        self._paths = sorted(mapping.paths())
        columns = Columns(
            name, dict.fromkeys(self._paths, pl.String()), thousands=mapping.file.grouping, guest_salt=guest_salt,
            positions=mapping.positions,
        )  # fmt: skip
        self._plan: Plan = (
            order_plan(mapping, columns, TS_MAX)
            if isinstance(mapping, OrderMapping)
            else click_plan(mapping, columns, TS_MAX)
        )
        self._encoder = msgspec.json.Encoder()
        self._fields: FieldReader | None = None
        self._changes: ChangeReader | None = None
        if self._envelope is None and not self.has_schemas and FieldReader.reads(self._paths, mapping.list_path):
            self._fields = FieldReader(self._paths, mapping.list_path)
        if self._envelope == "debezium" and not self.has_schemas and ChangeReader.reads(self._paths, mapping.list_path):
            self._changes = ChangeReader(self._paths)

    @property
    def last_error(self) -> str | None:
        """Why messages wait: the error of a registry that does not answer; None if nothing waits."""
        registry = getattr(self.decoder, "registry", None)
        return None if registry is None else registry.last_error

    def map(self, messages: Sequence[Message]) -> Mapped:
        """Return the records of messages."""
        with collector_paused():
            return self._map(messages)

    def _map(self, messages: Sequence[Message]) -> Mapped:
        mapped = Mapped()
        current: list[tuple[int, Any]] = []
        void: list[tuple[int, Any]] = []
        former: list[tuple[int, Any]] = []
        parts: dict[int, str] = {}
        common, common_former, others = self._in_common_form(messages)
        if common is not None:
            parts |= dict.fromkeys(common[LINE].to_list(), "after" if self._changes is not None else "")
        for number in others:
            message = messages[number]
            opened = open_message(message.value, message.headers, self._envelope, self.decoder)
            if isinstance(opened, LeftOut):
                mapped.left_out[number] = opened.reason
            elif isinstance(opened, Unreadable):
                mapped.refused[number] = opened.reason
            else:
                self._sort(number, opened, current, void, former, mapped)
                parts[number] = opened.part
        rows = self._judged(current, parts, mapped, common)
        gone = self._judged([one for one in void if self._names_customer(*one, parts, mapped)], parts, mapped)
        moved = self._moved(former, common_former, rows)
        if isinstance(self._mapping, OrderMapping):
            self._add_orders(rows, None, parts, mapped)
            self._add_orders(gone, VOID_STATUS, parts, mapped)
            self._add_orders(moved, VOID_STATUS, parts, mapped)
        else:
            self._add_events(rows, messages, mapped)
        if mapped.dropped:
            with_records = {record.message for record in mapped.records}
            mapped.dropped = {number: values for number, values in mapped.dropped.items() if number in with_records}
        return mapped

    def _in_common_form(
        self, messages: Sequence[Message]
    ) -> tuple[pl.DataFrame | None, pl.DataFrame | None, Sequence[int]]:
        """Return rows and former rows of messages in common form, and the messages that are opened one by one."""
        values = [message.value or b"" for message in messages]
        if self._fields is not None:
            rows, others = self._fields.read(values)
            return _unless_empty(rows), None, others
        if self._changes is not None:
            changes = self._changes.read(values)
            former = self._with_other_customer(changes) if self._follows_deletions else None
            return _unless_empty(changes.current), former, changes.others
        return None, None, range(len(messages))

    def _with_other_customer(self, changes: ChangeRows) -> pl.DataFrame:
        """Return the former rows of changes in which a value differs that the customer is made of.

        Without one the customer is the same, so that the order does not move.
        """
        paths = sorted(set(paths_of(self._mapping.fields.customer)))
        now = changes.current.select(LINE, *(pl.col(path).alias(f"\0now {path}") for path in paths))
        both = changes.former.join(now, on=LINE, maintain_order="left")
        differ = (pl.col(path).ne_missing(pl.col(f"\0now {path}")) for path in paths)
        return both.filter(pl.any_horizontal(False, *differ)).select(changes.former.columns)

    @property
    def _follows_deletions(self) -> bool:
        return isinstance(self._mapping, OrderMapping) and self._mapping.order.deleted is not None

    def _sort(
        self, number: int, record: Record, current: list[tuple[int, Any]], void: list[tuple[int, Any]],
        former: list[tuple[int, Any]], mapped: Mapped,
    ) -> None:  # fmt: skip
        follows = self._follows_deletions
        if not record.deleted:
            current.append((number, record.content))
        elif follows:
            void.append((number, record.content))
        else:
            mapped.left_out[number] = "deletion"
        if follows and record.former is not None:
            former.append((number, record.former))

    def _names_customer(self, number: int, row: Any, parts: Mapping[int, str], mapped: Mapped) -> bool:
        """Return whether a deleted row has a customer. Without one the order cannot be removed: it is refused."""
        paths = label(self._mapping.fields.customer)
        values = [text_at(row, parse_path(path).steps) for path in paths]
        if paths and all(value is None for value in values):
            mapped.refused[number] = self._reason(parts[number], ", ".join(paths), "no customer", None, None)
            return False
        return True

    # --- judging ---

    def _judged(
        self, records: list[tuple[int, Any]], parts: Mapping[int, str], mapped: Mapped,
        common: pl.DataFrame | None = None,
    ) -> pl.DataFrame | None:  # fmt: skip
        """Return the typed rows of records and of rows in common form, and note what is left out or refused."""
        if not records and common is None:
            return None
        read = [] if common is None else [common]
        if records:
            batch = records_batch(records, self._paths, self._mapping.list_path, self._schema_times)
            for one in batch.refused:
                mapped.refused[one.line] = self._reason(parts[one.line], one.column, one.reason, None, None)
            read.append(batch.rows)
        rows = read[0] if len(read) == 1 else pl.concat(read).sort(LINE, maintain_order=True)
        rows = without_missing(rows, self._mapping.file) if self._mapping.file.missing else rows
        self._count_paths(rows, mapped)
        rows = rows_to_judge(rows, has_lines=self._mapping.fields.lines is not None)
        judged = judge(rows, self._plan)
        for line, reason, column, value, detail in judged.refused.iter_rows():
            if reason == NO_RATE and value is not None:
                mapped.left_out.setdefault(line, f"no rate for {value}")
            else:
                mapped.refused.setdefault(line, self._reason(parts[line], column, reason, value, detail))
        for lost in judged.dropped:
            text = lost.reason if lost.columns is None else f"`{lost.columns}`: {lost.reason}"
            for line in lost.lines:
                mapped.dropped.setdefault(line, []).append(text)
        used = judged.used.filter(~pl.col("_bad"))
        if settled := mapped.refused.keys() | mapped.left_out.keys():
            used = used.filter(~pl.col("_line").is_in(list(settled)))
        used_lines = set(used["_line"].to_list())
        for reason, lines in judged.left_out.items():
            for line in lines:
                if line not in used_lines and line not in mapped.refused:
                    mapped.left_out.setdefault(line, reason)
        return used.with_columns(pl.lit(0, pl.Int32).alias("_file"))

    def _count_paths(self, rows: pl.DataFrame, mapped: Mapped) -> None:
        """Count the messages, and for each path those that have it."""
        if not self._paths:
            return
        if self._mapping.list_path is not None and rows[LINE].n_unique() < rows.height:
            # a message has a row for each element, and a path of elements if one of them has it
            rows = rows.group_by(LINE).agg(pl.when(pl.col(self._paths).count() > 0).then(True).name.keep())
        mapped.opened += rows.height
        for path, count in rows.select(pl.col(self._paths).count()).row(0, named=True).items():
            mapped.present[path] = mapped.present.get(path, 0) + count

    def _moved(
        self, former: list[tuple[int, Any]], common: pl.DataFrame | None, rows: pl.DataFrame | None
    ) -> pl.DataFrame | None:
        """Return the typed rows before the changes that move an order to another customer."""
        common = None if common is None else _unless_empty(common)
        if rows is None or (not former and common is None):
            return None
        lines = [number for number, _ in former] + ([] if common is None else common[LINE].to_list())
        before = self._judged(former, dict.fromkeys(lines, "before"), Mapped(), common)
        if before is None:
            return None
        now = rows.group_by("_line").agg(pl.col("customer_id").first().alias("_now"))
        return before.join(now, on="_line").filter(pl.col("customer_id") != pl.col("_now")).drop("_now")

    # --- records ---

    def _add_orders(
        self, rows: pl.DataFrame | None, status: str | None, parts: Mapping[int, str], mapped: Mapped
    ) -> None:
        if rows is None or rows.is_empty():
            return
        made = message_orders(rows.drop("_currency"), self._mapping.conversion)
        for line, reason in made.refused.select("_line", "reason").iter_rows():
            column = self._plan.labels.get(_FIELD_OF.get(reason, ""))
            mapped.refused.setdefault(line, self._reason(parts[line], column, reason, None, None))
        records = made.records if status is None else made.records.with_columns(status=pl.lit(status))
        lines, columns = _columns(records, ORDER_COLUMNS)
        columns[_ITEMS] = _items(records["items"])
        self._add_records("orders", list(map(Order, *columns)), lines, columns[_UPDATED], mapped)

    def _add_events(self, rows: pl.DataFrame | None, messages: Sequence[Message], mapped: Mapped) -> None:
        if rows is None or rows.is_empty():
            return
        for line in rows.filter(pl.col("session_id").is_null())["_line"].unique().to_list():
            mapped.left_out[line] = NO_SESSION
        rows = event_rows(rows.filter(pl.col("session_id").is_not_null()), self._mapping.conversion)
        lines, columns = _columns(rows, EVENT_COLUMNS)
        if None in columns[0]:
            columns[0] = _with_positions(columns[0], lines, messages)
        self._add_records("events", list(map(Event, *columns)), lines, columns[_TS], mapped)

    def _add_records(
        self, topic: str, records: Sequence[Event | Order], lines: Sequence[int], times: Sequence[int], mapped: Mapped
    ) -> None:
        """Add the records of a topic. JSON escapes line breaks, so each record is one line."""
        values = self._encoder.encode_lines(records).split(b"\n")[: len(records)]
        keys = [record.customer_id.encode() for record in records]
        topics = repeat(topic, len(records))
        mapped.records += map(_MADE, zip(topics, keys, values, lines, times, strict=True))

    def _reason(self, part: str, column: str | None, reason: str, value: str | None, detail: str | None) -> str:
        """Return the reason of a refusal in words, with the path as the message has it."""
        if column is None:
            return reason
        paths = ", ".join(f"{part}.{path}" if part else path for path in column.split(", "))
        if value is None and reason.startswith("no "):
            return f"`{paths}`: missing"
        if reason == NO_DAY_RATE:
            return f"`{paths}`: {detail}"  # a currency and a day, which are no personal data
        if not self._shows_values:
            return f"`{paths}`: {reason}"
        return f"`{paths}`: {detail or reason}" + (f': "{value}"' if value is not None and not detail else "")


def _unless_empty(rows: pl.DataFrame) -> pl.DataFrame | None:
    return None if rows.is_empty() else rows


def _columns(rows: pl.DataFrame, names: Sequence[str]) -> tuple[list[int], list[list[Any]]]:
    """Return the lines of rows, and the values of each column."""
    return rows["_line"].to_list(), [rows[name].to_list() for name in names]


def _items(items: pl.Series) -> list[list[Item] | None]:
    """Return the lines of each order; None for an order without lines."""
    counts = items.list.len().fill_null(0).to_list()
    if not sum(counts):
        return [None] * len(items)
    flat = items.filter(pl.Series(counts) > 0).explode().struct
    made = list(map(Item, *(flat.field(name).to_list() for name in Item.__struct_fields__)))
    ends = accumulate(counts)
    return [made[end - count : end] or None for count, end in zip(counts, ends, strict=True)]


def _with_positions(ids: Sequence[str | None], lines: Sequence[int], messages: Sequence[Message]) -> list[str]:
    """Return the ids of events. An event without one gets that of its message, the further ones with a number."""
    counts: dict[int, int] = {}
    made: list[str] = []
    for one, line in zip(ids, lines, strict=True):
        if one is not None:
            made.append(one)
            continue
        number = counts[line] = counts.get(line, -1) + 1
        made.append(f"{messages[line].position}#{number}" if number else messages[line].position)
    return made
