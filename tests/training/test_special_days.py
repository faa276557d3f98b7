"""Special days: what a file may hold, how they change a forecast, and that they teach nothing about ordinary days."""

import numpy as np
import pytest
from oracle.daily_series import HORIZON, QUICK, mean_week, weekly

from features.calendar import day_number
from features.errors import UsageError
from training.forecast.back_test import back_test, forecast, plan_origins
from training.forecast.day_effects import WEEK, measure_effect, outlook, silences
from training.forecast.page import remarks, render
from training.forecast.shop_forecast import figures, forecast_shop, frame
from training.forecast.special_days import NO_SPECIAL_DAYS, SpecialDays, load_special_days, parse_special_days
from training.sales import DailySales

FIRST = day_number("2026-01-01")
DAYS = 200


def special(effect="measured", *positions, name="sale"):
    return SpecialDays({name: effect}, {FIRST + position: name for position in positions})


def run(series, days, models=QUICK):
    return forecast(series, HORIZON, models, first_day=FIRST, special=days)


# --- the file ---------------------------------------------------------------------------------------------------------


def test_file_of_names_dates_and_ranges_is_read():
    found = parse_special_days(
        "Sale:\n  days: [2026-01-02, 2026-11-27/2026-11-28]\nClosed:\n  effect: closed\n  days: [2026-11-28]\n", "f"
    )
    assert found.effects == {"Sale": "measured", "Closed": "closed"}
    # a closed day within a campaign has no sales
    assert [found.names[day_number(day)] for day in ("2026-01-02", "2026-11-27", "2026-11-28")] == [
        "Sale", "Sale", "Closed",
    ]  # fmt: skip
    np.testing.assert_array_equal(found.positions(FIRST, 3), [-1, 0, -1])
    assert load_special_days(None) == NO_SPECIAL_DAYS == parse_special_days("", "f")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Sale:\n  days: [2026-13-01]\n", "month must be in"),
        ("Sale:\n  days:\n    - 2026-01-01\n    - 1 May\n", "line 4: .*'1 May' is not a day"),
        ("Sale:\n  days:\n    - 2026-01-01\n    - 2026-01-05/2026-01-02\n", "line 4: .*no range"),
        ("Sale:\n  days: [2026-01-01/9999-01-01]\n", "no range of 1 to 366 days"),
        ("Sale:\n  days: []\n", "line 2"),
        ("Sale:\n  days: [2026-01-01]\n  factor: 2\n", "line 3: Sale.factor: unknown key"),
        ("Sale:\n  days: [2026-01-01]\nFair:\n  days: [2026-01-01]\n", "line 4: .*day of 'Sale' already"),
        ("Sale:\n  days: [2026-01-01]\nSale:\n  days: [2026-01-02]\n", "repeated"),
        ("Sale:\n  days: [2026-01-01]\n  effect: huge\n", "line 3"),
        ("- Sale\n", "line 1"),
    ],
)
def test_mistake_in_the_file_is_refused_with_its_line(text, message):
    with pytest.raises(UsageError, match=message):
        parse_special_days(text, "days.yaml")


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        load_special_days(tmp_path / "none.yaml")


# --- campaigns --------------------------------------------------------------------------------------------------------


def test_campaign_ahead_has_the_measured_effect_of_past_days_of_its_name():
    series = weekly(DAYS, noise=0.05)
    ordinary = series.copy()
    series[[40, 41, 90, 91, 140]] *= 3
    found = run(series, special("measured", 40, 41, 90, 91, 140, DAYS + 3))
    plain = run(ordinary, NO_SPECIAL_DAYS)
    assert found.mean[3] / plain.mean[3] == pytest.approx(3, rel=0.1)
    others = np.arange(HORIZON) != 3
    np.testing.assert_allclose(found.mean[others], plain.mean[others], rtol=0.01)
    effect = found.effects["sale"]
    assert (effect.days, effect.ratio) == (5, pytest.approx(3, rel=0.1))


