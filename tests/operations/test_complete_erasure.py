"""Erasure as a law: after `forget --force-compaction` no byte of a profile is in anything that the run owns.

Topics are read to their ends, every document of every index is looked at, Parquet and checkpoints are read, and all
other files of the data folder are searched as bytes.
"""

from __future__ import annotations

import json

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent_kafka import TopicPartition
from operations.erasure_scene import (
    BOB,
    TS,
    ZOE,
    archive,
    event,
    everything,
    forced,
    holders,
    old_alert,
    profile,
    spellings,
)

from connectors.kafka.client import consumer_config, open_admin, open_consumer
from consumers.erasure import profile_topic
from features.schema import group_name

pytestmark = pytest.mark.timeout(600)


def flat(said):
    """What a table says, without its lines."""
    return " ".join(said.replace("│", " ").split())


def fill(bench, home):
    """Profiles in every place, under right and wrong keys, in every spelling; and somebody else's beside them."""
    folder = home / "archive" / bench.run
    bench.publish([profile(ZOE), profile(BOB), event(ZOE["customer_id"], "e1"), event("bob", "e2")])
    bench.consume(contact=True)
    archive(bench, folder)
    bench.publish(
        [
            profile(ZOE, age=42),
            profile(ZOE, age="old"),
            profile(ZOE, escaped=True, age="old"),
            profile(ZOE, key="wrong-key"),
            profile(ZOE, key="wrong-key-2", escaped=True),
            profile(ZOE, key="bob"),
            profile(ZOE, key=ZOE["email"], escaped=True),
            ("customers", b"garbage", "Zoë Ångström;".encode("latin-1")),
            ("customers", b"garbage-2", b'{"full_name": "' + json.dumps(ZOE["name"])[1:-1].encode() + b'", '),
            profile(BOB, key="not-bob"),
            profile({**BOB, "customer_id": "bob2", "email": ZOE["email"]}),
            event(ZOE["customer_id"], "e3", device="tv"),
            event("bob", "e4", ts=TS + 1),
        ]
    )
    bench.consume(contact=True)
    archive(bench, folder)
    rows = pa.Table.from_pylist([ZOE, BOB])
    noted = rows.replace_schema_metadata({"shopstream": "noted"})
    for path in (folder / "staged" / "p.parquet", folder / "customers.parts" / "x.parquet.0a.partial"):
        path.parent.mkdir(exist_ok=True)
        pq.write_table(noted, path)
        path.chmod(0o600)
    return folder


@pytest.mark.slow
def test_forget_leaves_no_byte_of_a_profile(bench, terminal, tmp_path):
    home = tmp_path / "home"
    folder = fill(bench, home)
    linked = tmp_path / "large-disk"
    (folder / "customers.parts").rename(linked)
    (folder / "customers.parts").symlink_to(linked)
    alerts = f"{bench.run}-alerts-000001"
    bench.client.indices.put_mapping(index=alerts, properties={"country": {"type": "keyword"}})
    bench.client.index(index=alerts, document=old_alert(ZOE), refresh=True)
    before = holders(bench, home, ZOE)
    for location in (
        "customers ",
        "dead-letter ",
        f"{bench.run}-customers",
        f"{bench.run}-alerts",
        "checkpoint",
        "rows ",
    ):
        assert [one for one in before if one.startswith(location)], (location, before)

    output = flat(terminal.type("forget", ZOE["customer_id"], "--yes", "--force-compaction"))
    shared = [one for one in holders(bench, home, ZOE) if one.startswith("customers ")]
    left = holders(bench, home, {"email": "x-x-x", **{k: v for k, v in ZOE.items() if k != "email"}})
    assert left == []
    assert "the same name or address: bob2" in output
    assert len(shared) == 2, "another customer with the same address, and a key that is the address: both are told"
    assert "1 of these keys contain a name or an address" in output
    assert "with the id only" in output
    assert not [text for text in spellings(ZOE) if text in output.encode()]

    # nobody else has lost anything
    assert [p for p in holders(bench, home, BOB) if p.startswith("customers ")], "bob's profile was sent again"
    staged = folder / "staged" / "p.parquet"
    assert pq.read_table(staged).to_pylist()[0]["customer_id"] == "bob"
    assert pq.read_table(staged).schema.metadata[b"shopstream"] == b"noted"
    assert staged.stat().st_mode & 0o777 == 0o600
    bobs = [json.loads(v.split(b"\n")[1]) for p, v in everything(bench, home).items() if p.startswith("dead-letter ")]
    assert [row for row in bobs if row.get("name") == BOB["name"]]
    assert forced(bench) == {}

    # the next consumer brings nothing back, and bob stays
    bench.publish([event(ZOE["customer_id"], "e5"), event("bob", "e6")])
    bench.consume(contact=True)
    archive(bench, folder)
    assert holders(bench, home, {"email": "x-x-x", **{k: v for k, v in ZOE.items() if k != "email"}}) == []
    names = {row["customer_id"]: row.get("name") for row in bench.documents("customers")}
    assert names["bob"] == BOB["name"]


