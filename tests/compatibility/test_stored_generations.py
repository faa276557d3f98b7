"""Every stored generation is read, with the values that they recorded: see `README.md`."""

from __future__ import annotations

import base64
import json
import math
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import polars as pl
import pytest
from compatibility import write
from compatibility.observed import (
    APPEND_MS,
    RUN,
    SINKS,
    as_plain,
    clusters_of,
    features_of,
    feed,
    scores_of,
    state_of,
)
from stream.archive_group import CUSTOMERS, EVENTS, Group, Worker, assert_whole

from consumers.checkpoints.recovery import decode_committed, recover, strip_contact
from consumers.checkpoints.store import CheckpointStore, DamagedError
from consumers.dead_letters import store as dead_letter_store
from consumers.dead_letters.review import plan_replay
from consumers.index.month_identities import digests, unpack
from consumers.index.partition_progress import read_metadata
from features.errors import ShopstreamError
from features.schema import SCHEMA_VERSION
from shopstream.demo.demo import demo_state
from shopstream.embedded import state_file
from shopstream.jobs import schedule, seed_history
from shopstream.settings import Settings
from shopstream.spark.checkpoint_registry import spark_checkpoints
from shopstream.spark.query_log import QueryLog

GENERATIONS = sorted(Path(__file__).with_name("generations").glob("*.zip"), key=lambda path: int(path.stem))


SCHEMA_VERSION_OF = {"1": 2}
"""Generations of an earlier schema: their checkpoints and bundles are refused, everything else is read."""


