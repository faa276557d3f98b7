"""Runs the worker processes: owns processes, sockets and the clock; `coordinator` makes the decisions."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from connectors.files import open_private_log
from features.errors import ShopstreamError, UsageError
from shopstream.runtime.children import python_command
from shopstream.runtime.coordinator import Coordinator
from shopstream.runtime.coordinator_types import Action, Failure, Kill, Send, Start, WorkerName, WorkerPlan, WorkerView
from shopstream.runtime.protocol import End, Lines, Task, read_up, to_line

STEP_S: Final = 0.25
"""Longest sleep of the parent, and so the longest delay of a signal."""
RECEIVE_BYTES: Final = 1 << 16
SEND_TIMEOUT_S: Final = 5.0
EXIT_TIMEOUT_S: Final = 10.0
"""Longest time from the closed socket of a worker to the end of its process."""
LOG_BYTES_MAX: Final = 10_000_000
"""Size above which a worker's log is rotated (one generation) when the worker starts."""
LAST_LINES: Final = 5


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """Result of a command's workers.

    Attributes:
        views: state of every worker at its end.
        failures: causes of failure; empty when all ended as planned.
        final_as_of: T, if the workers agreed on one.
        interrupted: whether a user or a signal ended the command.
        seconds: time from the start of the processes to the end of the last.
    """

    views: tuple[WorkerView, ...]
    failures: tuple[Failure, ...]
    final_as_of: int | None
    interrupted: bool
    seconds: float

    def raise_failure(self) -> None:
        """Raise the failures as one error; a usage error takes precedence."""
        if not self.failures:
            return
        worst = max(self.failures, key=lambda failure: failure.exit_code)
        kind = UsageError if worst.exit_code == 2 else ShopstreamError
        others = [f for f in self.failures if f is not worst and f.message != worst.message]
        raise kind("\n".join(f.message for f in [worst, *others]), worst.remedy)


@dataclass(slots=True)
class _Process:
    popen: subprocess.Popen[bytes]
    connection: socket.socket
    log: Path
    log_start: int
    lines: Lines = field(default_factory=Lines)
    closed_s: float | None = None
    """Time at which the worker closed its socket, after its last message."""


