"""The edge to Spark: a session with what our tasks need of it, and its failures as errors for people."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from features.errors import ShopstreamError, UsageError
from shopstream.spark.java import system_java

ROWS_PER_BATCH: Final = 50_000
"""Rows that go between Spark and Python at a time, some 6 MB."""
DEFAULTS: Final = {
    "spark.sql.execution.arrow.maxRecordsPerBatch": str(ROWS_PER_BATCH),
    "spark.sql.session.timeZone": "UTC",
    # a task has one core; libraries with threads of their own would take the others
    "spark.executorEnv.POLARS_MAX_THREADS": "1",
    "spark.executorEnv.OMP_NUM_THREADS": "1",
    "spark.executorEnv.ARROW_NUM_THREADS": "1",
    "spark.ui.showConsoleProgress": "false",
}
LOCAL: Final = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1", "spark.ui.enabled": "false"}
"""On one machine: nothing listens to the network."""


def require() -> None:
    """Check what Spark needs on this machine.

    Raises:
        ShopstreamError: PySpark or a Java for it is missing.
    """
    if importlib.util.find_spec("pyspark") is None:
        raise ShopstreamError("PySpark is not installed.", "Run `pip install 'shopstream[spark]'`.")
    system_java()


def parsed_properties(given: list[str]) -> dict[str, str]:
    """`KEY=VALUE` settings of Spark. Raises UsageError for another form."""
    found = {}
    for one in given:
        key, is_there, value = one.partition("=")
        if not is_there or not key:
            raise UsageError(f"--conf is {one!r}.", "Give KEY=VALUE: spark.executor.memory=4g.")
        found[key] = value
    return found


@contextmanager
def session(name: str, master: str | None, properties: Mapping[str, str]) -> Iterator[Any]:
    """A Spark session (pyspark.sql.SparkSession) that is stopped at the end.

    Args:
        name: shown by the cluster.
        master: `local[2]`, `spark://…`, `yarn`, `k8s://…`; None leaves it to spark-submit or spark-defaults.conf.
        properties: of Spark; they win over ours.

    Raises:
        ShopstreamError: Spark cannot start here, or what was done with it failed.
    """
    require()
    from py4j.protocol import Py4JError  # noqa: PLC0415
    from pyspark.errors import PySparkException  # noqa: PLC0415
    from pyspark.sql import SparkSession  # noqa: PLC0415

    on_one_machine = master is not None and master.startswith("local")
    if on_one_machine:
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        os.environ.setdefault("SPARK_LOCAL_HOSTNAME", "localhost")
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(name)
    if master is not None:
        builder = builder.master(master)
    for key, value in {**DEFAULTS, **(LOCAL if on_one_machine else {}), **properties}.items():
        builder = builder.config(key, value)
    try:
        spark = builder.getOrCreate()
    except (PySparkException, Py4JError, RuntimeError) as error:
        raise ShopstreamError(
            f"Spark does not start: {first_cause(str(error))}", "Look at --master and --conf."
        ) from error
    try:
        yield spark
    except (PySparkException, Py4JError) as error:
        raise ShopstreamError(f"Spark failed: {first_cause(str(error))}", "--debug shows all it said.") from error
    finally:
        spark.stop()


def first_cause(text: str) -> str:
    """What went wrong, in what Spark tells of it: our own error's words where a task raised one."""
    ours = re.search(r"features\.errors\.\w+: (.+)", text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return ours[1] if ours else (lines[0] if lines else "it did not say why")
