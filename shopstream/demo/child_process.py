"""Runs the demo's heavy work in a child process that ends with the demo and then frees its memory."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Final, TypeVar

from features.errors import ShopstreamError
from shopstream.runtime.children import die_with_parent, python_command

WAIT_S: Final = 0.25
LEAVE_S: Final = 30.0
"""Maximum time from the child's last message to its exit."""

Tell = Callable[[str, float | None], None]
"""Callback with the name of the current step, and the share that is done or None."""
Result = TypeVar("Result")


class DiedError(ShopstreamError):
    """The process exited without reporting a result."""


def apart(work: Callable[[Tell], Result], on_wait: Callable[[str, float | None], bool]) -> Result | None:
    """Run a function in another process.

    Args:
        work: function to run; it and its result can be pickled.
        on_wait: called a few times a second with the last progress of `work`; False ends the process.

    Returns:
        The result; None if the process was ended.

    Raises:
        ShopstreamError: `work` raised it.
        DiedError: the process died, or raised something else (its traceback is on standard error).
    """
    # only a child of this process reads the pickles, and the other way round
    ours, theirs = Pipe()
    with theirs:
        command = python_command("shopstream.demo.child_process", str(theirs.fileno()))
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
    now: tuple[str, float | None] = ("starting", None)
    try:
        ours.send_bytes(pickle.dumps(work))
        while on_wait(*now):
            if not ours.poll(WAIT_S):
                continue
            word, said = ours.recv()
            if word == "done":
                result: Result = said
                return result
            if word == "failed":
                raise said
            now = said
        return None  # noqa: TRY300 - the end that was asked for
    except (EOFError, ConnectionError):
        raise DiedError(
            f"Work of the demo ended with exit code {_exit_code(process)}.",
            "See what it wrote above; the commands `train`, `rollup` and `forecast` do the same by themselves.",
        ) from None
    finally:
        process.kill()
        process.wait()
        ours.close()


def _exit_code(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(LEAVE_S)
    except subprocess.TimeoutExpired:
        return None


def main() -> None:
    """Run the child process; the only argument is the file descriptor of its end of the pipe."""
    # Ctrl-C in the terminal is for the parent, which ends this process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    parent: Connection = Connection(int(sys.argv[1]))
    try:
        work: Callable[[Tell], Any] = parent.recv()
        try:
            parent.send(("done", work(lambda said, share: parent.send(("now", (said, share))))))
        except ShopstreamError as error:
            parent.send(("failed", error))
    except (EOFError, BrokenPipeError):
        return  # the parent has stopped waiting


if __name__ == "__main__":
    main()
