"""One life of a features consumer: the real one, on played clients, stopped and killed at its boundaries."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyarrow import fs
from simulation.boundary import BOUNDARIES, KILL_AT, STALL_AT, Killed
from simulation.broker import GroupSource, QueueProducer
from simulation.disk import Disk
from simulation.index import Connection, Sink
from simulation.pool import Pool

from consumers.checkpoint import CheckpointStore
from consumers.dead_letter import DeadLetters
from consumers.feature_topic import FeatureTopic
from consumers.features import FeaturesConsumer
from consumers.keeper import Keeper
from consumers.outlets import ELASTIC, TOPIC, Outlets, Pace
from features.errors import ShopstreamError

if TYPE_CHECKING:
    from simulation.world import World

RUN = "w"
BUFFER_MAX = 120
TURNS_MAX = 20_000
MAY_END = ("FENCED_INSTANCE_ID", "dead letters could not be written")
"""Errors that a worker may end with and that another start may heal; every other one is a failure."""


class Worker:
    """One life of a features consumer, in a thread that runs when it holds the baton.

    Args:
        world: it lives in.
        instance: static member id.
        number: of the life.
    """

    def __init__(self, world: World, instance: str, number: int) -> None:
        self.world, self.instance, self.number = world, instance, number
        self.is_dead = False
        self.has_ended = False
        self.stalled_until = 0
        self.turns = 0
        rng = world.rng
        self.source = GroupSource(world.group, world.logs, instance, number, self, rng, self._assigned)
        self.producers = [QueueProducer(world.deliver, self, rng) for _ in range(2)]
        letters = DeadLetters(self.producers[0], RUN)  # type: ignore[arg-type]
        self.sink = Sink(Connection(world.index_store, self, rng), self, rng, world.wire)
        topic = FeatureTopic(self.producers[1], RUN)  # type: ignore[arg-type]
        outlets = Outlets(RUN, self.sink, topic, letters)
        store = CheckpointStore("state", RUN)
        store._files = fs.PyFileSystem(Disk(world.files, self))
        keeper = Keeper(
            store, self.source, letters, run=RUN, partitions=world.partitions, sinks=[ELASTIC, TOPIC], interval_s=0.0
        )  # type: ignore[arg-type]
        keeper._pool.shutdown()
        keeper._pool = Pool(self, rng)  # type: ignore[assignment]
        pace = Pace(idle_s=0.0, behind_s=0.01, share=1.0, clock=world.clock.monotonic)
        self.consumer = FeaturesConsumer(
            RUN,
            self.source,
            keeper,
            outlets,
            letters,
            pace=pace,
            stale_after_s=4.0,  # type: ignore[arg-type]
        )
        self.baton = threading.Semaphore(0)
        self.thread = threading.Thread(target=self._live, name=f"{instance}/{number}", daemon=True)

    # --- boundary ---

    def cross(self, what: str) -> None:
        world = self.world
        if self.is_dead:
            raise Killed
        assert what in BOUNDARIES
        world.steps += 1
        world.trace.update(f"{self.number} {what};".encode())
        world.clock.pass_s(0.001)
        odds, dice = world.odds, world.rng.random()
        kill = max(odds.kill, KILL_AT if what == odds.kill_at else 0.0)
        stall = max(odds.stall, STALL_AT if what == odds.stall_at else 0.0)
        if dice < kill:
            world.happened[f"killed at {what}"] += 1
            self._die()
        elif what == "read" and world.rng.random() < odds.bell and world.group.is_stable:
            world.happened["bell"] += 1
            world.group.rebalance()
        elif dice < kill + stall:
            world.happened["stalls"] += 1
            self.stalled_until = world.steps + int(world.rng.choice((20, 100, 400, 1_500)))
            # seen from within, a pause may be long or no time at all
            world.clock.pass_s(float(world.rng.choice((0.0, 0.0, 1.0, 30.0))))
            self._hand_on()
        elif dice < kill + stall + odds.switch:
            self._hand_on()

    def befalls(self, fault: str) -> bool:
        happens = bool(self.world.rng.random() < getattr(self.world.odds, fault))
        if happens:
            self.world.happened[fault] += 1
        return happens

    def _hand_on(self) -> None:
        self.world.baton.release()
        self.baton.acquire()
        if self.is_dead:
            raise Killed

    def _die(self) -> None:
        self.is_dead = True
        for producer in self.producers:
            producer.die()
        self.sink.give_up()
        raise Killed

    # --- life ---

    def _live(self) -> None:
        self.baton.acquire()
        try:
            self._consume()
        except Killed:
            pass
        except ShopstreamError as error:
            self.world.happened[f"ended: {str(error)[:60]}"] += 1
            if not any(word in str(error) for word in MAY_END):
                self.world.failure = error
        except BaseException as error:  # noqa: BLE001 - the world tells it
            self.world.failure = error
        finally:
            self.has_ended = True
            self.world.baton.release()

    def _consume(self) -> None:
        if self.is_dead:
            raise Killed

        def agreed(_: int) -> int | None:
            return self.world.as_of if self.consumer.owned() else None

        def stop() -> bool:
            self.turns += 1
            assert self.turns < TURNS_MAX, f"no end in sight: {self.consumer.progress()}"
            self._check_bounds()
            return self.world.is_finished

        close = self.source.close

        def closed() -> None:
            # whoever ends with an error has not finished; and what is given to another after this is not finished
            if sys.exc_info()[0] is None and self.source.owns:
                self.world.finished |= {where.number for where in self.source.positions}
                self.world.departed.add(self.instance)
            close()

        self.source.close = closed  # type: ignore[method-assign]
        until = {(f"{RUN}.{where.topic}", where.number): len(log) for where, log in self.world.logs.items()}
        self.consumer.run(stop, until, agreed, lambda _: None)

    def _assigned(self, numbers: Sequence[int]) -> None:
        self.world.finished -= set(numbers)

    def _check_bounds(self) -> None:
        for partition in self.consumer._partitions.values():
            state = partition.state
            for lane in partition.lanes.values():
                assert lane.waiting <= 3 * BUFFER_MAX, "records that wait are bounded"
            for dirty in partition.customers_dirty.values():
                assert len(dirty) <= state.customer_count
            assert len(partition.sessions_dirty) <= state.session_count
            assert len(partition.orders_dirty) <= state.order_count
            assert len(partition.order_records) <= state.order_count
            assert len(partition.letters) <= 4 * BUFFER_MAX
        counts = self.consumer.progress()
        assert counts.consumed == counts.valid + counts.rejected + counts.late