def test_campaign_days_teach_nothing_about_ordinary_days():
    series = weekly(DAYS)
    wild = series.copy()
    days = [DAYS - 20, DAYS - 3, DAYS - 2]
    wild[days] = 1e6
    found, same = (run(one, special("none", *days)) for one in (series, wild))
    np.testing.assert_allclose(found.mean, same.mean)
    for level, bounds in found.bounds.items():
        np.testing.assert_allclose(bounds, same.bounds[level])
    assert run(wild, NO_SPECIAL_DAYS).mean.max() > 10 * same.mean.max()


@pytest.mark.parametrize(("past", "count"), [((), "no past day"), ((50,), "only 1 past day")])
def test_campaign_ahead_with_too_few_past_days_is_refused_with_the_reason(past, count):
    with pytest.raises(UsageError, match=f"'sale' on 2026-07-22 cannot be measured: the archive has {count}"):
        run(weekly(DAYS), special("measured", *past, DAYS + 2))


def test_campaign_beyond_the_horizon_needs_no_past_day():
    assert not run(weekly(DAYS), special("measured", DAYS + HORIZON)).effects


def test_effect_of_a_name_equals_the_formula():
    sales, ordinary = np.array([30.0, 20.0, 40.0]), np.array([10.0, 10.0, 20.0])
    found = measure_effect(sales, ordinary)
    assert found.ratio == pytest.approx(90 / 40)
    deviation = np.sqrt(((sales - found.ratio * ordinary) ** 2).sum() / 2)
    assert found.error == pytest.approx(deviation * np.sqrt(1 + 1 / 3) / ordinary.mean())
    assert measure_effect(sales[:1], ordinary[:1]) is None


def test_sales_of_a_campaign_where_ordinary_days_have_none_are_added():
    found = measure_effect(np.array([30.0, 50.0]), np.zeros(2))
    assert (found.ratio, found.added) == (1.0, 40.0)


def test_interval_of_a_campaign_day_holds_and_is_wider():
    covered, wider = [], []
    rng = np.random.default_rng(5)
    for seed in range(60):
        series = weekly(DAYS + HORIZON, seed)
        days = [30, 31, 80, 81, 130, 131, DAYS + 4]
        series[days] *= rng.normal(2.0, 0.2, len(days))
        found = run(series[:DAYS], special("measured", *days))
        low, high = (bound[4] for bound in found.bounds[80])
        covered.append(low <= series[DAYS + 4] <= high)
        others = found.bounds[80][1][5] - found.bounds[80][0][5]
        wider.append((high - low) / others)
    assert 0.7 <= np.mean(covered) <= 0.97
    assert np.mean(wider) > 1.5


def test_back_test_measures_an_effect_from_the_days_before_its_origin():
    series = weekly(DAYS, noise=0.02)
    days = [60, 61, 170, 171]
    series[days[:2]] *= 2
    series[days[2:]] *= 4
    origins = plan_origins(DAYS, HORIZON)
    test = back_test(series, HORIZON, origins, QUICK, first_day=FIRST, special=special("measured", *days))
    for row, origin in enumerate(origins):
        for effect in test.outlooks[row].effects.values():
            assert effect.ratio == pytest.approx(2, rel=0.05)
        # the first two days have no past day of the name, so that no error of theirs counts
        hidden = [day - origin for day in days[:2] if 0 <= day - origin < HORIZON]
        assert not test.counted[row, hidden].any()
    assert any(one.effects for one in test.outlooks)
    assert not any(one.plain[list(one.effects)].any() for one in test.outlooks)


# --- closures ---------------------------------------------------------------------------------------------------------


def test_day_marked_closed_has_no_sales_and_does_not_teach():
    series = weekly(DAYS)
    shut = series.copy()
    days = [*range(DAYS - 12, DAYS - 2), DAYS + 1]
    shut[days[:-1]] = 0.0
    found = run(shut, special("closed", *days))
    assert found.mean[1] == 0
    assert all(bound[1] == 0 for bounds in found.bounds.values() for bound in bounds)
    plain = run(series, NO_SPECIAL_DAYS)
    others = np.arange(HORIZON) != 1
    np.testing.assert_allclose(found.mean[others], plain.mean[others], rtol=0.12)
    # unmarked, the same zeros lower the forecast
    assert run(shut, NO_SPECIAL_DAYS).mean.sum() < 0.85 * plain.mean.sum()


