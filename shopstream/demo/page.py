"""The live page beside the demo: served while it runs, shown when the shop is live."""

from __future__ import annotations

import contextlib
import os
import sys
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from features.errors import ShopstreamError
from shopstream.demo.screen import Screen
from shopstream.jobs.serve_dashboards import Listening, beside
from shopstream.settings import Settings

MART: Final = Path("mart")
"""Where `shopstream segment` writes unless it is told otherwise."""


@contextlib.contextmanager
def page(settings: Settings, screen: Screen, *, wanted: bool) -> Iterator[Callable[[], None]]:
    """The page while it lasts; gives what shows it to the person. A demo whose page cannot be served goes on without.

    Args:
        settings: where Elasticsearch is, and the run.
        screen: is told the address.
        wanted: whether there is to be one at all.
    """
    with contextlib.ExitStack() as stack:
        address = _served(stack, settings, screen) if wanted else None
        if address is not None:
            screen.say(f"dashboards: {address}")

        def show() -> None:
            if address is not None and screen.console.is_terminal and _has_display():
                webbrowser.open(address)

        yield show


def _served(stack: contextlib.ExitStack, settings: Settings, screen: Screen) -> str | None:
    problem: ShopstreamError | None = None
    # the usual port, or any where another demo has it
    for listening in (Listening(), Listening(port=0)):
        try:
            return stack.enter_context(beside(settings, MART, listening))
        except ShopstreamError as error:
            problem = error
    assert problem is not None
    screen.warn(f"no live page: {problem.message} {problem.remedy}")
    return None


def _has_display() -> bool:
    """Without one, a browser of the terminal would take the demo's place."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
