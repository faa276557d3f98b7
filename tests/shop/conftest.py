from datetime import date

import pytest

from producers.archive.archive import day_start_ms
from producers.shop.generate import generate
from producers.shop.shop import Shop

END_MS = day_start_ms(date(2025, 6, 1))


@pytest.fixture(scope="session")
def shop():
    """A year with enough of everything to measure shares by."""
    return Shop(end_ms=END_MS, seed=3, customers=2_000, events=400_000, days=365)


@pytest.fixture(scope="session")
def archive_dir(shop, tmp_path_factory):
    directory = tmp_path_factory.mktemp("shop") / "archive"
    generate(shop, directory)
    return directory
