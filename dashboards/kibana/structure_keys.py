"""Compares the keys of an object of a saved object with those that Kibana needs and allows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of an object: those that it needs, and those that it may have."""

    needed: Collection[str]
    allowed: Collection[str] = ()


def key_faults(name: str, value: Any, keys: Keys) -> Iterator[str]:
    """Return a line for the keys that a value lacks, and one for those that are unknown."""
    if not isinstance(value, Mapping):
        yield f"{name} is not an object"
        return
    missing = sorted(set(keys.needed) - value.keys())
    unknown = sorted(value.keys() - set(keys.needed) - set(keys.allowed))
    if missing:
        yield f"{name} lacks {', '.join(missing)}"
    if unknown:
        yield f"{name} has the unknown {', '.join(unknown)}"
