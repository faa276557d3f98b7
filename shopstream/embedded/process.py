"""Starts and stops background processes that outlive the command that started them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from connectors.files import open_private_log
from features.errors import ShopstreamError
from shopstream.embedded.account import ServerAccount
from shopstream.embedded.process_identity import Identity

LOG_BYTES_MAX: Final = 20_000_000
"""Size above which a log is rotated (one generation) when its server starts."""
KILL_WAIT_S: Final = 10


@dataclass(frozen=True, slots=True)
class Launch:
    """Command, environment and files for the start of a server."""

    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    log: Path
    account: ServerAccount | None = None
    """Account to run as; None is the current user."""
    lock: int | None = None
    """Descriptor of the lock that server and tools hold while they live; None for a tool without a server."""

    @property
    def descriptors(self) -> Sequence[int]:
        """File descriptors that the process inherits."""
        return () if self.lock is None else (self.lock,)


def start(launch: Launch) -> Identity:
    """Start a process in a session of its own, with its output appended to the log.

    Raises:
        ShopstreamError: the program could not be started.
    """
    if launch.log.exists() and launch.log.stat().st_size > LOG_BYTES_MAX:
        launch.log.replace(launch.log.with_suffix(".log.1"))
    account = launch.account
    with open_private_log(launch.log) as log:
        try:
            started = subprocess.Popen(
                launch.command,
                env=dict(launch.environment),
                cwd=launch.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=launch.descriptors,
                umask=0o027,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
        except OSError as error:
            raise ShopstreamError(
                f"{launch.command[0]} could not be started: {error}.", "Run `shopstream doctor`."
            ) from error
    identity = Identity.of(started.pid)
    started.returncode = 0  # the process outlives this one: prevents the "still running" warning of `Popen.__del__`
    return identity


def stop(identity: Identity, timeout_s: float) -> bool:
    """Stop a process and its children: SIGTERM, a wait, then SIGKILL.

    Returns:
        Whether all ended by themselves; False if one had to be killed.
    """
    process = identity.process()
    if process is None:
        with suppress(ChildProcessError):
            os.waitpid(identity.pid, os.WNOHANG)  # a child of this process would stay a zombie
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
        ShopstreamError: it failed or timed out; the message has its output, never its input.
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
            pass_fds=launch.descriptors,
            umask=0o027,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ShopstreamError(f"{Path(command[0]).name} failed: {error}.", "Run `shopstream doctor`.") from error
    if done.returncode != 0:
        output = (done.stdout + done.stderr).strip()[-2000:]
        raise ShopstreamError(f"{Path(command[0]).name} failed with {done.returncode}:\n{output}")


def tail(log: Path, lines: int = 25) -> str:
    """Return the last lines of a log, at most 16 KiB."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 16_384))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
