"""Reads the names and e-mail addresses of an archive's customers, which other systems write into their messages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from producers.archive.archive import read_customers


class Profile(NamedTuple):
    """Contact data of a customer."""

    name: str | None = None
    email: str | None = None


def read_profiles(directory: Path) -> Mapping[str, Profile]:
    """Return the profiles of an archive by customer id; empty if it has none.

    Raises:
        ShopstreamError: the archive is missing or unreadable.
    """
    table = read_customers(directory)
    if table is None:
        return {}
    columns = (table[name].to_pylist() for name in ("customer_id", "name", "email"))
    return {customer_id: Profile(name, email) for customer_id, name, email in zip(*columns, strict=True) if customer_id}
