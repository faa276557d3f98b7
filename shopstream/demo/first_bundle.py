"""The demo's bundle: trained once for a history, by a smaller search than `train` makes, and then the current one.

A bundle that somebody else made current is left as it is, and the demo's customers are scored by it.
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
"""Beside the bundles: which of them the demo made, by the history that taught it."""
SEARCH: Final = "one setting of each model instead of six, intervals by 100 resamples"
TRIES: Final = 1
REPEATS: Final = 100
THREADS: Final = 2
HORIZON_DAYS_MAX: Final = 90
CUTOFFS: Final = 13
CUSTOMERS_MIN: Final = 300
DAYS_MIN: Final = 120
"""Of a smaller or shorter shop a model could not be tested on a later time."""


def horizon_of(shop: Shop) -> Horizon | None:
    """When the training set's rows are taken; None for a shop that is too small to learn from."""
    from training.options import Horizon  # noqa: PLC0415 - who scores by a bundle that is there waits for no libraries

    if shop.customers < CUSTOMERS_MIN or shop.days < DAYS_MIN:
        return None
    days = min(HORIZON_DAYS_MAX, shop.days // 4)
    return Horizon(days, days, max(1, (shop.days - 2 * days) // CUTOFFS), CUTOFFS)


def kept(folder: Path, history: str) -> Bundle | None:
    """The bundle that scores a run of this history without training; it is the current one then.

    Args:
        folder: of the bundles.
        history: its name.

    Returns:
        The current bundle when somebody else trained it, else the one that the demo trained on this history; None when
        there is neither, or it does not fit this program.
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
    """A bundle from an archive, made current.

    Args:
        folder: of the bundles.
        history: the archive, called by the history's name.
        horizon: see `horizon_of`.
        on_step: as for `train_bundle`.

    Raises:
        ShopstreamError: nothing can be learnt from the archive, or the bundle cannot be written.
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
