"""Tracks which monthly indices of raw events have acknowledged the events before a committed offset.

Their identities are committed with the offset, three bytes a month: commit metadata is limited to 4,096 bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Final

from features.schema import index_name

DIGEST_BYTES: Final = 3
MONTHS_MAX: Final = 900
"""Maximum number of months, the newest ones: 75 years, 3,600 characters."""

Months = dict[str, bytes]
"""Month (`2026.03`) -> digest of the identity of its index."""


def digests(run: str, identities: Mapping[str, str]) -> Months:
    """Return the existing months from the identities of all indices of raw events of a run."""
    prefix = f"{index_name(run, 'events')}-"
    return {name.removeprefix(prefix): _digest(identity) for name, identity in identities.items()}


def lost(before: Months, now: Months) -> list[str]:
    """Return the months whose index was replaced by another one.

    A month without an index is not included: it may have been deleted on purpose.
    """
    return sorted(month for month in before.keys() & now.keys() if before[month] != now[month])


def pack(months: Months) -> str:
    """Encode as text: the first month and all digests from it on, zeros for a missing month in between."""
    by_number = {_number(month): digest for month, digest in months.items()}
    if not by_number:
        return ""
    last = max(by_number)
    first = max(min(by_number), last - MONTHS_MAX + 1)
    data = b"".join(by_number.get(number, bytes(DIGEST_BYTES)) for number in range(first, last + 1))
    return f"{_month(first)}:{base64.b64encode(data).decode()}"


def unpack(text: str) -> Months:
    """Decode months; inverse of `pack`. Empty if the text is not from `pack`."""
    first, _, encoded = text.partition(":")
    try:
        number, data = _number(first), base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        return {}
    cut = [data[start : start + DIGEST_BYTES] for start in range(0, len(data), DIGEST_BYTES)]
    return {_month(number + n): digest for n, digest in enumerate(cut) if any(digest)}


def _digest(identity: str) -> bytes:
    digest = hashlib.sha256(identity.encode()).digest()[:DIGEST_BYTES]
    return digest if any(digest) else b"\1" * DIGEST_BYTES  # zeros mean no index


def _number(month: str) -> int:
    year, _, number = month.partition(".")
    return int(year) * 12 + int(number) - 1


def _month(number: int) -> str:
    return f"{number // 12:04d}.{number % 12 + 1:02d}"
