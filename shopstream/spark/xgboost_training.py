"""Trains XGBoost on a training set that does not fit one machine, by `xgboost.spark` with the rows on the cluster.

Steps of each fit:

1. Tasks prepare the training rows with the code of `training.predict`.
2. Spark brings each customer's rows to one worker and sorts them. The same rows, seed and number of workers then give
   the same model.
3. The workers train together, all at the same time, and the trees come back to this machine.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import polars as pl
import psutil
import pyarrow as pa

from features.errors import ShopstreamError
from shopstream.spark.archive_scan import Files
from shopstream.spark.options import Learn
from shopstream.spark.training_set import LABELLED_SCHEMA, LabelledRows, labelled_rows
from training.churn.external_fit import FitTask
from training.dataset import TrainingSet
from training.options import Horizon

BYTES_A_ROW: Final = 2_500
"""Memory of this machine per row of a training set: the row, its inputs, and copies for the folds."""
MEMORY_SHARE: Final = 0.5
"""Maximum share of the free memory that a training set may take."""
_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")
_USED: Final = Path("/sys/fs/cgroup/memory.current")
_PREPARED_DDL: Final = "customer_id string, as_of bigint, inputs array<float>, label double"
_PREPARED: Final = pa.schema(
    [("customer_id", pa.string()), ("as_of", pa.int64()), ("inputs", pa.list_(pa.float32())), ("label", pa.float64())]
)
_OMITTED: Final = ("n_jobs", "objective", "missing", "enable_categorical", "importance_type", "verbosity")
"""Model settings that `xgboost.spark` sets itself, or that have no effect."""


def memory_bytes() -> int:
    """Return the free memory of this machine, or of this process's container if that is less."""
    free = int(psutil.virtual_memory().available)
    try:
        return min(free, int(_LIMIT.read_text()) - int(_USED.read_text()))
    except (OSError, ValueError):  # no container, or one without a limit
        return free


def choose_location(requested: Learn, rows: int, free_bytes: int) -> Literal["machine", "cluster"]:
    """Choose where the models of a training set are trained.

    Args:
        requested: requested place; `auto` decides by the size.
        rows: number of rows of the training set.
        free_bytes: free memory of this machine in bytes.
    """
    if requested != "auto":
        return requested
    return "machine" if rows * BYTES_A_ROW <= free_bytes * MEMORY_SHARE else "cluster"


def workers_of(spark: Any, requested: int | None = None) -> int:
    """Return the number of workers that train together: the requested number, or all task slots of the cluster.

    Raises:
        ShopstreamError: there are fewer slots, or their number changes, which a barrier does not support.
    """
    context = spark.sparkContext
    if context.getConf().get("spark.dynamicAllocation.enabled", "false").lower() == "true":
        raise ShopstreamError(
            "Training on the cluster starts all its workers together, which dynamic allocation does not support.",
            "Add --conf spark.dynamicAllocation.enabled=false and spark.executor.instances, or train on this machine.",
        )
    slots = context.defaultParallelism // int(context.getConf().get("spark.task.cpus", "1"))
    if requested is not None and requested > slots:
        raise ShopstreamError(
            f"{requested} workers are requested, but the cluster runs {slots} tasks at a time.", "Give fewer --workers."
        )
    return max(requested or slots, 1)


