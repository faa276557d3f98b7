"""The demo's heavy work in a process of its own: it ends at once when the demo does, and its memory ends with it."""

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
"""From its last word to its end."""

Tell = Callable[[str, float | None], None]
"""What is done now, and the share of it that is done where that is known."""
Result = TypeVar("Result")


class DiedError(ShopstreamError):
    """The process ended without a word of its own."""


def apart(work: Callable[[Tell], Result], on_wait: Callable[[str, float | None], bool]) -> Result | None:
    """Does some work in another process.

    Args:
        work: can be pickled, as can its result.
        on_wait: called a few times a second with what `work` has told last; False ends it.

    Returns:
        The result; None when it was ended.

    Raises:
        ShopstreamError: `work` has raised it.
        DiedError: the process died, or raised something else (its traceback stands on standard error).
    """
    # what is pickled is read by a child of our own, and the other way round
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
    """Entry of the other process: the number of its end of the pipe is the only argument."""
    # Ctrl-C in the terminal is for the parent, who ends this process
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
        return  # nobody waits for it any more


if __name__ == "__main__":
    main()
