"""The forecast: what is measured is what was said before, on series whose law is known, and as a user calls it."""

import json
import re

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from features.errors import ShopstreamError, UsageError
from features.schema import ALL_CATEGORIES, DAY_MS, FORECAST_FIELDS
from shopstream.cli.app import build_app
from training.archive_period import last_whole_day
from training.forecast.models import (
    LEVELS,
    NAIVE,
    WEEK,
    Path,
    back_test,
    best_model,
    evaluate,
    forecast,
    forecasters,
    interval,
    measure,
    plan_origins,
)
from training.forecast.page import render
from training.forecast.shop_forecast import figures, forecast_shop, frame
from training.sales import DailySales, daily_sales
from training.trend_frames import frame_schema

HORIZON = 14


def weekly(days: int, seed: int = 1, noise: float = 0.15) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rhythm = np.array([0.8, 0.9, 1.0, 1.0, 1.2, 1.4, 0.7])[np.arange(days) % WEEK]
    return 1_000 * rhythm * (1 + noise * rng.standard_normal(days))


def _path(mean: np.ndarray, width: float) -> Path:
    return Path(mean, dict.fromkeys(LEVELS, (mean - width, mean + width)))


def last_week(known: np.ndarray, horizon: int) -> Path:
    return _path(np.resize(known[-WEEK:], horizon), 1.0)


def mean_week(known: np.ndarray, horizon: int, weeks: int = 6) -> Path:
    kept = known[-weeks * WEEK :]
    return _path(np.resize(kept.reshape(-1, WEEK).mean(axis=0), horizon), 1.0)


QUICK = {NAIVE: last_week, "mstl": mean_week}
"""Stand-ins that cost nothing; their own intervals are far too narrow."""


def test_better_model_is_chosen_and_its_gain_is_reported():
    found = forecast(weekly(200), HORIZON, QUICK)
    assert found.model == "mstl"
    assert found.evaluation.models["mstl"].against_naive < 0.9
    assert found.evaluation.models[NAIVE].against_naive == 1.0
    assert found.evaluation.nested.against_naive < 0.9
    assert found.mean.shape == (HORIZON,)


def test_too_narrow_intervals_are_replaced_by_conformal_ones_that_hold():
    inside = {level: [] for level in LEVELS}
    for seed in range(12):
        series = weekly(260, seed)
        found = forecast(series[:-HORIZON], HORIZON, QUICK)
        assert found.interval == "conformal"
        assert found.evaluation.models["mstl"].coverage[80] < 0.1
        for level in LEVELS:
            low, high = found.bounds[level]
            inside[level] += ((low <= series[-HORIZON:]) & (series[-HORIZON:] <= high)).tolist()
    assert 0.72 < np.mean(inside[80]) < 0.88
    assert 0.89 < np.mean(inside[95]) < 0.99


def test_intervals_of_the_model_are_used_when_they_hold():
    def honest(known, horizon):
        path = mean_week(known, horizon)
        # standard deviation of a day that is forecast by a mean of six of its weekdays
        width = 0.15 * np.sqrt(1 + 1 / 6) * path.mean
        return Path(path.mean, {80: (path.mean - 1.2816 * width, path.mean + 1.2816 * width),
                                95: (path.mean - 1.96 * width, path.mean + 1.96 * width)})  # fmt: skip

    found = forecast(weekly(400, 4), HORIZON, {NAIVE: last_week, "mstl": honest})
    assert found.interval == "own"


