"""The decisions of the parent, moment by moment, with times that are handed in."""

import pytest

from shopstream.runtime import coordinator as coordinator_module
from shopstream.runtime.coordinator import Coordinator
from shopstream.runtime.coordinator_types import Kill, Log, Send, Start, WorkerName, WorkerPlan
from shopstream.runtime.protocol import (
    ConfirmEnd,
    Done,
    Ends,
    Failed,
    FinalAsOf,
    LogLine,
    Owned,
    ReachedEnd,
    Ready,
    Report,
    Stop,
    read_up,
    to_line,
)

A, B, C = WorkerName("features", 0), WorkerName("features", 1), WorkerName("features", 2)
INDEX = WorkerName("index", 0)
END = (("t.events", 0, 10), ("t.events", 1, 10))


def started_coordinator(workers=2, partitions=(0, 1), *, until_end=True, as_of=None, **others):
    plan = WorkerPlan(
        {"features": workers, **others},
        partitions=frozenset(partitions) if until_end else None,
        as_of=as_of,
        agreeing="features",
    )
    coordinator = Coordinator(plan)
    assert coordinator.start() == [Start(name) for name in plan.names()]
    for name in plan.names():
        coordinator.receive(name, Ready(), 0.0)
    return coordinator


def sent(actions, kind):
    return [(a.name, a.message) for a in actions if isinstance(a, Send) and isinstance(a.message, kind)]


def stages(coordinator):
    return {view.name: view.stage for view in coordinator.views()}


# --- T ---


def test_t_is_the_highest_event_time_of_all_workers_and_sent_to_each():
    coordinator = started_coordinator()
    assert coordinator.receive(A, ReachedEnd(100, (0,), 0), 1.0) == []
    assert sent(coordinator.receive(B, ReachedEnd(300, (1,), 0), 2.0), ConfirmEnd) == [
        (A, ConfirmEnd(1)),
        (B, ConfirmEnd(1)),
    ]
    assert coordinator.receive(B, ReachedEnd(300, (1,), 1), 3.0) == []
    assert sent(coordinator.receive(A, ReachedEnd(100, (0,), 1), 4.0), FinalAsOf) == [
        (A, FinalAsOf(300)),
        (B, FinalAsOf(300)),
    ]
    assert coordinator.final_as_of == 300


def test_t_is_not_decided_while_one_worker_still_reads():
    coordinator = started_coordinator(3, (0, 1, 2))
    for number in (0, 1):
        for round_ in (0, 1):
            assert coordinator.receive(WorkerName("features", number), ReachedEnd(9, (number,), round_), 1.0) == []
    assert coordinator.final_as_of is None


def test_a_worker_that_got_a_partition_after_its_first_end_delays_t():
    coordinator = started_coordinator()
    coordinator.receive(A, ReachedEnd(100, (0, 1), 0), 1.0)  # alone in the group, with everything
    coordinator.receive(B, ReachedEnd(0, None, 0), 1.0)  # the group has not answered it
    assert coordinator.final_as_of is None
    assert (
        sent(coordinator.receive(B, ReachedEnd(0, (), 0), 2.0), ConfirmEnd) == []
    )  # nothing yet, but it is about to get one
    assert coordinator.final_as_of is None
    coordinator.receive(A, ReachedEnd(50, (0,), 0), 3.0)
    coordinator.receive(B, ReachedEnd(100, (1,), 0), 3.0)
    coordinator.receive(A, ReachedEnd(50, (0,), 1), 4.0)
    coordinator.receive(B, ReachedEnd(100, (1,), 1), 4.0)
    assert coordinator.final_as_of == 100


def test_t_is_not_decided_during_a_rebalance():
    coordinator = started_coordinator()
    for round_ in (0, 1):
        coordinator.receive(A, ReachedEnd(0, (), round_), 1.0)
        coordinator.receive(B, ReachedEnd(0, (), round_), 1.0)
    assert coordinator.final_as_of is None


