"""Maps the messages of dead letters of `map run` again, after a correction of their mapping."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from connectors.kafka.client import Record, open_admin, produce_all
from connectors.kafka.offsets import topic_ids
from connectors.kafka.positions import read_positions
from connectors.messages.decoder import Headers
from connectors.messages.mapped import Mapper, Message, position_of
from consumers.dead_letters.review import ReplayPlan, StoredDeadLetter
from consumers.dead_letters.store import record_replayed
from features.schema import group_name, topic_name

CLIENT = "map-again"


@dataclass(frozen=True, slots=True)
class MappedAgain:
    """Dead letters whose messages can be mapped now, their records, and the other dead letters with the reason."""

    plan: ReplayPlan
    records: tuple[Record, ...]


def map_again(
    kafka: Mapping[str, Any],
    run: str,
    dead_letters: Sequence[StoredDeadLetter],
    mappers: Sequence[Mapper],
    replayed: Callable[[StoredDeadLetter], bool],
) -> MappedAgain:
    """Read the messages of dead letters in their topics, and map them.

    Args:
        kafka: librdkafka properties.
        run: name of the run.
        dead_letters: dead letters without duplicates.
        mappers: mappers, all of the topics.
        replayed: whether a dead letter was replayed before.

    Raises:
        ShopstreamError: a topic does not exist, or Kafka does not deliver.
    """
    topics = {mapper.topic for mapper in mappers}
    own = [one for one in dead_letters if one.topic in topics and not replayed(one)]
    messages = read_positions(kafka, group_name(run, "position"), {one.position for one in own}) if own else {}
    ids = topic_ids(open_admin(kafka), sorted({one.topic for one in own})) if own else {}
    sendable: list[StoredDeadLetter] = []
    held: list[tuple[StoredDeadLetter, str]] = []
    records: list[Record] = []
    for one in dead_letters:
        message = messages.get(one.position)
        if one.topic not in topics:
            held.append((one, f"{one.topic} is read by none of the mappings"))
        elif replayed(one):
            held.append((one, "was already replayed"))
        elif message is None:
            held.append((one, "its message is in the topic no longer"))
        else:
            headers = cast("Headers", message.headers() or ())
            made, reason = _map(
                mappers, one, Message(message.value(), position_of(*one.position, ids[one.topic]), headers), run
            )
            if reason:
                held.append((one, reason))
            else:
                sendable.append(one)
                records += made
    return MappedAgain(ReplayPlan(tuple(sendable), tuple(held)), tuple(records))


def _map(
    mappers: Sequence[Mapper], dead_letter: StoredDeadLetter, message: Message, run: str
) -> tuple[list[Record], str]:
    """Return the records of a message over all mappings of its topic, or the reason why it has none."""
    records: list[Record] = []
    left_out = ""
    for mapper in mappers:
        if mapper.topic == dead_letter.topic:
            mapped = mapper.map([message])
            if mapped.refused:
                return [], f"still refused: {mapped.refused[0]}"
            left_out = mapped.left_out.get(0, left_out)
            records += [(topic_name(run, one.topic), one.key, one.value, []) for one in mapped.records]
    return records, "" if records else f"left out now: {left_out}"


def send(kafka: Mapping[str, Any], run: str, again: MappedAgain) -> None:
    """Send the records, and record the dead letters as replayed.

    Raises:
        ShopstreamError: a record was not acknowledged. The others may be sent again, which changes nothing.
    """
    produce_all(kafka, CLIENT, again.records)
    record_replayed(kafka, run, again.plan.sendable, "the topics of the run")
