"""Maps the batches of several topics, each by one mapping or several: a message gives all of its records or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from connectors.kafka.source import Batch
from connectors.messages.mapped import Mapped, Mapper, Message, position_of
from consumers.mapping.path_fill import PathFill
from features.records.columns import Int64
from features.schema import DAY_MS, FUTURE_MS_MAX


class TopicMappers:
    """The mappers of all topics.

    Args:
        mappers: mappers, one or several of each topic.
        bytes_max: most bytes of key and value of a record.
        topic_ids: full topic name -> id in the cluster, of which ids of events without one are made.
    """

    def __init__(self, mappers: Sequence[Mapper], bytes_max: int, topic_ids: Mapping[str, str]) -> None:
        self._mappers = mappers
        self._topic_ids = topic_ids
        self._bytes_max = bytes_max
        self._by_topic: dict[str, list[Mapper]] = {}
        for mapper in mappers:
            self._by_topic.setdefault(mapper.topic, []).append(mapper)
        self._fill = {mapper.name: PathFill() for mapper in mappers}

    @property
    def last_error(self) -> str | None:
        """Why messages wait; None if nothing waits."""
        return next(filter(None, (mapper.last_error for mapper in self._mappers)), None)

    def shares(self) -> dict[str, float]:
        """Return mapping and path -> share of the last messages that have it."""
        return {f"{name}: {path}": share for name, fill in self._fill.items() for path, share in fill.shares().items()}

    def map(self, batch: Batch) -> Mapped:
        """Return the records of a batch, over all mappings of its topic."""
        topic, number = batch.partition
        topic_id = self._topic_ids.get(topic, "")
        messages = [
            Message(value, position_of(topic, number, offset, topic_id), headers)
            for value, offset, headers in zip(batch.values, batch.offsets, batch.headers, strict=True)
        ]
        mapped = self._joined(self._by_topic[topic], messages)
        _refuse_future(mapped, batch.append_ms)
        _refuse_large(mapped, self._bytes_max)
        return mapped

    def _joined(self, mappers: Sequence[Mapper], messages: Sequence[Message]) -> Mapped:
        results = [mapper.map(messages) for mapper in mappers]
        for mapper, result in zip(mappers, results, strict=True):
            self._fill[mapper.name].add(result)
            for values in result.dropped.values():
                values[:] = [f"{mapper.name}: {value}" for value in values]
        if len(results) == 1:
            return results[0]
        joined = Mapped()
        for mapper, result in zip(mappers, results, strict=True):
            joined.records += result.records
            joined.left_out |= result.left_out
            for number, values in result.dropped.items():
                joined.dropped[number] = [*joined.dropped.get(number, ()), *values]
            joined.refused |= {number: f"{mapper.name}: {reason}" for number, reason in result.refused.items()}
        for record in joined.records:
            joined.left_out.pop(record.message, None)
        return _without(joined, joined.refused)


def _refuse_future(mapped: Mapped, append_ms: Sequence[int] | Int64) -> None:
    """Refuse messages with a time more than a day after their own.

    Consumers do the same by the append time, which is the time of the mapping. So a backlog gives the rows that the
    live stream would have given. The wrong clock of a device cannot make the records after it too late.
    """
    for record in mapped.records:
        ahead_ms = record.time_ms - int(append_ms[record.message])
        if ahead_ms > FUTURE_MS_MAX:
            text = f"its time is {ahead_ms / DAY_MS:,.1f} days after the time of the message, at most 1 counts"
            mapped.refused.setdefault(record.message, text)
    _without(mapped, mapped.refused)


def _refuse_large(mapped: Mapped, bytes_max: int) -> None:
    for record in mapped.records:
        size = len(record.key) + len(record.value)
        if size > bytes_max:
            mapped.refused[record.message] = f"a record has {size:,} bytes, at most {bytes_max:,} are sent"
    _without(mapped, mapped.refused)


def _without(mapped: Mapped, refused: Mapping[int, str]) -> Mapped:
    """Remove the records and reasons of refused messages: a message gives all of its records or none."""
    if refused:
        mapped.records = [record for record in mapped.records if record.message not in refused]
        mapped.left_out = {n: reason for n, reason in mapped.left_out.items() if n not in refused}
        mapped.dropped = {n: values for n, values in mapped.dropped.items() if n not in refused}
    return mapped
