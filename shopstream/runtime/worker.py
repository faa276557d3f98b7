"""Worker process: receives its task, runs the role and exits on request. `python -m shopstream.runtime.worker FD`.

The parent handles signals: Ctrl-C reaches all processes of a terminal, and a worker must finish its batch and
checkpoint first. Without its parent, a worker ends immediately, as after a crash, so that it never runs together with
its successors. The end of the socket reveals this on every system. On Linux the kernel also kills the worker, even if
its interpreter is stuck.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, Final, Protocol

import psutil

from consumers.metrics.definitions import Figure
from features.errors import ShopstreamError
from shopstream.runtime.children import die_with_parent
from shopstream.runtime.protocol import (
    ConfirmEnd,
    Done,
    Down,
    End,
    Ends,
    Failed,
    FinalAsOf,
    Lines,
    LogLine,
    Owned,
    ReachedEnd,
    Ready,
    Report,
    StepLimit,
    StepTime,
    Stop,
    Task,
    Up,
    read_down,
    read_task,
    to_line,
)

ORPHANED: Final = 3
"""Exit code of a worker whose parent is gone."""
REPEAT_EVERY_S: Final = 0.5
RECEIVE_BYTES: Final = 65_536


class Role(Protocol):
    """A consumer as run by a worker."""

    def run(
        self,
        stop: Callable[[], bool],
        until: Mapping[tuple[str, int], int] | None,
        final_as_of: Callable[[int], int | None],
        report: Callable[[Mapping[str, Figure]], None],
        others_ms: Callable[[int], int],
    ) -> Mapping[str, Figure]:
        """Consume until stopped or until everything is done; return the totals.

        Args:
            stop: callback that returns whether to stop; called often.
            until: (full topic name, partition) -> end offset; the offsets may become known while it runs.
            final_as_of: callback with the highest event time once everything is read; returns T, or None.
            report: callback for figures, called about each second.
            others_ms: callback with the lowest time of the own partitions, as in `StepTime`; returns that of the
                partitions of the other workers.
        """

    def owned(self) -> tuple[int, ...] | None:
        """Return the partition numbers; None before the first assignment."""


Builder = Callable[[Task], Role]


class EndOffsets(Mapping[tuple[str, int], int]):
    """End offsets that another thread may replace; each read sees one whole set of offsets."""

    def __init__(self, ends: tuple[End, ...]) -> None:
        self._ends: dict[tuple[str, int], int] = {}
        self.replace(ends)

    def replace(self, ends: tuple[End, ...]) -> None:
        """Replace all offsets."""
        self._ends = {(topic, partition): offset for topic, partition, offset in ends}

    def __getitem__(self, key: tuple[str, int]) -> int:
        return self._ends[key]

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self._ends)

    def __len__(self) -> int:
        return len(self._ends)


class Channel:
    """The worker's end of the socket: any thread may send, one thread receives."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = Lines()
        self._pending: list[bytes] = []
        self._lock = threading.Lock()

    def send(self, message: Up) -> None:
        """Send a message; end the process if the parent is gone."""
        try:
            with self._lock:
                self._connection.sendall(to_line(message))
        except OSError:
            os._exit(ORPHANED)

    def receive(self) -> bytes | None:
        """Return the next line; None if the parent is gone."""
        while not self._pending:
            try:
                data = self._connection.recv(RECEIVE_BYTES)
            except OSError:
                return None
            if not data:
                return None
            self._pending = list(self._lines.feed(data))
        return self._pending.pop(0)


