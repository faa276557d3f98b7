"""Concurrent erasures, and erasures that are ended in the middle: what is called last leaves nothing."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from consume.command_line import environment, start
from operations.erasure_scene import archive, forced, holders, people, publish_dead_letters

from connectors.kafka.client import open_admin, produce_all
from consumers.dead_letters.store import read_topic
from consumers.erasure import profile_topic
from consumers.erasure.lock import erasure_lock
from features.errors import ShopstreamError

pytestmark = pytest.mark.timeout(600)


# --- concurrent ------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_three_concurrent_erasures_leave_nothing(bench, servers, tmp_path):
    rows = people(4)
    home = tmp_path / "home"
    publish_dead_letters(bench, rows)
    archive(bench, home / "archive" / bench.run)
    # two in one data folder, one as on another machine that shares the state
    homes = [home, home, tmp_path / "other"]
    homes[2].mkdir()
    words = [
        "--yes",
        "--force-compaction",
        "--run",
        bench.run,
        "--state",
        bench.state,
        "--archive",
        home / "archive" / bench.run,
    ]
    running = [
        start(
            ["forget", row["customer_id"], *words],
            environment(location, servers),
        )
        for row, location in zip(rows, homes, strict=False)
    ]
    output = [process.communicate(timeout=300) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], output
    assert [holders(bench, home, row) for row in rows[:3]] == [[], [], []]
    assert {location.split()[0] for location in holders(bench, home, rows[3])} >= {
        "customers",
        "dead-letter",
        "checkpoint",
    }
    assert forced(bench) == {}


def test_dead_letters_that_reappear_during_erasure_are_deleted_again(bench, terminal, tmp_path, monkeypatch):
    """Another process writes copies of them during the first deletion."""
    (row,) = people(1)
    publish_dead_letters(bench, [row])
    admin = open_admin(bench.properties)
    dead_letters = f"{bench.run}.dead-letter"
    copies = [(dead_letters, m.key(), m.value(), m.headers()) for m in read_topic(bench.properties, dead_letters)]
    deleted = []

    def delete_records(self, where, **_):
        if not deleted:
            deleted.append(True)
            produce_all(bench.properties, "test", copies)
        return admin.delete_records(where)

    monkeypatch.setattr(
        "consumers.erasure.dead_letters.open_admin", lambda _: type("A", (), {"delete_records": delete_records})()
    )
    terminal.type("forget", "p0", "--yes", "--force-compaction")
    assert deleted
    assert holders(bench, tmp_path / "home", row) == []


def test_erasure_lock_has_one_holder_and_its_loss_is_detected(bench):
    waits = []
    with erasure_lock(bench.properties, bench.run) as lock:
        lock.check()
        with (
            pytest.raises(ShopstreamError, match="is running"),
            erasure_lock(bench.properties, bench.run, wait_s=4, on_wait=lambda: waits.append(1)),
        ):
            pass
        lock.check()
    assert waits
    with pytest.raises(ShopstreamError, match="lost its lock"):
        lock.check()
    with erasure_lock(bench.properties, bench.run) as lock:
        lock.check()


# --- interrupted ------------------------------------------------------------------------------------------------------
KILLED = """
import importlib, os, signal, sys
module, name, when, number = sys.argv[1:5]
sys.argv[1:5] = []
owner = importlib.import_module(module)
real = getattr(owner, name)
def killed(*a, **k):
    if when == "before":
        os.kill(os.getpid(), int(number))
    found = real(*a, **k)
    os.kill(os.getpid(), int(number))
    return found
setattr(owner, name, killed)
from shopstream.cli.app import main
main()
"""
PHASES = [
    ("consumers.erasure.profile_topic", "write_tombstones", "before"),
    ("consumers.erasure.profile_topic", "write_tombstones", "after"),
    ("shopstream.jobs.erase", "forget_in_checkpoints", "after"),
    ("shopstream.jobs.erase", "forget_in_index", "after"),
    ("consumers.erasure.dead_letters", "produce_all", "after"),
    ("consumers.erasure.dead_letters", "delete_dead_letters", "after"),
    ("consumers.erasure.profile_topic", "_alter", "after"),
    ("consumers.erasure.profile_topic", "_left", "after"),
    ("shopstream.jobs.erase", "forget_in_archive", "before"),
    ("shopstream.jobs.erase", "forget_in_archive", "after"),
]
SIGNALS = [signal.SIGKILL, signal.SIGTERM]
FEW = [(PHASES[4], signal.SIGKILL), (PHASES[6], signal.SIGKILL), (PHASES[7], signal.SIGTERM)]


def interrupted(bench, servers, terminal, home, cases):
    """One customer for each case: the erasure is ended in that phase, and afterwards all are called again."""
    rows = people(len(cases) + 1)
    publish_dead_letters(bench, rows)
    archive(bench, home / "archive" / bench.run)
    variables = environment(home, servers)
    words = ["--yes", "--force-compaction", "--run", bench.run]
    for row, ((module, name, when), number) in zip(rows, cases, strict=False):
        line = [
            sys.executable,
            "-c",
            KILLED,
            module,
            name,
            when,
            str(int(number)),
            "forget",
            row["customer_id"],
            *words,
        ]
        done = subprocess.run(line, env=variables, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == (-9 if number == signal.SIGKILL else 143), (name, done)
        if number == signal.SIGTERM:
            assert forced(bench) == {}, (name, when)
        elif name in ("_alter", "_left"):
            assert forced(bench) == dict(profile_topic.FORCED), "what the next one has to find"
    for row in rows[: len(cases)]:
        terminal.type("forget", row["customer_id"], "--yes", "--force-compaction")
    assert {row["customer_id"]: holders(bench, home, row) for row in rows[:-1]} == {
        row["customer_id"]: [] for row in rows[:-1]
    }
    assert {location.split()[0] for location in holders(bench, home, rows[-1])} >= {
        "customers",
        "dead-letter",
        "checkpoint",
    }
    assert forced(bench) == {}


@pytest.mark.slow
def test_erasure_killed_in_the_middle_is_completed_by_the_next_one(bench, servers, terminal, tmp_path):
    interrupted(bench, servers, terminal, tmp_path / "home", FEW)


@pytest.mark.campaign
@pytest.mark.parametrize("number", SIGNALS, ids=["SIGKILL", "SIGTERM"])
def test_erasure_killed_in_any_phase_is_completed_by_the_next_one(bench, servers, terminal, tmp_path, number):
    interrupted(bench, servers, terminal, tmp_path / "home", [(phase, number) for phase in PHASES])
