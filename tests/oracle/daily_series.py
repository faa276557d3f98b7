"""Series of daily sales whose law is known, and models that cost nothing."""

import numpy as np

from training.forecast.day_effects import WEEK
from training.forecast.models import NAIVE

HORIZON = 14


def weekly(days: int, seed: int = 1, noise: float = 0.15) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rhythm = np.array([0.8, 0.9, 1.0, 1.0, 1.2, 1.4, 0.7])[np.arange(days) % WEEK]
    return 1_000 * rhythm * (1 + noise * rng.standard_normal(days))


def last_week(known: np.ndarray, horizon: int) -> np.ndarray:
    return np.resize(known[-WEEK:], horizon)


def mean_week(known: np.ndarray, horizon: int, weeks: int = 6) -> np.ndarray:
    return np.resize(known[len(known) % WEEK :].reshape(-1, WEEK)[-weeks:].mean(axis=0), horizon)


QUICK = {NAIVE: last_week, "weekday_mean": mean_week}
"""Stand-ins that cost nothing: the mean of the parts is `mean_week`."""
