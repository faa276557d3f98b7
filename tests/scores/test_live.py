"""Live scores: bundles that come, change and break; rows and alerts through crashes, rebalances and fences."""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict

import polars as pl
import pytest
from oracle.loops import all_of, loop_rows
from oracle.rows import FEATURE_DTYPES, assert_same_rows, feature_frame, same_value
from oracle.shop import DAY
from scores.scorers import BREAKS, THRESHOLDS, by_tenure, rows_of
from stream.scene import PROFILE, Scene
from stream.world import Odds, World

import consumers.checkpoints.coordinator
import consumers.features.scoring
from connectors.formats.rules_file import default_rules
from consumers.erasure.indices import PROFILE_FIELDS
from consumers.features.scoring import LiveScoring
from features.definitions import ROW_SCHEMA
from features.errors import ShopstreamError
from features.rules.segments import with_profiles
from features.scores.score import RISKS, SCORE_SCHEMA, Scoring, scored

CALM = Odds()
STORMY = Odds(kill=0.03, revoke=0.02, lose=0.01, fence=0.1, commit_fails=0.1, write_fails=0.1)


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    """Checkpoints as often as can be; no clock but one."""
    monkeypatch.setattr(consumers.checkpoints.coordinator, "SHARE_MAX", 1.0)
    monkeypatch.setattr(consumers.checkpoints.coordinator, "wall_clock_ms", lambda: 0)


# --- rows -------------------------------------------------------------------------------------------------------------
def check_rows(world: World, scene: Scene, as_of: int, scoring: Scoring) -> None:
    """Index and topic hold the oracle's rows with the scores that batch gives them."""
    features = feature_frame(loop_rows(scene.events, scene.orders, as_of, all_of))
    profiles = pl.DataFrame({"customer_id": sorted(scene.profiles)}).with_columns(
        pl.lit(value).alias(name) for name, value in PROFILE.items()
    )
    scores = scoring.scorer.score(with_profiles(features.select(list(ROW_SCHEMA)), profiles, scoring.profile_columns))
    expected = features.hstack(scores).with_columns(pl.lit(scoring.name).alias("bundle"))
    for one in (world.index("customers"), world.newest_rows().values()):
        rows = [{name: row[name] for name in expected.columns} for row in one]
        frame = pl.DataFrame(rows, schema=expected.schema, orient="row")
        assert_same_rows(frame.select(list(FEATURE_DTYPES)), features)
        both = frame.sort("customer_id"), expected.sort("customer_id")
        for name in (*SCORE_SCHEMA, "bundle"):
            pairs = zip(both[0][name].to_list(), both[1][name].to_list(), strict=True)
            assert all(same_value(got, requested) for got, requested in pairs), name


@pytest.mark.parametrize("seed", range(6))
def test_every_row_has_the_scores_of_the_newest_bundle(seed, tmp_path):
    scene = Scene(seed, customers=2)
    scorings = [by_tenure("one", 400), by_tenure("two", 200), by_tenure("three", 100)]
    world = World(scene.rng, scene.logs, str(tmp_path), scorings=scorings)
    as_of = scene.end + seed % 3 * DAY
    progress = world.work(STORMY if seed else CALM, lambda _: as_of)
    check_rows(world, scene, as_of, scorings[world.scorings_seen])
    assert progress.bundle == scorings[world.scorings_seen].name


def test_bundle_published_after_all_rows_were_written_marks_every_customer(tmp_path):
    scene = Scene(1, customers=2)
    world = World(scene.rng, scene.logs, str(tmp_path))
    world.work(CALM, lambda _: scene.end)
    assert all("segment" not in row for row in world.index("customers"))
    world.scorings = [by_tenure("late", 300)]
    progress = world.work(CALM, lambda _: scene.end)
    assert progress.consumed == 0
    check_rows(world, scene, scene.end, world.scorings[0])


def test_rows_without_a_bundle_have_no_scores(tmp_path):
    scene = Scene(1, customers=2)
    world = World(scene.rng, scene.logs, str(tmp_path), scorings=[by_tenure("gone", 300)])
    world.work(CALM, lambda _: scene.end)
    world.scorings = ()
    world.work(CALM, lambda _: scene.end)
    scene.check(world, scene.end)


