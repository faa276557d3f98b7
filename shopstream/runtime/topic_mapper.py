"""Builds the mapper of a topic from its mapping and the registries that the settings have."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from connectors.endpoints import RegistryEndpoint
from connectors.formats.money_format import ShopMoney
from connectors.messages.decoder import schema_decoder
from features.errors import UsageError
from producers.importing.mapping import ClickMapping, OrderMapping
from producers.topic_mapping.mapper import TopicMapper
from shopstream.settings import Settings, guest_salt, registry_endpoint


def registries_of(
    settings: Settings, mappings: Mapping[str, OrderMapping | ClickMapping]
) -> dict[str, RegistryEndpoint]:
    """Return name -> address of the registries that mappings need.

    Args:
        settings: settings with the registries.
        mappings: name of a mapping, for errors -> mapping.

    Raises:
        UsageError: the settings lack a registry.
        ShopstreamError: a password cannot be read.
    """
    registries: dict[str, RegistryEndpoint] = {}
    for name, mapping in mappings.items():
        if mapping.topic is not None and mapping.topic.registry is not None:
            try:
                registries[mapping.topic.registry] = registry_endpoint(settings, mapping.topic.registry)
            except UsageError as error:
                raise UsageError(f"The mapping {name} cannot be used: {error.message}", error.remedy) from None
    return registries


def shop_money(settings: Settings) -> ShopMoney:
    """Return what the settings say about the amounts of mappings."""
    shop = settings.shop
    return ShopMoney(shop.currency or "", shop.money.decimals, shop.time_zone or "")


def topic_mapper(
    name: str, mapping: OrderMapping | ClickMapping, settings: Settings, *, wait: Callable[[float], None] = time.sleep
) -> TopicMapper:
    """Return the mapper of a topic by the settings; arguments and errors as `registries_of` and `open_mapper`."""
    return open_mapper(name, mapping, guest_salt(settings), registries_of(settings, {name: mapping}), wait=wait)


def open_mapper(
    name: str,
    mapping: OrderMapping | ClickMapping,
    salt: bytes,
    registries: Mapping[str, RegistryEndpoint],
    *,
    wait: Callable[[float], None] = time.sleep,
    shows_values: bool = True,
) -> TopicMapper:
    """Return the mapper of a topic.

    No request is sent: the registry receives one when a message has a schema that was not used before.

    Args:
        name: name of the mapping, for errors.
        mapping: mapping of a topic.
        salt: secret of which ids of guests are made.
        registries: name -> address of the registries, from `registries_of`.
        wait: called with seconds between two attempts while the registry is away. It may raise to give up.
        shows_values: whether reasons of refusals hold values of messages, which may be personal data.

    Raises:
        UsageError: the mapping has no topic or is none of a topic.
        ShopstreamError: the extra `registry` is not installed.
    """
    topic = mapping.topic
    decoder = None
    if topic is not None and topic.registry is not None:
        decoder = schema_decoder(topic.format, registries[topic.registry], wait)
    return TopicMapper(name, mapping, salt, decoder=decoder, shows_values=shows_values)