def test_more_workers_than_partitions_agree_when_each_has_an_assignment():
    coordinator = started_coordinator(3, (0, 1))
    for round_ in (0, 1):
        coordinator.receive(A, ReachedEnd(7, (0,), round_), 1.0)
        coordinator.receive(B, ReachedEnd(8, (1,), round_), 1.0)
        coordinator.receive(C, ReachedEnd(0, (), round_), 1.0)
    assert coordinator.final_as_of == 8


def test_as_of_is_t_when_it_is_not_before_the_highest_event_time():
    coordinator = started_coordinator(as_of=300)
    for round_ in (0, 1):
        coordinator.receive(A, ReachedEnd(100, (0,), round_), 1.0)
        coordinator.receive(B, ReachedEnd(300, (1,), round_), 1.0)
    assert coordinator.final_as_of == 300


def test_as_of_before_the_highest_event_time_is_a_usage_error():
    coordinator = started_coordinator(as_of=299)
    for round_ in (0, 1):
        coordinator.receive(A, ReachedEnd(100, (0,), round_), 1.0)
        actions = coordinator.receive(B, ReachedEnd(300, (1,), round_), 1.0)
    assert sent(actions, Stop) == [(A, Stop()), (B, Stop())]
    assert [failure.exit_code for failure in coordinator.failures] == [2]
    assert coordinator.final_as_of is None


# --- ends ---


def test_ends_are_sent_only_when_all_partitions_are_assigned():
    coordinator = started_coordinator()
    assert coordinator.ends_known(END) == []
    assert coordinator.receive(A, Owned((0, 1)), 1.0) == []  # alone in the group, with everything
    assert coordinator.receive(A, Owned(()), 2.0) == []  # a rebalance has begun
    assert coordinator.receive(B, Owned(()), 2.0) == []
    assert coordinator.receive(A, Owned((0,)), 3.0) == []
    assert sent(coordinator.receive(B, Owned((1,)), 3.0), Ends) == [(A, Ends(END)), (B, Ends(END))]
    assert coordinator.receive(B, Owned((0, 1)), 60.0) == []  # A has left


def test_ends_that_are_read_later_are_sent_later():
    coordinator = started_coordinator()
    coordinator.receive(A, Owned((0,)), 1.0)
    assert coordinator.receive(B, Owned((1,)), 1.0) == []
    assert sent(coordinator.ends_known(END), Ends) == [(A, Ends(END)), (B, Ends(END))]


def test_each_role_receives_the_ends_separately():
    coordinator = started_coordinator(1, (0, 1), index=1)
    coordinator.ends_known(END)
    assert sent(coordinator.receive(INDEX, Owned((0, 1)), 1.0), Ends) == [(INDEX, Ends(END))]
    assert sent(coordinator.receive(A, Owned((0, 1)), 1.0), Ends) == [(A, Ends(END))]


@pytest.mark.parametrize(
    ("owned", "dealt"),
    [
        ([(0, 1, 2)], True),
        ([(0, 1)], False),
        ([(0,), (1, 2)], True),
        ([(0, 1, 2), ()], False),  # the second is about to get one
        ([(0, 1, 2), None], False),
        ([(0, 1), (1, 2)], False),
        ([(0,), (1,), (2,), ()], True),  # there is none for the fourth
        ([(0,), (1,), (2,), None], False),
        ([(), ()], False),
    ],
)
def test_partitions_are_fully_assigned_once_each_and_without_idle_workers(owned, dealt):
    assert coordinator_module.is_fully_assigned(owned, frozenset({0, 1, 2})) == dealt


def test_partitions_read_by_another_command_fail_the_command_after_a_while():
    coordinator = started_coordinator()
    for second in range(1, 60):
        assert not coordinator.failures
        coordinator.receive(A, Owned((0,)) if second == 1 else Report({}), float(second))
        coordinator.receive(B, Owned(()) if second == 1 else Report({}), float(second))
        coordinator.tick(float(second))
        if coordinator.failures:
            break
    assert second == 1 + coordinator_module.FOREIGN_TIMEOUT_S
    assert "[1]" in coordinator.failures[0].message