# --- alerts -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(1, 11))
def test_alerts_are_neither_lost_nor_duplicated(seed, tmp_path):
    """Risks only rise here, so a customer's alerts must lead from the first band to the last, each step once."""
    scene = Scene(seed, customers=3)
    first = min(e["ts"] for e in scene.events)
    span_days = (scene.end - first) / DAY
    half = {where: log[: len(log) // 2] for where, log in scene.logs.items()}
    world = World(scene.rng, half, str(tmp_path), scorings=[by_tenure("low", 1e9)])
    world.work(CALM, lambda stream_time: stream_time)
    begun = {row["customer_id"] for row in world.index("customers")}
    world.logs, world.scorings = scene.logs, [by_tenure("rising", span_days * 0.8)]
    as_of = scene.end + 1
    progress = world.work(STORMY, lambda _: as_of)
    by_id = {(a["customer_id"], a["churn_risk"], a["day"]): a for a in world.alerts}
    documents = world.index("alerts")
    assert {(d["customer_id"], d["churn_risk"], d["day"]): d for d in documents} == by_id
    assert len(documents) == len(by_id) > 0
    steps = defaultdict(list)
    for alert in sorted(by_id.values(), key=lambda a: (a["ts"], RISKS.index(a["churn_risk"]))):
        steps[alert["customer_id"]].append((alert["churn_risk_before"], alert["churn_risk"]))
    last = {row["customer_id"]: row["churn_risk"] for row in world.index("customers")}
    for customer, risk in last.items():
        path = steps.get(customer, [])
        assert [b for _, b in path[:-1]] == [a for a, _ in path[1:]], (customer, path)
        if customer in begun:
            assert (path[0][0] if path else risk) == "low"
        assert not path or path[-1][1] == risk
    assert progress.dirty == 0


def test_alert_holds_the_score_its_reasons_and_the_action(tmp_path):
    scene = Scene(3, customers=1)
    world = World(scene.rng, scene.logs, str(tmp_path), scorings=[by_tenure("low", 1e9)])
    world.work(CALM, lambda _: scene.end)
    world.scorings = [by_tenure("high", math.inf, shift=0.7)]
    progress = world.work(CALM, lambda _: scene.end)
    assert progress.alerts_written == len(world.alerts) == len(world.index("customers"))
    row = min(world.index("customers"), key=lambda r: r["customer_id"])
    (alert,) = (a for a in world.alerts if a["customer_id"] == row["customer_id"])
    shared = (
        "churn_risk",
        "churn_probability",
        "churn_reasons",
        "segment",
        "recommended_action",
        "bundle",
        "revenue_365d",
    )
    assert {name: alert[name] for name in shared} == {name: row[name] for name in shared}
    assert (alert["churn_risk_before"], alert["churn_risk"]) == ("low", "high")
    assert alert["ts"] <= scene.end
    assert not PROFILE_FIELDS & set(alert), "nothing that forget would have to look for"
    assert alert["day"] == time.strftime("%Y-%m-%d", time.gmtime(alert["ts"] / 1000))


# --- the bundle in force ----------------------------------------------------------------------------------------------
class HandBundles:
    """Bundles by hand: what is current, and what loading it gives or raises."""

    def __init__(self, current: str | None, **found: Scoring | Exception) -> None:
        self.now, self.found = current, found
        self.loads: list[str] = []
        self.go = threading.Event()
        self.go.set()
        self.threads: set[str] = set()

    def current(self) -> str | None:
        if self.now == "away":
            raise OSError("the folder is away")
        return self.now

    def load(self, key: str) -> Scoring:
        self.threads.add(threading.current_thread().name)
        self.loads.append(key)
        self.go.wait(10)
        result = self.found[key]
        if isinstance(result, Exception):
            raise result
        return result


class HandClock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def polled(live: LiveScoring, clock: HandClock, seconds: float = 2.0) -> bool:
    """Whether another bundle came into force within a look after so many seconds."""
    clock.now_s += seconds
    live.poll()
    stop_s = time.monotonic() + 5
    while live._loading is not None and time.monotonic() < stop_s:
        if live.poll():
            return True
        time.sleep(0.001)
    return False


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def test_first_bundle_is_loaded_before_the_first_row(clock):
    live = LiveScoring(HandBundles("a", a=by_tenure("A", 1)), clock=clock)
    assert live.current.name == "A"
    live.close()


def test_new_bundle_is_loaded_once(clock):
    bundles = HandBundles("a", a=by_tenure("A", 1), b=by_tenure("B", 1))
    live = LiveScoring(bundles, clock=clock)
    assert not polled(live, clock)
    bundles.now = "b"
    assert not polled(live, clock, seconds=0.5)
    assert polled(live, clock)
    assert live.current.name == "B"
    assert bundles.loads == ["a", "b"]
    assert all(name.startswith("bundle") for name in bundles.threads)
    live.close()


def test_the_loop_does_not_wait_for_a_bundle(clock):
    bundles = HandBundles(None, a=by_tenure("A", 1))
    live = LiveScoring(bundles, clock=clock)
    assert live.current is None
    bundles.now = "a"
    bundles.go.clear()
    clock.now_s += 2
    assert not live.poll()
    for _ in range(100):
        assert not live.poll()
    bundles.go.set()
    assert polled(live, clock)
    live.close()


class Wrong:
    def score(self, rows: pl.DataFrame) -> pl.DataFrame:
        return pl.DataFrame({"segment": ["x"] * len(rows)})


class Raises:
    def score(self, rows: pl.DataFrame) -> pl.DataFrame:
        raise KeyError("recency_days")


BROKEN = {
    "damaged": ShopstreamError("a file is missing"),
    "of another program": ShopstreamError("the fingerprint differs"),
    "cut short": ValueError("not JSON"),
    "owes columns": Scoring("x", Wrong()),
    "cannot score": Scoring("x", Raises()),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_broken_bundle_is_refused_once_and_the_previous_one_stays(broken, clock, capsys):
    bundles = HandBundles("a", a=by_tenure("A", 1), b=broken, c=by_tenure("C", 1))
    live = LiveScoring(bundles, clock=clock)
    bundles.now = "b"
    for _ in range(4):
        assert not polled(live, clock)
    assert live.current.name == "A"
    assert capsys.readouterr().out.count("bundle refused") == 1
    bundles.now = "c"
    assert polled(live, clock)
    live.close()


def test_refused_bundle_is_retried_later(clock):
    bundles = HandBundles("a", a=ShopstreamError("not all there yet"))
    live = LiveScoring(bundles, clock=clock)
    assert live.current is None
    bundles.found["a"] = by_tenure("A", 1)
    assert not polled(live, clock)
    assert polled(live, clock, seconds=consumers.features.scoring.RETRY_AFTER_S)
    live.close()


def test_missing_folder_or_pointer_does_not_unload_the_bundle(clock, capsys):
    bundles = HandBundles("a", a=by_tenure("A", 1))
    live = LiveScoring(bundles, clock=clock)
    for word in ("away", None, "away"):
        bundles.now = word
        assert not polled(live, clock)
    assert live.current.name == "A"
    assert capsys.readouterr().out.count("the folder is away") == 1
    live.close()


def test_rows_that_cannot_be_scored_stop_the_worker_with_a_reason(tmp_path):
    scene = Scene(1, customers=1)
    world = World(scene.rng, scene.logs, str(tmp_path), scorings=[Scoring("bad", Raises())])
    with pytest.raises(ShopstreamError, match=r"The bundle bad cannot score rows: KeyError"):
        world.work(CALM, lambda _: scene.end)


def test_scoring_overhead_around_the_model_is_small():
    """A bundle has 10 microseconds a row: scores, bands and rules may take a part of it (measured: 0.5)."""
    rows = rows_of(*({"orders_total": n, "orders_365d": n % 5, "recency_days": float(n)} for n in range(10_000)))
    probability, rules = pl.Series([n / 10_000 for n in range(10_000)]), default_rules()
    took_s = []
    for _ in range(5):
        started_s = time.perf_counter()
        scored(rows, BREAKS, rules, churn_probability=probability, thresholds=THRESHOLDS)
        took_s.append(time.perf_counter() - started_s)
    assert min(took_s) / len(rows) < 5e-6
