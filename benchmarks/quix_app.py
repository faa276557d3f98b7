"""Measures another stream library: a minimal quixstreams application, count and sum per customer.

Started by benchmarks/stream.py in its own environment, since quixstreams requires an older confluent-kafka. It
runs as documented: JSON by its default deserializer, state in RocksDB with a changelog topic, at least
once. It writes no output. Its clock starts at the first message, after the first fetch, which is in its favour.
"""

from __future__ import annotations

from typing import Any

from quixstreams import Application, State

from benchmarks.client import Client


def main() -> None:
    client = Client()
    task = client.task
    app = Application(
        broker_address=task["kafka"]["bootstrap.servers"],
        consumer_group=task["group"],
        auto_offset_reset="earliest",
        state_dir=task["state"],
        loglevel="WARNING",
    )
    seen = 0

    def add(value: dict[str, Any], state: State) -> dict[str, Any]:
        nonlocal seen
        if seen == 0:
            client.start()
        seen += 1
        if seen == task["messages"]:
            client.read()
        count = state.get("count", 0) + 1
        total = state.get("sum", 0.0) + (value.get("price") or 0.0) * (value.get("quantity") or 0)
        state.set("count", count)
        state.set("sum", total)
        return {"count": count, "sum": total}

    frame = app.dataframe(app.topic(f"{task['run']}.events", value_deserializer="json"))
    frame.apply(add, stateful=True)
    client.ready()
    client.go.wait()
    # without `collect` it would keep every result in memory
    app.run(count=task["messages"], collect=False)
    client.done(consumed=seen)


if __name__ == "__main__":
    main()
