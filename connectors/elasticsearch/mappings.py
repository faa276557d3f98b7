"""Indices of a run: names, templates and strict mappings, derived from `features.schema`.

Readers use the alias `RUN-INDEX` (`shop-customers`); writers use concrete names (`write_index`). So a later run can
take over an alias without one document of the other run ever being written behind it.

The embedded server has the core modules only: no ILM, no data streams, no scripts; nothing here needs them.
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
"""Ends the concrete name of an index that is not cut by month; without it, it is the alias."""

KEYWORD_CHARS_MAX: Final = 8_191
"""A longer value is kept in the document but not searchable: Lucene takes terms of up to 32,766 bytes, and a character
takes up to 4. So no value of a valid record can be refused for its length."""

TEMPLATE_PRIORITY: Final = 1_000
_MONTH: Final = re.compile(r"\d{4}\.\d{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class IndexDefinition:
    """One index of a run.

    Attributes:
        name: without the run: `events`.
        fields: of its documents, all that there may be.
        monthly: cut into `RUN-NAME-YYYY.MM` by the month of a document's time.
        on_demand: made by its first document, like a month; the others stand from a run's first moment.
    """

    name: str
    fields: tuple[Field, ...]
    monthly: bool = False
    on_demand: bool = False


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """Settings of every index of a run.

    Attributes:
        shards: primary shards of each index.
        replicas: copies of each shard; 0 is right for a single node, which could place none.
        refresh_interval: how long a document may stay invisible to searches, as Elasticsearch writes durations.
        codec: `default` (fast) or `best_compression`.
        extra: any further `index.` setting.
    """

    shards: int = 1
    replicas: int = 0
    refresh_interval: str = "1s"
    codec: str = "default"
    extra: Mapping[str, Any] = field(default_factory=dict)


# --- which indices there are ------------------------------------------------------------------------------------------


def alias(run: str, index: str) -> str:
    """The name that readers use: `shop-events`."""
    return index_name(run, index)


def write_index(run: str, index: str) -> str:
    """The concrete name of an index that is not cut by month: `shop-customers-000001`."""
    return index_name(run, index) + FIXED_SUFFIX


def month_indices(run: str, index: str, ts: npt.NDArray[np.int64]) -> list[str]:
    """The concrete name of each document's monthly index: `shop-events-2026.03`, by the UTC month of `ts`.

    Args:
        run: the run's name.
        index: `events`, `orders` or `order-items`.
        ts: int64, epoch ms, at least 0.
    """
    months = ts.astype("datetime64[ms]").astype("datetime64[M]")
    found, place = np.unique(months, return_inverse=True)
    prefix = index_name(run, index)
    names = [f"{prefix}-{str(month).replace('-', '.')}" for month in found]
    return [names[i] for i in place.tolist()]


def index_pattern(run: str, index: str) -> str:
    """The concrete names of a monthly index as a pattern that fits those of no other run: `shop-events-????.??`."""
    return f"{index_name(run, index)}-????.??"


def belongs_to(run: str, index: str, concrete: str) -> bool:
    """Whether a concrete index is one of `run`'s `index`; exact where a wildcard would take `a-b`'s for `a`'s."""
    prefix = index_name(run, index)
    if not concrete.startswith(prefix):
        return False
    rest = concrete[len(prefix) :]
    return rest == FIXED_SUFFIX or (rest[:1] == "-" and _MONTH.fullmatch(rest[1:]) is not None)


def owner(concrete: str, names: Sequence[str]) -> tuple[str, str] | None:
    """The run and the index (`events`) that a concrete index belongs to; None for one that is not of ours.

    Args:
        concrete: `shop-events-2026.03`.
        names: of the indices that a run may have, without the run.
    """
    either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    found = re.fullmatch(rf"({RUN_NAME_PATTERN}?)-({either})(?:{FIXED_SUFFIX}|-{_MONTH.pattern})", concrete, re.ASCII)
    return (found[1], found[2]) if found else None


# --- mappings ---------------------------------------------------------------------------------------------------------

_TYPES: Final[dict[str, dict[str, Any]]] = {
    "string": {"type": "keyword", "ignore_above": KEYWORD_CHARS_MAX},
    "strings": {"type": "keyword", "ignore_above": KEYWORD_CHARS_MAX},  # a field may hold several values
    "text": {"type": "text"},
    "int": {"type": "long"},
    "float": {"type": "double"},
    "bool": {"type": "boolean"},
    "time": {"type": "date", "format": "epoch_millis"},
}


def field_mapping(item: Field) -> dict[str, Any]:
    """The mapping of one field. `items` is a strict object: its lines are searchable one by one in `order-items`."""
    if item.kind == "items":
        return {"dynamic": "strict", "properties": {f.name: field_mapping(f) for f in record_fields(Item)}}
    return dict(_TYPES[item.kind])


def mapping(definition: IndexDefinition) -> dict[str, Any]:
    """The strict mapping of an index: a field that the schema does not know is refused."""
    return {
        "dynamic": "strict",
        "_meta": {"schema_version": SCHEMA_VERSION},
        "properties": {f.name: field_mapping(f) for f in definition.fields},
    }


def template_name(run: str, definition: IndexDefinition) -> str:
    """The template's name equals the alias it gives: `shop-events`."""
    return alias(run, definition.name)


def template(run: str, definition: IndexDefinition, settings: IndexSettings, views: Sequence[str]) -> dict[str, Any]:
    """The index template of one index.

    A run may be called `shop-events`: then `shop-events-*` of the run `shop` matches its indices too. Elasticsearch
    applies the template of the highest priority alone, so the priority grows with the length of the pattern: the
    closest one wins, and two of equal length cannot match the same name.

    Args:
        run: the run's name.
        definition: of the index.
        settings: of the index.
        views: whose aliases an index gets when it is made: those that lead to this run.
    """
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
            "mappings": mapping(definition),
            "aliases": {alias(view, definition.name): {} for view in views},
        },
    }
