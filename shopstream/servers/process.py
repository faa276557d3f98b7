"""Background processes that outlive the command that started them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import psutil

from features.errors import ShopstreamError
from shopstream.servers.account import Account

LOG_BYTES_MAX: Final = 20_000_000
"""A log above this is set aside (one generation) when its server starts."""
KILL_WAIT_S: Final = 10
CLOCK_SLACK_S: Final = 1.0
"""Two readings of one process's creation time may differ by the rounding of the system's clock ticks."""


class Identity(msgspec.Struct, frozen=True):
    """A process, told from a later one with the same pid by its creation time (epoch seconds)."""

    pid: int
    create_time: float

    def process(self) -> psutil.Process | None:
        """The process if it still lives, else None."""
        try:
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.create_time) > CLOCK_SLACK_S:
                return None
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
        except psutil.NoSuchProcess:
            return None
        return process


@dataclass(frozen=True, slots=True)
class Launch:
    """How a server is started."""

    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    log: Path
    account: Account | None = None
    """The account to run as; None is our own."""


def start(launch: Launch) -> Identity:
    """Start a process in a session of its own, its output appended to the log.

    Raises:
        ShopstreamError: the program could not be started.
    """
    launch.log.parent.mkdir(parents=True, exist_ok=True)
    if launch.log.exists() and launch.log.stat().st_size > LOG_BYTES_MAX:
        launch.log.replace(launch.log.with_suffix(".log.1"))
    account = launch.account
    with launch.log.open("ab") as log:
        try:
            child = subprocess.Popen(
                launch.command,
                env=dict(launch.environment),
                cwd=launch.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o027,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
        except OSError as error:
            raise ShopstreamError(
                f"{launch.command[0]} could not be started: {error}.", "Run `shopstream doctor`."
            ) from error
    create_time = psutil.Process(child.pid).create_time()
    child.returncode = 0  # it is meant to outlive us: no "still running" warning when this object goes
    return Identity(child.pid, create_time)


def stop(identity: Identity, timeout_s: float) -> bool:
    """End a process and its children: SIGTERM, a wait, then SIGKILL.

    Returns:
        Whether it ended by itself; False when it had to be killed.
    """
    process = identity.process()
    if process is None:
        with suppress(ChildProcessError):
            os.waitpid(identity.pid, os.WNOHANG)  # our own child that has ended would stay a zombie
        return True
    try:
        family = [process, *process.children(recursive=True)]
        process.terminate()
    except psutil.NoSuchProcess:
        return True
    _, alive = psutil.wait_procs(family, timeout=timeout_s)
    for survivor in alive:
        try:
            survivor.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(alive, timeout=KILL_WAIT_S)
    return not alive


def run(command: Sequence[str], launch: Launch, *, stdin: str = "", timeout_s: float = 120) -> None:
    """Run a tool of a server to its end, in the server's environment and account.

    Raises:
        ShopstreamError: it failed or took too long; the message has what it printed, never its input.
    """
    account = launch.account
    try:
        done = subprocess.run(
            command,
            env=dict(launch.environment),
            cwd=launch.folder,
            input=stdin,
            text=True,
            capture_output=True,
            timeout=timeout_s,
            check=False,
            umask=0o027,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ShopstreamError(f"{Path(command[0]).name} failed: {error}.", "Run `shopstream doctor`.") from error
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()[-2000:]
        raise ShopstreamError(f"{Path(command[0]).name} failed with {done.returncode}:\n{said}")


def tail(log: Path, lines: int = 25) -> str:
    """The last lines of a log, at most 16 KiB."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 16_384))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
