"""The right values of a fixture, and how an archive differs from them."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from features.schema import EVENT_TYPES

FOLDER = Path(__file__).parent / "mappings"
_TIMES = ("ts", "updated_ts")


@dataclass
class Expected:
    """Contents of an `expected.jsonl`."""

    mapping: str
    files: list[Path]
    settings: dict[str, str]
    rows: dict[str, object] | None
    """Rows read, used, left out and refused; None where the mapping refuses the file."""
    refusal: str | None
    orders: list[dict] = field(default_factory=list)
    events: list[dict] = field(default_factory=list)


def read_expected(folder: Path) -> Expected:
    """The right values of a fixture."""
    head, *rest = (json.loads(line) for line in (folder / "expected.jsonl").read_text("utf-8").splitlines())
    expected = Expected(
        head["mapping"],
        [(folder / name).resolve() for name in head["files"]],
        head.get("settings", {}),
        head.get("rows"),
        head.get("refused"),
    )
    for line in rest:
        ((kind, record),) = line.items()
        assert kind in ("order", "event")
        for name in _TIMES:
            if name in record:
                record[name] = round(datetime.fromisoformat(record[name]).timestamp() * 1000)
        (expected.orders if kind == "order" else expected.events).append(record)
    return expected


def differences(expected: Expected, records: list[dict], guest_id=lambda email: email) -> list[str]:
    """How the records of an archive differ from the right ones, in words.

    Args:
        expected: right values.
        records: orders and events of the archive, as on the wire.
        guest_id: customer id of a guest with this e-mail.
    """
    orders = sorted((_order(r) for r in records if "order_id" in r), key=_key)
    events = sorted((_event(r) for r in records if "event_id" in r), key=_key)
    right_orders = sorted((_order(_guest(r, guest_id)) for r in expected.orders), key=_key)
    right_events = sorted((_event(_guest(r, guest_id)) for r in expected.events), key=_key)
    found = [f"{len(orders)} orders, not {len(right_orders)}"] if len(orders) != len(right_orders) else []
    found += [f"{len(events)} events, not {len(right_events)}"] if len(events) != len(right_events) else []
    for right, record in zip(right_orders, orders, strict=False):
        found += [f"{right['order_id']}: {line}" for line in _unequal(right, record, {})]
    labels: dict[str, str] = {}
    for right, record in zip(right_events, events, strict=False):
        place = f"{right['customer_id']} {right['event_type']} {right['ts']}"
        found += [f"{place}: {line}" for line in _unequal(right, record, labels)]
    if len(set(labels.values())) < len(labels):
        found.append(f"ids that should differ are equal: {labels}")
    ids = [event["event_id"] for event in events]
    found += [f"event id {name} stands twice" for name in sorted({name for name in ids if ids.count(name) > 1})]
    named = {right.get("event_id") for right in right_events}
    made = [event["event_id"] for event, right in zip(events, right_events, strict=False) if "event_id" not in right]
    return found + [f"the made id {name} is an id of the source" for name in made if name in named]


def _guest(record: dict, guest_id) -> dict:
    customer = record["customer_id"]
    return record | {"customer_id": guest_id(customer)} if "@" in customer[1:] else record


def _order(record: dict) -> dict:
    items = sorted(
        (_present(item) for item in record.get("items") or []), key=lambda item: sorted(item.items()).__repr__()
    )
    return _present(record) | {"items": items}


def _event(record: dict) -> dict:
    return _present(record)


def _present(record: dict) -> dict:
    return {name: value for name, value in record.items() if value is not None}


def _key(record: dict) -> tuple[object, ...]:
    type_at = EVENT_TYPES.index(record["event_type"]) if "event_type" in record else 0
    parts = (record.get("product_id"), record.get("price"), record.get("quantity"))
    return (record.get("order_id", ""), record["customer_id"], record["ts"], type_at, *map(repr, parts))


def _unequal(right: dict, record: dict, labels: dict[str, str]) -> list[str]:
    lines = []
    for name in sorted({*right, *record}):
        value, other = right.get(name), record.get(name)
        if name == "event_id" and value is None:
            continue
        if isinstance(value, str) and value.startswith("@"):
            value = labels.setdefault(value, str(other))
        if value != other:
            lines.append(f"{name} is {other!r}, not {value!r}")
    return lines
