"""A profile is erased wherever it was: every place is searched for it, before and after."""

from __future__ import annotations

import msgspec
import pyarrow.parquet as pq
import pytest
from operations.erasure_scene import archive, event, profile
from operations.terminal import Terminal

from connectors.kafka.client import produce_all
from consumers.checkpoints.store import CheckpointStore

pytestmark = pytest.mark.timeout(240)
ANN = {
    "customer_id": "ann",
    "name": "Ann Zacharias",
    "email": "ann.z@example.com",
    "gender": "gender-of-ann",
    "age": 41,
}
BOB = {"customer_id": "bob", "name": "Bob Yardley", "email": "bob.y@example.com", "gender": "gender-of-bob"}
SECRETS = (b"Zacharias", b"ann.z@example", b"gender-of-ann")


def places(bench, folder):
    """What each place holds, as bytes."""
    store = CheckpointStore(str(bench.state), bench.run)
    checkpoints = b"".join(
        msgspec.json.encode({name: body.decode() for name, body in store.read(p, one).manifest.profiles.items()})
        for p in store.partitions()
        for one in store.names(p)
    )
    raw = b"".join(path.read_bytes() for path in bench.state.rglob("*") if path.is_file())
    tables = [pq.read_table(path) for path in folder.rglob("*.parquet") if "customers" in str(path)]
    return {
        "topic": b"".join(m.value() or b"" for m in bench.messages("customers")),
        "letters": b"".join(m.value() or b"" for m in bench.messages("dead-letter")),
        "feature topic": b"".join(m.value() or b"" for m in bench.messages("customer-features")),
        "index": msgspec.json.encode(bench.documents("customers")),
        "checkpoints": checkpoints + raw,
        "archive": msgspec.json.encode([str(table.to_pylist()) for table in tables]),
    }


def holders(found, secrets=SECRETS):
    return {location for location, data in found.items() if any(secret in data for secret in secrets)}


def test_profile_is_erased_everywhere_and_other_profiles_stay(bench, servers, tmp_path, monkeypatch):
    terminal = Terminal(monkeypatch, tmp_path / "home", servers, bench.run)
    folder = tmp_path / "home" / "archive" / bench.run
    bench.publish([profile(ANN), profile(BOB), event("ann", "e1"), event("bob", "e2"), event("bob", "e3", device="tv")])
    bench.consume(contact=True)
    # a second checkpoint, a letter of hers and one of his
    bench.publish([profile(ANN, age=42), profile(ANN, age="old"), profile(BOB, age="old"), event("ann", "e4")])
    bench.consume(contact=True)
    archive(bench, folder)
    everywhere = {"topic", "letters", "index", "checkpoints", "archive"}
    assert holders(places(bench, folder)) == everywhere
    for customer in ("ann", "bob"):
        state = {"customer_id": customer, "state": "done", "at_ts": 1, "until_ts": 2, "as_of_ts": 0}
        bench.client.index(index=f"{bench.run}-contacts", id=customer, document=state, refresh=True)

    output = terminal.type("forget", "ann", "--yes")
    after = places(bench, folder)
    assert holders(after) == {"topic", "letters"}, "what only time or --force-compaction takes away"
    assert "older records stay in the log" in " ".join(output.split())
    assert "with the profile (" in output
    assert "the state on the work list was deleted" in " ".join(output.split())
    assert [state["customer_id"] for state in bench.documents("contacts")] == ["bob"]
    assert not [secret for secret in SECRETS if secret.decode() in output]
    his = (b"Yardley", b"gender-of-bob")
    assert holders(after, his) == everywhere

    # the next consumer reads the tombstone, and brings nothing back
    bench.publish([event("ann", "e5"), event("bob", "e6")])
    (progress,) = bench.consume(contact=True)
    assert progress.consumed == 3
    archive(bench, folder)
    after = places(bench, folder)
    assert holders(after) == {"topic", "letters"}
    assert holders(after, his) == everywhere
    ann = next(doc for doc in bench.documents("customers") if doc["customer_id"] == "ann")
    assert ann["sessions_30d"] == 1


@pytest.mark.campaign
def test_force_compaction_erases_without_waiting(bench, servers, tmp_path, monkeypatch):
    terminal = Terminal(monkeypatch, tmp_path / "home", servers, bench.run)
    bench.publish([profile(ANN), profile(ANN, age="old"), profile(BOB), profile(BOB, age="old"), event("ann", "e1")])
    # somebody else's producer, with another partitioner
    for number in range(2):
        produce_all(bench.properties, "test", [(f"{bench.run}.customers", b"ann", profile(ANN)[2], [])], number)
    bench.consume(contact=True)
    dead_letters = len(bench.messages("dead-letter"))
    output = terminal.type("forget", "ann", "--yes", "--force-compaction")
    after = places(bench, tmp_path / "none")
    assert holders(after) == set()
    assert holders(after, (b"Yardley", b"gender-of-bob")) == {"topic", "letters", "checkpoints"}
    assert "compacted" in output
    # those of ann: her malformed profile, and her profiles in partitions that are not hers
    assert len(bench.messages("dead-letter")) == 1 < dead_letters - 1


def test_unreachable_store_is_reported(bench, servers, tmp_path, monkeypatch):
    terminal = Terminal(monkeypatch, tmp_path / "home", servers, bench.run)
    bench.publish([profile(ANN)])
    output = terminal.type("forget", "ann", "--yes", "--archive", tmp_path / "none", code=1)
    assert "not reached" in output
    monkeypatch.setenv("SHOPSTREAM_ELASTICSEARCH__URL", "http://127.0.0.1:9")
    output = terminal.type("forget", "ann", "--yes", code=1)
    assert "not reached" in output
    assert "tombstone" in output


def test_checkpoint_after_erasure_differs_by_the_profile_only(bench):
    bench.publish([profile(ANN), profile(BOB), event("ann", "e1"), event("bob", "e2")])
    bench.consume(contact=True)
    store = CheckpointStore(str(bench.state), bench.run)
    for number in store.partitions():
        for name in store.names(number):
            before = store.read(number, name)
            held = "ann" in before.manifest.profiles
            assert store.forget_profile(number, name, "ann") is held
            after = store.read(number, name)
            assert "ann" not in after.manifest.profiles
            assert set(before.manifest.profiles) - {"ann"} == set(after.manifest.profiles)
            assert msgspec.structs.replace(after.manifest, profiles=before.manifest.profiles) == before.manifest
            assert all((after.arrays[key] == array).all() for key, array in before.arrays.items())
            assert (after.new_ids == before.new_ids).all()
