"""Trains the demo's first bundle from its history, in a process of its own."""

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
    """A training task.

    Attributes:
        history: folder of the archive.
        bundles: folder of the bundles.
        horizon: horizon and cut-offs of the training set.
    """

    history: Path
    bundles: Path
    horizon: Horizon


class NothingLearntError(ShopstreamError):
    """The archive is not enough to train a model; the demo continues without one."""


def learn(lesson: Lesson, on_wait: Callable[[str, float | None], bool]) -> Bundle | None:
    """Train a bundle and make it current.

    Args:
        lesson: the training task.
        on_wait: called a few times a second with the current step; False ends the training.

    Returns:
        The bundle; None if the training was ended.

    Raises:
        NothingLearntError: the archive is not enough to train a model.
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
