"""The traps are worth something only if they catch: each wrong reading of the contract below must change some row.

A wrong reading is the loop oracle with a piece of its text replaced.
"""

from pathlib import Path
from types import ModuleType

import oracle.loops
import pytest
from oracle.adversarial import adversarial
from oracle.rows import differences, feature_frame

SEEDS = range(5)
TOTALS = 'cents(o["total"]) for o in orders) / 100'
WRONG_READINGS = {
    "events at as_of are unknown": ('event["ts"] <= as_of', 'event["ts"] < as_of'),
    "orders at as_of are unknown": ('o["updated_ts"] <= as_of:', 'o["updated_ts"] < as_of:'),
    "orders are known when placed": ('o["updated_ts"] <= as_of:', 'o["ts"] <= as_of:'),
    "customers are known when placed": ('if o["updated_ts"] <= as_of))', 'if o["ts"] <= as_of))'),
    "order windows hold their start": (
        'o["ts"] > as_of - days * DAY] for days in (7, 30, 90, 365)',
        'o["ts"] >= as_of - days * DAY] for days in (7, 30, 90, 365)',
    ),
    "returns hold the start": ('o["ts"] > as_of - 365 * DAY', 'o["ts"] >= as_of - 365 * DAY'),
    "returns are by the time of change": ('o["ts"] > as_of - 365 * DAY', 'o["updated_ts"] > as_of - 365 * DAY'),
    "returns are refunds only": ('o["status"] in ("cancelled", "refunded")', 'o["status"] == "refunded"'),
    "session windows hold their start": ('s[0]["ts"] > as_of', 's[0]["ts"] >= as_of'),
    "sessions belong by their end": ('s[0]["ts"] > as_of', 's[-1]["ts"] > as_of'),
    "sessions are of all customers": ('event["customer_id"], event["session_id"]', '"", event["session_id"]'),
    "device ties by UTF-16": ('e["event_id"].encode()', 'e["event_id"].encode("utf-16-be")'),
    "device ties by arrival": ('(e["ts"], e["event_id"].encode())', '(e["ts"],)'),
    "device of the last event": ('s[0]["device"]', 's[-1]["device"]'),
    "category ties by UTF-16": ("pair[0].encode()", 'pair[0].encode("utf-16-be")'),
    "category ties without case": ("pair[0].encode()", "pair[0].lower()"),
    "an empty category is none": ("if c is not None", "if c"),
    "order ties by time alone": (', STATUSES.index(o["status"]), cents(o["total"])', ""),
    "order ties without total": (', cents(o["total"])', ""),
    "order ties without status": (', STATUSES.index(o["status"])', ""),
    "abandoned a moment later": ("<= as_of - 1_800_000", "< as_of - 1_800_000"),
    "abandoned a moment earlier": ("<= as_of - 1_800_000", "<= as_of - 1_799_999"),
    "duplicates count": ('hour_of[event["event_id"]] = event["ts"] // HOUR', "pass"),
    "repeated events are known by their ts": (
        " not in hour_of or high // HOUR",
        ' not in hour_of or event["ts"] // HOUR != hour_of[event["event_id"]] or high // HOUR',
    ),
    "the last of repeated events counts": (
        'key=lambda e: (e["ts"], e["event_id"].encode()))',
        'key=lambda e: -e["ts"])',
    ),
    "an id is remembered for ever": ("> 48:", "> 9**9:"),
    "an id is remembered for an hour less": ("> 48:", "> 47:"),
    "an id is remembered for an hour more": ("> 48:", "> 49:"),
    "a repeated event is remembered from its own time": (
        "            counting.append(event)",
        '            counting.append(event)\n        hour_of[event["event_id"]] = event["ts"] // HOUR',
    ),
    "void is a return": ('("cancelled", "refunded") and', '("cancelled", "refunded", "void") and'),
    "void ranks before refunded": ('"refunded", "void"]', '"void", "refunded"]'),
    "a void order is no record": (
        'if o["updated_ts"] <= as_of))',
        'if o["updated_ts"] <= as_of and o["status"] != "void"))',
    ),
    "an order is of one customer": ('winner[o["customer_id"], o["order_id"]]', 'winner["", o["order_id"]]'),
    "cents by float arithmetic": (TOTALS, 'round(o["total"] * 100) for o in orders) / 100'),
    "cents rounded half-up": (TOTALS, 'int(o["total"] * 100 + 0.5) for o in orders) / 100'),
    "money as floats": (TOTALS, 'o["total"] for o in orders)'),
    "a ratio to a gap of 0": ("or not gap", "or gap is None"),
    "first seen by the time of change": ('min(record["ts"]', 'min(record.get("updated_ts", record["ts"])'),
}


@pytest.fixture(scope="module")
def right():
    archives = [adversarial(seed) for seed in SEEDS]
    return [
        (records, as_of, feature_frame(oracle.loops.loop_rows(records.events, records.orders, as_of)))
        for records in archives
        for as_of in records.as_ofs
    ]


@pytest.mark.parametrize(("text", "wrong"), WRONG_READINGS.values(), ids=WRONG_READINGS.keys())
def test_wrong_oracle_is_detected_by_the_adversarial_records(right, text, wrong):
    source = Path(oracle.loops.__file__).read_text()
    assert text in source
    module = ModuleType("wrong_loops")
    exec(compile(source.replace(text, wrong), "wrong_loops", "exec"), module.__dict__)

    def caught(records, as_of, expected):
        try:
            return differences(feature_frame(module.loop_rows(records.events, records.orders, as_of)), expected)
        except ZeroDivisionError:
            return ["divided by zero"]

    assert any(caught(*case) for case in right)
