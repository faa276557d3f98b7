"""Elasticsearch dies or refuses writes in mid-stream: the state goes on, and what was refused is written later."""

from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.timeout(1_800)

TOO_LITTLE_GB = 1_000_000
"""No disk has so much room, so the flood stage is reached immediately."""
DISK = "cluster.routing.allocation.disk.watermark"


def test_read_only_indices_lose_nothing(servers, scene_on, sizes, nothing_lost):
    scene = scene_on(servers, ("features", "index"))
    scene.feeder.start()
    command = scene.consume()
    scene.documents_until(1)
    block(scene, read_only=True)
    scene.rows_until(scene.feeder.go_on())  # the state and the topic of rows know nothing of it
    time.sleep(sizes.elastic_blocked_s)
    assert "accepts no documents" in command.output()
    block(scene, read_only=False)
    recovered_s = scene.documents_until(scene.feeder.go_on())
    scene.finish()
    injected = f"`index.blocks.write` on all indices for {sizes.elastic_blocked_s:.0f} s"
    nothing_lost(scene, "Elasticsearch read-only", injected, recovered_s)


def block(scene, *, read_only: bool) -> None:
    client = scene.bench.client
    client.indices.put_settings(index=f"{scene.run}-*", settings={"index.blocks.write": read_only or None})


@pytest.mark.campaign
def test_full_disk_of_elasticsearch_loses_nothing(own_elastic, scene_on, sizes, nothing_lost):
    scene = scene_on(own_elastic.endpoints)
    scene.feeder.start()
    command = scene.consume()
    scene.documents_until(1)
    watermarks(scene, f"{TOO_LITTLE_GB}gb")
    deadline_s = time.monotonic() + 180
    while "disk usage exceeded flood-stage watermark" not in command.output():
        assert time.monotonic() < deadline_s
        time.sleep(0.5)
    scene.rows_until(scene.feeder.go_on())
    time.sleep(sizes.elastic_blocked_s)
    watermarks(scene, None)
    recovered_s = scene.documents_until(scene.feeder.go_on())
    scene.finish()
    injected = f"flood-stage watermark passed, for {sizes.elastic_blocked_s:.0f} s; lifted by Elasticsearch itself"
    nothing_lost(scene, "disk of Elasticsearch full", injected, recovered_s)


def watermarks(scene, size: str | None) -> None:
    """Watermarks at that size of free disk; None: as configured."""
    settings = {f"{DISK}.{name}": size for name in ("low", "high", "flood_stage")}
    # how often the disk is looked at: the shortest that is allowed
    settings["cluster.info.update.interval"] = "10s" if size else None
    scene.bench.client.cluster.put_settings(persistent=settings)


@pytest.mark.campaign
def test_killed_elasticsearch_loses_nothing(own_elastic, scene_on, sizes, nothing_lost):
    scene = scene_on(own_elastic.endpoints)
    scene.feeder.start()
    scene.consume()
    scene.documents_until(1)
    own_elastic.kill()
    scene.rows_until(scene.feeder.go_on())  # the state and the topic of rows know nothing of it
    time.sleep(sizes.elastic_down_s)
    own_elastic.start()
    recovered_s = scene.documents_until(scene.feeder.go_on())
    scene.finish()
    injected = f"kill -9 of Elasticsearch, started again after {sizes.elastic_down_s:.0f} s"
    nothing_lost(scene, "Elasticsearch killed", injected, recovered_s)
