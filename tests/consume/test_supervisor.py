"""Parent and children as real processes, with fake roles: no server is needed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest

from features.errors import ShopstreamError, UsageError
from shopstream.runtime.coordinator_types import WorkerPlan
from shopstream.runtime.protocol import NO_END, Task
from shopstream.runtime.supervisor import Supervisor

TESTS = Path(__file__).parents[1]
PATHS = os.pathsep.join((str(TESTS.parent), str(TESTS)))
"""Workers import the packages of this checkout, and the fake roles."""
ENDS = (("t.events", 0, 10), ("t.events", 1, 10))
LATER = tuple((topic, number, NO_END) for topic, number, _ in ENDS)


def a_task(name, script, *, ends=LATER, builder="consume.fakes:open_role"):
    return Task(
        role=name.role, worker=name.number, builder=builder, run="t", instance_id=str(name), kafka={}, elastic=None,
        state=json.dumps(script), archive="", ends=ends,
    )  # fmt: skip


def a_supervisor(tmp_path, scripts, *, until_end=True, as_of=None, ends=ENDS, log_line=None, builder=None):
    plan = WorkerPlan(
        {"features": len(scripts)},
        partitions=frozenset(range(len(scripts))) if until_end else None,
        as_of=as_of,
        agreeing="features",
    )

    def task_of(name):
        more = {} if builder is None else {"builder": builder}
        return a_task(name, scripts[name.number], ends=LATER if until_end else None, **more)

    environment = {**os.environ, "PYTHONPATH": PATHS}
    supervisor = Supervisor(
        plan, task_of, tmp_path / "logs", log_line=log_line or (lambda *_: None), environment=environment
    )
    if until_end and ends is not LATER:
        supervisor.ends_known(ends)
    return supervisor


def run_in_background(supervisor):
    done = []
    thread = threading.Thread(target=lambda: done.append(supervisor.run()))
    thread.start()
    return thread, done


def wait_until(condition, timeout_s=20.0):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


def pids(supervisor):
    return [view.figures.get("pid") for view in supervisor.views()]


def figures(outcome):
    return [view.figures for view in outcome.views]


def test_all_get_the_highest_event_time_after_the_slowest_has_read_everything(tmp_path):
    scripts = [{"max_event_time": 500, "read_s": 0.0}, {"max_event_time": 900, "read_s": 1.5}, {"max_event_time": 700}]
    supervisor = a_supervisor(tmp_path, scripts)
    seen = []

    def watch(views):
        seen.append(({view.stage for view in views}, views[1].figures.get("consumed", 0)))

    outcome = supervisor.run(watch)
    assert [f["as_of"] for f in figures(outcome)] == [900, 900, 900]
    assert outcome.final_as_of == 900
    assert not outcome.failures
    # worker 1 reads for 1.5 s: until then nobody was done
    early = [stages for stages, consumed in seen if 0 < consumed < 40]
    assert early
    assert not any("done" in stages for stages in early)


def test_ends_sent_while_the_workers_run_are_reached(tmp_path):
    supervisor = a_supervisor(tmp_path, [{"max_event_time": 5}, {"max_event_time": 6}], ends=LATER)
    thread, done = run_in_background(supervisor)
    wait_until(lambda: all(pids(supervisor)))
    time.sleep(0.5)
    assert not supervisor.finished
    supervisor.ends_known(ENDS)
    thread.join(20)
    assert done[0].final_as_of == 6


def test_no_worker_receives_the_ends_while_one_has_no_assignment(tmp_path):
    supervisor = a_supervisor(tmp_path, [{"owned": [0]}, {"owned": [], "owned_later": [1], "later_s": 1.5}])
    seen = []

    def watch(views):
        seen.append((views[1].figures.get("consumed", 0), {view.stage for view in views}))

    outcome = supervisor.run(watch)
    assert not outcome.failures
    early = [stages for consumed, stages in seen if 0 < consumed < 40]
    assert early
    assert not any(stages & {"at end", "done"} for stages in early)


def test_as_of_before_the_highest_event_time_is_a_usage_error_of_the_parent(tmp_path):
    outcome = a_supervisor(tmp_path, [{"max_event_time": 500}, {"max_event_time": 900}], as_of=899).run()
    with pytest.raises(UsageError, match=r"--as-of 1970-01-01T00:00:00\.899Z"):
        outcome.raise_failure()
    assert all(f.get("checkpointed") for f in figures(outcome))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("kill", "features-1 ended unexpectedly: signal SIGKILL"),
        ("exit", "the last line of its log"),
        ("bug", "features-1: RuntimeError: a bug"),
        ("disk", "features-1: the disk is full."),
    ],
)
def test_crash_is_a_failure_and_the_other_workers_exit_cleanly(tmp_path, how, message):
    outcome = a_supervisor(tmp_path, [{"read_s": 60}, {"read_s": 60, "die_after_s": 0.3, "how": how}]).run()
    with pytest.raises(ShopstreamError) as raised:
        outcome.raise_failure()
    assert message in raised.value.message
    assert raised.value.exit_code == 1
    assert figures(outcome)[0]["checkpointed"] == 1
    assert outcome.views[1].stage == "dead"


def test_a_role_that_cannot_be_opened_ends_the_command_with_its_error(tmp_path):
    outcome = a_supervisor(tmp_path, [{}], builder="consume.fakes:open_nothing").run()
    with pytest.raises(ShopstreamError, match="no server for features") as raised:
        outcome.raise_failure()
    assert raised.value.remedy == "Start it."


def test_without_ends_a_killed_worker_is_restarted(tmp_path):
    lines = []
    supervisor = a_supervisor(tmp_path, [{}, {}], until_end=False, log_line=lambda *line: lines.append(line))
    thread, done = run_in_background(supervisor)
    wait_until(lambda: all(pids(supervisor)))
    first = pids(supervisor)[0]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: pids(supervisor)[0] not in (None, first))
    supervisor.stop(interrupted=True)
    thread.join(20)
    assert [view.restarts for view in done[0].views] == [1, 0]
    assert not done[0].failures
    assert any("features-0 ended unexpectedly: signal SIGKILL" in event for _, event, _ in lines)


def test_a_usage_error_of_a_worker_gives_exit_code_2(tmp_path):
    outcome = a_supervisor(tmp_path, [{"die_after_s": 0.0, "how": "usage"}], until_end=False).run()
    with pytest.raises(UsageError, match="called wrongly"):
        outcome.raise_failure()


def test_sigterm_to_one_worker_lets_it_exit_cleanly(tmp_path):
    supervisor = a_supervisor(tmp_path, [{"read_s": 60}])
    thread, done = run_in_background(supervisor)
    wait_until(lambda: all(pids(supervisor)))
    os.kill(pids(supervisor)[0], signal.SIGTERM)
    thread.join(20)
    assert figures(done[0])[0]["checkpointed"] == 1


# --- the parent as a process of its own ---

PARENT = """
    import sys
    from pathlib import Path
    from rich.console import Console
    from consume.test_supervisor import a_supervisor
    from shopstream.settings import Settings
    from shopstream.runtime.run_workers import Reports, watch

    home = Path(sys.argv[1])
    supervisor = a_supervisor(home, [{"leave_s": float(sys.argv[2])}] * 2, until_end=False)
    outcome = watch(supervisor, Reports(Settings(home=home, run="t"), supervisor), Console(stderr=True))
    print("ended", [view.figures.get("checkpointed", 0) for view in outcome.views], outcome.interrupted, flush=True)
