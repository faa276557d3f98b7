"""Scores rows live: follows the current bundle in the background and adds its scores to rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec
import numpy as np
import polars as pl
import structlog

from consumers.metrics.definitions import DRIFT_PREFIX
from consumers.state.partition import PartitionState
from features.errors import ShopstreamError
from features.rules.segments import PROFILE_SCHEMA, with_profiles
from features.schema import DAY_MS
from features.scores.alerts import Alert, move
from features.scores.drift import Drift, DriftWindow
from features.scores.score import BUNDLE_FIELD, RISKS, Scoring, check_scores, trial_rows
from features.state.tables import Int32

log = structlog.get_logger("scoring")

CHECK_EVERY_S: Final = 2.0
RETRY_AFTER_S: Final = 30.0
"""Pause before a refused bundle is tried again: its storage may have been unavailable."""
DRIFT_ROWS_MIN: Final = 200
"""Minimum number of rows for a meaningful distribution."""


class Bundles(Protocol):
    """Source of bundles; called from a different thread than the loop's."""

    def current(self) -> str | None:
        """Return the key of the current bundle; it changes when the bundle does. None if there is no bundle."""
        ...

    def load(self, key: str) -> Scoring:
        """Load the bundle of a key from `current`.

        Raises:
            ShopstreamError: the bundle is broken, or does not fit this program.
        """
        ...


