"""Derives the names, templates and strict mappings of a run's indices from `features.schema`.

Readers use the alias `RUN-INDEX` (`shop-customers`). Writers use concrete names (`write_index`). So a later run can
take over an alias, and no document of the other run is ever written through it.

The embedded server has the core modules only: no ILM, no data streams, no scripts. This module needs none of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.schema import (
    RUN_NAME_PATTERN,
    SCHEMA_VERSION,
    Field,
    Item,
    index_name,
    record_fields,
)

FIXED_SUFFIX: Final = "-000001"
"""Suffix of the concrete name of an index that is not split by month. The name without it is the alias."""

KEYWORD_CHARS_MAX: Final = 8_191
"""Longer values are kept in the document but not searchable. Lucene accepts terms of up to 32,766 bytes, and a
character takes up to 4. So no value of a valid record can be refused for its length.
"""

TIME_FORMAT: Final = "epoch_millis||strict_date_optional_time"
"""Formats of a time. Documents hold epoch ms; the second format is for dates that people type into a search."""
CALENDAR_NOTE: Final = "calendar"
"""Key of the calendar in the notes (`_meta`) of an index of trends; null until its first documents."""

TEMPLATE_PRIORITY: Final = 1_000
_MONTH: Final = re.compile(r"\d{4}\.\d{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class IndexDefinition:
    """Definition of one index of a run.

    Attributes:
        name: index name without the run: `events`.
        fields: all fields that its documents may have.
        monthly: whether it is split into `RUN-NAME-YYYY.MM` by the month of a document's time.
        trend: whether it is computed from an archive by the days of a calendar, which its mapping notes.
    """

    name: str
    fields: tuple[Field, ...]
    monthly: bool = False
    trend: bool = False


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """Settings of every index of a run.

    Attributes:
        shards: primary shards of each index.
        replicas: replicas of each shard; 0 suits a single node, which cannot allocate any.
        refresh_interval: longest time that a document is invisible to searches, as an Elasticsearch duration.
        codec: `default` (fast) or `best_compression`.
        extra: further `index.` settings.
    """

    shards: int = 1
    replicas: int = 0
    refresh_interval: str = "1s"
    codec: str = "default"
    extra: Mapping[str, Any] = field(default_factory=dict)


# --- names of indices -------------------------------------------------------------------------------------------------


def alias(run: str, index: str) -> str:
    """Return the name that readers use: `shop-events`."""
    return index_name(run, index)


def write_index(run: str, index: str) -> str:
    """Return the concrete name of an index that is not split by month: `shop-customers-000001`."""
    return index_name(run, index) + FIXED_SUFFIX


def month_indices(run: str, index: str, ts: npt.NDArray[np.int64]) -> list[str]:
    """Return the concrete monthly index of each document: `shop-events-2026.03`, by the UTC month of `ts`.

    Args:
        run: name of the run.
        index: `events`, `orders` or `order-items`.
        ts: int64, epoch ms, at least 0.
    """
    months = ts.astype("datetime64[ms]").astype("datetime64[M]")
    distinct, number = np.unique(months, return_inverse=True)
    prefix = index_name(run, index)
    names = [f"{prefix}-{str(month).replace('-', '.')}" for month in distinct]
    return [names[i] for i in number.tolist()]


def index_pattern(run: str, index: str) -> str:
    """Return a pattern for the concrete names of a monthly index that matches no other run: `shop-events-????.??`."""
    return f"{index_name(run, index)}-????.??"


def belongs_to(run: str, index: str, concrete: str) -> bool:
    """Return whether a concrete index is part of `run`'s `index`. A wildcard would take `a-b`'s index for `a`'s."""
    prefix = index_name(run, index)
    if not concrete.startswith(prefix):
        return False
    rest = concrete[len(prefix) :]
    return rest == FIXED_SUFFIX or (rest[:1] == "-" and _MONTH.fullmatch(rest[1:]) is not None)


def owner(concrete: str, names: Sequence[str]) -> tuple[str, str] | None:
    """Return the run and the index (`events`) of a concrete index, or None for an index of another application.

    Args:
        concrete: concrete index: `shop-events-2026.03`.
        names: index names that a run may have, without the run.
    """
    either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    match = re.fullmatch(rf"({RUN_NAME_PATTERN}?)-({either})(?:{FIXED_SUFFIX}|-{_MONTH.pattern})", concrete, re.ASCII)
    return (match[1], match[2]) if match else None


# --- mappings ---------------------------------------------------------------------------------------------------------

_TYPES: Final[dict[str, dict[str, Any]]] = {
    "string": {"type": "keyword", "ignore_above": KEYWORD_CHARS_MAX},
    "strings": {"type": "keyword", "ignore_above": KEYWORD_CHARS_MAX},  # a field may hold several values
    "text": {"type": "text"},
    "int": {"type": "long"},
    "float": {"type": "double"},
    "bool": {"type": "boolean"},
    "time": {"type": "date", "format": TIME_FORMAT},
}


def field_mapping(item: Field) -> dict[str, Any]:
    """Return the mapping of one field. `items` is a strict object. `order-items` has its lines one by one."""
    if item.kind == "items":
        return {"dynamic": "strict", "properties": {f.name: field_mapping(f) for f in record_fields(Item)}}
    return dict(_TYPES[item.kind])


def mapping(definition: IndexDefinition) -> dict[str, Any]:
    """Return the strict mapping of an index: fields outside the schema are refused."""
    return {
        "dynamic": "strict",
        "_meta": {"schema_version": SCHEMA_VERSION},
        "properties": {f.name: field_mapping(f) for f in definition.fields},
    }


def template_name(run: str, definition: IndexDefinition) -> str:
    """Return the template's name, which equals the alias that the template gives: `shop-events`."""
    return alias(run, definition.name)


def template(
    run: str, definition: IndexDefinition, settings: IndexSettings, alias_sets: Sequence[str]
) -> dict[str, Any]:
    """Return the index template of one index.

    A run may be called `shop-events`: then `shop-events-*` of the run `shop` matches its indices too. Elasticsearch
    applies only the template of the highest priority, so the priority grows with the length of the pattern. The most
    specific template wins, and two of equal length cannot match the same name.

    Args:
        run: name of the run.
        definition: definition of the index.
        settings: settings of the index.
        alias_sets: alias sets that point to this run. A new index gets their aliases.
    """
    mappings = mapping(definition)
    if definition.trend:
        mappings["_meta"] = {**mappings["_meta"], CALENDAR_NOTE: None}
    pattern = f"{alias(run, definition.name)}-*.*" if definition.monthly else write_index(run, definition.name)
    return {
        "index_patterns": [pattern],
        "priority": TEMPLATE_PRIORITY + len(pattern),
        "version": SCHEMA_VERSION,
        "_meta": {"run": run, "made_by": "shopstream"},
        "template": {
            "settings": {
                "index": {
                    "number_of_shards": settings.shards,
                    "number_of_replicas": settings.replicas,
                    "refresh_interval": settings.refresh_interval,
                    "codec": settings.codec,
                    **settings.extra,
                }
            },
            "mappings": mappings,
            "aliases": {alias(alias_set, definition.name): {} for alias_set in alias_sets},
        },
    }
