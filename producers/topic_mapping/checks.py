"""Checks that a mapping can be one of a topic, whose messages are judged one by one."""

from __future__ import annotations

from typing import NamedTuple

from connectors.formats.strict_yaml import read_yaml
from features.errors import UsageError
from producers.importing.mapping import ClickMapping, OrderMapping


class TopicFault(NamedTuple):
    """Part of a mapping that no topic can have: the path to it, what is wrong, and the remedy."""

    path: tuple[str, ...]
    message: str
    remedy: str = ""


def topic_fault(mapping: OrderMapping | ClickMapping) -> TopicFault | None:
    """Return why a mapping is none of a topic; None if it is one."""
    if mapping.topic is None:
        return TopicFault((), "names no topic", "Add `from: {topic: NAME, format: json}`.")
    if mapping.tables:
        return TopicFault(("tables",), "looks values up in files, which a topic does not have")
    if mapping.currency.path is not None and not mapping.currency.rates and mapping.currency.rates_file is None:
        return TopicFault(
            ("currency",),
            "names a currency without rates. Messages are judged one by one, so that amounts of several currencies"
            " would be one sum",
            "Write the currencies that count: currency: {path: …, rates: {EUR: 1}}. Others are left out.",
        )
    if isinstance(mapping, OrderMapping) and (mapping.order.id is None or mapping.order.rows == "line"):
        return TopicFault(("order",), "makes an order of several messages", "Give order.id, and `rows: order`.")
    return None


def check_topic_mapping(text: str, origin: str, mapping: OrderMapping | ClickMapping) -> None:
    """Check that a mapping is one of a topic.

    Args:
        text: its YAML.
        origin: name for errors: the path of a file.
        mapping: the mapping of the text.

    Raises:
        UsageError: it is none. The message names the line.
    """
    fault = topic_fault(mapping)
    if fault is not None:
        raise UsageError(read_yaml(text, origin).error(fault.path, fault.message), fault.remedy)
