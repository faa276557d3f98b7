"""Chooses the hold-out group: customers whom nobody contacts, so that the effect of contacts can be measured.

A hash of seed and customer id decides. So a customer stays in or out of the group in every process, run and bundle. The
name of the run is no part of it: rebuilding, promoting or renaming a run moves nobody. A larger share keeps those who
are in the group and adds others. Another seed draws another group, which makes contacts before it useless as evidence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

DEFAULT_SEED: Final = "shopstream"
_HASH_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class HoldOut:
    """Rule of the hold-out group.

    Attributes:
        share: share of the customers in the group, 0 to 0.5; 0: nobody.
        seed: text that draws the group.
    """

    share: float = 0.0
    seed: str = DEFAULT_SEED

    def contains(self, customer_id: str) -> bool:
        """Return whether a customer is in the group."""
        if self.share <= 0:
            return False
        digest = hashlib.blake2b(
            customer_id.encode(), digest_size=_HASH_BYTES, key=hashlib.sha256(self.seed.encode()).digest()
        ).digest()
        return int.from_bytes(digest, "big") / 2.0 ** (8 * _HASH_BYTES) < self.share

    def members(self, customer_ids: Iterable[str]) -> list[bool]:
        """Return for each customer whether they are in the group."""
        return [self.contains(customer_id) for customer_id in customer_ids]


NOBODY: Final = HoldOut()