def test_a_worker_that_loads_the_state_of_a_partition_fails_nothing():
    coordinator = started_coordinator()
    for second in range(1, 200):
        coordinator.receive(A, Owned((0,)) if second == 1 else Report({}), float(second))
        coordinator.tick(float(second))  # B says nothing
    assert not coordinator.failures


def test_a_copying_worker_that_hangs_when_its_peers_are_done_is_killed_and_done():
    other = WorkerName("index", 1)
    coordinator = started_coordinator(1, (0, 1), index=2)
    coordinator.ends_known(END)
    coordinator.receive(INDEX, Owned((0,)), 1.0)
    coordinator.receive(other, Owned((1,)), 1.0)
    coordinator.receive(INDEX, Done({}), 2.0)
    coordinator.exited(INDEX, "exit code 0", 2.0)
    assert coordinator.tick(1.0 + coordinator_module.HUNG_AFTER_S - 0.1) == []
    logged, killed = coordinator.tick(1.0 + coordinator_module.HUNG_AFTER_S)
    assert isinstance(logged, Log)
    assert killed == Kill(other)
    coordinator.exited(other, "signal SIGKILL", 22.0)
    assert stages(coordinator)[other] == "done"
    assert not coordinator.failures


# --- ends of workers ---


def test_the_coordinator_is_finished_when_all_workers_are_done():
    coordinator = started_coordinator(1, (0,), index=1)
    coordinator.receive(A, Done({"consumed": 3}), 1.0)
    coordinator.exited(A, "exit code 0", 1.0)
    assert not coordinator.finished
    coordinator.receive(INDEX, Done({}), 2.0)
    coordinator.exited(INDEX, "exit code 0", 2.0)
    assert coordinator.finished
    assert not coordinator.failures


def test_with_ends_a_crash_stops_all_others_and_its_message_has_the_log():
    coordinator = started_coordinator()
    actions = coordinator.exited(A, "signal SIGKILL; the end of its log", 1.0)
    assert sent(actions, Stop) == [(B, Stop())]
    assert "features-0 ended unexpectedly: signal SIGKILL; the end of its log" in coordinator.failures[0].message
    assert not coordinator.finished
    coordinator.receive(B, Done({}), 2.0)
    coordinator.exited(B, "exit code 0", 2.0)
    assert coordinator.finished


def test_an_error_that_the_worker_sent_replaces_its_exit_code():
    coordinator = started_coordinator()
    coordinator.receive(A, Failed("the disk is full.", "Make room."), 1.0)
    coordinator.exited(A, "exit code 1", 1.0)
    assert coordinator.failures[0].message == "features-0: the disk is full."
    assert coordinator.failures[0].remedy == "Make room."


def test_without_ends_a_crash_is_followed_by_a_restart_after_a_pause():
    coordinator = started_coordinator(until_end=False)
    (logged,) = coordinator.exited(A, "exit code 7", 10.0)
    assert isinstance(logged, Log)
    assert stages(coordinator)[A] == "waiting"
    assert coordinator.tick(10.0 + coordinator_module.PAUSE_S - 0.1) == []
    assert coordinator.tick(10.0 + coordinator_module.PAUSE_S) == [Start(A)]
    assert not coordinator.failures


def test_pauses_double_and_too_many_restarts_in_a_minute_fail_the_command():
    coordinator = started_coordinator(until_end=False)
    now = 0.0
    pauses = []
    for _ in range(coordinator_module.RESTARTS_MAX):
        (logged,) = coordinator.exited(A, "exit code 7", now)
        pauses.append(logged.fields["restart_in_s"])
        now += pauses[-1]
        assert coordinator.tick(now) == [Start(A)]
    assert pauses == [1, 2, 4, 8, 16]
    actions = coordinator.exited(A, "exit code 7", now)
    assert sent(actions, Stop) == [(B, Stop())]
    assert "5 restarts" in coordinator.failures[0].message


def test_crashes_of_more_than_a_minute_ago_do_not_count():
    coordinator = started_coordinator(until_end=False)
    for i in range(20):
        now = i * (coordinator_module.RESTARTS_WINDOW_S + 1)
        assert [type(action) for action in coordinator.exited(A, "exit code 7", now)] == [Log]
        assert coordinator.tick(now + 1) == [Start(A)]
    assert not coordinator.failures