@dataclass(slots=True)
class ClusterLearner:
    """A `training.churn.external_fit.Learner` with its rows on Spark.

    Attributes:
        labelled: the labelled rows.
        workers: number of workers that train together, each a task with the cores of `spark.task.cpus`.
    """

    labelled: LabelledRows
    workers: int
    _about: dict[str, Any] = field(default_factory=dict)

    @property
    def about(self) -> Mapping[str, Any]:
        """Implements Learner."""
        return self._about

    def fit(self, model: Any, task: FitTask) -> Any:
        """Implements Learner."""
        from pyspark import StorageLevel  # noqa: PLC0415
        from xgboost import XGBClassifier  # noqa: PLC0415
        from xgboost.spark import SparkXGBClassifier, SparkXGBRegressor  # noqa: PLC0415

        logging.getLogger("XGBoost-PySpark").setLevel(logging.WARNING)
        settings = {name: value for name, value in model.get_params().items() if value is not None}
        parameters = {name: value for name, value in settings.items() if name not in _OMITTED}
        columns = {"features_col": "inputs", "label_col": "label", "num_workers": self.workers}
        if isinstance(model, XGBClassifier):
            estimator = SparkXGBClassifier(**columns, **parameters)
        else:
            estimator = SparkXGBRegressor(**columns, objective=settings["objective"], **parameters)
        rows = self._prepared(task).persist(StorageLevel.MEMORY_AND_DISK)
        try:
            # also fills the cache: rows are prepared once, not by workers that wait for each other
            self._about = {"rows": rows.count(), "workers": self.workers}
            booster = estimator.fit(rows).get_booster()
        finally:
            rows.unpersist()
        model.load_model(bytearray(booster.save_raw("json")))
        return model

    def _prepared(self, task: FitTask) -> Any:
        """Prepare the training rows, one partition per worker."""
        labelled = self.labelled.frame.where(f"{task.label} is not null")
        inputs = labelled.select(*LABELLED_SCHEMA).mapInArrow(functools.partial(prepared, task), _PREPARED_DDL)
        return inputs.repartition(self.workers, "customer_id").sortWithinPartitions("as_of", "customer_id")


@dataclass(slots=True)
class ClusterTraining:
    """Steps of one training: gather the rows, then choose by their number where to train.

    Attributes:
        spark: the session.
        requested: requested place of the training.
        workers: number of workers on the cluster; None: all available slots.
        sample_rows: number of rows loaded to this machine if the cluster trains.
        learner: learner on the cluster, set once the rows are gathered; None if this machine trains.
    """

    spark: Any
    requested: Learn
    workers: int | None
    sample_rows: int
    learner: ClusterLearner | None = None

    def gather(
        self,
        files: Files,
        horizon: Horizon,
        work: str,
        share: float,
        on_step: Callable[[str, float | None], None],
    ) -> TrainingSet:
        """Gather the training set for this machine: all rows, or a sample; arguments as for `labelled_rows`.

        Raises:
            ShopstreamError: the history is too short, no customer has ordered, or the cluster cannot train.
        """
        if self.requested == "cluster":
            workers_of(self.spark, self.workers)  # fail before the long work
        labelled = labelled_rows(self.spark, files, horizon, work, share, on_step)
        location = choose_location(self.requested, labelled.rows, memory_bytes())
        on_step("gathering the training set", None)
        if location == "machine":
            return labelled.load()
        self.learner = ClusterLearner(labelled, workers_of(self.spark, self.workers))
        return labelled.load(self.sample_rows)

    @property
    def description(self) -> str:
        """Place of the training, for display."""
        if self.learner is None:
            return "on this machine"
        about = self.learner.about
        return f"by {about['workers']} workers from {about['rows']:,} rows"


# --- in the tasks -----------------------------------------------------------------------------------------------------
def prepared(task: FitTask, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Convert labelled rows to the input rows of XGBoost, keeping only the training rows.

    Args:
        task: selection of the rows, and the label.
        batches: batches with the columns of `training_set.LABELLED_ARROW`.

    Yields:
        customer_id, as_of, inputs (float32, NaN for missing values) and label.
    """
    for batch in batches:
        rows = pl.DataFrame(pa.Table.from_batches([batch]), schema=LABELLED_SCHEMA)
        chosen, inputs, labels = task.prepared(rows)
        n, k = inputs.shape
        lists = pa.ListArray.from_arrays(pa.array(np.arange(0, n * k + 1, k), pa.int32()), pa.array(inputs.ravel()))
        ids = chosen["customer_id"].to_arrow().cast(pa.string())
        yield pa.RecordBatch.from_arrays([ids, chosen["as_of"].to_arrow(), lists, pa.array(labels)], schema=_PREPARED)
