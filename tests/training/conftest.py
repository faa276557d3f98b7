"""A small shop and a bundle trained on it, once for the whole folder."""

from datetime import date
from pathlib import Path

import pytest

from producers.archive.archive import day_start_ms
from producers.shop.generate import generate
from producers.shop.shop import Shop
from shopstream.jobs.train import train_bundle, training_set
from training.bundle import Bundle
from training.churn.train import TrainingPlan
from training.dataset import TrainingSet
from training.options import Horizon

DAY = 86_400_000
HORIZON = Horizon(horizon_days=30, history_days=40, spacing_days=15, cutoffs_max=6)
PLAN = TrainingPlan(tries=1, test_cutoffs=2, seed=3, repeats=30)


def small_shop(directory: Path, seed: int = 5) -> Path:
    shop = Shop(end_ms=day_start_ms(date(2025, 6, 1)), seed=seed, customers=500, events=50_000, days=150)
    generate(shop, directory)
    return directory


@pytest.fixture(scope="session")
def archive(tmp_path_factory) -> Path:
    return small_shop(tmp_path_factory.mktemp("shop") / "archive")


@pytest.fixture(scope="session")
def training(archive) -> TrainingSet:
    return training_set(archive, HORIZON)


@pytest.fixture(scope="session")
def bundle(archive, tmp_path_factory) -> Bundle:
    return train_bundle(archive, tmp_path_factory.mktemp("bundles") / "first", HORIZON, PLAN)[0]


@pytest.fixture(scope="session")
def plans() -> tuple[Horizon, TrainingPlan]:
    return HORIZON, PLAN
