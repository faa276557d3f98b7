"""The forecast: what is measured is what was said before, on series whose law is known, and as a user calls it."""

import json
import re

import numpy as np
import polars as pl
import pytest
from oracle.daily_series import HORIZON, QUICK, last_week, mean_week, weekly
from typer.testing import CliRunner

from features.errors import ShopstreamError, UsageError
from features.schema import ALL_CATEGORIES, DAY_MS, FORECAST_FIELDS
from shopstream.cli.app import build_app
from training.archive_period import last_whole_day
from training.forecast.back_test import back_test, evaluate, forecast, interval, measure, plan_origins
from training.forecast.day_effects import WEEK
from training.forecast.models import (
    LEVELS,
    MEAN,
    NAIVE,
    PARTS,
    TOTAL_MODELS,
    forecasters,
    level_profile,
    mean_of_parts,
    predict,
    weekday_mean,
)
from training.forecast.page import render
from training.forecast.shop_forecast import figures, forecast_shop, frame
from training.sales import DailySales, daily_sales
from training.trend_frames import frame_schema


def test_forecast_is_the_mean_of_its_five_parts():
    series = weekly(120)
    models = forecasters(TOTAL_MODELS)
    found = forecast(series, HORIZON, models)
    assert found.model == MEAN
    expected = np.mean([models[name](series, HORIZON) for name in PARTS], axis=0)
    np.testing.assert_allclose(found.mean, expected)
    assert list(found.evaluation.models) == [*TOTAL_MODELS, MEAN]
    assert found.evaluation.models[MEAN].against_naive < 0.95
    assert (found.bounds[95][0] <= found.bounds[80][0]).all()
    assert (found.bounds[80][1] <= found.bounds[95][1]).all()


def test_models_of_means_equal_values_worked_out_by_hand():
    series = np.concatenate([np.full(2 * WEEK, 99.0), np.tile([1.0, 2, 3, 4, 5, 6, 7], 8)])
    np.testing.assert_allclose(weekday_mean(series, 9), [1, 2, 3, 4, 5, 6, 7, 1, 2])
    lifted = np.tile([1.0, 2, 3, 4, 5, 6, 7], 8)
    lifted[-28:] *= 2
    profile = np.tile([1.0, 2, 3, 4, 5, 6, 7], 1) / 4
    np.testing.assert_allclose(level_profile(lifted, WEEK), 8 * profile)


def test_part_that_fails_or_diverges_is_left_out_of_the_mean_and_named():
    def failing(known, horizon):
        raise ZeroDivisionError

    series = weekly(150)
    found = forecast(series, HORIZON, {**QUICK, "ces": failing, "theta_root": lambda known, h: np.full(h, 1e9)})
    np.testing.assert_allclose(found.mean, mean_week(series, HORIZON))
    assert set(found.failed) == {"ces", "theta_root"}
    assert list(found.evaluation.models) == [NAIVE, "weekday_mean", MEAN]
    assert predict(lambda known, h: np.full(h, np.nan), series, HORIZON) is None


def test_model_that_fails_only_before_the_tested_origins_is_measured():
    def late(known, horizon):
        if len(known) < 50:
            raise ZeroDivisionError
        return mean_week(known, horizon)

    found = forecast(weekly(150), HORIZON, {**QUICK, "ces": late})
    early = found.test.origins[0]
    assert early < 50 <= found.test.origins[found.test.first]
    assert found.failed == ()
    measures = found.evaluation.models
    assert measures["ces"].mae == pytest.approx(measures["weekday_mean"].mae)
    assert measures["ces"].coverage[80] > 0.5


def test_coverage_uses_origins_before_the_tested_ones():
    found = forecast(weekly(300), HORIZON, QUICK)
    assert found.test.first > 0
    assert found.evaluation.origins == found.evaluation.interval_origins == len(plan_origins(300, HORIZON))


def test_mean_without_any_part_is_that_of_the_other_models():
    np.testing.assert_allclose(mean_of_parts({NAIVE: np.array([4.0]), "ces": None}), [4.0])


