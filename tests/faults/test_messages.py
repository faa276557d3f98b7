"""Messages as large as the brokers take them: dead letters, in bounded memory, and everything else as it was."""

from __future__ import annotations

import json
import threading
from contextlib import suppress

import psutil
import pytest
from faults.scene import Command

from features.schema import DEAD_LETTER_TOPIC, SOURCE_TOPICS, topic_name

pytestmark = [pytest.mark.timeout(1_800), pytest.mark.campaign]
LARGEST_BYTES = 990_000
"""About what a producer with defaults sends."""
MEMORY_MAX_MB = 1_400
"""Of a worker, which takes 300 MB without them; the messages together are 2,000."""


def largest(topic: str, number: int) -> bytes:
    """A record that would be valid, were it not for the length of its texts."""
    common = {"customer_id": "huge", "country": "DE"}
    long = "x" * LARGEST_BYTES
    match topic:
        case "events":
            body = {"event_id": f"huge-{number}", "event_type": "search", "session_id": "s", "device": "mobile",
                    "ts": 1_700_000_000_000, "category": long}  # fmt: skip
        case "orders":
            body = {"order_id": f"huge-{number}", "ts": 1_700_000_000_000, "updated_ts": 1_700_000_000_000,
                    "status": "placed", "total": 1.0, "session_id": long}  # fmt: skip
        case _:
            body = {"name": long}
    return json.dumps({**common, **body}).encode()


def peak_mb(command: Command) -> list[float]:
    """The most memory that a worker takes from now on; it grows while the command runs."""
    result = [0.0]

    def watch() -> None:
        while command.process.poll() is None:
            with suppress(psutil.Error):
                result[0] = max([result[0], *(worker.memory_info().rss / 2**20 for worker in command.workers())])
            threading.Event().wait(0.05)

    threading.Thread(target=watch, daemon=True).start()
    return result


@pytest.mark.parametrize("count", [1, 700])
def test_messages_of_the_maximum_size_are_processed(servers, scene_on, nothing_lost, count):
    scene = scene_on(servers)
    scene.feeder.send_share(0.4)
    sent = scene.bench.publish((topic, b"huge", largest(topic, n)) for n in range(count) for topic in SOURCE_TOPICS)
    scene.feeder.hurry()
    command = scene.consume("--until-end")
    peak = peak_mb(command)
    assert command.wait() == 0, command.output()[-3_000:]
    assert peak[0] < MEMORY_MAX_MB
    headers = (dict(message.headers()) for message in scene.bench.messages(DEAD_LETTER_TOPIC))
    dead_letters = {(h["topic"].decode(), int(h["partition"]), int(h["offset"])) for h in headers}
    assert dead_letters == set(sent)
    assert {topic for topic, _, _ in dead_letters} == {topic_name(scene.run, topic) for topic in SOURCE_TOPICS}
    nothing_lost(scene, "largest messages", f"{count} of 990 kB on each topic: dead letters", None)
