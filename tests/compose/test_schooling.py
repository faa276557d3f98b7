"""Training by schedule: when it is due, what a round does, what becomes of a step that fails."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import psutil
import pytest
from consume.command_line import call, environment, start
from guards.test_commands import parses

from producers.shop.generate import generate
from producers.shop.shop import Shop
from shopstream.jobs import schedule as schedule_job
from shopstream.jobs.schedule import SchedulePlan, ScheduleState, due_in_s, go_through

PLAN = SchedulePlan(archive=Path("a"), mart=Path("m"), run="r", every_s=3_600, tries=2)


@pytest.mark.parametrize(
    ("notes", "now_s", "due_s"),
    [
        (None, 5_000, 0),
        (ScheduleState(1_000_000), 1_000, 3_600),
        (ScheduleState(1_000_000), 4_599, 1),
        (ScheduleState(1_000_000), 4_600, 0),
        (ScheduleState(1_000_000), 9_999, 0),
        (ScheduleState(1_000_000, ("train",)), 1_000, schedule_job.RETRY_S),
        (ScheduleState(1_000_000, ("train",)), 1_300, 0),
    ],
)
def test_when_a_round_is_due(notes, now_s, due_s):
    assert due_in_s(notes, PLAN.every_s, now_s * 1_000) == due_s


def test_a_short_interval_is_not_made_longer_by_a_failure():
    assert due_in_s(ScheduleState(0, ("train",)), 60, 0) == 60


def test_every_step_is_a_command():
    assert [step[0] for step in PLAN.steps()] == ["train", "rollup", "forecast", "segment"]
    for step in PLAN.steps():
        parses(["shopstream", *step])


def test_a_step_that_fails_leaves_the_others_alone():
    done, told = [], []

    def run(words):
        done.append(words[0])
        return "failed" if words[0] == "train" else "done"

    assert go_through(PLAN, run, told.append) == ("train",)
    assert done == ["train", "rollup", "forecast", "segment"]
    assert told[:2] == ["train begins", "train failed"]


def test_a_stop_ends_the_round():
    done = []

    def run(words):
        done.append(words[0])
        return "stopped" if words[0] == "rollup" else "done"

    assert go_through(PLAN, run, lambda _: None) is None
    assert done == ["train", "rollup"]


@pytest.mark.parametrize("ahead_s", [1, 3_600, 86_400, 365 * 86_400])
def test_a_clock_that_went_back_makes_no_wait_longer_than_an_interval(ahead_s):
    now_ms = 1_000_000_000
    assert due_in_s(ScheduleState(now_ms + ahead_s * 1_000), PLAN.every_s, now_ms) == PLAN.every_s
    assert due_in_s(ScheduleState(now_ms - ahead_s * 1_000), PLAN.every_s, now_ms) == max(0, PLAN.every_s - ahead_s)


def test_notes_are_kept_and_damaged_ones_are_none(tmp_path):
    assert schedule_job.read_notes(tmp_path) is None
    schedule_job.write_notes(tmp_path / "bundles", ScheduleState(7, ("train",)))
    assert schedule_job.read_notes(tmp_path / "bundles") == ScheduleState(7, ("train",))
    (tmp_path / "bundles" / schedule_job.NOTES).write_text("{")
    assert schedule_job.read_notes(tmp_path / "bundles") is None


def test_a_command_in_a_process_of_its_own():
    assert schedule_job.in_child(["--help"], lambda: True) == "done"
    assert schedule_job.in_child(["no-such-command"], lambda: True) == "failed"


def test_a_stopped_command_is_ended(monkeypatch):
    monkeypatch.setattr(schedule_job, "SIGN_EVERY_S", 0.05)
    popen = schedule_job.subprocess.Popen
    monkeypatch.setattr(
        schedule_job.subprocess, "Popen", lambda _: popen([sys.executable, "-c", "import time; time.sleep(60)"])
    )
    began_s = time.monotonic()
    assert schedule_job.in_child(["train"], lambda: False) == "stopped"
    assert time.monotonic() - began_s < 10


def test_a_trainer_that_is_ended_while_it_trains_leaves_nothing_half(tmp_path):
    generate(Shop(end_ms=20_000 * 86_400_000, seed=1, customers=300, events=20_000, days=150), tmp_path / "archive")
    (tmp_path / "home" / "bundles").mkdir(parents=True)
    variables = environment(tmp_path / "home") | {"SHOPSTREAM_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    process = start(["schedule", tmp_path / "archive", "--out", tmp_path / "mart"], variables)
    try:
        while "train begins" not in process.stderr.readline():
            assert process.poll() is None
        time.sleep(3)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert said.splitlines()[-1].endswith("stopped")
    # its own note may be there, which is written whole; no bundle and no part of one is
    assert {path.name for path in (tmp_path / "home" / "bundles").iterdir()} <= {"trainer.json"}
    assert not [child for child in psutil.process_iter(["cmdline"]) if str(tmp_path) in (child.info["cmdline"] or [])]


def test_an_interval_that_is_none_is_refused_by_its_own_name(tmp_path):
    done = call(["schedule", "--every", "x"], environment(tmp_path))
    assert done.returncode == 2
    assert "--every is 'x'" in done.stderr
