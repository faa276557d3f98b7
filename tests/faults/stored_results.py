"""What a run has left behind, as values that can be compared with those of an undisturbed run."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from elasticsearch.helpers import scan
from stream.bench import INDICES, Bench

from features.schema import FEATURE_TOPIC

ARCHIVE_KEYS = {"events": ("event_id",), "orders": ("order_id", "updated_ts", "status", "total")}
OF_ROLE = {
    "features": (*INDICES, FEATURE_TOPIC),
    "index": ("events",),
    "archive": tuple(f"archive of {topic}" for topic in ARCHIVE_KEYS),
}
"""Role -> what it leaves behind."""

Things = dict[Any, tuple[int, Any]]
"""Key -> how often it is there, and its content (None where only its being there is looked at)."""


@dataclass(frozen=True)
class Difference:
    """How a run differs from an undisturbed one, in documents, rows and archived records."""

    compared: int = 0
    lost: int = 0
    doubled: int = 0
    changed: int = 0
    example: str = ""

    @property
    def is_none(self) -> bool:
        return not (self.lost or self.doubled or self.changed)

    def __add__(self, other: Difference) -> Difference:
        return Difference(
            self.compared + other.compared,
            self.lost + other.lost,
            self.doubled + other.doubled,
            self.changed + other.changed,
            self.example or other.example,
        )


def stored_results(bench: Bench, roles: tuple[str, ...], archive: Path) -> dict[str, Things]:
    """Name -> what the roles have left there."""
    result: dict[str, Things] = {}
    if "features" in roles:
        result |= {index: {key: (1, doc) for key, doc in bench.by_id(index).items()} for index in INDICES}
        result[FEATURE_TOPIC] = _newest_rows(bench)
    if "index" in roles:
        result["events"] = _event_ids(bench)
    if "archive" in roles:
        for topic, key in ARCHIVE_KEYS.items():
            rows = pl.scan_parquet(archive / topic / "**" / "*.parquet", hive_partitioning=False).select(key).collect()
            result[f"archive of {topic}"] = {row: (n, None) for row, n in Counter(rows.iter_rows()).items()}
    return result


def difference(expected: dict[str, Things], found: dict[str, Things]) -> Difference:
    """How what was found differs, over the names that were found."""
    return sum((_difference(name, expected[name], things) for name, things in found.items()), Difference())


def _difference(name: str, expected: Things, found: Things) -> Difference:
    lost = doubled = changed = 0
    example = ""
    for key in expected.keys() | found.keys():
        (requested, content), (got, own) = expected.get(key, (0, None)), found.get(key, (0, None))
        lost += max(0, requested - got)
        doubled += max(0, got - requested)
        is_changed = bool(requested and got) and content != own
        changed += is_changed
        if not example and (requested != got or is_changed):
            example = f"{name} {key}: {got} times {own}, undisturbed {requested} times {content}"
    return Difference(len(expected), lost, doubled, changed, example)


def _newest_rows(bench: Bench) -> Things:
    """The row of the highest version of each customer, as a reader of the topic keeps them."""
    newest: dict[str, dict[str, Any]] = {}
    for message in bench.messages(FEATURE_TOPIC):
        row = json.loads(message.value())
        if row["version"] > newest.get(row["customer_id"], {"version": -1})["version"]:
            newest[row["customer_id"]] = row
    return {name: (1, {k: v for k, v in row.items() if k != "version"}) for name, row in newest.items()}


def _event_ids(bench: Bench) -> Things:
    name = f"{bench.run}-events"
    bench.client.indices.refresh(index=f"{name}*", ignore_unavailable=True)
    hits = scan(bench.client, index=name, size=10_000, source=False)
    return {(hit["_index"].removeprefix(name), hit["_id"]): (1, None) for hit in hits}
