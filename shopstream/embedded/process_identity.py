"""Identifies processes independently of the wall clock, and locks a server's folder.

On Linux, psutil computes the creation time as boot time plus clock ticks. It moves with every step of the wall clock,
so nothing here compares it there.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import psutil

from features.errors import ShopstreamError

LOCK_WAIT_S: Final = 60
"""Longest wait for the lock: a tool left behind by an interrupted `up` ends within this time."""
POLL_S: Final = 0.1
_PROC: Final = Path("/proc")
_STATE, _STARTTIME = 0, 19
"""Positions in `/proc/PID/stat` after the program's name: fields 3 and 22 of proc(5)."""

CommandLine = Sequence[str]


class Identity(msgspec.Struct, frozen=True):
    """A process, distinguished from a later one with the same pid by its start.

    Attributes:
        pid: process id.
        start: on Linux, the boot id and the clock ticks from boot to start. On macOS, the start time that the kernel
            stored at creation; a later step of the clock does not change it. Empty in records of format 1:
            `state_file.read` fills it in.
    """

    pid: int
    start: str = ""

    @classmethod
    def of(cls, pid: int) -> Identity:
        """Return the identity of the process with this pid now; an ended one never matches another process."""
        return cls(pid, _start_of(pid) or "ended")

    def process(self) -> psutil.Process | None:
        """Return the process if it still lives, else None."""
        if not self.start or _start_of(self.pid) != self.start:
            return None
        try:
            return psutil.Process(self.pid)
        except psutil.NoSuchProcess:
            return None


def _start_of(pid: int) -> str | None:
    """Return the start of a process, as `Identity.start`; None if it has ended or is a zombie."""
    return _start_on_linux(pid) if sys.platform == "linux" else _start_elsewhere(pid)


def _start_on_linux(pid: int) -> str | None:
    try:
        stat = (_PROC / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # a program's name may hold spaces and brackets
    if fields[_STATE] in "ZX":
        return None
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        boot = ""  # some containers hide it
    return f"{boot}:{fields[_STARTTIME]}"


def _start_elsewhere(pid: int) -> str | None:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        platform_process = process._proc  # type: ignore[attr-defined]  # noqa: SLF001 - `create_time` corrects for clock steps
        return f"{platform_process.create_time(monotonic=True):.6f}"
    except psutil.Error:
        return None


def find(owns: Callable[[CommandLine], bool]) -> Identity | None:
    """Return the process whose command line `owns` accepts, a parent before its children; None if there is none."""
    owned: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            if owns(process.cmdline()):
                owned[process.pid] = process
        except psutil.Error:
            continue  # it has ended, or belongs to another user
    for process in owned.values():
        try:
            if process.ppid() not in owned:
                return Identity.of(process.pid)
        except psutil.NoSuchProcess:
            continue
    return None


def works_in(pid: int, folder: Path) -> bool:
    """Return whether this process's command line or working directory names `folder`."""
    names = {str(folder), str(folder.resolve())}
    try:
        process = psutil.Process(pid)
        arguments = process.cmdline()
        if any(name in argument for name in names for argument in arguments):
            return True
        return any(Path(process.cwd()).is_relative_to(name) for name in names)
    except psutil.Error:
        return False


@contextmanager
def held(path: Path, wait_s: float | None = None) -> Iterator[int]:
    """Hold the lock of a server's folder, for this process and all that inherit the descriptor.

    The lock is free when the last of them has ended, for whatever reason.

    Args:
        path: path of the lock file; readable by the current user only, so that nobody else can hold it.
        wait_s: longest wait for the lock; None is `LOCK_WAIT_S`.

    Yields:
        The descriptor to pass to the server and its tools.

    Raises:
        ShopstreamError: another process holds the lock.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        deadline = time.monotonic() + (LOCK_WAIT_S if wait_s is None else wait_s)
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ShopstreamError(
                        f"A process that `shopstream up` started holds the lock {path}, but no record names it.",
                        f"Find it by `fuser {shlex.quote(str(path))}` and end it; then run the command again.",
                    ) from None
                time.sleep(POLL_S)
        yield descriptor
    finally:
        os.close(descriptor)
