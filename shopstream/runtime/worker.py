"""A worker process: it is told what to be, is it, and leaves when told. `python -m shopstream.runtime.worker FD`.

Signals are the parent's business: Ctrl-C reaches a whole terminal, and a worker must finish its batch and checkpoint
first. A parent that is gone can decide nothing any more; the child ends at once, as after a crash, so that its
successors never meet it. The end of the socket tells it on every system, and on Linux the kernel too, which reaches
even a process whose interpreter is stuck.
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

from features.errors import ShopstreamError
from shopstream.runtime.children import die_with_parent
from shopstream.runtime.messages import (
    ConfirmEnd,
    Done,
    Down,
    End,
    Ends,
    Failed,
    Figure,
    FinalAsOf,
    Lines,
    LogLine,
    Owned,
    ReachedEnd,
    Ready,
    Report,
    Stop,
    Task,
    Up,
    read_down,
    read_task,
    to_line,
)

ORPHANED: Final = 3
"""Exit code of a worker whose parent is gone."""
TELL_EVERY_S: Final = 0.5
RECEIVE_BYTES: Final = 65_536


class Role(Protocol):
    """A consumer, as a worker runs it."""

    def run(
        self,
        stop: Callable[[], bool],
        until: Mapping[tuple[str, int], int] | None,
        final_as_of: Callable[[int], int | None],
        report: Callable[[Mapping[str, Figure]], None],
    ) -> Mapping[str, Figure]:
        """Consume until told to stop or until everything is done; returns the totals.

        Args:
            stop: asked often.
            until: (full topic name, partition) -> offset; the offsets may become known while it runs.
            final_as_of: told the highest stream time once everything is read; the T of the last rows, or None.
            report: called about each second.
        """

    def owned(self) -> tuple[int, ...] | None:
        """Partition numbers it has; None before the group has given any answer."""


Builder = Callable[[Task], Role]


class LaterEnds(Mapping[tuple[str, int], int]):
    """Ends that may be told while they are being looked at: each look sees one whole set of offsets."""

    def __init__(self, ends: tuple[End, ...]) -> None:
        self._ends: dict[tuple[str, int], int] = {}
        self.tell(ends)

    def tell(self, ends: tuple[End, ...]) -> None:
        """Replaces all of them."""
        self._ends = {(topic, partition): offset for topic, partition, offset in ends}

    def __getitem__(self, key: tuple[str, int]) -> int:
        return self._ends[key]

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self._ends)

    def __len__(self) -> int:
        return len(self._ends)


class Channel:
    """The child's end of the socket: messages go up from any thread, one thread takes what comes down."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = Lines()
        self._pending: list[bytes] = []
        self._lock = threading.Lock()

    def send(self, message: Up) -> None:
        """Sends a message; ends the process when the parent is gone."""
        try:
            with self._lock:
                self._connection.sendall(to_line(message))
        except OSError:
            os._exit(ORPHANED)

    def receive(self) -> bytes | None:
        """The next line; None when the parent is gone."""
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
    """What the parent has said so far, as the role asks for it."""

    def __init__(self, task: Task, channel: Channel) -> None:
        self.until = None if task.ends is None else LaterEnds(task.ends)
        self._channel = channel
        self._stop = threading.Event()
        self._final_as_of: int | None = None
        self._round = 0
        self._told: ReachedEnd | None = None
        self._told_s = 0.0
        self._owned: tuple[int, ...] | None = None

    def listen(self) -> None:
        """Takes the parent's words until it is gone, and then ends the process."""
        while (line := self._channel.receive()) is not None:
            self.take(read_down(line))
        os._exit(ORPHANED)

    def take(self, message: Down) -> None:
        """One word of the parent."""
        match message:
            case Stop():
                self._stop.set()
            case FinalAsOf(as_of):
                self._final_as_of = as_of
            case ConfirmEnd(number):
                self._round = number
            case Ends(ends):
                assert self.until is not None
                self.until.tell(ends)

    def on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """SIGTERM to this process alone: as if the parent had said so."""
        self._stop.set()

    def stop(self) -> bool:
        """Whether to leave."""
        return self._stop.is_set()

    def owns(self, partitions: tuple[int, ...] | None) -> None:
        """Tells the parent when it has changed."""
        if partitions != self._owned:
            self._owned = partitions
            self._channel.send(Owned(partitions))

    def final_as_of(self, stream_ts: int, owned: tuple[int, ...] | None) -> int | None:
        """T, once the parent has it; until then the parent is told that this worker is at its end."""
        if self._final_as_of is not None:
            return self._final_as_of
        word = ReachedEnd(stream_ts, owned, self._round)
        now_s = time.monotonic()
        if word != self._told or now_s - self._told_s >= TELL_EVERY_S:
            self._told, self._told_s = word, now_s
            self._channel.send(word)
        return None


def main() -> None:
    """Entry of the process: the socket's number is the only argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)  # checkpoints, archive and logs are customers' data: ours alone
    die_with_parent()
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    first = channel.receive()
    if first is None:
        sys.exit(ORPHANED)
    task = read_task(first)
    worker = Worker(task, channel)
    signal.signal(signal.SIGTERM, worker.on_signal)
    threading.Thread(target=worker.listen, name="parent", daemon=True).start()
    last = _live(task, worker, channel)
    channel.send(last)
    sys.exit(last.exit_code if isinstance(last, Failed) else 0)


def _live(task: Task, worker: Worker, channel: Channel) -> Done | Failed:
    from shopstream.runtime.logs import log_to_parent  # noqa: PLC0415 - after the listener: the parent may stop us meanwhile

    def say(level: str, event: str, fields: Mapping[str, Any]) -> None:
        channel.send(LogLine(level, event, {name: _plain(value) for name, value in fields.items()}))

    log_to_parent(say, debug=task.debug)
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
            lambda stream_ts: worker.final_as_of(stream_ts, role.owned()),
            lambda figures: channel.send(Report({**figures, "memory_bytes": process.memory_info().rss})),
        )
    except ShopstreamError as error:
        return Failed(error.message, error.remedy, error.exit_code)
    except Exception as error:  # noqa: BLE001 - the parent is told of any end, and the log has the trace
        import traceback  # noqa: PLC0415

        traceback.print_exc()
        return Failed(f"{type(error).__name__}: {error}", "This is a bug: please report it with the worker's log.")
    return Done(dict(figures))


def load_builder(name: str) -> Builder:
    """The function of `module:function`."""
    module, _, function = name.partition(":")
    builder: Builder = getattr(importlib.import_module(module), function)
    return builder


def _plain(value: object) -> Figure:
    return value if isinstance(value, int | float | str | None) else str(value)


if __name__ == "__main__":
    main()
