"""The benchmark measures what it says: its workload, its clock, its checks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import msgspec
import numpy as np
import polars as pl
import pytest

from benchmarks import exact, floor, runner
from benchmarks import map as mapping
from benchmarks.figures import Figures
from benchmarks.runner import ROOT, Lap
from benchmarks.steps import PARTS, Steps, resolve
from benchmarks.workload import EVENTS, LATE_MS_MAX, Arrivals, Size
from features.errors import ShopstreamError
from features.schema import Event
from producers.messages import Messages, join

EVENT = Event("e1", "search", "c1", "s1", 1, "mobile")


def chunks(count, of=5_000):
    for start in range(0, count, of):
        times = np.arange(start, min(start + of, count), dtype=np.int64) * 100
        values = [msgspec.json.encode(msgspec.structs.replace(EVENT, event_id=f"e{t}", ts=int(t) + 1)) for t in times]
        yield Messages(times, np.full(len(times), EVENTS, np.uint8), [b"c1"] * len(times), values)


def test_workload_holds_every_record_once_plus_the_planted_faults():
    arrivals = Arrivals(np.random.default_rng(1))
    sent = join(list(arrivals.spread(chunks(20_000))))
    assert len(sent) == 20_000 + arrivals.repeated + arrivals.spoiled
    assert arrivals.repeated > 100
    assert arrivals.spoiled > 5
    assert np.all(np.diff(sent.times) >= 0)
    decoder = msgspec.json.Decoder(Event)
    valid, ids = 0, set()
    for value, arrived in zip(sent.values, sent.times.tolist(), strict=True):
        try:
            event = decoder.decode(value)
        except msgspec.ValidationError:
            assert msgspec.json.decode(value)["event_type"] == "teleport"
            continue
        valid += 1
        ids.add(event.event_id)
        assert 0 <= arrived - event.ts + 1 <= LATE_MS_MAX
    assert len(ids) == 20_000
    assert valid == 20_000 + arrivals.repeated
    assert arrivals.high_ms == 19_999 * 100


def test_one_in_five_records_of_the_workload_is_late():
    arrivals = Arrivals(np.random.default_rng(1))
    sent = join(list(arrivals.spread(chunks(20_000))))
    highest = np.maximum.accumulate([json.loads(value)["ts"] for value in sent.values])
    behind = sum(json.loads(value)["ts"] < high for value, high in zip(sent.values, highest.tolist(), strict=True))
    assert 0.18 < behind / len(sent) < 0.24


def test_a_day_of_the_workload_is_a_day_of_the_demo():
    assert Size(5_000, 1_000_000).days == 365
    assert Size(20_000, 1_000_000).days == 91
    assert Size(1_000_000, 100).days == 2


@pytest.mark.parametrize("name", mapping.SHAPES)
def test_mapper_and_its_floor_make_records_of_the_same_keys(name):
    shape, random = mapping.SHAPES[name], np.random.default_rng(1)
    messages = [shape.message(random, number) for number in range(20)]
    mapped = mapping._mapper(shape).map([mapping.Message(value) for value in messages])
    assert not mapped.left_out
    assert not mapped.refused
    assert sorted(one.key for one in mapped.records) == sorted(key for key, _ in shape.floor(messages))
    assert len(mapped.records) == shape.records * 20 / 1_000


def test_floor_counts_valid_records_only():
    good = msgspec.json.encode(EVENT)
    assert len(floor.records([good, b"{", good, b'{"event_id":1}', None, good])) == 3


def test_every_profiled_function_of_the_consumer_exists():
    assert all(callable(resolve(target)[2]) for target, _ in PARTS)
    assert len({label for _, label in PARTS}) == len(PARTS)


def test_time_of_a_profiled_part_excludes_nested_parts():
    steps = Steps()
    inner = steps.watched(lambda: time.sleep(0.05), "inner")
    outer = steps.watched(lambda: (time.sleep(0.02), inner(), inner()), "outer")
    outer()
    times = {label: (own, calls, wall_s) for label, own, calls, wall_s, _ in steps.table()}
    assert times["inner"][:2] == (True, 2)
    assert times["outer"][:2] == (True, 1)
    assert 0.1 <= times["inner"][2] < 0.14
    assert 0.02 <= times["outer"][2] < 0.04


ROWS = pl.DataFrame({"customer_id": ["a", "b"], "orders_7d": [1, 2], "share": [0.1, None], "top": ["x", None]})


def test_comparison_of_equal_rows_is_empty():
    near = ROWS.with_columns(pl.col("share") * (1 + 1e-12))
    assert exact.differences(near, ROWS) == []


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("customer_id", ["a", "c"]),
        ("orders_7d", [1, 3]),
        ("share", [0.1 * (1 + 1e-8), None]),
        ("share", [0.1, 0.0]),
        ("share", [None, None]),
        ("top", ["x", ""]),
    ],
)
def test_comparison_names_the_column_that_differs(column, values):
    changed = ROWS.with_columns(pl.Series(column, values, dtype=ROWS.schema[column]))
    (message,) = exact.differences(changed, ROWS)
    assert column.removesuffix("_id") in message


def test_comparison_reports_missing_rows():
    assert "1 rows, 2 expected" in exact.differences(ROWS[:1], ROWS)[0]


def lap(records, read_s, cpu_s=1.0):
    return Lap("a", records, read_s, read_s * 2, cpu_s, 100.0, 1.0, 0.5, 0.1, ())


def test_rates_are_medians_and_ratios_compare_neighbouring_runs():
    figures = Figures({"a": "floor", "b": "features"})
    for slow in (1, 10, 1):  # the second turn met a busy machine
        figures.add("a", lap(1_000, 1.0 * slow))
        figures.add("b", lap(1_000, 4.0 * slow))
    assert figures.median("b", lambda one: one.rate) == 125
    assert figures.median("a", lambda one: one.read_rate) == 1_000
    assert any("0.25" in line and "✗" in line for line in figures.aims())
    assert figures.right
    figures.wrong("b", "something")
    assert not figures.right


def test_a_failed_process_raises_the_end_of_its_log(tmp_path):
    script = tmp_path / "fails.py"
    script.write_text("raise SystemExit('no such thing')")
    with pytest.raises(ShopstreamError, match="no such thing"):
        runner.run("a", 1, str(script), [{}], tmp_path / "log")


def test_benchmark_processes_start_together(tmp_path):
    script = tmp_path / "runs.py"
    script.write_text(
        "import time\nfrom benchmarks.client import Client\nclient = Client()\ntime.sleep(client.task['wait'])\n"
        "client.ready()\nclient.go.wait()\nclient.start()\ntime.sleep(0.1)\nclient.read()\nclient.finish.wait()\nclient.done()\n"
    )
    measured = runner.run("e", 100, str(script), [{"wait": 0.0}, {"wait": 0.5}], tmp_path / "log")
    starts = [one["started_s"] for one in measured.figures]
    assert abs(starts[0] - starts[1]) < 0.2
    assert measured.startup_s >= 0.5
    assert 0.1 <= measured.read_s < 0.5
    assert measured.done_s >= measured.read_s


@pytest.mark.slow
def test_benchmark_runs_completely_on_a_small_topic(servers, server_settings, tmp_path):
    out = tmp_path / "figures.json"
    command = [sys.executable, "benchmarks/stream.py", "--servers", "settings", "--only", "a,b,c,e,g", "--repeat", "1"]
    sizes = ["--events", "20000", "--customers", "1000", "--million-customers", "2000", "--steps", "--json", str(out)]
    environment = {**os.environ, "SHOPSTREAM_HOME": str(server_settings.home)}
    done = subprocess.run([*command, *sizes], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(out.read_text())
    assert figures["wrong"] == []
    assert set(figures["laps"]) == {"a", "b", "c", "e", "g"}
    assert all(laps[0]["rate"] > 0 and laps[0]["cpu_s"] > 0 for laps in figures["laps"].values())
    assert len(figures["laps"]["e"][0]["figures"]) == 2
    assert {"decode: kernel", "evaluate features"} <= {row["part"] for row in figures["steps"]}