def test_reported_errors_use_no_future_days():
    """Other days after an origin change nothing that was said there, nor the choice, nor the width."""
    series = weekly(220)
    changed = series.copy()
    changed[-HORIZON:] = changed[-HORIZON:] * 5 + 3_000
    origins = plan_origins(len(series), HORIZON)
    first, second = (back_test(one, HORIZON, origins, QUICK) for one in (series, changed))
    for name in QUICK:
        np.testing.assert_array_equal(first.means[name], second.means[name])
    same = np.flatnonzero(np.array(origins) <= len(series) - HORIZON)
    known = first.known(int(same[-1]))
    assert not known[-1].any()
    assert known[0].all()
    assert best_model(first, known) == best_model(second, known)
    size = float(first.sizes[-1])
    path = mean_week(series[: origins[-1]], HORIZON)
    for level in LEVELS:
        bounds = [interval(test, known, "mstl", path, size)[1][level] for test in (first, second)]
        np.testing.assert_array_equal(bounds[0], bounds[1])
    # the procedure as a whole: only the days that happened differ
    means = [evaluate(test).nested_mean for test in (first, second)]
    np.testing.assert_array_equal(*means)


def test_choice_at_an_origin_uses_the_errors_before_it():
    """A model that is best over all, by what it does late, must not be chosen while it was worse."""
    series = weekly(220, 3, noise=0.2)
    turn = 160

    def late_bloomer(known, horizon):
        to_come = series[len(known) : len(known) + horizon]
        return _path(to_come if len(known) > turn else 1.3 * to_come, 1.0)

    origins = plan_origins(len(series), HORIZON)
    test = back_test(series, HORIZON, origins, {NAIVE: last_week, "mstl": late_bloomer})
    assert best_model(test, np.ones(test.actual.shape, np.bool_)) == "mstl"
    nested = evaluate(test).nested_mean
    places = range(len(origins) - len(nested), len(origins))
    early = [(row, place) for row, place in enumerate(places) if origins[place] <= turn + HORIZON]
    assert len(early) == 2  # nothing that was said after the turn is over by then
    for row, place in early:
        np.testing.assert_array_equal(nested[row], test.means[NAIVE][place])


def test_forecast_metrics_equal_values_worked_out_by_hand():
    series = np.array([10.0, 0.0, 10.0, 10.0, 10.0, 10.0, 10.0] * 6)
    test = back_test(series, 7, (28, 35), {NAIVE: last_week, "mstl": lambda known, h: _path(np.full(h, 12.0), 3.0)})
    found = measure(test, np.array([0, 1]), test.means["mstl"], test.bounds["mstl"])
    assert found.mae == pytest.approx((6 * 2 + 12) / 7)
    assert found.rmse == pytest.approx(np.sqrt((6 * 4 + 144) / 7))
    assert found.mape == pytest.approx(0.2)  # the day without sales has none
    assert found.coverage == {80: pytest.approx(6 / 7), 95: pytest.approx(6 / 7)}


@pytest.mark.parametrize("days", [14, 20, 41])
def test_short_history_is_forecast_by_the_last_week(days):
    series = weekly(days)
    found = forecast(series, HORIZON, forecasters([NAIVE]))
    assert (found.model, found.evaluation) == (NAIVE, None)
    np.testing.assert_allclose(found.mean, np.resize(series[-WEEK:], HORIZON))
    assert all((low <= high).all() and (low >= 0).all() for low, high in found.bounds.values())


def test_less_than_two_weeks_are_refused():
    with pytest.raises(ShopstreamError, match="13 complete days"):
        forecast(weekly(13), HORIZON, QUICK)


def test_shop_without_sales_is_forecast_as_zero():
    found = forecast(np.zeros(100), HORIZON, forecasters([NAIVE]))
    assert not found.mean.any()


def test_closed_days_and_a_failing_model_do_not_stop_the_forecast():
    series = weekly(150)
    series[::WEEK] = 0.0

    def failing(known, horizon):
        raise ZeroDivisionError

    found = forecast(series, HORIZON, {**QUICK, "theta": failing})
    assert "theta" not in found.evaluation.models
    assert found.evaluation.models["mstl"].mape is not None
    assert (found.mean[(np.arange(HORIZON) + 150) % WEEK == 0] == 0).all()


def test_models_beat_the_last_week_on_noisy_seasonal_data():
    found = forecast(weekly(120), HORIZON, forecasters([NAIVE, "holt_winters", "mstl", "theta"]))
    assert len(found.evaluation.models) == 4
    assert found.evaluation.models[found.model].against_naive < 0.95
    assert (found.bounds[95][0] <= found.bounds[80][0]).all()
    assert (found.bounds[80][1] <= found.bounds[95][1]).all()


