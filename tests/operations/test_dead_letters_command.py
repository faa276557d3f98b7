"""Letters on the real servers: listed, shown, mended, sent back, counted, and not sent twice."""

from __future__ import annotations

import json

import msgspec
import pyarrow.parquet as pq
import pytest
from operations.terminal import Terminal
from stream.bench import Bench

from features.schema import DAY_MS

pytestmark = pytest.mark.timeout(150)
TS = 1_700_000_000_000
EVENT = {"event_type": "search", "customer_id": "c1", "session_id": "s1", "device": "mobile"}


def event(name, **changes):
    return "events", b"c1", msgspec.json.encode({**EVENT, "event_id": name, "ts": TS, **changes})


@pytest.fixture
def bench(servers, run_name, tmp_path):
    bench = Bench(servers, run_name, tmp_path / "state", partitions=1)
    yield bench
    bench.client.close()


@pytest.mark.slow
def test_corrected_dead_letters_are_replayed_once(bench, servers, tmp_path, monkeypatch):
    terminal = Terminal(monkeypatch, tmp_path / "home", servers, bench.run)
    profile = {"customer_id": "c1", "name": "Ann Secret", "email": "ann@secret.test", "age": "old"}
    bench.publish(
        [
            event("good"),
            event("tv", device="tv"),
            event("later", ts=TS + 5 * DAY_MS),
            event("late", ts=TS - 1),
            ("customers", b"c1", msgspec.json.encode(profile)),
        ]
    )
    (progress,) = bench.consume()
    assert (progress.valid, progress.rejected, progress.late) == (2, 2, 1)

    listed = json.loads(terminal.type("dead-letters", "list", "--json"))["letters"]
    by_error = {dead_letter["error"].split(":")[0].split(" ")[0]: dead_letter for dead_letter in listed}
    assert len(listed) == 3
    assert "Ann Secret" not in terminal.type("dead-letters", "list")
    tv = next(dead_letter for dead_letter in listed if "device" in dead_letter["error"])
    ann = next(dead_letter for dead_letter in listed if dead_letter["topic"].endswith(".customers"))
    assert by_error["too"]["topic"] == f"{bench.run}.events"
    assert "1" in terminal.type("dead-letters", "list", "--reason", "too late", "--by-reason")

    shown = terminal.type("dead-letters", "show", ann["letter"])
    assert "***" in shown
    assert "Secret" not in shown
    assert "Ann Secret" in terminal.type("dead-letters", "show", ann["letter"], "--contact")

    # nothing is sendable yet: two are still not valid, one would be too late again
    output = terminal.type("dead-letters", "replay", "--yes")
    assert "still not valid" in output
    assert "too late" in output
    assert "--archive" in output

    mended = tmp_path / "tv.json"
    terminal.type("dead-letters", "show", tv["letter"], "--out", mended)
    assert mended.stat().st_mode & 0o777 == 0o600
    mended.write_bytes(
        mended.read_bytes().replace(b'"tv"', b'"tablet"').replace(b'"ts":1700000000000', b'"ts":%d' % (TS + 5 * DAY_MS))
    )
    again = ("dead-letters", "replay", "--numbers", tv["letter"], "--value", mended)
    ends = bench.ends()
    assert "1" in terminal.type(*again, "--dry-run")
    terminal.type(*again, code=1, answer="n\n")
    assert bench.ends() == ends
    terminal.type(*again, "--yes")
    assert "already replayed" in terminal.type(*again, "--yes")
    assert sum(bench.ends().values()) == sum(ends.values()) + 1

    (progress,) = bench.consume()
    assert (progress.valid, progress.rejected, progress.late) == (1, 0, 0)
    (document,) = bench.documents("customers")
    assert document["sessions_30d"] == 1
    sessions = bench.documents("sessions")
    assert sum(session["events"] for session in sessions) == 3

    folder = tmp_path / "archive" / "events" / "date=2023-11-14"
    folder.mkdir(parents=True)
    output = terminal.type("dead-letters", "replay", "--reason", "too late", "--archive", tmp_path / "archive", "--yes")
    assert "--run NEW" in output
    (file,) = folder.iterdir()
    assert pq.read_table(file)["event_id"].to_pylist() == ["late"]
    marks = {
        dead_letter["letter"]: dead_letter["replayed"]
        for dead_letter in json.loads(terminal.type("dead-letters", "list", "--json"))["letters"]
    }
    assert marks == {tv["letter"]: True, ann["letter"]: False, by_error["too"]["letter"]: True}


def test_wrong_calls_are_errors_with_a_reason(bench, servers, tmp_path, monkeypatch):
    terminal = Terminal(monkeypatch, tmp_path / "home", servers, bench.run)
    assert "no dead letter 7" in terminal.type("dead-letters", "show", 7, code=1)
    assert "--value is for one dead letter" in terminal.type("dead-letters", "replay", "--value", "x", code=2)
    assert "Invalid value for --numbers: 'a'" in terminal.type("dead-letters", "list", "--numbers", "a", code=2)
    assert "no dead letter is selected" in terminal.type("dead-letters", "replay")
