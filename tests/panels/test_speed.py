"""How long the search of each panel takes over a million events and 100,000 customers: `make dashboards-speed`.

The time ranges are those that the dashboards open with, and once more a year for every panel.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from elasticsearch import Elasticsearch
from panels.documents import INTS, NOW, WORDS

from connectors.elasticsearch.aliases import install
from connectors.elasticsearch.mappings import FIXED_SUFFIX, month_indices
from connectors.elasticsearch.search import Searcher
from consumers.index_definitions import run_definitions
from dashboards.boards import DASHBOARDS
from dashboards.checks import check

DAY = 86_400_000
NUMBERS = {
    "events": 1_000_000, "customers": 100_000, "sessions": 140_000, "orders": 15_000, "order-items": 25_000,
    "alerts": 5_000, "pipeline": 50_000, "segments-daily": 100_000, "cohorts": 20_000, "movement": 52,
    "second-orders": 5_000, "forecast": 2_000, "contacts": 0, "notes": 0, "views": 0,
}  # fmt: skip
BULK = 10_000
MS_MAX = 500
REPEATS = 5


def column(name, kind, n, rng):
    """A column of `n` values."""
    if name == "product_id":
        return [f"p{k}" for k in (rng.zipf(1.3, n) % 2_000).tolist()]
    if name in WORDS:
        words = WORDS[name]
        chosen = rng.integers(len(words), size=n).tolist()
        return [[words[k], words[k - 1]] for k in chosen] if kind == "strings" else [words[k] for k in chosen]
    match kind:
        case "time":
            return (NOW - 1 - rng.integers(365 * DAY, size=n)).tolist()
        case "int":
            return rng.integers(*INTS.get(name, (0, 50)), size=n).tolist()
        case "float":
            return (rng.random(n) * (1 if "probability" in name else 500)).round(3).tolist()
        case "bool":
            return (rng.random(n) < 0.8).tolist()
        case "strings":
            return [["a", "b"]] * n
        case _:
            many = n if name in ("event_id", "session_id", "order_id") else 100_000
            chosen = range(n) if many == n or n == NUMBERS["customers"] else rng.integers(many, size=n).tolist()
            return [f"{name}-{k}" for k in chosen]


def fill(client, run):
    result = run_definitions(contact=False)
    install(client, run, result)
    for position, definition in enumerate(result):
        n, rng = NUMBERS[definition.name], np.random.default_rng([7, position])
        columns = {field.name: column(field.name, field.kind, n, rng) for field in definition.fields}
        names = [f"{run}-{definition.name}{FIXED_SUFFIX}"] * n
        if definition.monthly:
            names = month_indices(run, definition.name, np.array(columns["ts"]))
        rows = zip(names, zip(*columns.values(), strict=True), strict=True)
        lines = []
        for number, (name, values) in enumerate(rows, 1):
            lines += [
                msgspec.json.encode({"create": {"_index": name}}),
                msgspec.json.encode(dict(zip(columns, values, strict=True))),
            ]
            if number % BULK == 0 or number == n:
                assert not client.bulk(body=b"\n".join(lines) + b"\n", filter_path="errors")["errors"]
                lines = []
    client.indices.refresh(index=f"{run}-*")


@pytest.mark.campaign
@pytest.mark.timeout(1_800)
def test_every_search_is_fast_over_a_million_events(servers):
    run = f"t{uuid.uuid4().hex[:10]}"
    with Elasticsearch(**servers.elasticsearch.client_options(), request_timeout=120) as client:
        try:
            fill(client, run)
            result = {}
            for days in (None, 365):
                boards = [one if days is None else replace(one, days=days) for one in DASHBOARDS]
                result[days] = check(boards, Searcher(client, run), lambda _: NOW, time.perf_counter, repeat=REPEATS)
        finally:
            client.indices.delete(index=",".join(client.indices.get(index=f"{run}-*")))
            for template in client.indices.get_index_template(name=f"{run}-*")["index_templates"]:
                client.indices.delete_index_template(name=template["name"])
    for days, checked in result.items():
        for name in ("ms", "compared_ms"):
            times = sorted((getattr(one, name), one.panel, one.hits) for one in checked if getattr(one, name))
            print(f"time ranges {days or 'as opened'}, {name}: median of panels {times[len(times) // 2][0]:.0f} ms")
            print(*(f"  {panel} {ms:.0f} ms, {hits:,} documents" for ms, panel, hits in times[:-8:-1]), sep="\n")
    # random times may leave the last five minutes empty
    assert [one for checked in result.values() for one in checked if one.state == "FAIL"] == []
    assert [(one.panel, one.ms) for one in result[None] if max(one.ms, one.compared_ms) > MS_MAX] == []