def test_day_marked_closed_that_has_sales_is_refused():
    with pytest.raises(UsageError, match=r"marked closed have sales: 2026-01-11 \(sale\)"):
        run(weekly(DAYS), special("closed", 10))


def test_weekly_closed_day_is_learned_and_has_no_interval():
    series = weekly(DAYS)
    series[::WEEK] = 0.0
    found = run(series, NO_SPECIAL_DAYS)
    sundays = (np.arange(HORIZON) + DAYS) % WEEK == 0
    assert (found.mean[sundays] == 0).all()
    assert all((bound[sundays] == 0).all() for bounds in found.bounds.values() for bound in bounds)
    assert (found.mean[~sundays] > 0).all()
    assert len(found.closed_weekdays) == sundays.sum()


def test_weekday_without_sales_in_a_sparse_series_is_not_closed():
    rng = np.random.default_rng(2)
    sparse = np.where(rng.random(DAYS) < 0.15, 100.0, 0.0)
    sparse[(np.arange(DAYS) % WEEK == 3) & (np.arange(DAYS) > DAYS - 60)] = 0.0
    assert not outlook(sparse, FIRST, HORIZON).shut.any()


def test_reopened_weekday_is_forecast_again():
    series = weekly(DAYS)
    series[: DAYS - WEEK : WEEK] = 0.0
    assert not outlook(series, FIRST, HORIZON).shut.any()


def test_opening_on_a_closed_weekday_has_the_effect_of_past_openings():
    series = weekly(DAYS, noise=0.02)
    series[::WEEK] = 0.0
    openings = [70, 140, 203]
    series[openings[:2]] = 2_000.0
    found = run(series, special("measured", *openings))
    assert found.mean[3] == pytest.approx(2_000, rel=0.05)


def test_campaign_on_a_closed_weekday_leaves_it_closed():
    series = weekly(DAYS, noise=0.02)
    series[::WEEK] = 0.0
    days = [*range(70, 77), *range(140, 147), 202, 203]
    series[days[:-2]] *= 2
    found = run(series, special("measured", *days))
    assert found.mean[3] == 0
    assert found.mean[2] == pytest.approx(2 * mean_week(weekly(DAYS, noise=0.02), HORIZON)[2], rel=0.1)


def test_silence_is_named_and_a_marked_closure_is_not():
    series = weekly(DAYS)
    series[50:58] = 0.0
    series[120] = 0.0
    assert silences(series, FIRST) == [(FIRST + 50, FIRST + 57)]
    assert silences(series, FIRST, special("closed", *range(50, 58))) == []


# --- a shop -----------------------------------------------------------------------------------------------------------


def test_special_days_are_in_documents_figures_and_page(monkeypatch):
    monkeypatch.setattr("training.forecast.shop_forecast.forecasters", lambda names: QUICK)
    series = weekly(DAYS)
    series[[40, 90]] *= 2
    series[100:110] = 0.0
    days = SpecialDays(
        {"sale": "measured", "holiday": "closed"},
        {FIRST + 40: "sale", FIRST + 90: "sale", FIRST + DAYS + 2: "sale", FIRST + DAYS + 4: "holiday"},
    )
    shop = forecast_shop(DailySales(FIRST, series, {"tea": series}), HORIZON, special=days)
    found = figures(shop)
    assert [(one["name"], one["effect"], one["past_days"]) for one in found["special_days"]] == [
        ("sale", "measured", 2), ("holiday", "closed", None),
    ]  # fmt: skip
    ahead = frame(shop).filter(frame(shop)["forecast"].is_not_null(), frame(shop)["level"] == "total")
    assert ahead["forecast"][4] == ahead["high_95"][4] == 0
    assert ahead["model"].unique().to_list() == ["mean_of_five"]
    assert found["silences"] == [{"first": "2026-04-11", "last": "2026-04-20"}]
    page = render(shop)
    assert f"{found['special_days'][0]['ratio']:.2f} x an ordinary day" in page.split("Special days ahead")[1]
    assert "closed: no sales" in page
    assert any("no sales from 2026-04-11 to 2026-04-20" in one for one in remarks(found))
    assert "no sales from 2026-04-11 to 2026-04-20" in page
