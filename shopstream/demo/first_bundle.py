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
from shopstream.runtime.bundles import FolderBundles
from training.options import Horizon

if TYPE_CHECKING:
    from training.bundle import Bundle

TRAINED_FILE: Final = "demo.json"
"""File next to the bundles: history -> name of the bundle that the demo trained from it."""
SEARCH: Final = "one setting of each model instead of six, intervals by 100 resamples"
SEARCH_OPTIONS: Final = ("--tries", "1", "--repeats", "100", "--threads", "2")
HORIZON_DAYS_MAX: Final = 90
CUTOFFS: Final = 13
CUSTOMERS_MIN: Final = 300
DAYS_MIN: Final = 120
"""With a smaller or shorter shop, a model could not be tested on a later time."""


def horizon_of(shop: Shop) -> Horizon | None:
    """Return the horizon and cut-offs of the training set; None if the shop is too small to learn from."""
    if shop.customers < CUSTOMERS_MIN or shop.days < DAYS_MIN:
        return None
    days = min(HORIZON_DAYS_MAX, shop.days // 4)
    return Horizon(days, days, max(1, (shop.days - 2 * days) // CUTOFFS), CUTOFFS)


def usable_bundle(folder: Path, history: str) -> Bundle | None:
    """Return the bundle that scores a run of this history without training, and make it current.

    Args:
        folder: folder of the bundles.
        history: name of the history.

    Returns:
        The current bundle if the demo did not train it, else the demo's bundle of this history. None if there is
        neither, or it does not fit this program.
    """
    trained = _trained(folder)
    current = _load(folder)
    if current is not None and current.folder.name not in trained.values():
        return current
    if (name := trained.get(history)) is None or (own := _load(folder / name)) is None:
        return None
    if current is None or current.folder != own.folder:
        from training.bundle import point_current  # noqa: PLC0415 - as in `_load`

        point_current(own.folder)
    return own


def train_command(history: Path, horizon: Horizon) -> tuple[str, ...]:
    """Return the arguments of `shopstream` that train the bundle of a history and make it current."""
    cutoffs = {
        "--horizon": horizon.horizon_days,
        "--history": horizon.history_days,
        "--spacing": horizon.spacing_days,
        "--cutoffs": horizon.cutoffs_max,
    }
    return ("train", str(history), *(str(word) for option in cutoffs.items() for word in option), *SEARCH_OPTIONS)


def record_trained(folder: Path, history: str) -> Bundle:
    """Record the current bundle as the demo's own of this history, and return it.

    Raises:
        ShopstreamError: there is no usable current bundle.
    """
    from training.bundle import load_bundle  # noqa: PLC0415 - as in `_load`

    bundle = load_bundle(folder)
    content = msgspec.json.encode(_trained(folder) | {history: bundle.folder.name})
    write_whole(folder / TRAINED_FILE, lambda path: path.write_bytes(content))
    return bundle


def _load(path: Path) -> Bundle | None:
    try:
        if FolderBundles(path).current() is None:
            return None
        from training.bundle import load_bundle  # noqa: PLC0415 - the libraries of models, only if there is a bundle

        return load_bundle(path)
    except ShopstreamError:
        return None


def _trained(folder: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode((folder / TRAINED_FILE).read_bytes(), type=dict[str, str])
    except (OSError, msgspec.MsgspecError):
        return {}
