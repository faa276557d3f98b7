"""The same topic through another stream library: a minimal quixstreams application, count and sum per customer.

Started by benchmarks/stream.py in an environment of its own, since quixstreams asks for an older confluent-kafka. It
runs as its documentation shows it: JSON by its default deserializer, state in RocksDB with a changelog topic, at least
once. It writes no output. Its clock starts at the first message, when the first fetch is over: that is in its favour.
"""

from __future__ import annotations

from typing import Any

from quixstreams import Application, State

from benchmarks.gate import Gate


def main() -> None:
    gate = Gate()
    task = gate.task
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
            gate.start()
        seen += 1
        if seen == task["messages"]:
            gate.read()
        count = state.get("count", 0) + 1
        total = state.get("sum", 0.0) + (value.get("price") or 0.0) * (value.get("quantity") or 0)
        state.set("count", count)
        state.set("sum", total)
        return {"count": count, "sum": total}

    frame = app.dataframe(app.topic(f"{task['run']}.events", value_deserializer="json"))
    frame.apply(add, stateful=True)
    gate.ready()
    gate.go.wait()
    # without `collect` it would keep every result in memory
    app.run(count=task["messages"], collect=False)
    gate.done(consumed=seen)


if __name__ == "__main__":
    main()
