"""Profiles in every place of a run, and all that the run owns as bytes."""

from __future__ import annotations

import json

import msgspec
import pyarrow.parquet as pq
from elasticsearch.helpers import scan

from connectors.kafka.client import consumer_config, open_admin, open_consumer
from connectors.kafka.source import Source
from consumers.archive.consumer import ROLE, TOPICS, ArchiveRole
from consumers.archive.files import ArchiveFolder
from consumers.checkpoints.store import CheckpointStore
from consumers.dead_letters.store import read_topic
from consumers.erasure import profile_topic
from features.schema import group_name

TS = 1_700_000_000_000
ZOE = {
    "customer_id": "zoë-кот-1",
    "name": "Zoë Ångström",
    "email": "zoë.å@exämple.org",
    "country": "country-of-zoe",
    "gender": "gender-of-zoe",
    "acquisition_channel": "channel-of-zoe",
    "age": 41,
}
BOB = {"customer_id": "bob", "name": "Bob Yardley", "email": "bob.y@example.com", "country": "country-of-bob"}
TOPIC_NAMES = ("events", "orders", "customers", "customer-features", "alerts", "dead-letter", "dead-letter-replays")


def spellings(row):
    """Of each field of a profile: as it is, as JSON escapes it, as Latin-1."""
    texts = [str(value) for name, value in row.items() if name not in ("customer_id", "age")]
    result = {text.encode() for text in texts} | {json.dumps(text)[1:-1].encode() for text in texts}
    return result | {text.encode("latin-1") for text in texts}


def profile(row, key=None, *, escaped=False, **changes):
    body = {**row, **changes}
    value = json.dumps(body).encode() if escaped else json.dumps(body, ensure_ascii=False).encode()
    return "customers", (key or row["customer_id"]).encode(), value


def event(customer, name, **changes):
    row = {"event_type": "search", "session_id": "s1", "device": "mobile", "ts": TS, "event_id": name}
    return "events", customer.encode(), msgspec.json.encode({**row, "customer_id": customer, **changes})


def archive(bench, folder):
    config = consumer_config(bench.properties, group_name(bench.run, ROLE))
    role = ArchiveRole(Source(open_consumer(config), bench.run, TOPICS), ArchiveFolder(folder, bench.run), bench.run)
    role.run(lambda: False, bench.ends())


def everything(bench, home):
    """Place -> bytes, of all that the run owns."""
    result = {}
    for topic in TOPIC_NAMES:
        for m in read_topic(bench.properties, f"{bench.run}.{topic}"):
            location = f"{topic} {m.partition()} {m.offset()}"
            result[location] = b"\n".join([m.key() or b"", m.value() or b"", repr(m.headers()).encode()])
    for name in bench.client.indices.get(index=f"{bench.run}-*", filter_path="*.aliases"):
        bench.client.indices.refresh(index=name)
        for hit in scan(bench.client, index=name):
            result[f"{name} {hit['_id']}"] = json.dumps(hit["_source"], ensure_ascii=False).encode()
    store = CheckpointStore(str(bench.state), bench.run)
    for number in store.partitions():
        for name in store.names(number):
            manifest = store.read(number, name).manifest
            result[f"checkpoint {name}"] = b"\n".join([*manifest.profiles.values(), *(b for _, b in manifest.alerts)])
    for path in home.rglob("*"):
        if not path.is_file():
            continue
        result[f"file {path}"] = path.read_bytes()
        if ".parquet" in path.name and result[f"file {path}"].startswith(b"PAR1"):
            result[f"rows {path}"] = repr(pq.read_table(path).to_pylist()).encode()
    return result


def holders(bench, home, row):
    expected = spellings(row)
    return sorted(
        location for location, data in everything(bench, home).items() if any(one in data for one in expected)
    )


def forced(bench):
    settings = profile_topic._settings(open_admin(bench.properties), f"{bench.run}.customers", forced_too=True)
    return {name: value for name, value in settings.items() if name in profile_topic.FORCED}


def old_alert(row):
    """As versions wrote them that put the country into alerts."""
    return {
        "customer_id": row["customer_id"], "churn_risk": "high", "day": "2026-01-01", "ts": TS,
        "churn_risk_before": "low",
        "churn_probability": 0.7, "churn_reasons": None, "segment": "New", "recommended_action": "call",
        "revenue_365d": 5.0, "country": row["country"], "bundle": "b",
    }  # fmt: skip


def people(count):
    return [
        {"customer_id": f"p{n}", "name": f"Person Number{n}x", "email": f"p{n}@example.org", "country": f"country{n}x"}
        for n in range(count)
    ]


def publish_dead_letters(bench, rows):
    bench.publish([message for row in rows for message in (profile(row), profile(row, age="old"))])
    bench.publish([event(row["customer_id"], f"e-{row['customer_id']}") for row in rows])
    bench.consume(contact=True)
