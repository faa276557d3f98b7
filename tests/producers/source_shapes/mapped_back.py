"""Records as messages of a shape, and the records that its mapping makes of them."""

import functools
from collections import Counter
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from connectors.messages.mapped import Mapped, Message
from features.schema import HOUR_MS, SOURCE_TOPICS, Event, Order
from producers.importing.mapping import parse_mapping, questions
from producers.messages import Messages
from producers.source_shapes.moments import Admission, moments
from producers.source_shapes.shape import Faults
from producers.source_shapes.shapes import ShapeOptions, mapping_of, open_shapes
from producers.source_shapes.stream import raw_messages
from producers.topic_mapping.mapper import TopicMapper
from producers.topic_mapping.ready import topic_mapping_text

ZONE = "Europe/Berlin"
CLEAN = Faults()


@functools.cache
def mapper_of(shape):
    """The mapper of a shape's ready mapping."""
    text, name = topic_mapping_text(mapping_of(shape))
    answers = {"zone": ZONE} if "zone" in questions(text) else {}
    return TopicMapper(name, parse_mapping(text, name, answers), b"salt")


def chunk_of(records):
    """Records as an archive's messages, ascending by time."""
    timed = sorted(((one.updated_ts if isinstance(one, Order) else one.ts), n, one) for n, one in enumerate(records))
    topics = [SOURCE_TOPICS.index("orders" if isinstance(one, Order) else "events") for _, _, one in timed]
    return Messages(
        np.asarray([ms for ms, _, _ in timed], np.int64), np.asarray(topics, np.uint8),
        [one.customer_id.encode() for _, _, one in timed], [msgspec.json.encode(one) for _, _, one in timed],
    )  # fmt: skip


@dataclass
class Written:
    """Messages of one shape, with what was refused."""

    messages: list[tuple[int, bytes | None, bytes | None]]
    admission: Admission
    report: object
    refused: Counter

    def mapped(self, shape) -> Mapped:
        """The result of the shape's mapping."""
        return mapper_of(shape).map([Message(value, f"t-0-{n}") for n, (_, _, value) in enumerate(self.messages)])


def written(shape, chunks, faults=CLEAN, zone=ZONE, profiles=None):
    """The messages of records."""
    admission = Admission()
    (one,) = open_shapes([shape], ShapeOptions(faults, ZoneInfo(zone), profiles or {}))
    messages = []
    for chunk in raw_messages(moments(chunks, admission), [one]):
        messages += zip(chunk.times.tolist(), chunk.keys, chunk.values, strict=True)
    return Written(messages, admission, one.report, admission.refused + one.report.refused)


def events_of(mapped):
    """The events of mapped messages: of equal ids the first in the log, for 48 hours."""
    counted, hours = [], {}
    for record in mapped.records:
        event = msgspec.json.decode(record.value, type=Event)
        hour = event.ts // HOUR_MS
        if hour - hours.get(event.event_id, -100) > 48:
            hours[event.event_id] = hour
            counted.append(event)
    return counted


def orders_of(mapped):
    """The order records of mapped messages, without repetitions, lines sorted."""
    return list({plain_order(msgspec.json.decode(record.value, type=Order)): None for record in mapped.records})


def plain_order(order, **without):
    """An order as JSON with its lines in order, without fields that a shape has not."""
    fields = msgspec.to_builtins(order) | without
    lines = [{name: value for name, value in line.items() if value is not None} for line in fields["items"] or ()]
    for line in lines:
        line["unit_price"] = cents(line.get("unit_price"))
    fields["items"] = sorted(lines, key=lambda line: msgspec.json.encode(line, order="sorted"))
    fields["total"] = cents(fields["total"])
    return msgspec.json.encode(fields, order="sorted")


def cents(amount):
    """An amount as the contract takes it: whole cents of the shortest decimal, rounded half to even."""
    return None if amount is None else int((Decimal(repr(amount)) * 100).to_integral_value(ROUND_HALF_EVEN))
