"""Live scores on the real servers: rows in index and topic, a bundle that changes under the consumer, alerts."""

from __future__ import annotations

import json
import threading
import time

import polars as pl
import pytest
from oracle.adversarial import adversarial
from oracle.rows import same_value
from scores.scorers import by_tenure
from stream.bench import Bench
from stream.feeding import message

from consumers.features.build import open_features
from features.schema import ALERT_TOPIC, FEATURE_TOPIC
from features.scores.score import SCORE_SCHEMA, Scoring

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def bench(servers, run_name, tmp_path):
    bench = Bench(servers, run_name, tmp_path / "state", partitions=2)
    yield bench
    bench.client.close()


class HandBundles:
    def __init__(self, *scorings: Scoring | Exception) -> None:
        self.scorings = {str(n): scoring for n, scoring in enumerate(scorings)}
        self.now = "0"
        self.loads: list[str] = []

    def current(self) -> str:
        return self.now

    def load(self, key: str) -> Scoring:
        self.loads.append(key)
        if isinstance(self.scorings[key], Exception):
            raise self.scorings[key]
        return self.scorings[key]


def newest(bench: Bench) -> list[dict]:
    """The row of the highest version of each customer on the compacted topic."""
    rows: dict[str, dict] = {}
    for one in bench.messages(FEATURE_TOPIC):
        row = json.loads(one.value())
        if row["version"] > rows.get(row["customer_id"], {"version": -1})["version"]:
            rows[row["customer_id"]] = row
    return list(rows.values())


def check(bench: Bench, features: pl.DataFrame, scoring: Scoring) -> None:
    expected = features.hstack(scoring.scorer.score(features)).with_columns(bundle=pl.lit(scoring.name))
    requested = {row["customer_id"]: row for row in expected.iter_rows(named=True)}
    for one in (bench.documents("customers"), newest(bench)):
        assert {row["customer_id"] for row in one} == requested.keys()
        for row in one:
            for name in (*SCORE_SCHEMA, "bundle"):
                assert same_value(row[name], requested[row["customer_id"]][name]), (name, row)


def test_rows_and_alerts_follow_a_bundle_that_changes_while_running(bench):
    records = adversarial(21, customers=6)
    bench.publish(("events", *message(row)) for row in records.events)
    bench.publish(("orders", *message(row)) for row in records.orders)
    end = max(*(e["ts"] for e in records.events), *(o["updated_ts"] for o in records.orders))
    bundles = HandBundles(by_tenure("low", 1e30), OSError("half written"), by_tenure("high", 1e30, shift=0.7))
    (progress,) = bench.consume(end, bundles=bundles)
    rows = bench.feature_frame()
    assert progress.bundle == "low"
    check(bench, rows, bundles.scorings["0"])
    assert bench.messages(ALERT_TOPIC) == bench.documents("alerts") == []

    # the consumer runs on; a broken bundle comes, then a good one; nothing is read, every customer is written anew
    stop = threading.Event()
    seen: list = []
    consumer = open_features(bench.options(bundles=bundles, clock="stream"))
    thread = threading.Thread(target=lambda: seen.append(consumer.run(stop.is_set, None, lambda _: None, seen.append)))
    thread.start()
    try:
        wait_for(lambda: seen and seen[-1].bundle == "low")
        bundles.now = "1"
        wait_for(lambda: "1" in bundles.loads)
        bundles.now = "2"
        wait_for(lambda: seen[-1].bundle == "high" and seen[-1].alerts_written >= len(rows))
        wait_for(lambda: seen[-1].dirty == 0)
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()
    assert seen[-1].consumed == 0
    documents = bench.documents("customers")
    assert {row["bundle"] for row in documents} == {row["bundle"] for row in newest(bench)} == {"high"}
    assert {row["churn_risk"] for row in documents} == {"high"}
    alerts = [json.loads(one.value()) for one in bench.messages(ALERT_TOPIC)]
    assert sorted(a["customer_id"] for a in alerts) == sorted(rows["customer_id"])
    assert {(a["churn_risk_before"], a["churn_risk"], a["bundle"]) for a in alerts} == {("low", "high", "high")}
    by_customer = {a["customer_id"]: a for a in alerts}
    assert {d["customer_id"]: d for d in bench.documents("alerts")} == by_customer

    # what is done again is neither sent nor indexed twice
    bundles.now = "2"
    bench.consume(end + 1, bundles=bundles)
    check(bench, bench.feature_frame(), bundles.scorings["2"])
    assert len(bench.messages(ALERT_TOPIC)) == len(bench.documents("alerts")) == len(alerts)


def wait_for(ready) -> None:
    stop_s = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < stop_s
        time.sleep(0.05)
