"""Stores the demo's progress in a run, so that a second demo continues instead of sending data twice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from connectors.files import read_note, write_note
from producers.shop.shop import Shop
from shopstream.settings import Settings

FOLDER: Final = "demo"

Phase = Literal["replaying", "replayed"]


class DemoState(msgspec.Struct, frozen=True):
    """State of a demo run.

    Attributes:
        shop: shop whose history was replayed.
        phase: `replaying` until the whole history is acknowledged.
        sent: acknowledged messages by source topic: of the history, and of live shops that ended.
        live_open: a live shop or replay ended without recording all that it sent, so `sent` is too low.
        until_ms: event time before which the whole history is acknowledged; None in files of earlier versions.
    """

    shop: Shop
    phase: Phase
    sent: dict[str, int] = {}
    live_open: bool = False
    until_ms: int | None = None

    def with_sent(self, delivered: Mapping[str, int], *, live_open: bool) -> DemoState:
        """Return the state with further acknowledged messages."""
        total = {topic: self.sent.get(topic, 0) + delivered.get(topic, 0) for topic in {*self.sent, *delivered}}
        return msgspec.structs.replace(self, sent=total, live_open=live_open)


def memory_file(settings: Settings) -> Path:
    """Return the state file of the run: `demo/RUN.json` in the data folder."""
    return settings.home / FOLDER / f"{settings.run}.json"


def read(settings: Settings) -> DemoState | None:
    """Read the state of the run; None if no demo has used it.

    Raises:
        ShopstreamError: the file is damaged.
    """
    return read_note(memory_file(settings), DemoState, "Delete it and take another run (`--run NAME`).")


def write(settings: Settings, memory: DemoState) -> None:
    """Replace the state file atomically."""
    path = memory_file(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_note(path, memory)
