"""Builds the mapper of a topic from its mapping and the registries that the settings have."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from connectors.endpoints import RegistryEndpoint
from connectors.formats.money_format import ShopMoney
from connectors.messages.decoder import schema_decoder
from features.errors import UsageError
from producers.importing.columns import makes_guests
from producers.importing.mapping import ClickMapping, OrderMapping
from producers.topic_mapping.mapper import TopicMapper
from producers.topic_mapping.ready import LoadedMapping
from shopstream.settings import Settings, registry_endpoint

_ROUNDS: Final = 200_000
"""Rounds of the hash of the secret of guests: about a tenth of a second."""


def registries_of(settings: Settings, loaded: Sequence[LoadedMapping]) -> dict[str, RegistryEndpoint]:
    """Return name -> address of the registries that mappings need.

    Args:
        settings: settings with the registries.
        loaded: mappings.

    Raises:
        UsageError: the settings lack a registry.
        ShopstreamError: a password cannot be read.
    """
    registries: dict[str, RegistryEndpoint] = {}
    for one in loaded:
        topic = one.mapping.topic
        if topic is not None and topic.registry is not None:
            try:
                registries[topic.registry] = registry_endpoint(settings, topic.registry)
            except UsageError as error:
                position = one.line("from", "registry")
                raise UsageError(f"{position}: from.registry: {error.message}", error.remedy) from None
    return registries


def shop_money(settings: Settings) -> ShopMoney:
    """Return what the settings say about the amounts of mappings."""
    shop = settings.shop
    return ShopMoney(shop.currency or "", shop.money.decimals, shop.time_zone or "")


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


def guests_fingerprint(run: str, salt: bytes, mappings: Iterable[OrderMapping | ClickMapping]) -> str:
    """Return a fingerprint of the secret of guests, which does not reveal it; empty if no mapping makes guests.

    It is slow to compute, so that a weak secret is not found by trying many.

    Args:
        run: name of the run, which gives equal secrets of two runs different fingerprints.
        salt: the secret.
        mappings: mappings of the run.
    """
    if not any(makes_guests(source) for mapping in mappings for source in mapping.sources()):
        return ""
    return hashlib.pbkdf2_hmac("sha256", salt, f"shopstream guests {run}".encode(), _ROUNDS, 8).hex()
