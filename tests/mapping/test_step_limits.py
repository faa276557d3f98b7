"""The parent's limits for workers that read in step: the lowest time of the others, once all partitions are owned."""

from __future__ import annotations

from shopstream.runtime.coordinator import FOREIGN_TIMEOUT_S, Coordinator
from shopstream.runtime.coordinator_types import Send, WorkerName, WorkerPlan
from shopstream.runtime.protocol import NO_END, Done, Owned, Ready, StepLimit, StepTime, read_down, read_up, to_line

A, B = WorkerName("map", 0), WorkerName("map", 1)


def started(workers=2, partitions=3):
    coordinator = Coordinator(WorkerPlan({"map": workers}, in_step=frozenset(range(partitions))))
    coordinator.start()
    for number in range(workers):
        coordinator.receive(WorkerName("map", number), Ready(), 0.0)
    return coordinator


def limits(actions):
    return {a.name: a.message.time_ms for a in actions if isinstance(a, Send) and isinstance(a.message, StepLimit)}


def test_worker_receives_the_lowest_time_of_the_others():
    coordinator = started()
    coordinator.receive(A, StepTime(500, (0, 1)), 1.0)
    assert limits(coordinator.receive(B, StepTime(700, (2,)), 1.0)) == {A: 700, B: 500}


def test_only_worker_is_not_limited():
    assert limits(started(1).receive(A, StepTime(5, (0, 1, 2)), 1.0)) == {A: NO_END}


def test_partition_between_two_workers_leaves_the_limits_as_they_were():
    coordinator = started()
    coordinator.receive(A, StepTime(500, (0, 1)), 1.0)
    coordinator.receive(B, StepTime(700, (2,)), 1.0)
    assert limits(coordinator.receive(A, StepTime(9_000, (0,)), 2.0)) == {}  # it gave partition 1 away
    assert limits(coordinator.receive(B, StepTime(400, (1, 2)), 2.0)) == {A: 400, B: 9_000}


def test_starting_worker_leaves_the_limits_as_they_were():
    coordinator = started()
    assert limits(coordinator.receive(A, StepTime(500, (0, 1, 2)), 1.0)) == {}
    assert limits(coordinator.receive(B, StepTime(0, None), 1.0)) == {}


def test_crashed_worker_has_no_time_until_its_successor_reports():
    coordinator = started()
    coordinator.receive(A, StepTime(500, (0, 1)), 1.0)
    coordinator.receive(B, StepTime(700, (2,)), 1.0)
    coordinator.exited(A, "signal SIGKILL", 2.0)
    assert limits(coordinator.receive(B, StepTime(900, (2,)), 3.0)) == {}


def test_crashed_worker_is_waited_for_long_after_the_assignment():
    coordinator = started()
    for worker, partitions in ((A, (0, 1)), (B, (2,))):
        coordinator.receive(worker, Owned(partitions), 1.0)
        coordinator.receive(worker, StepTime(500, partitions), 1.0)
    late_s = 2.0 + 2 * FOREIGN_TIMEOUT_S
    coordinator.exited(A, "signal SIGKILL", late_s)
    assert limits(coordinator.receive(B, StepTime(900, (2,)), late_s + 1)) == {}
    coordinator.tick(late_s + 5)
    coordinator.receive(A, Ready(), late_s + 6)
    without_partitions_s = late_s + 7 + 2 * FOREIGN_TIMEOUT_S
    assert limits(coordinator.receive(A, StepTime(0, None), without_partitions_s)) == {}
    assert limits(coordinator.receive(B, StepTime(900, (2,)), without_partitions_s)) == {}
    assert limits(coordinator.receive(A, StepTime(500, (0, 1)), without_partitions_s + 1)) == {A: 900, B: 500}


def test_finished_worker_limits_nobody():
    coordinator = Coordinator(WorkerPlan({"map": 2}, partitions=frozenset({0}), in_step=frozenset({0})))
    coordinator.start()
    coordinator.receive(A, Done({}), 1.0)
    coordinator.exited(A, "exit code 0", 1.0)
    assert limits(coordinator.receive(B, StepTime(900, (0,)), 2.0)) == {B: NO_END}


def test_partitions_of_another_command_limit_nobody_after_a_while():
    coordinator = started(2)
    coordinator.receive(A, Owned((0,)), 1.0)
    coordinator.receive(B, Owned((1,)), 1.0)
    coordinator.receive(A, StepTime(500, (0,)), 2.0)
    assert limits(coordinator.receive(B, StepTime(700, (1,)), 2.0)) == {}
    assert limits(coordinator.receive(B, StepTime(700, (1,)), 2.0 + FOREIGN_TIMEOUT_S)) == {A: 700, B: 500}


def test_step_messages_survive_the_socket():
    assert read_up(to_line(StepTime(5, (0, 2))).strip()) == StepTime(5, (0, 2))
    assert read_down(to_line(StepLimit(7)).strip()) == StepLimit(7)