def test_a_worker_with_a_usage_error_is_not_restarted():
    coordinator = started_coordinator(until_end=False)
    coordinator.receive(A, Failed("no such property", exit_code=2), 1.0)
    assert sent(coordinator.exited(A, "exit code 2", 1.0), Stop) == [(B, Stop())]


def test_without_ends_a_worker_that_ends_is_restarted():
    coordinator = started_coordinator(until_end=False)
    coordinator.receive(A, Done({}), 1.0)
    coordinator.exited(A, "exit code 0", 1.0)
    assert stages(coordinator)[A] == "waiting"


# --- stopping ---


def test_stop_is_sent_once_and_waiting_workers_are_not_started():
    coordinator = started_coordinator(until_end=False)
    coordinator.exited(A, "exit code 7", 0.0)
    assert sent(coordinator.stop(0.5, interrupted=True), Stop) == [(B, Stop())]
    assert coordinator.stop(0.6) == []
    assert coordinator.tick(100.0) == [Kill(B)]  # it does not leave
    coordinator.exited(B, "signal SIGKILL", 100.1)
    assert coordinator.finished
    assert coordinator.interrupted


def test_a_stopped_worker_that_exits_is_no_failure():
    coordinator = started_coordinator(until_end=False)
    coordinator.stop(0.0, interrupted=True)
    for name in (A, B):
        coordinator.receive(name, Done({}), 1.0)
        assert coordinator.exited(name, "exit code 0", 1.0) == []
    assert coordinator.finished
    assert not coordinator.failures


def test_a_worker_that_does_not_exit_is_killed_and_a_failure():
    coordinator = started_coordinator(1, (0,), until_end=False)
    coordinator.stop(0.0)
    assert coordinator.tick(coordinator_module.STOP_TIMEOUT_S - 0.1) == []
    assert coordinator.tick(coordinator_module.STOP_TIMEOUT_S) == [Kill(A)]
    assert coordinator.tick(coordinator_module.STOP_TIMEOUT_S + 1) == []
    coordinator.exited(A, "signal SIGKILL", 61.0)
    assert "did not exit" in coordinator.failures[0].message
    assert len(coordinator.failures) == 1


def test_kill_ends_all_workers_without_failures():
    coordinator = started_coordinator(until_end=False)
    assert coordinator.kill() == [Kill(A), Kill(B)]
    for name in (A, B):
        coordinator.exited(name, "signal SIGKILL", 1.0)
    assert coordinator.finished
    assert not coordinator.failures


def test_a_worker_that_is_ready_only_after_the_stop_stays_stopping():
    coordinator = Coordinator(WorkerPlan({"features": 1}))
    coordinator.start()
    coordinator.stop(0.0)
    coordinator.receive(A, Ready(), 1.0)
    assert stages(coordinator)[A] == "stopping"


# --- what is seen ---


def test_worker_reports_become_totals_and_rates():
    coordinator = started_coordinator(1, (0,))
    coordinator.receive(A, Report({"consumed": 0, "rows_written": 0, "sessions_written": 0}), 0.0)
    coordinator.receive(A, Report({"consumed": 500, "rows_written": 10, "sessions_written": 40}), 2.0)
    (view,) = coordinator.views()
    assert view.figures["consumed"] == 500
    assert view.records_per_s == pytest.approx(250)
    assert view.rows_per_s == pytest.approx(25)


def test_a_warning_of_a_worker_is_logged_with_its_name():
    coordinator = started_coordinator()
    (logged,) = coordinator.receive(A, LogLine("warning", "slow disk", {"ms": 3}), 0.0)
    assert (logged.level, logged.event, logged.fields) == ("warning", "slow disk", {"worker": "features-0", "ms": 3})


def test_a_line_of_a_worker_may_hold_any_plain_value():
    message = LogLine("warning", "no documents", {"blocked": True, "next_try_s": 0.2, "docs": 3, "reason": None})
    assert read_up(to_line(message)) == message
