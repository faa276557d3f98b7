"""The demo looks back and ahead: trends and a forecast, from the archive that its consumers have written."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from features.errors import ShopstreamError
from shopstream.demo_apart import DiedError, Tell, apart
from shopstream.demo_screen import Screen
from shopstream.settings import Settings

if TYPE_CHECKING:
    from training.bundle import Bundle

HORIZON_DAYS: Final = 30
CATEGORIES_MAX: Final = 12

Written = dict[str, int]
"""Index, without the run's name -> documents."""


def look_back(settings: Settings, archive: Path, bundle: Bundle | None, screen: Screen) -> Written:
    """Rolls the archive up, forecasts its sales, and writes both into the run's indices.

    Args:
        settings: the run, and where Elasticsearch is.
        archive: what the run's consumers have written.
        bundle: scores the customers of the past.
        screen: shows how it goes.

    Returns:
        How many documents of what; without those for which the archive is too short.

    Raises:
        DiedError: the process that computes died.
    """
    folder = None if bundle is None else bundle.folder
    found = _shown(screen, "rollup", functools.partial(_roll_up, settings, archive, folder))
    return found | _shown(screen, "forecast", functools.partial(_forecast, settings, archive))


def _shown(screen: Screen, what: str, work: Callable[[Tell], Written]) -> Written:
    try:
        with screen.round() as show:

            def on_wait(said: str, share: float | None) -> bool:
                done, total = (0, None) if share is None else (round(100 * share), 100)
                show(what, done, total, (), at=said)
                return True

            found = apart(work, on_wait)
    except DiedError:
        raise
    except ShopstreamError as error:
        screen.warn(f"no {what}: {error.message}")
        return {}
    assert found is not None
    screen.say(f"{what}: " + ", ".join(f"{count:,} {name}" for name, count in found.items()))
    return found


# --- in the other process ---------------------------------------------------------------------------------------------


def _roll_up(settings: Settings, archive: Path, folder: Path | None, tell: Tell) -> Written:
    from shopstream.rollup import Asked, roll_up  # noqa: PLC0415 - the libraries of models, in this process alone
    from shopstream.trends import write_trends  # noqa: PLC0415
    from training.bundle import load_bundle  # noqa: PLC0415

    trends = roll_up(archive, None if folder is None else load_bundle(folder), Asked(), tell)
    tell("writing the documents", None)
    return {one.index: one.written for one in write_trends(settings, trends)}


def _forecast(settings: Settings, archive: Path, tell: Tell) -> Written:
    from consumers.trends import Trend  # noqa: PLC0415
    from shopstream.commands.forecast import read_sales  # noqa: PLC0415
    from shopstream.trends import write_trends  # noqa: PLC0415
    from training import shop_forecast  # noqa: PLC0415

    sales = read_sales(archive, CATEGORIES_MAX, tell)
    found = shop_forecast.forecast_shop(sales, HORIZON_DAYS, tell)
    tell("writing the documents", None)
    return {one.index: one.written for one in write_trends(settings, [Trend("forecast", shop_forecast.frame(found))])}
