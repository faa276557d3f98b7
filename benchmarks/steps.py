"""Measures the parts of the features consumer's loop, each without the parts inside it.

A part is a function wrapped with two clock readings. It runs once per batch or less often, so the measurement adds no
significant cost. Work of other Python threads (writing checkpoints) is separate. The rest of the process's time belongs
to librdkafka's threads, which fetch and unpack.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.client import cpu_s

PARTS: Final[tuple[tuple[str, str], ...]] = (
    ("connectors.kafka.source:Source.read", "read: message accessors, batches"),
    ("consumers.state.partition:PartitionState.receive", "receive: offsets, chunks"),
    ("features.records.event_reader:read_events", "decode: kernel"),
    ("features.records.decode:read_common", "decode: messages joined, columns made"),
    ("features.records.decode:_decode_chunk", "decode: times, what the kernel refused"),
    ("features.records.decode:read_chunk", "decode: strict, with a reason"),
    ("features.records.decode:joined", "columns: chunks joined"),
    ("consumers.state.partition:joined", "columns: batches joined"),
    ("features.records.decode:order_columns", "columns: orders"),
    ("consumers.state.partition:split_late", "lateness"),
    ("consumers.state.partition:PartitionState.advance", "advance: topics in step"),
    ("features.state.state:State.apply_events", "apply events: room, highs"),
    ("features.state.state:State._reserve_for_events", "apply events: growth"),
    ("features.state.tables:Strings.codes", "interning: customers, words"),
    ("features.state.state:State._word_codes", "interning: category, channel, country"),
    ("features.state.kernels:apply_events", "apply events: kernel"),
    ("features.state.state:State.apply_orders", "apply orders"),
    ("consumers.state.partition:PartitionState._store_orders", "orders kept for documents"),
    ("consumers.state.dirty_rows:DirtyRows.add", "dirty sets"),
    ("features.state.state:State.abandoned", "abandoned carts"),
    ("consumers.state.partition:PartitionState.expire", "expiry"),
    ("consumers.state.partition:PartitionState.mark_all", "new day: everyone dirty"),
    ("consumers.features.sinks:Sinks.emit", "emit: take and hand over"),
    ("consumers.features.documents:evaluate", "evaluate features"),
    ("consumers.features.documents:json_lines", "rows to JSON"),
    ("consumers.features.sinks:session_docs", "session documents"),
    ("connectors.elasticsearch.documents:Handover.next_slice", "order documents"),
    ("consumers.features.sinks:customer_docs", "customer documents"),
    ("consumers.dead_letters.producer:DeadLetters.send", "dead letters"),
    ("consumers.checkpoints.coordinator:snapshot", "checkpoint: snapshot"),
    ("consumers.checkpoints.store:CheckpointStore.write", "checkpoint: write"),
    ("consumers.dead_letters.producer:DeadLetters.flush", "checkpoint: letters flushed"),
    ("connectors.kafka.source:Source.commit", "commit"),
    ("consumers.checkpoints.store:CheckpointStore.prune", "checkpoint: old ones deleted"),
    ("consumers.features.consumer:FeaturesConsumer._turn_once", "the rest of the loop"),
)
"""Target of a part (module:name in its caller's namespace), and its label."""
CONSUME: Final = "consume: librdkafka's queue"
LIBRARY: Final = "librdkafka's threads, sinks' threads"


@dataclass(slots=True)
class Spent:
    """Time of one part without the parts inside it, in seconds."""

    calls: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0


class Steps:
    """Times by part, after `install`."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._main = threading.get_ident()
        self._spent: dict[tuple[bool, str], Spent] = {}
        self._cpu_s = 0.0

    def install(self) -> None:
        """Wrap every part of this process."""
        for target, label in PARTS:
            owner, name, function = resolve(target)
            setattr(owner, name, self.watched(function, label))
        source, _, _ = resolve("connectors.kafka.source:Source.read")
        init = source.__init__

        def with_watched_consumer(this: Any, consumer: Any, *args: Any, **kwargs: Any) -> None:
            init(this, _Watched(consumer, self.watched(consumer.consume, CONSUME)), *args, **kwargs)

        source.__init__ = with_watched_consumer

    def reset(self) -> None:
        """Reset all times at the start of a measurement."""
        self._spent = {}
        self._cpu_s = cpu_s()

    def table(self) -> list[tuple[str, bool, int, float, float]]:
        """Return for each part: label, whether in the loop's own thread, calls, wall and CPU seconds."""
        rows = [(label, own, s.calls, s.wall_s, s.cpu_s) for (own, label), s in self._spent.items()]
        known_s = sum(cpu for *_, cpu in rows)
        return [*rows, (LIBRARY, False, 0, 0.0, cpu_s() - self._cpu_s - known_s)]

    def watched(self, function: Callable[..., Any], label: str) -> Callable[..., Any]:
        """Wrap a function so that its time is added up."""

        def watched(*args: Any, **kwargs: Any) -> Any:
            inside: list[list[float]] = self._local.__dict__.setdefault("inside", [])
            within = [0.0, 0.0]
            inside.append(within)
            cpu, wall = time.thread_time(), time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
                inside.pop()
                if inside:
                    inside[-1][0] += wall
                    inside[-1][1] += cpu
                spent = self._spent.setdefault((threading.get_ident() == self._main, label), Spent())
                spent.calls += 1
                spent.wall_s += wall - within[0]
                spent.cpu_s += cpu - within[1]

        return watched


class _Watched:
    """A consumer with a wrapped `consume`; librdkafka's class accepts no new attributes."""

    def __init__(self, consumer: Any, consume: Callable[..., Any]) -> None:
        self._consumer = consumer
        self.consume = consume

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)


def resolve(target: str) -> tuple[Any, str, Callable[..., Any]]:
    """Return owner, name and function of a part.

    Raises:
        AttributeError: the program has no such part; correct PARTS.
    """
    module, _, path = target.partition(":")
    owner: Any = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    return owner, name, getattr(owner, name)