def test_origins_leave_a_whole_horizon_and_enough_training_days():
    origins = plan_origins(365, 30)
    assert origins[-1] == 335
    assert min(origins) >= 365 // 3
    assert plan_origins(50, 30) == ()


# --- a shop -----------------------------------------------------------------------------------------------------------


def shop(days=100):
    total = weekly(days)
    return DailySales(20_000, total, {"tea": total * 0.7, "cups": total * 0.3})


def test_forecast_documents_cover_past_and_future_days(monkeypatch):
    monkeypatch.setattr("training.forecast.shop_forecast.forecasters", lambda names: QUICK)
    steps = []
    found = forecast_shop(shop(), HORIZON, lambda name, share: steps.append((name, share)))
    rows = frame(found)
    assert rows.schema == frame_schema(FORECAST_FIELDS)
    assert rows.height == 3 * (100 + HORIZON)
    assert rows.group_by("level", "category").len().height == 3
    known = rows.filter(pl.col("revenue").is_not_null())
    assert known["forecast"].null_count() == known.height
    ahead = rows.filter(pl.col("forecast").is_not_null(), pl.col("category") == ALL_CATEGORIES)
    assert ahead["ts"].to_list() == [(20_100 + step) * DAY_MS for step in range(HORIZON)]
    assert ahead["day"][0] == str(np.datetime64(20_100, "D"))
    assert ahead.select(pl.all().is_null().any()).row(0, named=True) == {
        field.name: field.name == "revenue" for field in FORECAST_FIELDS
    }
    assert figures(found)["series"][0]["sum"] == pytest.approx(found.total.mean.sum())
    assert steps[-1][1] == pytest.approx(1.0)
    assert [share for _, share in steps] == sorted(share for _, share in steps)


def run(app, *arguments):
    return CliRunner().invoke(app, ["forecast", *map(str, arguments)])


@pytest.fixture
def app():
    return build_app()


def test_forecast_command_writes_file_page_and_metrics(app, archive, tmp_path, monkeypatch):
    monkeypatch.setattr("training.forecast.shop_forecast.forecasters", lambda names: QUICK)
    for name in ("f.parquet", "g.csv"):
        done = run(app, archive, "--horizon", HORIZON, "--categories", 3, "--out", tmp_path / name)
        assert done.exit_code == 0, done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "f.html", "f.json", "f.parquet", "g.csv", "g.html", "g.json",
    ]  # fmt: skip
    rows = pl.read_parquet(tmp_path / "f.parquet")
    assert rows["category"].n_unique() == 4
    assert pl.read_csv(tmp_path / "g.csv").height == rows.height
    page = (tmp_path / "f.html").read_text()
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']?(http|//)", page)
    said = json.loads((tmp_path / "f.json").read_text())
    assert said["series"][0]["nested"]["coverage_80"] > 0.5
    assert "chosen at each origin" in page


@pytest.mark.parametrize("name", ["f.html", "f.json"])
def test_forecast_command_refuses_the_name_of_its_page_or_back_test(app, tmp_path, name):
    done = run(app, tmp_path, "--out", tmp_path / name)
    assert isinstance(done.exception, UsageError)
    assert "ends in .parquet or .csv" in str(done.exception)
    assert not list(tmp_path.iterdir())


def test_days_without_sales_are_forecast_and_named_as_the_cause():
    nothing = np.zeros(100)
    assert "or has no sales: the forecast repeats" in render(forecast_shop(DailySales(20_000, nothing, {}), HORIZON))


def test_incomplete_last_day_is_ignored():
    hour = DAY_MS // 24
    assert last_whole_day(10 * DAY_MS + 23 * hour) == 10
    assert last_whole_day(10 * DAY_MS + 22 * hour) == 9
    with pytest.raises(ShopstreamError, match="no complete day"):
        daily_sales(pl.DataFrame(), 10, 9)
