"""Provides what the producing commands share: the target topics, the clocks, the stop signal and the shop."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console

from connectors.clock import wall_clock_ms
from connectors.kafka.client import ensure_raw_topics, ensure_topics
from connectors.kafka.topic_settings import topic_configs
from features.errors import UsageError
from features.schema import DAY_MS, check_run, topic_name
from producers.archive.archive import SHOP_FILE
from producers.pacing import Clock
from producers.publisher import FailureHandler, Publisher, newest_event_ms
from producers.shop.shop import Model, Shop, build, shop_from_json
from shopstream import embedded
from shopstream.runtime.logs import configure_logs
from shopstream.settings import load_settings


@dataclass(frozen=True, slots=True)
class ProducerTarget:
    """A run on a cluster; its topics exist."""

    run: str
    properties: dict[str, str]

    def publisher(self, on_failure: FailureHandler) -> Publisher:
        """Return a publisher to the run's topics."""
        return Publisher(self.properties, self.run, on_failure)

    def newest_event_ms(self) -> int | None:
        """Return the newest event time of the run, epoch ms; None if it has no events."""
        return newest_event_ms(self.properties, self.run)


def open_target(run: str | None, console: Console) -> ProducerTarget:
    """Create the run's missing topics on the configured cluster, and return the target. The logs go to the terminal."""
    configure_logs(json=not console.is_terminal)
    settings = load_settings(run=run)
    properties = embedded.kafka_endpoint(settings).client_properties()
    report = ensure_topics(properties, settings.run, settings.kafka.partitions)
    for warning in report.warnings:
        console.print(f"[yellow]warning[/] {warning}", highlight=False)
    return ProducerTarget(settings.run, properties)


@dataclass(frozen=True, slots=True)
class RawTarget:
    """Topics for messages of other systems; they exist."""

    run: str
    properties: dict[str, str]
    topics: Mapping[str, str]
    """Source shape -> full name of its topic."""

    def publisher(self, on_failure: FailureHandler) -> Publisher:
        """Return a publisher to the topics."""
        return Publisher(self.properties, self.run, on_failure, self.topics)


def open_raw_target(
    run: str | None, shapes: Sequence[str], topics: Mapping[str, str], partitions: int, console: Console
) -> RawTarget:
    """Create the missing topics of source shapes, and return the target. The logs go to the terminal.

    Args:
        run: name of the run; None is that of the settings.
        shapes: names of shapes.
        topics: shape -> full name of its topic; default: `RUN.raw.SHAPE`.
        partitions: partitions of a new topic.
        console: terminal.

    Raises:
        UsageError: a topic is one of the run's own, or is given to two shapes.
        ShopstreamError: the cluster does not respond.
    """
    configure_logs(json=not console.is_terminal)
    settings = load_settings(run=run)
    own = topic_configs(check_run(settings.run))
    names = {shape: topics.get(shape) or topic_name(settings.run, f"raw.{shape}") for shape in shapes}
    for shape, name in names.items():
        if name in own:
            raise UsageError(f"{name} is a topic of the run {settings.run}.", "Name another topic for raw messages.")
        if list(names.values()).count(name) > 1:
            raise UsageError(f"--topic gives {name} to two shapes.", f"Name another topic for {shape}.")
    properties = embedded.kafka_endpoint(settings).client_properties()
    ensure_raw_topics(properties, list(names.values()), partitions)
    return RawTarget(settings.run, properties, names)


def wall_clock() -> Clock:
    """Return the clocks of this machine."""
    return Clock(
        monotonic_s=time.monotonic,
        wall_ms=wall_clock_ms,
        sleep=time.sleep,
    )


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Yield whether Ctrl-C or SIGTERM came, so that counts stay complete; a second signal interrupts immediately."""
    seen: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def shop_model(directory: Path | None, wall_ms: int) -> Model:
    """Return the shop of an archive, or a new shop whose history ends at the last UTC midnight.

    Raises:
        UsageError: the archive is not of a synthetic shop.
    """
    if directory is None:
        return build(Shop(end_ms=wall_ms // DAY_MS * DAY_MS))
    try:
        text = (directory / SHOP_FILE).read_text("utf-8")
    except OSError:
        raise UsageError(
            f"{directory} has no {SHOP_FILE}: it is not the archive of a synthetic shop, so `live` cannot continue it.",
            "Give a folder that `shopstream generate` wrote; `shopstream replay` sends any archive.",
        ) from None
    return build(shop_from_json(text))
