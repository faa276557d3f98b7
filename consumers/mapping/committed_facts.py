"""Defines what the role `map` commits with each offset: facts that must be the same when the offset is read again."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from features.errors import ShopstreamError


class CommittedFacts(msgspec.Struct, frozen=True):
    """Metadata of an offset.

    Attributes:
        topic_id: id of the topic in the cluster; empty if unknown.
        guests: fingerprint of the secret of which ids of guests were made; empty if none were.
    """

    topic_id: str = ""
    guests: str = ""

    def text(self) -> str:
        """Return the metadata as committed."""
        return msgspec.json.encode(self).decode()


def read_facts(metadata: str) -> CommittedFacts:
    """Return the facts of an offset's metadata; none of another writer's."""
    try:
        return msgspec.json.decode(metadata, type=CommittedFacts)
    except msgspec.DecodeError:
        return CommittedFacts()


def check_same_guests(committed: Iterable[str], current: str) -> None:
    """Refuse another secret than that of the committed offsets: each guest would be two customers.

    Args:
        committed: fingerprints of committed offsets; empty ones are unknown.
        current: fingerprint of the present secret; empty if the mappings make no ids of guests.

    Raises:
        ShopstreamError: the secrets differ.
    """
    if current and any(known and known != current for known in committed):
        raise ShopstreamError(
            "The ids of guests in this run were made of another guest_salt: each guest would be two customers.",
            "Set guest_salt (SHOPSTREAM_GUEST_SALT) to the former secret, or map the topics into a new run"
            " (`--run NAME`).",
        )
