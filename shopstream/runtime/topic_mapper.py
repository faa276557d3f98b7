"""Builds the mapper of a topic from its mapping and the settings."""

from __future__ import annotations

import time
from collections.abc import Callable

from connectors.messages.decoder import schema_decoder
from features.errors import UsageError
from producers.importing.mapping import ClickMapping, OrderMapping
from producers.topic_mapping.mapper import TopicMapper
from shopstream.settings import Settings, guest_salt, registry_endpoint


def topic_mapper(
    name: str, mapping: OrderMapping | ClickMapping, settings: Settings, *, wait: Callable[[float], None] = time.sleep
) -> TopicMapper:
    """Return the mapper of a topic.

    No request is sent: the registry receives one when a message has a schema that was not used before. The client of
    the registry is `mapper.decoder.registry`; its `last_error` is why messages wait.

    Args:
        name: name of the mapping, for errors.
        mapping: mapping of a topic.
        settings: settings with the salt of guests and the registries.
        wait: called with seconds between two attempts while the registry is away. It may raise to give up.

    Raises:
        UsageError: the mapping has no topic or is none of a topic, or the settings lack its registry.
        ShopstreamError: a secret cannot be read, or the extra `registry` is not installed.
    """
    topic = mapping.topic
    decoder = None
    if topic is not None and topic.registry is not None:
        try:
            endpoint = registry_endpoint(settings, topic.registry)
        except UsageError as error:
            raise UsageError(f"The mapping {name} cannot be used: {error.message}", error.remedy) from None
        decoder = schema_decoder(topic.format, endpoint, wait)
    return TopicMapper(name, mapping, guest_salt(settings), decoder=decoder)