class Worker:
    """Holds the received requests of the parent until the role reads them."""

    def __init__(self, task: Task, channel: Channel) -> None:
        self.until = None if task.ends is None else EndOffsets(task.ends)
        self._channel = channel
        self._stop = threading.Event()
        self._final_as_of: int | None = None
        self._round = 0
        self._last_sent: ReachedEnd | None = None
        self._last_sent_s = 0.0
        self._owned: tuple[int, ...] | None = None
        self._others_ms = 0
        self._step_sent: StepTime | None = None
        self._step_sent_s = 0.0

    def listen(self) -> None:
        """Receive messages until the parent is gone, then end the process."""
        while (line := self._channel.receive()) is not None:
            self.handle(read_down(line))
        os._exit(ORPHANED)

    def handle(self, message: Down) -> None:
        """Process one message of the parent."""
        match message:
            case Stop():
                self._stop.set()
            case FinalAsOf(as_of):
                self._final_as_of = as_of
            case ConfirmEnd(number):
                self._round = number
            case StepLimit(time_ms):
                self._others_ms = time_ms
            case Ends(ends):
                assert self.until is not None
                self.until.replace(ends)

    def on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """Handle a SIGTERM to this process only like a `Stop` of the parent."""
        self._stop.set()

    def stop(self) -> bool:
        """Return whether to stop."""
        return self._stop.is_set()

    def owns(self, partitions: tuple[int, ...] | None) -> None:
        """Report the partitions to the parent if they have changed."""
        if partitions != self._owned:
            self._owned = partitions
            self._channel.send(Owned(partitions))

    def final_as_of(self, max_event_time: int, owned: tuple[int, ...] | None) -> int | None:
        """Return T, once received; until then, report to the parent that this worker is at its end."""
        if self._final_as_of is not None:
            return self._final_as_of
        message = ReachedEnd(max_event_time, owned, self._round)
        now_s = time.monotonic()
        if message != self._last_sent or now_s - self._last_sent_s >= REPEAT_EVERY_S:
            self._last_sent, self._last_sent_s = message, now_s
            self._channel.send(message)
        return None

    def others_ms(self, time_ms: int, owned: tuple[int, ...] | None) -> int:
        """Report the lowest time of the own partitions to the parent; return the last one of the other workers."""
        message, now_s = StepTime(time_ms, owned), time.monotonic()
        if message != self._step_sent or now_s - self._step_sent_s >= REPEAT_EVERY_S:
            self._step_sent, self._step_sent_s = message, now_s
            self._channel.send(message)
        return self._others_ms


def main() -> None:
    """Run the process; the file descriptor of the socket is the only argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)  # checkpoints, archive and logs hold customers' data: private to this user
    die_with_parent()
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    first = channel.receive()
    if first is None:
        sys.exit(ORPHANED)
    task = read_task(first)
    worker = Worker(task, channel)
    signal.signal(signal.SIGTERM, worker.on_signal)
    threading.Thread(target=worker.listen, name="parent", daemon=True).start()
    last = _run_role(task, worker, channel)
    channel.send(last)
    sys.exit(last.exit_code if isinstance(last, Failed) else 0)


def _run_role(task: Task, worker: Worker, channel: Channel) -> Done | Failed:
    from shopstream.runtime.logs import log_to_parent  # noqa: PLC0415 - after the listener: the parent may stop us meanwhile

    def send_log_line(level: str, event: str, fields: Mapping[str, Any]) -> None:
        channel.send(LogLine(level, event, {name: _plain(value) for name, value in fields.items()}))

    log_to_parent(send_log_line, debug=task.debug)
    try:
        role = load_builder(task.builder)(task)
        process = psutil.Process()
        channel.send(Ready())

        def stop() -> bool:
            worker.owns(role.owned())
            return worker.stop()

        figures = role.run(
            stop,
            worker.until,
            lambda max_event_time: worker.final_as_of(max_event_time, role.owned()),
            lambda figures: channel.send(Report({**figures, "memory_bytes": process.memory_info().rss})),
            lambda time_ms: worker.others_ms(time_ms, role.owned()),
        )
    except ShopstreamError as error:
        return Failed(error.message, error.remedy, error.exit_code)
    except Exception as error:  # noqa: BLE001 - the parent receives every end, and the log has the trace
        import traceback  # noqa: PLC0415

        traceback.print_exc()
        return Failed(f"{type(error).__name__}: {error}", "This is a bug: please report it with the worker's log.")
    return Done(dict(figures))


def load_builder(name: str) -> Builder:
    """Return the function named by `module:function`."""
    module, _, function = name.partition(":")
    builder: Builder = getattr(importlib.import_module(module), function)
    return builder


def _plain(value: object) -> Figure:
    return value if isinstance(value, int | float | str | None) else str(value)


if __name__ == "__main__":
    main()
