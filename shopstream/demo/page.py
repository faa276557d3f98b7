"""Serves the live page while the demo runs, and opens it when the shop is live."""

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
"""Default output folder of `shopstream segment`."""


@contextlib.contextmanager
def page(settings: Settings, screen: Screen, *, wanted: bool) -> Iterator[Callable[[], None]]:
    """Serve the page within the context; yields the function that opens it. If serving fails, the demo continues.

    Args:
        settings: address of Elasticsearch, and the run.
        screen: screen that prints the address.
        wanted: whether to serve the page at all.
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
    # a second demo may hold the usual port
    for listening in (Listening(), Listening(port=0)):
        try:
            return stack.enter_context(beside(settings, MART, listening))
        except ShopstreamError as error:
            problem = error
    assert problem is not None
    screen.warn(f"no live page: {problem.message} {problem.remedy}")
    return None


def _has_display() -> bool:
    """Return whether there is a display; without one, a text browser would take over the demo's terminal."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
