"""Training by schedule: when it is due, what a round does, what becomes of a step that fails."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from child_processes import children_that_run
from consume.command_line import call, environment, start
from guards.test_commands import parses

from producers.shop.generate import generate
from producers.shop.shop import Shop
from shopstream.jobs import schedule as schedule_job
from shopstream.jobs import step as steps
from shopstream.jobs.schedule import SchedulePlan, ScheduleState, due_in_s, run_round
from shopstream.jobs.step import CrashedError, run_steps

PLAN = SchedulePlan(archive=Path("a"), segments_folder=Path("m"), run="r", every_s=3_600, tries=2)


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
def test_round_is_due_after_its_interval(notes, now_s, due_s):
    assert due_in_s(notes, PLAN.every_s, now_s * 1_000) == due_s


def test_failure_does_not_lengthen_a_short_interval():
    assert due_in_s(ScheduleState(0, ("train",)), 60, 0) == 60


def test_every_step_is_a_command_that_parses():
    assert [step[0] for step in PLAN.steps()] == ["train", "rollup", "forecast", "segment"]
    for step in PLAN.steps():
        parses(["shopstream", *step])


def test_failed_step_does_not_stop_the_other_steps():
    done, messages = [], []

    def run(words):
        done.append(words[0])
        return "failed" if words[0] == "train" else "done"

    assert run_round(PLAN, run, messages.append) == ("train",)
    assert done == ["train", "rollup", "forecast", "segment"]
    assert messages[:2] == ["train begins", "train failed"]


def test_a_stop_ends_the_round():
    done = []

    def run(words):
        done.append(words[0])
        return "stopped" if words[0] == "rollup" else "done"

    assert run_round(PLAN, run, lambda _: None) is None
    assert done == ["train", "rollup"]


@pytest.mark.parametrize("ahead_s", [1, 3_600, 86_400, 365 * 86_400])
def test_clock_set_back_never_delays_a_round_beyond_one_interval(ahead_s):
    now_ms = 1_000_000_000
    assert due_in_s(ScheduleState(now_ms + ahead_s * 1_000), PLAN.every_s, now_ms) == PLAN.every_s
    assert due_in_s(ScheduleState(now_ms - ahead_s * 1_000), PLAN.every_s, now_ms) == max(0, PLAN.every_s - ahead_s)


def test_state_is_stored_and_a_damaged_state_file_is_ignored(tmp_path):
    assert schedule_job.read_state(tmp_path) is None
    schedule_job.write_state(tmp_path / "bundles", ScheduleState(7, ("train",)))
    assert schedule_job.read_state(tmp_path / "bundles") == ScheduleState(7, ("train",))
    (tmp_path / "bundles" / schedule_job.STATE_FILE).write_text("{")
    assert schedule_job.read_state(tmp_path / "bundles") is None


# --- steps ---


def wait_for(*commands, keep_on=lambda _: True):
    return run_steps(commands, keep_on, capture=True)


def test_step_runs_as_a_command_in_its_own_process():
    helped, unknown = wait_for(["--help"], ["no-such-command"])
    assert (helped.outcome, unknown.outcome) == ("done", "failed")
    assert "Usage" in helped.output


def test_a_step_that_fails_gives_its_error_message(tmp_path):
    (step,) = wait_for(["train", str(tmp_path / "none")])
    assert step.outcome == "failed"
    assert str(tmp_path / "none") in step.error()


def test_a_step_that_crashes_gives_its_last_lines(monkeypatch):
    monkeypatch.setattr(steps, "python_command", lambda *_: [sys.executable, "-c", "print('one'); 1 / 0"])
    (step,) = wait_for(["train"])
    assert step.outcome == "failed"
    with pytest.raises(CrashedError, match=r"(?s)step train ended with exit code 1.*one.*ZeroDivisionError"):
        step.error()


def test_a_step_shows_its_current_activity(monkeypatch):
    script = "import time; print('first'); print('second', flush=True); time.sleep(60)"
    monkeypatch.setattr(steps, "python_command", lambda *_: [sys.executable, "-c", script])
    end_s = time.monotonic() + 30
    (step,) = wait_for(["train"], keep_on=lambda of: of[0].last_line != "second" and time.monotonic() < end_s)
    assert (step.last_line, step.outcome) == ("second", "stopped")


def test_stop_ends_all_steps_immediately(monkeypatch):
    monkeypatch.setattr(steps, "python_command", lambda *_: [sys.executable, "-c", "import time; time.sleep(60)"])
    began_s = time.monotonic()
    assert [step.outcome for step in wait_for(["train"], ["rollup"], keep_on=lambda _: False)] == ["stopped"] * 2
    assert time.monotonic() - began_s < 10
    assert not children_that_run("time.sleep(60)")


def test_an_error_of_the_caller_ends_all_steps(monkeypatch):
    monkeypatch.setattr(steps, "python_command", lambda *_: [sys.executable, "-c", "import time; time.sleep(61)"])

    def interrupted(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wait_for(["train"], keep_on=interrupted)
    assert not children_that_run("time.sleep(61)")


@pytest.mark.skipif(sys.platform != "linux", reason="a process can ask for this on Linux only")
def test_a_step_ends_with_its_parent(tmp_path):
    generate(Shop(end_ms=20_000 * 86_400_000, seed=1, customers=300, events=20_000, days=150), tmp_path / "archive")
    script = "import sys; from shopstream.jobs.step import run_steps; run_steps([sys.argv[1:]], lambda _: True)"
    words = ["train", str(tmp_path / "archive"), "--out", str(tmp_path / "bundle")]
    parent = subprocess.Popen([sys.executable, "-c", script, *words], stderr=subprocess.PIPE, text=True)
    try:
        parent.stderr.readline()  # the step runs
        (child,) = psutil.Process(parent.pid).children()
    finally:
        parent.kill()
        parent.wait()
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running()
    assert not (tmp_path / "bundle").exists()


def test_schedule_killed_while_training_leaves_no_partial_bundle(tmp_path):
    generate(Shop(end_ms=20_000 * 86_400_000, seed=1, customers=300, events=20_000, days=150), tmp_path / "archive")
    (tmp_path / "home" / "bundles").mkdir(parents=True)
    variables = environment(tmp_path / "home") | {"SHOPSTREAM_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    process = start(["schedule", tmp_path / "archive", "--out", tmp_path / "mart"], variables)
    try:
        while "train begins" not in process.stderr.readline():
            assert process.poll() is None
        time.sleep(3)
        process.send_signal(signal.SIGTERM)
        _, output = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, output
    assert output.splitlines()[-1].endswith("stopped")
    # its own note may be there, which is written whole; no bundle and no part of one is
    assert {path.name for path in (tmp_path / "home" / "bundles").iterdir()} <= {"trainer.json"}
    assert not [child for child in psutil.process_iter(["cmdline"]) if str(tmp_path) in (child.info["cmdline"] or [])]


def test_invalid_interval_is_refused_by_the_name_of_its_option(tmp_path):
    done = call(["schedule", "--every", "x"], environment(tmp_path))
    assert done.returncode == 2
    assert "Invalid duration for --every: 'x'" in done.stderr
