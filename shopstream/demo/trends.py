"""Computes trends and a forecast for the demo, from the archive that its consumers have written."""

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
"""Longer than the screen's refresh interval, so that each task is shown in turn."""

Written = dict[str, int]
"""Index, without the run's name -> documents."""


def look_back(settings: Settings, archive: Path, bundle: Bundle | None, screen: Screen) -> Written:
    """Roll up the archive, forecast its sales, and write both into the run's indices.

    Args:
        settings: the run, and the address of Elasticsearch.
        archive: folder of the archive that the run's consumers have written.
        bundle: bundle that scores the customers of the past.
        screen: screen that shows the progress.

    Returns:
        Number of documents by index, without those for which the archive is too short.

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
    """Run each task in its own process, all in parallel; all have ended when this returns or raises.

    Args:
        works: tasks by name.
        screen: screen that shows the progress.
        seconds: filled with the duration of each task.
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


# --- in the child process ---------------------------------------------------------------------------------------------


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
