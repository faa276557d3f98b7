"""The demo looks back and ahead: trends and a forecast, from the archive that its consumers have written."""

from __future__ import annotations

import functools
import itertools
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Final

from features.errors import ShopstreamError
from shopstream.demo.child_process import DiedError, Tell, apart
from shopstream.demo.screen import Screen
from shopstream.settings import Settings

if TYPE_CHECKING:
    from training.bundle import Bundle

HORIZON_DAYS: Final = 30
CATEGORIES_MAX: Final = 12
SHOW_EVERY_S: Final = 0.3
"""Longer than the screen's own pause, so that each work is seen in turn."""

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
    works: dict[str, Callable[[Tell], Written]] = {
        "rollup": functools.partial(_roll_up, settings, archive, folder),
        "forecast": functools.partial(_forecast, settings, archive),
    }
    seconds: dict[str, float] = {}
    done = _side_by_side(works, screen, seconds)
    return {name: count for what in works for name, count in _told(what, done[what], seconds[what], screen).items()}


def _side_by_side(
    works: Mapping[str, Callable[[Tell], Written]], screen: Screen, seconds: dict[str, float]
) -> dict[str, Future[Written | None]]:
    """Does each work in a process of its own, all at once; they have ended when it returns or raises.

    Args:
        works: by their names.
        screen: shows how it goes.
        seconds: how long each took is put here.
    """
    began_s = time.monotonic()

    def note(what: str, _: Future[Written | None]) -> None:
        seconds[what] = time.monotonic() - began_s

    now: dict[str, tuple[str, float | None]] = {}
    left = threading.Event()

    def on_wait(what: str, said: str, share: float | None) -> bool:
        now[what] = said, share
        return not left.is_set()

    with screen.round() as show, ThreadPoolExecutor(len(works)) as pool:
        found = {what: pool.submit(apart, work, functools.partial(on_wait, what)) for what, work in works.items()}
        for what, future in found.items():
            future.add_done_callback(functools.partial(note, what))
        try:
            for turn in itertools.count():
                if not wait(found.values(), SHOW_EVERY_S).not_done:
                    break
                what = list(works)[turn % len(works)]
                said, share = now.get(what, ("starting", None))
                show(what, 0 if share is None else round(100 * share), None if share is None else 100, (), at=said)
        finally:
            left.set()
    return found


def _told(what: str, done: Future[Written | None], seconds: float, screen: Screen) -> Written:
    try:
        found = done.result() or {}
    except DiedError:
        raise
    except ShopstreamError as error:
        screen.warn(f"no {what}: {error.message}")
        return {}
    counts = ", ".join(f"{count:,} {name}" for name, count in found.items())
    screen.say(f"{what}: {counts} in {seconds:.1f} s")
    return found


# --- in the other process ---------------------------------------------------------------------------------------------


def _roll_up(settings: Settings, archive: Path, folder: Path | None, tell: Tell) -> Written:
    from shopstream.jobs.rollup import RollupRequest, roll_up  # noqa: PLC0415 - the libraries of models, in this process alone
    from shopstream.jobs.write_trends import write_trends  # noqa: PLC0415
    from training.bundle import load_bundle  # noqa: PLC0415

    trends = roll_up(archive, None if folder is None else load_bundle(folder), RollupRequest(), tell)
    tell("writing the documents", None)
    return {one.index: one.written for one in write_trends(settings, trends)}


def _forecast(settings: Settings, archive: Path, tell: Tell) -> Written:
    from connectors.elasticsearch.period_writer import Trend  # noqa: PLC0415
    from shopstream.jobs.sales import read_sales  # noqa: PLC0415
    from shopstream.jobs.write_trends import write_trends  # noqa: PLC0415
    from training.forecast import shop_forecast  # noqa: PLC0415

    sales = read_sales(archive, CATEGORIES_MAX, tell)
    found = shop_forecast.forecast_shop(sales, HORIZON_DAYS, tell)
    tell("writing the documents", None)
    return {one.index: one.written for one in write_trends(settings, [Trend("forecast", shop_forecast.frame(found))])}