"""


def a_parent(tmp_path, leave_s):
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), str(tmp_path), str(leave_s)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": PATHS},
    )
    files = [tmp_path / "metrics" / f"t-features-{number}.json" for number in (0, 1)]

    def children():
        try:
            return [json.loads(file.read_text())["pid"] for file in files]
        except (FileNotFoundError, KeyError):
            return []

    wait_until(children)
    return parent, [psutil.Process(pid) for pid in children()]


def all_gone(children):
    return not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_lets_all_workers_checkpoint_and_exit(tmp_path, number):
    parent, children = a_parent(tmp_path, 0.3)
    parent.send_signal(number)
    out, _ = parent.communicate(timeout=20)
    assert "ended [1, 1] True" in out
    assert parent.returncode == 0
    assert all_gone(children)


def test_second_signal_kills_all_workers(tmp_path):
    parent, children = a_parent(tmp_path, 30.0)
    parent.send_signal(signal.SIGINT)
    time.sleep(0.7)
    assert not all_gone(children)
    parent.send_signal(signal.SIGINT)
    out, _ = parent.communicate(timeout=10)
    assert "ended [0, 0] True" in out
    assert all_gone(children)


@pytest.mark.parametrize("stuck", [False, True])
def test_workers_end_with_their_parent(tmp_path, stuck):
    parent, children = a_parent(tmp_path, 0.0)
    if stuck:  # no thread of theirs can see the end of the socket
        for child in children:
            child.suspend()
    parent.kill()
    parent.wait(10)
    wait_until(lambda: all_gone(children), 5.0)
