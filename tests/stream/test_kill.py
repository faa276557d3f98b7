"""kill -9 again and again during a replay: afterwards everything stands as if nothing had happened."""

from __future__ import annotations

import itertools
import threading
import time

import numpy as np
import pytest
from stream.bench import INDICES, Bench, start_worker

from consumers import kafka
from features.schema import SOURCE_TOPICS
from producers import timeline
from producers.archive import read_customers
from producers.generate import generate
from producers.shop import Shop

pytestmark = [pytest.mark.timeout(400), pytest.mark.slow]

SHOP = Shop(end_ms=1_767_225_600_000, seed=9, customers=1_500, events=200_000, days=120)
KILLS = 11
PORTION = 4_000
READS_AGAIN_S = 3.0


@pytest.fixture
def benches(servers, run_name, tmp_path):
    """A run to be disturbed, and one that is left in peace; its topics are its own to remove."""
    found = [Bench(servers, run, tmp_path / "state") for run in (run_name, f"{run_name}-calm")]
    yield found
    for bench in found:
        bench.client.close()
    admin = kafka.open_admin(found[1].properties)
    for future in admin.delete_topics(
        [t for t in admin.list_topics(timeout=10).topics if t.startswith(found[1].run)]
    ).values():
        future.result(timeout=30)


def messages(directory) -> list[tuple[str, bytes | None, bytes | None]]:
    """A shop's history as a replay sends it."""
    generate(SHOP, directory)
    chunks = itertools.chain(
        timeline.profiles(read_customers(directory)), timeline.in_time_order(timeline.Span(directory))
    )
    return [
        (SOURCE_TOPICS[topic], key, value)
        for chunk in chunks
        for topic, key, value in zip(chunk.topics.tolist(), chunk.keys, chunk.values, strict=True)
    ]


def test_killed_again_and_again_everything_stands_as_undisturbed(benches, tmp_path):
    disturbed, calm = benches
    sent = messages(tmp_path / "archive")
    calm.publish(sent)
    (undisturbed,) = calm.consume()
    assert undisturbed.applied == len(sent)

    over = threading.Event()

    def replay():
        """At the pace of the kills, so that each of them finds work."""
        for start in range(0, len(sent), PORTION):
            disturbed.publish(sent[start : start + PORTION])
            over.wait(0.25)

    replaying = threading.Thread(target=replay)
    replaying.start()
    rng = np.random.default_rng(3)
    waits_s, consumed, checkpoints = [], [], 0
    while len(waits_s) < KILLS:
        started_s = time.monotonic()
        worker = start_worker(disturbed, checkpoint_interval_s=0.3)
        deadline_s, last = None, ["0", "0"]
        for line in worker.stdout:
            word, at, *figures = line.split()
            if word == "reading":
                waits_s.append(float(at) - started_s)
                deadline_s = time.monotonic() + rng.uniform(0.05, 1.5)
            elif word == "at":
                last = figures
            if deadline_s is not None:
                time.sleep(max(0.0, deadline_s - time.monotonic()))
                break
        worker.kill()
        rest = worker.stdout.read().splitlines()
        worker.stdout.close()
        worker.wait(10)
        last = next((line.split()[2:] for line in reversed(rest) if line.startswith("at")), last)
        consumed.append(int(last[0]))
        checkpoints += int(last[1])
    over.set()
    replaying.join(120)
    print(
        "read again after",
        [round(wait_s, 2) for wait_s in waits_s],
        "s; consumed",
        consumed,
        "checkpoints",
        checkpoints,
    )
    disturbed.consume()

    for index in INDICES:
        wanted, got = calm.by_id(index), disturbed.by_id(index)
        assert len(wanted) > 500
        assert got.keys() == wanted.keys(), index
        wrong = [(got[key], wanted[key]) for key in wanted if got[key] != wanted[key]]
        assert not wrong, (index, len(wrong), wrong[0])
    assert max(waits_s[1:]) <= READS_AGAIN_S, waits_s
