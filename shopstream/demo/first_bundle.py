"""Trains the demo's bundle once per history, with a smaller search than `train`, and makes it current.

If the current bundle was not made by the demo, it stays current and scores the demo's customers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from connectors.files import write_whole
from features.errors import ShopstreamError
from producers.shop.shop import Shop
from shopstream.demo.child_process import Tell
from shopstream.runtime.bundles import FolderBundles

if TYPE_CHECKING:
    from training.bundle import Bundle
    from training.options import Horizon

NOTES: Final = "demo.json"
"""File beside the bundles: history -> name of the bundle that the demo trained from it."""
SEARCH: Final = "one setting of each model instead of six, intervals by 100 resamples"
TRIES: Final = 1
REPEATS: Final = 100
THREADS: Final = 2
HORIZON_DAYS_MAX: Final = 90
CUTOFFS: Final = 13
CUSTOMERS_MIN: Final = 300
DAYS_MIN: Final = 120
"""With a smaller or shorter shop, a model could not be tested on a later time."""


def horizon_of(shop: Shop) -> Horizon | None:
    """Return the horizon and cut-offs of the training set; None if the shop is too small to learn from."""
    from training.options import Horizon  # noqa: PLC0415 - who scores by a bundle that is there waits for no libraries

    if shop.customers < CUSTOMERS_MIN or shop.days < DAYS_MIN:
        return None
    days = min(HORIZON_DAYS_MAX, shop.days // 4)
    return Horizon(days, days, max(1, (shop.days - 2 * days) // CUTOFFS), CUTOFFS)


def kept(folder: Path, history: str) -> Bundle | None:
    """Return the bundle that scores a run of this history without training, and make it current.

    Args:
        folder: folder of the bundles.
        history: name of the history.

    Returns:
        The current bundle if the demo did not train it, else the demo's bundle of this history. None if there is
        neither, or it does not fit this program.
    """
    made = _notes(folder)
    current = _usable(folder)
    if current is not None and current.folder.name not in made.values():
        return current
    if (name := made.get(history)) is None or (ours := _usable(folder / name)) is None:
        return None
    if current is None or current.folder != ours.folder:
        _point(ours)
    return ours


def train(folder: Path, history: Path, horizon: Horizon, on_step: Tell) -> Bundle:
    """Train a bundle from an archive and make it current.

    Args:
        folder: folder of the bundles.
        history: folder of the archive, named after the history.
        horizon: see `horizon_of`.
        on_step: as for `train_bundle`.

    Raises:
        ShopstreamError: the archive is not enough to train from, or the bundle cannot be written.
    """
    from shopstream.jobs.train import train_bundle  # noqa: PLC0415
    from training.churn.train import TrainingPlan  # noqa: PLC0415

    plan = TrainingPlan(tries=TRIES, repeats=REPEATS, threads=THREADS)
    bundle, _ = train_bundle(history, folder / "new", horizon, plan, on_step=on_step, rename=True)
    notes = msgspec.json.encode(_notes(folder) | {history.name: bundle.folder.name})
    write_whole(folder / NOTES, lambda path: path.write_bytes(notes))
    _point(bundle)
    return bundle


def _usable(path: Path) -> Bundle | None:
    try:
        if FolderBundles(path).current() is None:
            return None
        from training.bundle import load_bundle  # noqa: PLC0415

        return load_bundle(path)
    except ShopstreamError:
        return None


def _point(bundle: Bundle) -> None:
    from training.bundle import point_current  # noqa: PLC0415

    point_current(bundle.folder)


def _notes(folder: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode((folder / NOTES).read_bytes(), type=dict[str, str])
    except (OSError, msgspec.MsgspecError):
        return {}
