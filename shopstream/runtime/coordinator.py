"""Decides which workers run, when all stop and which T they share. Pure: messages in, actions out.

With end offsets, no worker may exit or write its final rows before all workers of the role have read everything:

    A  gets all ─ gets 0 ─┐         ┌─ reading ──── ReachedEnd ─ ReachedEnd(1) ─┐
    B  joins ──── gets 1 ─┴─> Ends ─┴─ reading ─ ReachedEnd ──── ReachedEnd(1) ─┴─> T = max: FinalAsOf ─> Done, Done

The end offsets are sent only after the assignment is complete. Then the workers of the role own every partition once,
and each has at least one while there are enough. All workers are in the group, and no further rebalance is due. A later
rebalance could take a partition from a worker that counts itself as finished. It could also hang the client of a worker
that leaves while it joins. Before T is decided, each worker confirms its end (`ConfirmEnd`), in case the group did
rebalance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from connectors.clock import iso
from consumers.metrics.definitions import Figure
from consumers.metrics.reports import RateMeter, rows_of
from shopstream.runtime.coordinator_types import (
    Action,
    Failure,
    Kill,
    Log,
    Send,
    Stage,
    Start,
    WorkerName,
    WorkerPlan,
    WorkerView,
)
from shopstream.runtime.protocol import (
    NO_END,
    ConfirmEnd,
    Done,
    End,
    Ends,
    Failed,
    FinalAsOf,
    LogLine,
    Owned,
    ReachedEnd,
    Ready,
    Report,
    StepLimit,
    StepTime,
    Stop,
    Up,
)

NOT_CHECKPOINTED: Final = "Records after its last checkpoint are read again at the next start."
RESTARTS_MAX: Final = 5
"""Restarts of one worker within `RESTARTS_WINDOW_S` before the parent gives up."""
RESTARTS_WINDOW_S: Final = 60.0
PAUSE_S: Final = 1.0
"""Delay before the first restart; doubles with each restart in the window."""
STOP_TIMEOUT_S: Final = 60.0
"""Longest time for a worker to finish its batch and checkpoint before it is killed."""
FOREIGN_TIMEOUT_S: Final = 30.0
"""Longest time of an incomplete and unchanged assignment, with all workers running, before the command fails."""
HUNG_AFTER_S: Final = 20.0
"""A worker without remaining work that sends no message for this time counts as hung."""


@dataclass(slots=True)
class _Worker:
    stage: Stage = "starting"
    figures: dict[str, Figure] = field(default_factory=dict)
    owned: tuple[int, ...] | None = None
    at_end: ReachedEnd | None = None
    step: StepTime | None = None
    received_s: float = 0.0
    reported_s: float | None = None
    last: Done | Failed | None = None
    crashes_s: list[float] = field(default_factory=list)
    start_at_s: float = 0.0
    restarts: int = 0
    killed: bool = False
    hung: bool = False
    last_error: str | None = None
    records: RateMeter = field(default_factory=RateMeter)
    rows: RateMeter = field(default_factory=RateMeter)

    @property
    def alive(self) -> bool:
        return self.stage in ("starting", "running", "at end", "stopping")

    def reset(self) -> None:
        self.stage, self.owned, self.at_end, self.last, self.killed = "starting", None, None, None, False
        self.step, self.figures, self.last_error, self.hung, self.reported_s = None, {}, None, False, None
        self.records, self.rows = RateMeter(), RateMeter()


class Coordinator:
    """Coordinates the workers of one command.

    Args:
        plan: workers to run.
    """

    def __init__(self, plan: WorkerPlan) -> None:
        self.plan = plan
        self.failures: list[Failure] = []
        self.final_as_of: int | None = None
        self.interrupted = False
        self._workers = {name: _Worker() for name in plan.names()}
        self._ends: tuple[End, ...] | None = None
        self._ends_sent: set[str] = set()
        self._round = 0
        self._stopping_s: float | None = None
        self._assigned_s = dict.fromkeys(plan.workers, 0.0)
        """Time of the last change of a role's assignment."""

    # --- state ---

    @property
    def finished(self) -> bool:
        """Whether no process runs and none is to be started."""
        return all(w.stage in ("done", "dead") for w in self._workers.values())

    @property
    def stopping(self) -> bool:
        """Whether all workers were requested to stop."""
        return self._stopping_s is not None

    def views(self) -> tuple[WorkerView, ...]:
        """Return the current state of every worker."""
        return tuple(
            WorkerView(
                name, w.stage, dict(w.figures), w.restarts,
                w.records.per_s if w.alive else 0.0, w.records.mean_per_s, w.rows.per_s if w.alive else 0.0,
                w.last_error or str(w.figures.get("last_error") or "") or None,
                w.owned, w.reported_s,
            )
            for name, w in self._workers.items()
        )  # fmt: skip

    # --- events ---

    def start(self) -> list[Action]:
        """Start all workers."""
        return [Start(name) for name in self._workers]

    def ends_known(self, ends: tuple[End, ...]) -> list[Action]:
        """Store the end offsets; each role receives them once its assignment is complete."""
        self._ends = ends
        return [action for role in self.plan.workers for action in self._send_ends(role)]

    def receive(self, name: WorkerName, message: Up, now_s: float) -> list[Action]:
        """Process a message from a worker."""
        worker = self._workers[name]
        worker.received_s = now_s
        match message:
            case Ready():
                worker.stage = "stopping" if self.stopping else "running"
                worker.reported_s = now_s
                self._assigned_s[name.role] = now_s
            case Owned(partitions):
                worker.owned = partitions
                self._assigned_s[name.role] = now_s
                return self._send_ends(name.role)
            case Report(figures):
                self._measure(worker, figures, now_s)
            case LogLine(level, event, fields):
                known: Literal["warning", "error"] = "error" if level in ("error", "critical") else "warning"
                return [Log(known, event, {"worker": str(name), **fields})]
            case ReachedEnd():
                worker.at_end = message
                if not self.stopping:
                    worker.stage = "at end"
                return self._agree(now_s)
            case StepTime():
                worker.step = message
                return self._step_limits(name.role, now_s)
            case Done(figures):
                self._measure(worker, figures, now_s)
                worker.last = message
            case Failed():
                worker.last = message
        return []

    def exited(self, name: WorkerName, how: str, now_s: float) -> list[Action]:
        """Process the end of a worker process; `how` has its exit code or signal and the last lines of its log."""
        worker = self._workers[name]
        worker.at_end = worker.step = None
        if isinstance(worker.last, Done) and (self.plan.until_end or self.stopping):
            worker.stage = "done"
            return []
        if worker.hung:
            worker.stage = "done"
            return []
        if worker.killed:
            worker.stage, worker.last_error = "dead", "killed"
            return []
        failure = _failure(name, worker.last, how)
        worker.stage, worker.last_error = "dead", failure.message
        if self.plan.until_end or self.stopping or failure.exit_code == 2:
            return self._fail(failure, now_s)
        return self._restart(worker, failure, now_s)

    def stop(self, now_s: float, *, interrupted: bool = False) -> list[Action]:
        """Request all workers to stop."""
        if self.stopping:
            return []
        self._stopping_s = now_s
        self.interrupted = interrupted
        actions: list[Action] = []
        for name, worker in self._workers.items():
            if worker.stage == "waiting":
                worker.stage = "dead"
            elif worker.alive:
                worker.stage = "stopping"
                actions.append(Send(name, Stop()))
        return actions

    def kill(self) -> list[Action]:
        """Kill all workers; what was not checkpointed is read again."""
        actions: list[Action] = []
        for name, worker in self._workers.items():
            if worker.alive:
                worker.killed = True
                actions.append(Kill(name))
        return actions

    def tick(self, now_s: float) -> list[Action]:
        """Process the passing of time: restarts, timeouts and hung workers."""
        actions: list[Action] = []
        for name, worker in self._workers.items():
            if worker.stage == "waiting" and now_s >= worker.start_at_s:
                worker.reset()
                worker.restarts += 1
                actions.append(Start(name))
            worker_is_slow = self._stopping_s is not None and now_s - self._stopping_s >= STOP_TIMEOUT_S
            if worker.stage == "stopping" and worker_is_slow and not worker.killed:
                worker.killed = True
                text = f"{name} did not exit within {STOP_TIMEOUT_S:.0f} s and was killed."
                self.failures.append(Failure(text, NOT_CHECKPOINTED))
                actions.append(Kill(name))
        return [*actions, *self._check_foreign_workers(now_s), *self._kill_hung(now_s)]

    # --- decisions ---

    def _measure(self, worker: _Worker, figures: dict[str, Figure], now_s: float) -> None:
        worker.figures = {**worker.figures, **figures}
        worker.reported_s = now_s
        worker.records.read(int(figures.get("consumed") or 0), now_s)
        worker.rows.read(rows_of(figures), now_s)

    def _fail(self, failure: Failure, now_s: float) -> list[Action]:
        self.failures.append(failure)
        return [Log("error", failure.message, {}), *self.stop(now_s)]

    def _restart(self, worker: _Worker, failure: Failure, now_s: float) -> list[Action]:
        worker.crashes_s = [at_s for at_s in worker.crashes_s if now_s - at_s < RESTARTS_WINDOW_S]
        if len(worker.crashes_s) >= RESTARTS_MAX:
            count = f"{RESTARTS_MAX} restarts within {RESTARTS_WINDOW_S:.0f} s"
            return self._fail(Failure(f"{failure.message} ({count} failed)", failure.remedy), now_s)
        pause_s = PAUSE_S * 2.0 ** len(worker.crashes_s)
        worker.crashes_s.append(now_s)
        worker.stage, worker.start_at_s = "waiting", now_s + pause_s
        return [Log("warning", failure.message, {"restart_in_s": pause_s, "restart": len(worker.crashes_s)})]

    def _workers_of(self, role: str) -> dict[WorkerName, _Worker]:
        return {name: worker for name, worker in self._workers.items() if name.role == role}

    def _is_fully_assigned(self, role: str) -> bool:
        assert self.plan.partitions is not None
        return is_fully_assigned([worker.owned for worker in self._workers_of(role).values()], self.plan.partitions)

    def _send_ends(self, role: str) -> list[Action]:
        if self._ends is None or role in self._ends_sent or self.stopping or not self._is_fully_assigned(role):
            return []
        self._ends_sent.add(role)
        return [Send(name, Ends(self._ends)) for name in self._workers_of(role)]

    def _agree(self, now_s: float) -> list[Action]:
        """Decide T once every worker of the role is at its end and together they own all partitions."""
        role = self.plan.agreeing
        if role is None or self.final_as_of is not None or self.stopping or self.plan.partitions is None:
            return []
        names = list(self._workers_of(role))
        messages = [self._workers[name].at_end for name in names]
        current = [message for message in messages if message is not None and message.round == self._round]
        if len(current) < len(names) or not is_fully_assigned(
            [message.owned for message in current], self.plan.partitions
        ):
            return []
        if self._round == 0:
            self._round = 1
            return [Send(name, ConfirmEnd(1)) for name in names]
        highest = max(message.max_event_time for message in current)
        if self.plan.as_of is not None and self.plan.as_of < highest:
            text = f"--as-of {iso(self.plan.as_of)} is before the highest event time, {iso(highest)}."
            return self._fail(Failure(text, "Give a later --as-of, or omit it.", exit_code=2), now_s)
        self.final_as_of = highest if self.plan.as_of is None else self.plan.as_of
        return [Send(name, FinalAsOf(self.final_as_of)) for name in names]

    def _step_limits(self, role: str, now_s: float) -> list[Action]:
        """Send each worker the lowest time of the other ones.

        While a partition is on its way from one worker to another, or a worker starts, nothing is sent: the last limits
        hold, which are not higher than the time of that partition. Partitions of workers of another command have no
        time here, so after a while the others continue without them. A worker of this command is always waited for.
        """
        if self.plan.in_step is None:
            return []
        workers = {name: worker for name, worker in self._workers_of(role).items() if worker.stage != "done"}
        steps = {name: worker.step for name, worker in workers.items() if worker.step is not None}
        if len(steps) < len(workers) or any(step.owned is None for step in steps.values()):
            return []
        complete = is_fully_assigned([step.owned for step in steps.values()], self.plan.in_step)
        if not complete and now_s - self._assigned_s[role] < FOREIGN_TIMEOUT_S:
            return []
        return [
            Send(name, StepLimit(min((step.time_ms for other, step in steps.items() if other != name), default=NO_END)))
            for name in steps
        ]

    def _check_foreign_workers(self, now_s: float) -> list[Action]:
        """Fail if partitions are assigned to workers of another command, which do not have these end offsets."""
        if not self.plan.until_end or self.stopping:
            return []
        for role in self.plan.workers:
            if (
                role in self._ends_sent
                or self._is_fully_assigned(role)
                or now_s - self._assigned_s[role] < FOREIGN_TIMEOUT_S
            ):
                continue
            workers = self._workers_of(role).values()
            # a worker that sends nothing is loading the state of its new partitions
            if any(w.stage != "running" or now_s - w.received_s >= FOREIGN_TIMEOUT_S / 2 for w in workers):
                continue
            assert self.plan.partitions is not None
            missing = sorted(self.plan.partitions.difference(*(w.owned or () for w in workers)))
            text = f"Workers of another command read partitions {missing} of role {role}."
            return self._fail(
                Failure(text, "--until-end needs the consumer group exclusively: stop the other workers."), now_s
            )
        return []

    def _kill_hung(self, now_s: float) -> list[Action]:
        """End a hung index or archive worker whose peers are done: it has committed everything too."""
        actions: list[Action] = []
        for name, worker in self._workers.items():
            peers = [w for other, w in self._workers_of(name.role).items() if other != name]
            finished = bool(peers) and all(w.stage == "done" for w in peers) and name.role in self._ends_sent
            if finished and name.role != self.plan.agreeing and worker.alive and not worker.killed:
                if now_s - worker.received_s < HUNG_AFTER_S:
                    continue
                worker.killed = worker.hung = True
                text = "the Kafka client of a finished worker hangs; its process is killed"
                actions += [Log("warning", text, {"worker": str(name)}), Kill(name)]
        return actions


def is_fully_assigned(owned: list[tuple[int, ...] | None], partitions: frozenset[int]) -> bool:
    """Return whether the assignment is complete: every partition once, and no worker idle while there are enough.

    Args:
        owned: partitions of each worker; None for a worker without an assignment.
        partitions: all partition numbers.
    """
    taken = [number for numbers in owned if numbers is not None for number in numbers]
    busy = sum(1 for numbers in owned if numbers)
    return None not in owned and sorted(taken) == sorted(partitions) and busy == min(len(owned), len(partitions))


def _failure(name: WorkerName, last: Done | Failed | None, how: str) -> Failure:
    if isinstance(last, Failed):
        return Failure(f"{name}: {last.message}", last.remedy, last.exit_code)
    if isinstance(last, Done):
        return Failure(f"{name} ended without a request to stop.")
    return Failure(f"{name} ended unexpectedly: {how}", NOT_CHECKPOINTED)