def test_alerts_of_format_1_are_reported_with_their_day(bench, terminal, tmp_path):
    bench.publish([profile(ZOE), ("alerts", ZOE["customer_id"].encode(), msgspec.json.encode(old_alert(ZOE)))])
    output = flat(terminal.type("forget", ZOE["customer_id"], "--yes"))
    assert f"topic {bench.run}.alerts" in output
    assert "1 with the profile (0)" in output
    assert "They stay until" in output


def test_unknown_files_are_skipped_and_reported(bench, terminal, tmp_path):
    bench.publish([profile(ZOE), event(ZOE["customer_id"], "e1")])
    bench.consume(contact=True)
    state = bench.state / bench.run
    folder = next(path for path in state.iterdir() if any(path.iterdir()))
    own = next(folder.glob("*.checkpoint"))
    (folder / "saved.checkpoint").write_bytes(own.read_bytes())
    (state / "partition=old").mkdir()
    (state / "partition=old" / own.name).write_bytes(own.read_bytes())
    (folder / f"{own.name}.0123456789ab.partial").write_bytes(own.read_bytes())
    output = flat(terminal.type("forget", ZOE["customer_id"], "--yes"))
    assert "saved.checkpoint" in output.replace(" ", "")
    assert "partition=old" in output.replace(" ", "")
    assert not list(folder.glob("*.partial")), "an erasure that was killed has left it"


def test_topic_settings_of_the_user_are_restored_and_forced_ones_are_not(bench, terminal):
    topic = f"{bench.run}.customers"
    admin = open_admin(bench.properties)
    profile_topic._alter(admin, topic, {"min.cleanable.dirty.ratio": "0.25"})
    bench.publish([profile(ZOE)])
    terminal.type("forget", ZOE["customer_id"], "--yes", "--force-compaction")
    assert forced(bench) == {"min.cleanable.dirty.ratio": "0.25"}
    # as an erasure leaves them that was killed; one without --force-compaction takes them back as well
    profile_topic._alter(admin, topic, profile_topic.FORCED)
    output = terminal.type("forget", ZOE["customer_id"], "--yes")
    assert "settings that a killed erasure had changed" in flat(output)
    assert forced(bench) == {}


def test_stalled_consumer_is_reported_and_the_next_call_awaits_the_same_tombstone(bench, terminal, monkeypatch):
    monkeypatch.setattr("shopstream.jobs.erase.CONSUMERS_TIMEOUT_S", 1.0)
    bench.publish([profile(ZOE)])
    consumer = open_consumer(consumer_config(bench.properties, group_name(bench.run, "archive")))
    try:
        joined = []
        consumer.subscribe([f"{bench.run}.customers"], on_assign=lambda c, parts: (c.assign([]), joined.append(parts)))
        while not joined:
            consumer.poll(0.1)
        output = flat(terminal.type("forget", ZOE["customer_id"], "--yes", code=1))
        assert "did not commit past the tombstone" in output
        tombs = [m for m in bench.messages("customers") if m.value() is None]
        where = [TopicPartition(m.topic(), m.partition(), m.offset() + 1) for m in tombs]
        consumer.commit(offsets=where, asynchronous=False)
        terminal.type("forget", ZOE["customer_id"], "--yes")
        assert len([m for m in bench.messages("customers") if m.value() is None]) == len(tombs) == 1
    finally:
        consumer.close()