class Generation:
    """What one version wrote: its files below a folder, and the values that it recorded."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.schema_version = SCHEMA_VERSION_OF.get(name, SCHEMA_VERSION)
        self.expected: dict[str, Any] = json.loads((folder / "expected.json").read_text("utf-8"))

    @property
    def has_models(self) -> bool:
        return "scores" in self.expected


@pytest.fixture(scope="module", params=["now", *GENERATIONS], ids=lambda param: getattr(param, "stem", param))
def written(request, tmp_path_factory) -> Generation:
    """A generation; `now` is what this version writes, without models."""
    folder = tmp_path_factory.mktemp("generation")
    if request.param == "now":
        write.write_generation(folder, models=False)
    else:
        with zipfile.ZipFile(request.param) as file:
            file.extractall(folder)
    return Generation(folder, getattr(request.param, "stem", request.param))


@pytest.fixture
def current(written) -> Generation:
    """A generation of the present schema."""
    if written.schema_version != SCHEMA_VERSION:
        pytest.skip("its schema is refused, which another test checks")
    return written


@pytest.fixture
def older(written) -> Generation:
    """A generation of an earlier schema."""
    if written.schema_version == SCHEMA_VERSION:
        pytest.skip("its schema is the present one")
    return written


def differences(got: object, wanted: object, where: str = "", rel_tol: float = 1e-9) -> list[str]:
    """Paths at which two JSON values differ; floats may differ by a share of `rel_tol`."""
    if isinstance(wanted, dict) and isinstance(got, dict) and wanted.keys() == got.keys():
        return [d for name in wanted for d in differences(got[name], wanted[name], f"{where}.{name}", rel_tol)]
    if isinstance(wanted, list) and isinstance(got, list) and len(wanted) == len(got):
        pairs = enumerate(zip(got, wanted, strict=True))
        return [d for i, (mine, theirs) in pairs for d in differences(mine, theirs, f"{where}[{i}]", rel_tol)]
    if isinstance(wanted, float) and isinstance(got, float) and math.isclose(got, wanted, rel_tol=rel_tol):
        return []
    return [] if type(got) is type(wanted) and got == wanted else [f"{where}: {got!r} instead of {wanted!r}"]


def test_one_generation_has_models():
    assert GENERATIONS
    assert all("bundle/bundle.json" in zipfile.ZipFile(path).namelist() for path in GENERATIONS)


@pytest.mark.parametrize(
    ("got", "wanted"),
    [({"a": [1, 2.0]}, {"a": [1, 2.1]}), ([1], [1, 2]), ({"a": 1}, {"b": 1}), (1, 1.0), (None, 0)],
)
def test_comparison_detects_a_difference(got, wanted):
    assert differences(got, wanted)
    assert not differences(wanted, wanted)


# --- archive and models -----------------------------------------------------------------------------------------------
def test_an_archive_gives_the_recorded_feature_rows(written):
    for as_of, rows in written.expected["features"].items():
        assert len(rows) > 5
        assert differences(features_of(written.folder / "archive", int(as_of)), rows) == []


def test_a_bundle_gives_the_recorded_scores(current):
    written = current
    if not written.has_models:
        pytest.skip("this version's own bundles are tested in tests/training")
    rows = pl.DataFrame(max(written.expected["features"].items())[1], infer_schema_length=None)
    scores = scores_of(written.folder / "bundle", rows)
    # trees add up float32, whose last digits differ between processors
    assert differences(scores, written.expected["scores"], rel_tol=1e-5) == []
    assert len({row["expected_revenue_90d"] for row in scores}) > 3


def test_clusters_assign_the_recorded_personas(written):
    if not written.has_models:
        pytest.skip("this version's own clusters are tested in tests/training")
    customers = pl.read_parquet(written.folder / "customers.parquet")
    assigned = clusters_of(written.folder / "clusters.json", customers)
    assert differences(assigned, written.expected["clusters"]) == []
    assert len({row["cluster"] for row in assigned}) > 1


def test_a_bundle_of_an_earlier_schema_is_refused_with_the_remedy(older):
    rows = pl.DataFrame(max(older.expected["features"].items())[1], infer_schema_length=None)
    with pytest.raises(ShopstreamError, match="trained on other features") as refused:
        scores_of(older.folder / "bundle", rows)
    assert "Train" in refused.value.remedy


# --- checkpoint -------------------------------------------------------------------------------------------------------
def recovered(written: Generation, *, contact: bool = True):
    committed = written.expected["committed"]
    partition, _, name = recover(
        CheckpointStore(str(written.folder / "state"), RUN),
        0,
        decode_committed([committed["metadata"]]),
        committed["offsets"],
        SINKS,
        partitions=1,
        contact=contact,
        topic_ids=committed["topic_ids"],
    )
    assert name == committed["checkpoint"]
    return partition


def test_a_checkpoint_gives_the_recorded_state(current):
    wanted = current.expected["state"]
    assert wanted["documents"]
    assert all(wanted["pending"][f"dirty.{name}"] for name in ("customers.elastic", "sessions", "orders"))
    assert differences(state_of(recovered(current)), wanted) == []


def test_a_checkpoint_of_an_earlier_schema_is_refused_with_the_remedy(older):
    with pytest.raises(ShopstreamError, match=f"schema version {older.schema_version}") as refused:
        recovered(older)
    assert "Replay the history into a new run" in refused.value.remedy


def test_checkpoint_resumes_to_the_recorded_final_state(current):
    """Records before the checkpoint come again, as after a crash of the producer: their ids are remembered."""
    partition = recovered(current)
    wire = json.loads((current.folder / "wire.json").read_text("utf-8"))
    at, messages = wire["checkpoint_at"], wire["messages"]
    # what the recorded version did before it read on
    state_of(partition)
    again = [m for m in messages["events"][: at["events"]] if m[0] is not None][-20:]
    feed(
        partition,
        {topic: messages[topic][at[topic] :] + (again if topic == "events" else []) for topic in messages},
        start=at,
        at_end=True,
    )
    got, wanted = state_of(partition), current.expected["state_at_the_end"]
    got["offsets"]["events"] -= len(again)
    assert differences(got, wanted) == []


def test_restore_without_contact_removes_names_and_addresses(current):
    profiles = recovered(current, contact=False).profiles
    assert len(profiles) == len(current.expected["state"]["profiles"])
    assert not any(b'"email":' in body or b'"name":' in body for body in profiles.values())
    assert strip_contact(recovered(current)) == len(profiles)


def test_owner_of_a_recorded_state_folder_is_read(written):
    owner = CheckpointStore(str(written.folder / "state"), RUN).last_owner(0)
    assert owner is not None
    assert owner.epoch == written.expected["committed"]["epoch"]


def test_a_checkpoint_with_a_changed_byte_is_refused(written, tmp_path):
    name = written.expected["committed"]["checkpoint"]
    data = bytearray((written.folder / "state" / RUN / "partition=0" / name).read_bytes())
    data[-1] ^= 1
    (tmp_path / RUN / "partition=0").mkdir(parents=True)
    (tmp_path / RUN / "partition=0" / name).write_bytes(data)
    with pytest.raises(DamagedError):
        CheckpointStore(str(tmp_path), RUN).read(0, name)


# --- archive consumer, index consumer, dead letters -------------------------------------------------------------------
@pytest.mark.parametrize("moment", ["before_commit", "after_commit"])
def test_an_archive_consumer_resumes_from_the_recorded_offsets_and_staged_files(written, moment, tmp_path):
    expected = written.expected["archived"][moment]
    assert expected["staged"]
    for path in (written.folder / "archived" / moment).rglob("*"):
        target = tmp_path / path.relative_to(written.folder / "archived" / moment)
        if path.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    group = Group()
    for partition in (EVENTS, CUSTOMERS):
        group.logs[partition] = [value.encode() for value in expected["logs"][partition.topic]]
        group.committed[partition] = tuple(expected["committed"][partition.topic])
    offset = 55 if moment == "after_commit" else 30
    assert group.committed[EVENTS][0] == offset
    worker = Worker(group, tmp_path)
    assert worker.source.positions[EVENTS] == offset
    worker.read().flush()
    assert_whole(tmp_path, group)


def test_offsets_of_the_index_consumer_hold_the_recorded_position(written):
    expected = written.expected["index_offset"]
    metadata = read_metadata(expected["metadata"])
    assert (metadata.max_event_time, metadata.until, metadata.topic_id) == tuple(
        expected[name] for name in ("high", "until", "topic_id")
    )
    assert unpack(metadata.months) == digests(RUN, expected["identities"])
    assert len(unpack(metadata.months)) == 2


def as_kafka(message: dict[str, Any], number: int) -> SimpleNamespace:
    """A message as the Kafka client gives it."""
    key, value = (None if message[n] is None else base64.b64decode(message[n]) for n in ("key", "value"))
    headers = [(name, base64.b64decode(body)) for name, body in message["headers"]]
    return SimpleNamespace(
        offset=lambda: number, timestamp=lambda: (1, APPEND_MS), headers=lambda: headers, key=lambda: key,
        value=lambda: value,
    )  # fmt: skip


def test_dead_letters_have_their_recorded_offset_reason_and_bytes(written):
    expected = written.expected["dead_letters"]
    stored = [dead_letter_store.stored_dead_letter(as_kafka(one["message"], n)) for n, one in enumerate(expected)]
    assert [(s.topic, s.offset, s.error) for s in stored] == [(e["topic"], e["offset"], e["error"]) for e in expected]
    bad = sorted(value for messages in write.BAD.values() for _, value in messages)
    assert sorted((letter.value or b"").decode() for letter in stored) == bad
    plan = plan_replay(stored, RUN, lambda _: False, APPEND_MS, late=False)
    assert len(plan.held) == len(stored)
    assert plan_replay(stored, RUN, lambda _: True, APPEND_MS, late=False).held[0][1] == "was already replayed"


# --- the data folder --------------------------------------------------------------------------------------------------
def values_of(state: seed_history.HistoryState | None) -> dict[str, Any]:
    """How much of a history was sent to a run."""
    assert state is not None
    return as_plain(
        write.history_values(
            state.shop, state.until_ms, state.delivered, whole=state.whole, sent_unknown=state.sent_unknown
        )
    )


def test_files_of_the_data_folder_hold_the_recorded_values(written):
    settings = Settings(home=written.folder / "home", run=RUN)
    found = {
        "demo": values_of(demo_state(settings)),
        "sent": values_of(seed_history.read_state(settings.home, RUN)),
        "rounds": as_plain(schedule.read_state(settings.home)),
        "servers": as_plain(state_file.read(settings.home)),
        "spark": spark_checkpoints(settings, RUN),
        "query": as_plain(msgspec.json.decode((settings.home / "query.json").read_bytes(), type=QueryLog)),
    }
    assert differences(found, written.expected["notes"]) == []
