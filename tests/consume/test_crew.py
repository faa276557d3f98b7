"""The decisions of the parent, moment by moment, with times that are handed in."""

import pytest

from shopstream.runtime import coordinator as crew_module
from shopstream.runtime.coordinator import Coordinator
from shopstream.runtime.messages import (
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
from shopstream.runtime.protocol import Kill, Log, Send, Start, WorkerName, WorkerPlan

A, B, C = WorkerName("features", 0), WorkerName("features", 1), WorkerName("features", 2)
INDEX = WorkerName("index", 0)
END = (("t.events", 0, 10), ("t.events", 1, 10))


def a_crew(workers=2, partitions=(0, 1), *, until_end=True, as_of=None, **others):
    plan = WorkerPlan(
        {"features": workers, **others},
        partitions=frozenset(partitions) if until_end else None,
        as_of=as_of,
        agreeing="features",
    )
    crew = Coordinator(plan)
    assert crew.begin() == [Start(name) for name in plan.names()]
    for name in plan.names():
        crew.heard(name, Ready(), 0.0)
    return crew


def sent(actions, kind):
    return [(a.name, a.message) for a in actions if isinstance(a, Send) and isinstance(a.message, kind)]


def stages(crew):
    return {view.name: view.stage for view in crew.views()}


# --- T ---


def test_t_is_the_highest_stream_time_of_all_workers_and_told_to_each():
    crew = a_crew()
    assert crew.heard(A, ReachedEnd(100, (0,), 0), 1.0) == []
    assert sent(crew.heard(B, ReachedEnd(300, (1,), 0), 2.0), ConfirmEnd) == [(A, ConfirmEnd(1)), (B, ConfirmEnd(1))]
    assert crew.heard(B, ReachedEnd(300, (1,), 1), 3.0) == []
    assert sent(crew.heard(A, ReachedEnd(100, (0,), 1), 4.0), FinalAsOf) == [(A, FinalAsOf(300)), (B, FinalAsOf(300))]
    assert crew.final_as_of == 300


def test_t_is_not_decided_while_one_worker_still_reads():
    crew = a_crew(3, (0, 1, 2))
    for number in (0, 1):
        for round_ in (0, 1):
            assert crew.heard(WorkerName("features", number), ReachedEnd(9, (number,), round_), 1.0) == []
    assert crew.final_as_of is None


def test_a_worker_that_was_handed_a_partition_after_its_first_word_is_waited_for():
    crew = a_crew()
    crew.heard(A, ReachedEnd(100, (0, 1), 0), 1.0)  # alone in the group, with everything
    crew.heard(B, ReachedEnd(0, None, 0), 1.0)  # the group has not answered it
    assert crew.final_as_of is None
    assert sent(crew.heard(B, ReachedEnd(0, (), 0), 2.0), ConfirmEnd) == []  # nothing yet, but it is about to get one
    assert crew.final_as_of is None
    crew.heard(A, ReachedEnd(50, (0,), 0), 3.0)
    crew.heard(B, ReachedEnd(100, (1,), 0), 3.0)
    crew.heard(A, ReachedEnd(50, (0,), 1), 4.0)
    crew.heard(B, ReachedEnd(100, (1,), 1), 4.0)
    assert crew.final_as_of == 100


def test_no_t_in_the_middle_of_a_rebalance_when_nobody_owns_anything():
    crew = a_crew()
    for round_ in (0, 1):
        crew.heard(A, ReachedEnd(0, (), round_), 1.0)
        crew.heard(B, ReachedEnd(0, (), round_), 1.0)
    assert crew.final_as_of is None


def test_more_workers_than_partitions_agree_when_each_has_its_answer():
    crew = a_crew(3, (0, 1))
    for round_ in (0, 1):
        crew.heard(A, ReachedEnd(7, (0,), round_), 1.0)
        crew.heard(B, ReachedEnd(8, (1,), round_), 1.0)
        crew.heard(C, ReachedEnd(0, (), round_), 1.0)
    assert crew.final_as_of == 8


def test_as_of_is_t_when_it_is_not_before_the_highest_stream_time():
    crew = a_crew(as_of=300)
    for round_ in (0, 1):
        crew.heard(A, ReachedEnd(100, (0,), round_), 1.0)
        crew.heard(B, ReachedEnd(300, (1,), round_), 1.0)
    assert crew.final_as_of == 300


def test_as_of_before_the_highest_stream_time_is_a_usage_error_and_all_leave():
    crew = a_crew(as_of=299)
    for round_ in (0, 1):
        crew.heard(A, ReachedEnd(100, (0,), round_), 1.0)
        actions = crew.heard(B, ReachedEnd(300, (1,), round_), 1.0)
    assert sent(actions, Stop) == [(A, Stop()), (B, Stop())]
    assert [failure.exit_code for failure in crew.failures] == [2]
    assert crew.final_as_of is None


# --- ends ---


def test_ends_are_told_only_when_the_partitions_are_dealt_out():
    crew = a_crew()
    assert crew.ends_known(END) == []
    assert crew.heard(A, Owned((0, 1)), 1.0) == []  # alone in the group, with everything
    assert crew.heard(A, Owned(()), 2.0) == []  # a rebalance has begun
    assert crew.heard(B, Owned(()), 2.0) == []
    assert crew.heard(A, Owned((0,)), 3.0) == []
    assert sent(crew.heard(B, Owned((1,)), 3.0), Ends) == [(A, Ends(END)), (B, Ends(END))]
    assert crew.heard(B, Owned((0, 1)), 60.0) == []  # A has left


def test_ends_that_become_known_later_are_told_then():
    crew = a_crew()
    crew.heard(A, Owned((0,)), 1.0)
    assert crew.heard(B, Owned((1,)), 1.0) == []
    assert sent(crew.ends_known(END), Ends) == [(A, Ends(END)), (B, Ends(END))]


def test_each_role_hears_of_the_ends_by_itself():
    crew = a_crew(1, (0, 1), index=1)
    crew.ends_known(END)
    assert sent(crew.heard(INDEX, Owned((0, 1)), 1.0), Ends) == [(INDEX, Ends(END))]
    assert sent(crew.heard(A, Owned((0, 1)), 1.0), Ends) == [(A, Ends(END))]


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
def test_when_partitions_are_dealt_out(owned, dealt):
    assert crew_module.is_dealt(owned, frozenset({0, 1, 2})) == dealt


def test_partitions_that_others_read_are_told_after_a_while():
    crew = a_crew()
    for second in range(1, 60):
        assert not crew.failures
        crew.heard(A, Owned((0,)) if second == 1 else Report({}), float(second))
        crew.heard(B, Owned(()) if second == 1 else Report({}), float(second))
        crew.tick(float(second))
        if crew.failures:
            break
    assert second == 1 + crew_module.FOREIGN_TIMEOUT_S
    assert "[1]" in crew.failures[0].message


def test_a_worker_that_loads_the_state_of_a_partition_is_waited_for():
    crew = a_crew()
    for second in range(1, 200):
        crew.heard(A, Owned((0,)) if second == 1 else Report({}), float(second))
        crew.tick(float(second))  # B says nothing
    assert not crew.failures


def test_a_copying_worker_that_hangs_when_its_fellows_are_done_is_ended_as_done():
    other = WorkerName("index", 1)
    crew = a_crew(1, (0, 1), index=2)
    crew.ends_known(END)
    crew.heard(INDEX, Owned((0,)), 1.0)
    crew.heard(other, Owned((1,)), 1.0)
    crew.heard(INDEX, Done({}), 2.0)
    crew.died(INDEX, "exit code 0", 2.0)
    assert crew.tick(1.0 + crew_module.SILENCE_S - 0.1) == []
    told, killed = crew.tick(1.0 + crew_module.SILENCE_S)
    assert isinstance(told, Log)
    assert killed == Kill(other)
    crew.died(other, "signal SIGKILL", 22.0)
    assert stages(crew)[other] == "done"
    assert not crew.failures


# --- ends of workers ---


def test_done_workers_end_the_crew():
    crew = a_crew(1, (0,), index=1)
    crew.heard(A, Done({"consumed": 3}), 1.0)
    crew.died(A, "exit code 0", 1.0)
    assert not crew.finished
    crew.heard(INDEX, Done({}), 2.0)
    crew.died(INDEX, "exit code 0", 2.0)
    assert crew.finished
    assert not crew.failures


def test_with_ends_a_death_stops_all_others_and_is_told_with_its_last_words():
    crew = a_crew()
    actions = crew.died(A, "signal SIGKILL; the end of its log", 1.0)
    assert sent(actions, Stop) == [(B, Stop())]
    assert "features-0 died: signal SIGKILL; the end of its log" in crew.failures[0].message
    assert not crew.finished
    crew.heard(B, Done({}), 2.0)
    crew.died(B, "exit code 0", 2.0)
    assert crew.finished


def test_an_error_that_the_worker_told_goes_before_its_exit_code():
    crew = a_crew()
    crew.heard(A, Failed("the disk is full.", "Make room."), 1.0)
    crew.died(A, "exit code 1", 1.0)
    assert crew.failures[0].message == "features-0: the disk is full."
    assert crew.failures[0].remedy == "Make room."


def test_for_ever_a_death_is_followed_by_a_restart_after_a_pause():
    crew = a_crew(until_end=False)
    (told,) = crew.died(A, "exit code 7", 10.0)
    assert isinstance(told, Log)
    assert stages(crew)[A] == "waiting"
    assert crew.tick(10.0 + crew_module.PAUSE_S - 0.1) == []
    assert crew.tick(10.0 + crew_module.PAUSE_S) == [Start(A)]
    assert not crew.failures


def test_pauses_double_and_too_many_restarts_in_a_minute_end_it():
    crew = a_crew(until_end=False)
    now = 0.0
    pauses = []
    for _ in range(crew_module.RESTARTS_MAX):
        (told,) = crew.died(A, "exit code 7", now)
        pauses.append(told.fields["restart_in_s"])
        now += pauses[-1]
        assert crew.tick(now) == [Start(A)]
    assert pauses == [1, 2, 4, 8, 16]
    actions = crew.died(A, "exit code 7", now)
    assert sent(actions, Stop) == [(B, Stop())]
    assert "5 restarts" in crew.failures[0].message


def test_deaths_of_more_than_a_minute_ago_are_forgotten():
    crew = a_crew(until_end=False)
    for i in range(20):
        now = i * (crew_module.RESTARTS_WINDOW_S + 1)
        assert [type(action) for action in crew.died(A, "exit code 7", now)] == [Log]
        assert crew.tick(now + 1) == [Start(A)]
    assert not crew.failures


def test_a_worker_that_was_called_wrongly_is_not_started_again():
    crew = a_crew(until_end=False)
    crew.heard(A, Failed("no such property", exit_code=2), 1.0)
    assert sent(crew.died(A, "exit code 2", 1.0), Stop) == [(B, Stop())]


def test_for_ever_a_worker_that_ends_by_itself_is_started_again():
    crew = a_crew(until_end=False)
    crew.heard(A, Done({}), 1.0)
    crew.died(A, "exit code 0", 1.0)
    assert stages(crew)[A] == "waiting"


# --- stopping ---


def test_stop_is_told_once_and_those_that_wait_are_not_started():
    crew = a_crew(until_end=False)
    crew.died(A, "exit code 7", 0.0)
    assert sent(crew.stop(0.5, interrupted=True), Stop) == [(B, Stop())]
    assert crew.stop(0.6) == []
    assert crew.tick(100.0) == [Kill(B)]  # it does not leave
    crew.died(B, "signal SIGKILL", 100.1)
    assert crew.finished
    assert crew.interrupted


def test_a_stopped_worker_that_leaves_is_no_failure():
    crew = a_crew(until_end=False)
    crew.stop(0.0, interrupted=True)
    for name in (A, B):
        crew.heard(name, Done({}), 1.0)
        assert crew.died(name, "exit code 0", 1.0) == []
    assert crew.finished
    assert not crew.failures


def test_a_worker_that_does_not_leave_is_killed_and_told():
    crew = a_crew(1, (0,), until_end=False)
    crew.stop(0.0)
    assert crew.tick(crew_module.LEAVE_TIMEOUT_S - 0.1) == []
    assert crew.tick(crew_module.LEAVE_TIMEOUT_S) == [Kill(A)]
    assert crew.tick(crew_module.LEAVE_TIMEOUT_S + 1) == []
    crew.died(A, "signal SIGKILL", 61.0)
    assert "did not leave" in crew.failures[0].message
    assert len(crew.failures) == 1


def test_kill_ends_all_at_once_and_blames_nobody():
    crew = a_crew(until_end=False)
    assert crew.kill() == [Kill(A), Kill(B)]
    for name in (A, B):
        crew.died(name, "signal SIGKILL", 1.0)
    assert crew.finished
    assert not crew.failures


def test_a_worker_that_is_ready_only_after_the_stop_stays_stopping():
    crew = Coordinator(WorkerPlan({"features": 1}))
    crew.begin()
    crew.stop(0.0)
    crew.heard(A, Ready(), 1.0)
    assert stages(crew)[A] == "stopping"


# --- what is seen ---


def test_reports_become_figures_and_rates():
    crew = a_crew(1, (0,))
    crew.heard(A, Report({"consumed": 0, "rows_written": 0, "sessions_written": 0}), 0.0)
    crew.heard(A, Report({"consumed": 500, "rows_written": 10, "sessions_written": 40}), 2.0)
    (view,) = crew.views()
    assert view.figures["consumed"] == 500
    assert view.records_per_s == pytest.approx(250)
    assert view.rows_per_s == pytest.approx(25)


def test_a_warning_of_a_worker_is_told_with_its_name():
    crew = a_crew()
    (told,) = crew.heard(A, LogLine("warning", "slow disk", {"ms": 3}), 0.0)
    assert (told.level, told.event, told.fields) == ("warning", "slow disk", {"worker": "features-0", "ms": 3})


def test_a_line_of_a_worker_may_hold_any_plain_value():
    said = LogLine("warning", "no documents", {"blocked": True, "next_try_s": 0.2, "docs": 3, "reason": None})
    assert read_up(to_line(said)) == said
