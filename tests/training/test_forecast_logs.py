"""Sales forecasts of whole logs, the demo's shop and two real ones: `make models` and not `make test`."""

from datetime import date

import pytest
from oracle.real_logs import shared_file

from producers.archive.archive import day_start_ms
from producers.importing.importer import import_logs
from producers.importing.mapping import load_mapping
from producers.shop.generate import generate
from producers.shop.shop import Shop
from shopstream.jobs.sales import read_sales
from training.forecast.shop_forecast import figures, forecast_shop

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(900)]
HORIZON = 30


def measured(archive, categories=0):
    found = figures(forecast_shop(read_sales(archive, categories), HORIZON))
    for one in found["series"]:
        print(one["category"], one["model"], one["interval"], one["measured"])
    return found["series"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_forecast_of_the_demo_shop_beats_the_last_week(seed, tmp_path):
    generate(Shop(end_ms=day_start_ms(date(2026, 11, 7)), seed=seed), tmp_path / "shop")
    total, *categories = measured(tmp_path / "shop", 12)
    assert total["interval_origins"] >= 10
    assert total["measured"]["mase"] < 1
    assert total["measured"]["against_naive"] < 0.85
    assert 0.75 <= total["measured"]["coverage_80"] <= 0.85
    assert 0.91 <= total["measured"]["coverage_95"] <= 0.98
    assert all(one["measured"]["against_naive"] < 0.9 for one in categories)
    covered = [one["measured"]["coverage_80"] for one in categories]
    assert 0.75 <= sum(covered) / len(covered) <= 0.85


@pytest.mark.parametrize(
    ("name", "mapping"), [("online_retail_lines.parquet", "online-retail"), ("cdnow_sample.txt", "cdnow")]
)
def test_forecast_of_a_real_shop_beats_the_last_week(name, mapping, tmp_path):
    import_logs([(shared_file(name), *load_mapping(mapping))], tmp_path / "shop")
    (total,) = measured(tmp_path / "shop")
    assert total["measured"]["against_naive"] < 1
    assert total["measured"]["mase"] < 1.2
