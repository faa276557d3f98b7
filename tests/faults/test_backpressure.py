"""Elasticsearch takes a tenth of what it is given, for minutes: memory, state and freshness, before, during and after.

sink         as it is        a tenth                                        as it is
minutes      2               6 (of 10)                                      2
expected     all fresh       memory flat, state beside the stream,          fresh again
                             rows conflated: fewer, older, never stale
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

import elasticsearch
import msgspec
import numpy as np
import psutil
import pytest
from faults.conftest import RESULTS
from faults.feeder import Feeder, history
from faults.proxy import Proxy
from faults.scene import PARTITIONS, Scene
from faults.worker import Worker

from producers.shop.shop import Shop

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(3_600)]

MINUTES = float(os.environ.get("MINUTES", "10"))
RECORDS_PER_S = 1_000
PHASES = (("as it is", 0.2), ("a tenth", 0.6), ("as it is again", 0.2))
SLOWER = 10
LOOK_EVERY_S = 0.5
MEMORY_GROWTH_MAX_MB = 60
"""From a phase to the next: what the state itself grows by, and the documents in flight."""
BEHIND_MAX_S = 10.0
"""The state's distance from the stream, in seconds of records; the machine is shared."""


@dataclass(frozen=True)
class Sample:
    """One look at the worker."""

    at_s: float
    memory_mb: float
    lag: int
    waiting: int
    documents: int
    bytes_sent: int


@dataclass(frozen=True)
class Phase:
    """A line of the table."""

    sink: str
    seconds: float
    records_per_s: float
    documents_per_s: float
    lag_max: int
    waiting_max: int
    freshness_p50_s: float
    freshness_p99_s: float
    memory_min_mb: float
    memory_max_mb: float


class Probe:
    """Follows a customer's record now and then, from its sending until a search finds a row that knows it."""

    def __init__(self, scene: Scene) -> None:
        self._index = f"{scene.run}-customers"
        self._client = scene.bench.client
        self._pending: dict[str, tuple[float, int]] = {}
        self.ages_s: list[tuple[float, float]] = []
        """When it was sent (monotonic), and how old it was when it was found."""

    def look(self, last_sent: bytes | None) -> None:
        """Takes up the record sent last, and looks for those that are pending."""
        record = msgspec.json.decode(last_sent or b"{}")
        ts = record.get("updated_ts") or record.get("ts")
        if ts:
            self._pending.setdefault(record["customer_id"], (time.monotonic(), ts))
        requested = list(self._pending)[-1_000:]
        with suppress(elasticsearch.ApiError, elasticsearch.TransportError):
            result = self._client.search(
                index=self._index, query={"ids": {"values": requested}}, source_includes=["as_of"], size=len(requested)
            )
            now_s = time.monotonic()
            for hit in result["hits"]["hits"]:
                sent_s, ts = self._pending[hit["_id"]]
                if hit["_source"]["as_of"] >= ts:
                    self.ages_s.append((sent_s, now_s - sent_s))
                    del self._pending[hit["_id"]]

    def waiting_s(self) -> list[tuple[float, float]]:
        """Those never found: when sent, and the least that their age can be."""
        now_s = time.monotonic()
        return [(sent_s, now_s - sent_s) for sent_s, _ in self._pending.values()]


@pytest.fixture
def stream(run_name, servers, tmp_path):
    records = int(RECORDS_PER_S * MINUTES * 60)
    shop = Shop(end_ms=1_767_225_600_000, seed=10, customers=3_000, events=records, days=60)
    messages = history(shop, tmp_path / "history")
    scene = Scene(servers, run_name, tmp_path, messages, RECORDS_PER_S, ("features",))
    yield scene
    scene.close()


def test_slow_sink_costs_freshness_only(stream, tmp_path):
    own = stream.bench.connection
    with Proxy(own.url) as proxy:
        options = replace(stream.bench.options(), elastic=replace(own, url=proxy.url))
        with Worker(options, tmp_path / "worker.log", PARTITIONS) as worker:
            stream.feeder.start()
            stream.feeder.go_on()
            stream.feeder.go_on()
            worker.wait_for_reading()
            result = watch(stream.feeder, worker, proxy, Probe(stream))
    RESULTS.with_name("backpressure.json").parent.mkdir(parents=True, exist_ok=True)
    RESULTS.with_name("backpressure.json").write_text(json.dumps([asdict(p) for p in result], indent=1) + "\n", "utf-8")
    for phase in result:
        print(phase)
    before, slow, after = result
    assert slow.documents_per_s < before.documents_per_s / (SLOWER / 3), "the sink was to be slow"
    assert all(phase.lag_max <= RECORDS_PER_S * BEHIND_MAX_S for phase in result)
    assert slow.memory_max_mb - before.memory_max_mb <= MEMORY_GROWTH_MAX_MB
    assert after.memory_max_mb - slow.memory_max_mb <= MEMORY_GROWTH_MAX_MB
    assert after.freshness_p50_s <= slow.freshness_p50_s


def watch(feeder: Feeder, worker: Worker, proxy: Proxy, probe: Probe) -> list[Phase]:
    """Looks at all of it through the three phases."""
    process = psutil.Process(worker.pid)
    bounds_s, samples = [], []
    for name, share in PHASES:
        started_s = time.monotonic()
        if name == "a tenth":
            # the first half of the phase before is the start of the worker
            half = samples[len(samples) // 2 :]
            usual = (half[-1].bytes_sent - half[0].bytes_sent) / (half[-1].at_s - half[0].at_s)
            proxy.limit(usual / SLOWER)
        else:
            proxy.limit(None)
        until_s = started_s + MINUTES * 60 * share
        while (now_s := time.monotonic()) < until_s:
            probe.look(feeder.last)
            _, _, _, _, lag, waiting, documents = worker.long_figures()
            memory_mb = process.memory_info().rss / 2**20
            samples.append(Sample(now_s, memory_mb, lag, waiting, documents, proxy.sent_bytes))
            threading.Event().wait(max(0.0, LOOK_EVERY_S - (time.monotonic() - now_s)))
        bounds_s.append((name, started_s, time.monotonic(), feeder.sent))
    ages = probe.ages_s + probe.waiting_s()
    sent_before = 0
    phases = []
    for name, start_s, end_s, sent in bounds_s:
        phases.append(measured(name, (start_s, end_s), sent - sent_before, samples, ages))
        sent_before = sent
    return phases


def measured(
    name: str, bounds: tuple[float, float], sent: int, samples: list[Sample], ages: list[tuple[float, float]]
) -> Phase:
    """A phase's figures; the first quarter of each is its beginning and counts only for memory and rates."""
    start_s, end_s = bounds
    inside = [sample for sample in samples if start_s <= sample.at_s < end_s]
    settled_s = start_s + (end_s - start_s) / 4
    settled = [sample for sample in inside if sample.at_s >= settled_s]
    fresh = [age for at_s, age in ages if settled_s <= at_s < end_s]
    p50, p99 = np.percentile(fresh, [50, 99]) if fresh else (np.nan, np.nan)
    memory = [sample.memory_mb for sample in settled]
    seconds = end_s - start_s
    return Phase(
        name, seconds, sent / seconds, (settled[-1].documents - settled[0].documents) / (end_s - settled_s),
        max(s.lag for s in settled), max(s.waiting for s in settled), float(p50), float(p99), min(memory), max(memory),
    )  # fmt: skip
