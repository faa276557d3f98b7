"""The demo's heavy work in a process of its own: it ends at once when the demo does, and its memory ends with it."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Final, TypeVar

from features.errors import ShopstreamError

WAIT_S: Final = 0.25
LEAVE_S: Final = 5.0
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
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(work, theirs), name="apart", daemon=True)
    process.start()
    theirs.close()
    now: tuple[str, float | None] = ("starting", None)
    try:
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
    except EOFError:
        process.join(LEAVE_S)
        raise DiedError(
            f"Work of the demo ended with exit code {process.exitcode}.",
            "See what it wrote above; the commands `train`, `rollup` and `forecast` do the same by themselves.",
        ) from None
    finally:
        process.kill()
        process.join()
        ours.close()


def _work(work: Callable[[Tell], Any], parent: Connection) -> None:
    # Ctrl-C in the terminal is for the parent, who ends this process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        try:
            parent.send(("done", work(lambda said, share: parent.send(("now", (said, share))))))
        except ShopstreamError as error:
            parent.send(("failed", error))
    except BrokenPipeError:
        return  # nobody waits for it any more
