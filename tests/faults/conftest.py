"""What the faults share: one history, one undisturbed run, one list of results."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import pytest
from faults.feeder import Sent, history
from faults.own_servers import own_server
from faults.scale import Scale, is_full, scale
from faults.scene import ROOT, Scene
from faults.stored_results import Difference, Things

RESULTS = ROOT / "build" / "reliability" / "faults.json"
FEATURES = ("features",)
ALL_ROLES = ("features", "index", "archive")


@dataclass(frozen=True)
class Result:
    """A line of the table."""

    fault: str
    injected: str
    roles: str
    records: int
    compared: int
    lost: int
    doubled: int
    changed: int
    recovered_s: float | None


@pytest.fixture(scope="session")
def sizes() -> Scale:
    return scale()


@pytest.fixture(scope="session")
def messages(sizes, tmp_path_factory) -> list[Sent]:
    return history(sizes.shop, tmp_path_factory.mktemp("history"))


@pytest.fixture(scope="session")
def undisturbed(servers, messages, tmp_path_factory) -> dict[str, Things]:
    """What a run leaves behind in which nothing happens."""
    run = f"calm{uuid.uuid4().hex[:10]}"
    scene = Scene(servers, run, tmp_path_factory.mktemp("undisturbed"), messages, 0)
    scene.feeder.hurry()
    try:
        scene.catch_up()
        result = scene.stored_results()
    finally:
        scene.remove()
        scene.close()
    events = sum(topic == "events" for topic, _, _ in messages)
    assert len(result["events"]) == events
    assert len(result["sessions"]) > events / 20
    return result


@pytest.fixture
def scene_on(run_name, tmp_path, messages, sizes) -> Iterator[Callable[..., Scene]]:
    """Makes the scene of a test on the servers it names."""
    made: list[Scene] = []

    def make(endpoints, roles=ALL_ROLES, store=None) -> Scene:
        made.append(Scene(endpoints, run_name, tmp_path, messages, sizes.records_per_s, roles, store))
        return made[-1]

    yield make
    for scene in made:
        scene.close()


@pytest.fixture
def scene(servers, scene_on) -> Scene:
    """The features role on the shared servers."""
    return scene_on(servers, FEATURES)


@pytest.fixture(scope="module")
def own_kafka(servers):
    with own_server("kafka", servers) as server:
        yield server


@pytest.fixture(scope="module")
def own_elastic(servers):
    with own_server("elasticsearch", servers) as server:
        yield server


class Results:
    """The lines of the table so far."""

    def __init__(self) -> None:
        self.found: list[Result] = []

    def take(
        self, fault: str, injected: str, scene: Scene, found: Difference, recovered_s: float | None = None
    ) -> None:
        """One more; `recovered_s` is None where nothing had to."""
        self.found.append(
            Result(
                fault, injected, ", ".join(scene.roles), scene.feeder.sent,
                found.compared, found.lost, found.doubled, found.changed,
                None if recovered_s is None else round(recovered_s, 1),
            )
        )  # fmt: skip


@pytest.fixture(scope="session")
def results() -> Iterator[Results]:
    taken = Results()
    yield taken
    for result in taken.found:
        print(result)
    if taken.found and is_full():
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps([asdict(result) for result in taken.found], indent=1) + "\n", "utf-8")


@pytest.fixture
def nothing_lost(undisturbed, results):
    """Compares a scene with the undisturbed run, takes the result down, and fails if they differ."""

    def check(scene: Scene, fault: str, injected: str, recovered_s: float | None) -> None:
        result = scene.difference(undisturbed)
        results.take(fault, injected, scene, result, recovered_s)
        assert result.is_none, result

    return check