def test_intervals_hold_on_days_that_were_not_known():
    inside = {level: [] for level in LEVELS}
    for seed in range(12):
        series = weekly(260, seed)
        found = forecast(series[:-HORIZON], HORIZON, QUICK)
        assert found.interval == "conformal"
        for level in LEVELS:
            low, high = found.bounds[level]
            inside[level] += ((low <= series[-HORIZON:]) & (series[-HORIZON:] <= high)).tolist()
    assert 0.72 < np.mean(inside[80]) < 0.88
    assert 0.89 < np.mean(inside[95]) < 0.99


def test_reported_errors_use_no_future_days():
    """Other days after an origin change nothing that was forecast there, nor the width of its intervals."""
    series = weekly(220)
    changed = series.copy()
    changed[-HORIZON:] = changed[-HORIZON:] * 5 + 3_000
    origins = plan_origins(len(series), HORIZON)
    first, second = (back_test(one, HORIZON, origins, QUICK) for one in (series, changed))
    for name in first.means:
        np.testing.assert_array_equal(first.means[name], second.means[name])
    same = np.flatnonzero(np.array(origins) <= len(series) - HORIZON)
    known = first.known(origins[int(same[-1])])
    assert not known[-1].any()
    assert known[0].all()
    size = float(first.sizes[-1])
    mean = mean_week(series[: origins[-1]], HORIZON)
    for level in LEVELS:
        bounds = [interval(test, known, MEAN, mean, size)[level] for test in (first, second)]
        np.testing.assert_array_equal(bounds[0], bounds[1])


def test_coverage_at_an_origin_comes_from_the_errors_before_it():
    """Intervals from all errors cover the wild end of a series; those from the errors before it do not."""
    series = weekly(220, 3, noise=0.02)
    series[-3 * WEEK :] *= np.random.default_rng(1).uniform(0.2, 1.8, 3 * WEEK)
    origins = plan_origins(len(series), HORIZON)
    coverage = evaluate(back_test(series, HORIZON, origins, QUICK)).models[MEAN].coverage
    later = [o for o in range(len(origins)) if origins[o] - origins[0] >= 5 * WEEK]
    wild = sum(max(0, min(HORIZON, origins[o] + HORIZON - (len(series) - 3 * WEEK))) for o in later)
    assert wild / (len(later) * HORIZON) > 0.1
    assert coverage[95] < 0.93


def test_forecast_metrics_equal_values_worked_out_by_hand():
    series = np.array([10.0, 0.0, 10.0, 10.0, 10.0, 10.0, 10.0] * 6)
    series[1] = 1.0  # sold once, so that the weekday is not closed
    series[36] = 1.0
    test = back_test(series, 7, (28, 35), {NAIVE: last_week, "weekday_mean": lambda known, h: np.full(h, 12.0)})
    bounds = {level: (np.full((2, 7), 9.0), np.full((2, 7), 15.0)) for level in LEVELS}
    test.outlooks[0].shut[:] = test.outlooks[1].shut[:] = False
    found = measure(test, np.full((2, 7), 12.0), bounds, [0, 1])
    assert found.mae == pytest.approx((6 * 2 + 12 + 6 * 2 + 11) / 14)
    assert found.rmse == pytest.approx(np.sqrt((6 * 4 + 144 + 6 * 4 + 121) / 14))
    assert found.mape == pytest.approx((12 * 0.2 + 11) / 13)  # the day without sales has none
    assert found.coverage == {80: pytest.approx(12 / 14), 95: pytest.approx(12 / 14)}


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


def test_forecast_and_bounds_of_a_dying_shop_are_never_negative():
    series = weekly(150) * np.linspace(1.0, 0.0, 150) ** 2
    found = forecast(series, HORIZON, forecasters(TOTAL_MODELS))
    assert (found.mean >= 0).all()
    assert all((low >= 0).all() and (low <= high).all() for low, high in found.bounds.values())
    falling = np.linspace(900.0, 1.0, 60)
    for name, model in forecasters(TOTAL_MODELS).items():
        # negative roots would be squared to rising sales
        mean = model(falling, 90)
        assert (mean >= 0).all(), name
        assert mean[-1] <= max(falling[-28:].mean() * 2, mean[0]), name


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
    assert said["series"][0]["measured"]["coverage_80"] > 0.5
    assert "mean of five" in page


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
