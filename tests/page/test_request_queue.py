"""Requests at the same time: shared, queued, abandoned; older results while the server is busy."""

from __future__ import annotations

import asyncio
import itertools
import threading

import pytest

from dashboards.web.request_queue import Abandoned, Limits, RequestQueue, ServerBusyError, StoppableSearches
from features.errors import ShopstreamError

PATIENCE_S = 20


class Gate:
    """A computation that runs until it is opened; counts how many run."""

    def __init__(self):
        self.open = threading.Event()
        self.mutex = threading.Lock()
        self.running = self.most = self.runs = 0

    def __call__(self, search):
        with self.mutex:
            self.running, self.runs = self.running + 1, self.runs + 1
            self.most = max(self.most, self.running)
        assert self.open.wait(PATIENCE_S)
        with self.mutex:
            self.running -= 1
        search("orders", {})
        return self.runs


class Searches:
    def __init__(self):
        self.searches = 0

    def __call__(self, index, body):
        self.searches += 1
        return {}

    def many(self, searches):
        self.searches += len(searches)
        return [{} for _ in searches]


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


async def forever():
    await asyncio.Event().wait()


async def until(condition):
    for _ in range(PATIENCE_S * 100):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the condition did not become true")


def run(story):
    asyncio.run(asyncio.wait_for(story, 60))


def test_equal_requests_share_one_computation_and_its_result_stays_fresh(clock):
    async def story():
        queue, gate = RequestQueue(Searches(), clock), Gate()
        requests = [asyncio.create_task(queue.result("board", gate, forever)) for _ in range(10)]
        await until(lambda: gate.running == 1)
        gate.open.set()
        assert {(await one).value for one in requests} == {1}
        clock.now = 0.9
        assert (await queue.result("board", gate, forever)).value == 1
        clock.now = 1.1
        assert (await queue.result("board", gate, forever)).value == 2

    run(story())


def test_sixty_different_requests_are_computed_four_at_a_time(clock):
    async def story():
        queue, gate = RequestQueue(Searches(), clock), Gate()
        requests = [asyncio.create_task(queue.result(n, gate, forever)) for n in range(60)]
        await until(lambda: gate.running == 4)
        assert queue.queued == 56
        gate.open.set()
        await asyncio.gather(*requests)
        assert (gate.most, gate.runs) == (4, 60)

    run(story())


def test_request_above_the_bound_is_refused_with_the_number_of_waiting_ones(clock):
    async def story():
        queue, gate = RequestQueue(Searches(), clock, Limits(computing=1, queued=2)), Gate()
        requests = []
        for n in range(3):
            requests.append(asyncio.create_task(queue.result(n, gate, forever)))
            await until(lambda n=n: gate.running == 1 and queue.queued == n)
        with pytest.raises(ServerBusyError, match="2 requests are waiting"):
            await queue.result("one more", gate, forever)
        gate.open.set()
        await asyncio.gather(*requests)

    run(story())


def test_queued_request_whose_client_has_gone_is_never_computed(clock):
    async def story():
        queue, gate = RequestQueue(Searches(), clock, Limits(computing=1)), Gate()
        first = asyncio.create_task(queue.result("first", gate, forever))
        await until(lambda: gate.running == 1)
        left = asyncio.Event()
        second = asyncio.create_task(queue.result("second", gate, left.wait))
        await until(lambda: queue.queued == 1)
        left.set()
        with pytest.raises(Abandoned):
            await second
        await until(lambda: queue.queued == 0)
        gate.open.set()
        await first
        assert gate.runs == 1

    run(story())


def test_running_request_whose_client_has_gone_stops_before_its_next_search(clock):
    async def story():
        searches, gate, left = Searches(), Gate(), asyncio.Event()
        queue = RequestQueue(searches, clock)
        request = asyncio.create_task(queue.result("board", gate, left.wait))
        await until(lambda: gate.running == 1)
        left.set()
        with pytest.raises(Abandoned):
            await request
        gate.open.set()
        await until(lambda: gate.running == 0)
        await asyncio.sleep(0.05)
        assert searches.searches == 0
        assert (await queue.result("board", gate, forever)).value == 2

    run(story())


def test_shared_request_continues_when_one_of_its_clients_has_gone(clock):
    async def story():
        queue, gate, left = RequestQueue(Searches(), clock), Gate(), asyncio.Event()
        leaving = asyncio.create_task(queue.result("board", gate, left.wait))
        staying = asyncio.create_task(queue.result("board", gate, forever))
        await until(lambda: gate.running == 1)
        left.set()
        with pytest.raises(Abandoned):
            await leaving
        gate.open.set()
        assert (await staying).value == 1

    run(story())


def test_busy_server_answers_with_the_older_result_and_its_age_then_with_the_new_one(clock):
    async def story():
        queue, gate = RequestQueue(Searches(), clock, Limits(patience_s=0.05)), Gate()
        gate.open.set()
        await queue.result("board", gate, forever)
        gate.open.clear()
        clock.now = 30.0
        older = await queue.result("board", gate, forever)
        assert (older.value, older.age_s) == (1, 30.0)
        gate.open.set()
        await until(lambda: gate.running == 0 and not queue._pending)
        newer = await queue.result("board", gate, forever)
        assert (newer.value, newer.age_s) == (2, None)

    run(story())


def test_result_older_than_the_bound_is_not_given(clock):
    async def story():
        queue, gate = RequestQueue(Searches(), clock, Limits(patience_s=0.05, stale_s=10)), Gate()
        gate.open.set()
        await queue.result("board", gate, forever)
        gate.open.clear()
        clock.now = 30.0
        request = asyncio.create_task(queue.result("board", gate, forever))
        await asyncio.sleep(0.2)
        gate.open.set()
        assert (await request).value == 2

    run(story())


def test_error_reaches_every_client_and_is_not_remembered(clock):
    async def story():
        queue, numbers = RequestQueue(Searches(), clock), itertools.count()

        def failing_once(search):
            if next(numbers) == 0:
                raise ShopstreamError("no answer", "try again")
            return "figures"

        requests = [asyncio.create_task(queue.result("board", failing_once, forever)) for _ in range(3)]
        for one in requests:
            with pytest.raises(ShopstreamError, match="no answer"):
                await one
        assert (await queue.result("board", failing_once, forever)).value == "figures"

    run(story())


def test_request_after_a_write_is_computed_again_even_if_an_older_one_still_runs(clock):
    async def story():
        queue, gate = RequestQueue(Searches(), clock), Gate()
        before = asyncio.create_task(queue.result("board", gate, forever))
        await until(lambda: gate.running == 1)
        queue.forget()
        after = asyncio.create_task(queue.result("board", gate, forever))
        await until(lambda: gate.running == 2)
        gate.open.set()
        await asyncio.gather(before, after)
        assert gate.runs == 2

    run(story())


def test_number_of_remembered_results_is_bounded(clock):
    async def story():
        queue = RequestQueue(Searches(), clock, Limits(remembered=5))
        for n in range(50):
            await queue.result(n, lambda _: None, forever)
        assert len(queue._results) == 5

    run(story())


def test_stopped_searches_raise_before_the_search():
    searches, stopped = Searches(), threading.Event()
    stoppable = StoppableSearches(searches, stopped)
    assert stoppable.many([("orders", {})]) == [{}]
    stopped.set()
    for search in (lambda: stoppable("orders", {}), lambda: stoppable.many([("orders", {})])):
        with pytest.raises(Abandoned):
            search()
    assert searches.searches == 1
