"""The lesson that the demo's history gives: a bundle, trained in a process of its own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import ShopstreamError
from shopstream.demo import first_bundle
from shopstream.demo.child_process import DiedError, Tell, apart

if TYPE_CHECKING:
    from training.bundle import Bundle
    from training.options import Horizon


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
        DiedError: the process died.
    """
    try:
        folder = apart(functools.partial(_train, lesson), on_wait)
    except DiedError:
        raise
    except ShopstreamError as error:
        raise NothingLearntError(error.message, error.remedy) from error
    if folder is None:
        return None
    from training.bundle import load_bundle  # noqa: PLC0415 - the libraries of models are wanted here only

    return load_bundle(folder)


def _train(lesson: Lesson, tell: Tell) -> Path:
    return first_bundle.train(lesson.bundles, lesson.history, lesson.horizon, tell).folder
