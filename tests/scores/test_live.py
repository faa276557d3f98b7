"""Live scores: bundles that come, change and break; rows and alerts through crashes, rebalances and fences."""

from __future__ import annotations

import math
import threading
import time

import polars as pl
import pytest
from oracle.loops import all_of, loop_rows
from oracle.rows import FEATURE_DTYPES, assert_same_rows, feature_frame, same_value
from oracle.shop import DAY
from scores.scorers import BREAKS, THRESHOLDS, by_tenure, rows_of
from simulation.boundary import CALM, STORMY, Odds
from simulation.checks import check_alerts
from simulation.world import World
from stream.scene import PROFILE, Scene

import consumers.features.scoring
from connectors.formats.rules_file import default_rules
from consumers.erasure.indices import PROFILE_FIELDS
from consumers.features.scoring import LiveScoring
from features.definitions import ROW_SCHEMA
from features.errors import ShopstreamError
from features.rules.segments import with_profiles
from features.scores.score import SCORE_SCHEMA, Scoring, scored


# --- rows -------------------------------------------------------------------------------------------------------------
def world_of(scene: Scene, odds: Odds, *scorings: Scoring, seed: int = 0, as_of: int | None = None) -> World:
    """A world with these bundles alone, which come one after the other."""
    world = World(seed, "features", scene, odds, slots=1, as_of=scene.end if as_of is None else as_of)
    world.role.scorings = list(scorings)
    return world


def run_again(world: World, scoring: Scoring | None) -> None:
    """By new workers, with another bundle or none."""
    world.role.scorings, world.role.scorings_seen = [scoring] if scoring is not None else [], 0
    world.run_again()


def check_rows(world: World) -> None:
    """Index and topic hold the oracle's rows with the scores that batch gives them."""
    scene, scoring = world.scene, world.role.scorings[world.role.scorings_seen]
    features = feature_frame(loop_rows(scene.events, scene.orders, world.as_of, all_of))
    profiles = pl.DataFrame({"customer_id": sorted(scene.profiles)}).with_columns(
        pl.lit(value).alias(name) for name, value in PROFILE.items()
    )
    scores = scoring.scorer.score(with_profiles(features.select(list(ROW_SCHEMA)), profiles, scoring.profile_columns))
    expected = features.hstack(scores).with_columns(pl.lit(scoring.name).alias("bundle"))
    for one in (world.documents("customers"), world.role.newest_rows().values()):
        rows = [{name: row[name] for name in expected.columns} for row in one]
        frame = pl.DataFrame(rows, schema=expected.schema, orient="row")
        assert_same_rows(frame.select(list(FEATURE_DTYPES)), features)
        both = frame.sort("customer_id"), expected.sort("customer_id")
        for name in (*SCORE_SCHEMA, "bundle"):
            pairs = zip(both[0][name].to_list(), both[1][name].to_list(), strict=True)
            assert all(same_value(got, requested) for got, requested in pairs), name


@pytest.mark.parametrize("seed", range(6))
def test_every_row_has_the_scores_of_the_newest_bundle(seed):
    scene = Scene(seed, customers=2)
    scorings = [by_tenure("one", 400), by_tenure("two", 200), by_tenure("three", 100)]
    world = world_of(scene, STORMY if seed else CALM, *scorings, seed=seed, as_of=scene.end + seed % 3 * DAY)
    world.run()
    check_rows(world)
    assert world.role.progress.bundle == scorings[world.role.scorings_seen].name


def test_bundle_published_after_all_rows_were_written_marks_every_customer():
    world = world_of(Scene(1, customers=2), CALM)
    world.run()
    assert all("segment" not in row for row in world.documents("customers"))
    run_again(world, by_tenure("late", 300))
    assert world.role.progress.consumed == 0
    check_rows(world)


def test_rows_without_a_bundle_have_no_scores():
    world = world_of(Scene(1, customers=2), CALM, by_tenure("gone", 300))
    world.run()
    run_again(world, None)
    world.check()


# --- alerts -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(1, 11))
def test_alerts_are_neither_lost_nor_duplicated(seed):
    """Risks only rise here, so a customer's alerts must lead from the first band to the last, each step once."""
    scene = Scene(seed, customers=3)
    first = min(e["ts"] for e in scene.events)
    span_days = (scene.end - first) / DAY
    world = world_of(scene, CALM, by_tenure("low", 1e9), seed=seed, as_of=scene.end + 1)
    world.logs = {where: log[: len(log) // 2] for where, log in scene.logs.items()}
    world.role.final_as_of = lambda life: life.consumer.max_event_time
    world.run()
    begun = {row["customer_id"] for row in world.documents("customers")}
    assert not world.role.alerts
    world.logs, world.stormy, world.odds = scene.logs, STORMY, STORMY
    world.role.final_as_of = lambda _: world.as_of
    run_again(world, by_tenure("rising", span_days * 0.8))
    last = {row["customer_id"]: row["churn_risk"] for row in world.documents("customers")}
    steps = check_alerts(world.role.alerts, world.documents("alerts"), last)
    assert steps
    for customer in begun:
        assert (steps[customer][0][0] if customer in steps else last[customer]) == "low"
    assert world.role.progress.dirty == 0


def test_alert_holds_the_score_its_reasons_and_the_action():
    scene = Scene(3, customers=1)
    world = world_of(scene, CALM, by_tenure("low", 1e9))
    world.run()
    run_again(world, by_tenure("high", math.inf, shift=0.7))
    rows, alerts = world.documents("customers"), world.role.alerts
    assert world.role.progress.alerts_written == len(alerts) == len(rows)
    row = min(rows, key=lambda r: r["customer_id"])
    (alert,) = (a for a in alerts if a["customer_id"] == row["customer_id"])
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


def test_rows_that_cannot_be_scored_stop_the_worker_with_a_reason():
    world = world_of(Scene(1, customers=1), CALM, Scoring("bad", Raises()))
    with pytest.raises(ShopstreamError, match=r"The bundle bad cannot score rows: KeyError"):
        world.run()


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
