"""The demo's training in a process of its own: it ends at once when the demo does, and its memory ends with it."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Final

from features.errors import ShopstreamError
from shopstream import demo_bundle

if TYPE_CHECKING:
    from training.bundle import Bundle
    from training.dataset import Horizon

WAIT_S: Final = 0.25
LEAVE_S: Final = 5.0
"""From its last word to its end."""

Word = tuple[str, float | None]
"""What is done now, and the share of it that is done."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What there is to learn.

    Attributes:
        history: the archive.
        bundles: folder of the bundles.
        horizon: of the training set.
    """

    history: Path
    bundles: Path
    horizon: Horizon


class NothingLearntError(ShopstreamError):
    """The archive does not teach a model; all else can go on without one."""


def learn(lesson: Lesson, on_wait: Callable[[str, float | None], bool]) -> Bundle | None:
    """Trains a bundle and makes it the current one.

    Args:
        lesson: what to learn from.
        on_wait: called a few times a second with what is done now; False ends the training.

    Returns:
        The bundle; None when the training was ended.

    Raises:
        NothingLearntError: the archive teaches nothing.
        ShopstreamError: the process died.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_learn, args=(lesson, theirs), name="lesson", daemon=True)
    process.start()
    theirs.close()
    now: Word = ("starting", None)
    try:
        while True:
            if not on_wait(*now):
                return None
            if not ours.poll(WAIT_S):
                continue
            try:
                said = ours.recv()
            except EOFError:
                process.join(LEAVE_S)
                break
            match said:
                case ShopstreamError():
                    raise NothingLearntError(said.message, said.remedy)
                case Path():
                    return _bundle(said)
                case _:
                    now = said
    finally:
        process.kill()
        process.join()
        ours.close()
    raise ShopstreamError(
        f"The training ended with exit code {process.exitcode}.",
        f"See what it says by itself: shopstream train {lesson.history}",
    )


def _bundle(folder: Path) -> Bundle:
    from training.bundle import load_bundle  # noqa: PLC0415 - the libraries of models are wanted here only

    return load_bundle(folder)


def _learn(lesson: Lesson, parent: Connection) -> None:
    # Ctrl-C in the terminal is for the parent, who ends this process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        bundle = demo_bundle.train(
            lesson.bundles, lesson.history, lesson.horizon, lambda said, share: parent.send((said, share))
        )
    except BrokenPipeError:
        return  # nobody waits for it any more
    except ShopstreamError as error:
        parent.send(error)
    else:
        parent.send(bundle.folder)