class Supervisor:
    """Runs the workers of a plan. One thread calls `step` until `finished`; any thread may `stop`, `kill` and read.

    Args:
        plan: workers to run.
        task_of: function that makes the task of a worker.
        logs: folder of the workers' logs.
        log_line: callback for log lines to the user: level, event, fields.
        environment: environment of the workers; by default the one of this process.
    """

    def __init__(
        self,
        plan: WorkerPlan,
        task_of: Callable[[WorkerName], Task],
        logs: Path,
        *,
        log_line: Callable[[str, str, Mapping[str, Any]], None] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.coordinator = Coordinator(plan)
        self._task_of = task_of
        self._logs = logs
        self._log_line = log_line or _log
        self._environment = environment
        self._processes: dict[WorkerName, _Process] = {}
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._requests: list[Callable[[float], list[Action]]] = []
        self._views = self.coordinator.views()
        self._began_s = self._stepped_s = time.monotonic()
        self._seconds = 0.0

    # --- called from any thread ---

    @property
    def finished(self) -> bool:
        """Whether every worker has ended."""
        return not self._processes and self.coordinator.finished and not self._requests

    def views(self) -> tuple[WorkerView, ...]:
        """Return the state of every worker as of the last step."""
        return self._views

    @property
    def stepped_s(self) -> float:
        """Time of the last step, monotonic."""
        return self._stepped_s

    def stop(self, *, interrupted: bool = False) -> None:
        """Request all workers to finish their batch, checkpoint and exit."""
        self._request(lambda now_s: self.coordinator.stop(now_s, interrupted=interrupted))

    def kill(self) -> None:
        """Kill all workers."""
        self._request(lambda _: self.coordinator.kill())

    def ends_known(self, ends: tuple[End, ...]) -> None:
        """Send the end offsets to the workers."""
        self._request(lambda _: self.coordinator.ends_known(ends))

    def _request(self, request: Callable[[float], list[Action]]) -> None:
        with self._lock:
            self._requests.append(request)

    # --- the loop ---

    def start(self) -> None:
        """Start every process."""
        self._began_s = time.monotonic()
        self._perform(self.coordinator.start())

    def step(self, timeout_s: float = STEP_S) -> None:
        """Wait for events, up to `timeout_s`, and act on them."""
        if self._selector.get_map():
            for key, _ in self._selector.select(timeout_s):
                self._receive(key.data)
        else:
            time.sleep(min(timeout_s, STEP_S))
        self._reap()
        with self._lock:
            requests, self._requests = self._requests, []
        now_s = time.monotonic()
        for request in requests:
            self._perform(request(now_s))
        self._perform(self.coordinator.tick(now_s))
        self._views = self.coordinator.views()
        self._seconds = now_s - self._began_s
        self._stepped_s = now_s

    def run(self, on_step: Callable[[tuple[WorkerView, ...]], None] = lambda _: None) -> RunOutcome:
        """Start all workers and step until they end; no process is left in any case.

        Args:
            on_step: callback with the state of every worker, called a few times a second.
        """
        try:
            self.start()
            while not self.finished:
                self.step()
                on_step(self._views)
        finally:
            self.close()
        return self.outcome()

    def outcome(self) -> RunOutcome:
        """Return the outcome, once finished."""
        coordinator = self.coordinator
        return RunOutcome(
            self._views, tuple(coordinator.failures), coordinator.final_as_of, coordinator.interrupted, self._seconds
        )

    def close(self) -> None:
        """Kill the remaining processes."""
        for process in self._processes.values():
            process.popen.kill()
            process.popen.wait()
            process.connection.close()
        self._processes.clear()
        self._selector.close()

    # --- actions ---

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Start(name):
                    self._start(name)
                case Send(name, message):
                    self._send(name, to_line(message))
                case Kill(name):
                    if name in self._processes:
                        self._processes[name].popen.kill()
                case _:
                    self._log_line(action.level, action.event, action.fields)

    def _start(self, name: WorkerName) -> None:
        task = self._task_of(name)
        parent_end, worker_end = socket.socketpair()
        log = self._logs / f"{task.run}-{name}.log"
        try:
            if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
                log.replace(log.with_suffix(".log.1"))
            with worker_end, open_private_log(log) as output:
                popen = subprocess.Popen(
                    python_command("shopstream.runtime.worker", str(worker_end.fileno())),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=[worker_end.fileno()],
                    env=None if self._environment is None else dict(self._environment),
                    # Ctrl-C in the terminal is for the parent, which lets the workers finish
                    process_group=0,
                )
                log_start = output.tell()
        except OSError as error:
            parent_end.close()
            raise ShopstreamError(
                f"Worker {name} could not be started: {error}.", "Run `shopstream doctor`."
            ) from error
        parent_end.settimeout(SEND_TIMEOUT_S)
        self._processes[name] = _Process(popen, parent_end, log, log_start)
        self._selector.register(parent_end, selectors.EVENT_READ, name)
        self._send(name, to_line(task))

    def _send(self, name: WorkerName, line: bytes) -> None:
        process = self._processes.get(name)
        if process is None:
            return
        try:
            process.connection.sendall(line)
        except OSError:
            return  # the worker is exiting; `_reap` reports it

    def _receive(self, name: WorkerName) -> None:
        process = self._processes[name]
        try:
            data = process.connection.recv(RECEIVE_BYTES)
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(process.connection)
            process.closed_s = time.monotonic()
            return
        for line in process.lines.feed(data):
            try:
                message = read_up(line)
            except msgspec.MsgspecError as error:
                self._log_line("error", "unreadable message from a worker", {"worker": str(name), "error": str(error)})
                continue
            self._perform(self.coordinator.receive(name, message, time.monotonic()))

    def _reap(self) -> None:
        for name, process in list(self._processes.items()):
            if process.closed_s is None:
                continue  # its last messages are not read yet
            code = process.popen.poll()
            if code is None:
                if time.monotonic() - process.closed_s > EXIT_TIMEOUT_S:
                    process.popen.kill()
                continue
            process.connection.close()
            del self._processes[name]
            self._perform(self.coordinator.exited(name, _exit_reason(code, process), time.monotonic()))


def _exit_reason(code: int, process: _Process) -> str:
    reason = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    try:
        with process.log.open("rb") as file:
            file.seek(max(process.log_start, file.seek(0, os.SEEK_END) - 4_096))
            last_lines: Sequence[str] = file.read().decode("utf-8", "replace").splitlines()[-LAST_LINES:]
    except OSError:
        last_lines = ()
    return reason + (f"; the end of {process.log}:\n" + "\n".join(last_lines) if last_lines else "")


def _log(level: str, event: str, fields: Mapping[str, Any]) -> None:
    getattr(structlog.get_logger("workers"), level)(event, **fields)