class LiveScoring:
    """Keeps the newest usable bundle.

    Args:
        bundles: source of the bundles.
        check_every_s: interval of checks for a new bundle.
        clock: monotonic clock, seconds.
    """

    def __init__(
        self, bundles: Bundles, check_every_s: float = CHECK_EVERY_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bundles, self._check_every_s, self._clock = bundles, check_every_s, clock
        self._pool = ThreadPoolExecutor(1, "bundle")
        self._key: str | None = None
        self._refused: tuple[str, float] | None = None
        self.current: Scoring | None = None
        self.changes = 0
        # the first rows must have scores already
        self._loading: Future[tuple[str, Scoring] | None] | None = self._pool.submit(self._load)
        self._loading.exception()
        self._due_s = 0.0
        self.poll()

    def poll(self) -> bool:
        """Return whether a new bundle has become current; called between two turns of the loop. Never waits."""
        if self._loading is None:
            if self._clock() >= self._due_s:
                self._loading = self._pool.submit(self._load)
            return False
        if not self._loading.done():
            return False
        loaded = self._loading.result()
        self._loading = None
        self._due_s = self._clock() + self._check_every_s
        if loaded is None:
            return False
        self._key, self.current = loaded
        self.changes += 1
        log.info("bundle is current", bundle=self.current.name)
        return True

    def close(self) -> None:
        """Wait for the bundle that is being loaded."""
        self._pool.shutdown(wait=True)

    def _load(self) -> tuple[str, Scoring] | None:
        key: str | None = None
        try:
            key = self._bundles.current()
            if key is None or key == self._key or self._is_refused(key):
                return None
            scoring = self._bundles.load(key)
            rows = trial_rows()
            check_scores(rows, scoring.scorer.score(rows))
        except Exception as error:  # noqa: BLE001 - the stream continues after any error of a bundle
            self._refuse(key or "", error)
            return None
        return key, scoring

    def _is_refused(self, key: str) -> bool:
        return self._refused is not None and self._refused[0] == key and self._clock() < self._refused[1]

    def _refuse(self, key: str, error: Exception) -> None:
        if self._refused is None or self._refused[0] != key:
            current = self.current.name if self.current is not None else "none"
            log.warning(
                "bundle refused; the previous one stays current", bundle=key, current=current, error=_message(error)
            )
        self._refused = key, self._clock() + RETRY_AFTER_S


def _message(error: Exception) -> str:
    return str(error) if isinstance(error, ShopstreamError) else f"{type(error).__name__}: {error}"


# --- rows -------------------------------------------------------------------------------------------------------------


def scored_rows(partition: PartitionState, rows: pl.DataFrame, codes: Int32, scoring: Scoring) -> pl.DataFrame:
    """Return rows with scores and the bundle's name; alerts of increased risks go to the partition's outbox.

    Args:
        partition: partition of the customers.
        rows: rows from `definitions.evaluate`.
        codes: numbers of the rows' customers, in the same order.
        scoring: current scoring.
    """
    with_profile_columns = rows
    if scoring.profile_columns:
        with_profile_columns = with_profiles(
            rows, _profiles(partition, rows, scoring.profile_columns), scoring.profile_columns
        )
    try:
        scores = scoring.scorer.score(with_profile_columns)
        check_scores(rows, scores)
    except ShopstreamError:
        raise
    except Exception as error:
        raise ShopstreamError(
            f"The bundle {scoring.name} cannot score rows: {_message(error)}.",
            "Train another bundle, or point `current` at the previous one; no record is lost.",
        ) from error
    scored = rows.hstack(scores).with_columns(pl.lit(scoring.name).alias(BUNDLE_FIELD.name))
    if scoring.thresholds is not None:
        _note_risks(partition, scored, codes, scoring)
    return scored


def _profiles(partition: PartitionState, rows: pl.DataFrame, columns: tuple[str, ...]) -> pl.DataFrame:
    shape = msgspec.defstruct("Profile", [(name, Any, None) for name in columns])
    decoder = msgspec.json.Decoder(shape)
    decoded: dict[str, Any] = {
        customer_id: decoder.decode(b"{" + profile + b"}")
        for customer_id in rows["customer_id"].to_list()
        if (profile := partition.profiles.get(customer_id))
    }
    values = {name: [getattr(profile, name) for profile in decoded.values()] for name in columns}
    schema: dict[str, type[pl.DataType]] = {
        "customer_id": pl.String,
        **{name: PROFILE_SCHEMA[name] for name in columns},
    }
    return pl.DataFrame({"customer_id": list(decoded), **values}, schema=schema)


def _note_risks(partition: PartitionState, rows: pl.DataFrame, codes: Int32, scoring: Scoring) -> None:
    assert scoring.thresholds is not None
    partition.reserve_bands()
    before = partition.bands[codes]
    probability = rows["churn_probability"].fill_null(float("nan")).to_numpy()
    moved = move(before, probability, scoring.thresholds)
    partition.bands[codes] = moved.held
    positions = np.flatnonzero(moved.risen)
    if len(positions) == 0:
        return
    partition.changed = True
    partition.alerts.add(
        Alert(
            customer_id=row["customer_id"],
            churn_risk=RISKS[int(moved.held[position])],
            day=str(np.datetime64(row["as_of"], "ms").astype("datetime64[D]")),
            ts=row["as_of"],
            churn_risk_before=RISKS[int(before[position])],
            churn_probability=row["churn_probability"],
            churn_reasons=row["churn_reasons"],
            segment=row["segment"],
            recommended_action=row["recommended_action"],
            revenue_365d=row["revenue_365d"],
            bundle=scoring.name,
        )
        for position, row in zip(positions.tolist(), rows[positions.tolist()].iter_rows(named=True), strict=True)
    )


# --- drift ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Day:
    window: DriftWindow
    seen: dict[int, np.ndarray[Any, np.dtype[np.bool_]]]


class DriftWatch:
    """Counts each customer's first row of a UTC day, so that busy customers do not weigh more than quiet ones.

    A bundle without a profile is not watched. A restart resets the day's counts.
    """

    def __init__(self) -> None:
        self._bundle = ""
        self._today: _Day | None = None
        self._last: Drift | None = None

    def count(self, partition: PartitionState, rows: pl.DataFrame, codes: Int32, as_of: int, scoring: Scoring) -> None:
        """Count scored rows of a partition's customers."""
        if scoring.profile is None:
            return
        day = as_of // DAY_MS
        if scoring.name != self._bundle:
            self._bundle, self._today, self._last = scoring.name, None, None
        if self._today is None or day > self._today.window.day:
            if self._today is not None and self._today.window.rows >= DRIFT_ROWS_MIN:
                self._last = self._today.window.drift()
            self._today = _Day(DriftWindow(scoring.profile, day), {})
        if day < self._today.window.day:
            return
        seen = self._today.seen.get(partition.number)
        if seen is None or len(seen) < partition.state.customer_count:
            grown = np.zeros(partition.state.customer_count, np.bool_)
            grown[: 0 if seen is None else len(seen)] = False if seen is None else seen
            seen = self._today.seen[partition.number] = grown
        new = ~seen[codes]
        if new.any():
            seen[codes] = True
            self._today.window.add(rows.filter(pl.Series(new)))

    def drift(self) -> Drift | None:
        """Return today's drift once it has about as many rows as yesterday's, else yesterday's; None: too few rows."""
        today = self._today.window if self._today is not None else None
        enough = max(DRIFT_ROWS_MIN, 0.9 * self._last.rows if self._last is not None else 0)
        if today is not None and today.rows >= enough:
            return today.drift()
        return self._last

    def figures(self) -> dict[str, float]:
        """Return the drift by column, named like a worker's metrics."""
        drift = self.drift()
        return {} if drift is None else {DRIFT_PREFIX + name: value for name, value in drift.psi.items()}
