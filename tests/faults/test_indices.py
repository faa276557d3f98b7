"""Indices are deleted, or another index has the name of an alias: what can be rebuilt is, the rest waits."""

from __future__ import annotations

import pytest
from faults.scene import Scene, waited_s
from faults.stored_results import difference

from connectors.elasticsearch.mappings import write_index

pytestmark = [pytest.mark.timeout(1_800), pytest.mark.campaign]


def rebuilt(scene: Scene, undisturbed, results, injected: str, index: str, recovered_s: float) -> None:
    """An index holds what an undisturbed run's holds."""
    result = difference(undisturbed, {index: scene.stored_results()[index]})
    results.take("index lost", injected, scene, result, recovered_s)
    assert result.is_none, result


def delete(scene: Scene, name: str) -> None:
    scene.bench.client.indices.delete(index=name)


def newest_month(scene: Scene) -> str:
    """The index that the stream writes events to."""
    return max(scene.bench.client.indices.get(index=f"{scene.run}-events-*", filter_path="*.aliases"))


@pytest.mark.parametrize("is_running", [True, False], ids=["under running consumers", "between two runs"])
def test_deleted_index_of_customers_is_rebuilt(servers, scene_on, undisturbed, results, is_running):
    scene = scene_on(servers, ("features",))
    name = write_index(scene.run, "customers")
    scene.feeder.send_share(0.5)
    scene.catch_up()
    if is_running:
        scene.feeder.start()
        command = scene.consume()
        scene.documents_until(scene.feeder.go_on())
        delete(scene, name)
        recovered_s = scene.documents_until(scene.feeder.go_on())
        waited_s(lambda: "documents are missing" in command.output())
    else:
        delete(scene, name)
        recovered_s = 0.0
    scene.finish()
    when = "under running consumers" if is_running else "between two runs"
    rebuilt(scene, undisturbed, results, f"customers deleted {when}", "customers", recovered_s)


@pytest.mark.parametrize("is_running", [True, False], ids=["under running consumers", "between two runs"])
def test_deleted_month_of_events_is_filled_again(servers, scene_on, undisturbed, results, is_running):
    scene = scene_on(servers, ("index",))
    scene.feeder.send_share(0.5)
    scene.catch_up()
    name = newest_month(scene)
    if is_running:
        scene.feeder.start()
        command = scene.consume()
        delete(scene, name)
        # events of other months may be all that comes, so the index is made as a person would make it
        scene.bench.client.options(ignore_status=400).indices.create(index=name)
        recovered_s = waited_s(lambda: "the log is read again" in command.output())
    else:
        delete(scene, name)
        scene.bench.client.indices.create(index=name)
        recovered_s = 0.0
    scene.finish()
    when = "under running consumers" if is_running else "between two runs"
    rebuilt(scene, undisturbed, results, f"newest month of events deleted {when}", "events", recovered_s)


def test_index_with_the_name_of_an_alias_is_reported_and_rebuilt_after_its_removal(
    servers, scene_on, undisturbed, results
):
    scene = scene_on(servers, ("features",))
    alias = f"{scene.run}-customers"
    scene.feeder.start()
    command = scene.consume()
    scene.documents_until(1)
    waited_s(lambda: replaced(scene, write_index(scene.run, "customers"), alias))
    scene.rows_until(scene.feeder.go_on())  # the state and the topic of rows know nothing of it
    waited_s(lambda: "in the place of an alias" in command.output())
    delete(scene, alias)
    recovered_s = scene.documents_until(scene.feeder.go_on())
    scene.finish()
    rebuilt(scene, undisturbed, results, "an index in the place of the alias of customers", "customers", recovered_s)


def replaced(scene: Scene, name: str, alias: str) -> bool:
    """An index has the alias's name; a worker may make its own again before."""
    client = scene.bench.client.options(ignore_status=[400, 404])
    client.indices.delete(index=name)
    client.indices.create(index=alias)
    return not client.indices.exists_alias(name=alias)
