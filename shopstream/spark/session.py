"""Starts Spark sessions with the properties our tasks need, and converts Spark's failures to errors for users."""

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
"""Rows per Arrow batch between Spark and Python, about 6 MB."""
DEFAULTS: Final = {
    "spark.sql.execution.arrow.maxRecordsPerBatch": str(ROWS_PER_BATCH),
    "spark.sql.session.timeZone": "UTC",
    # a task has one core; libraries with their own threads would use the cores of other tasks
    "spark.executorEnv.POLARS_MAX_THREADS": "1",
    "spark.executorEnv.OMP_NUM_THREADS": "1",
    "spark.executorEnv.ARROW_NUM_THREADS": "1",
    "spark.ui.showConsoleProgress": "false",
}
LOCAL: Final = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1", "spark.ui.enabled": "false"}
"""Properties for one machine: nothing listens to the network."""
PYTHON: Final = "spark.pyspark.python"
"""Property that names the workers' Python; Spark itself reads it in `spark-submit` only."""
DEFAULT_MASTER: Final = "local[*]"
"""Default of Spark, if no master is configured."""


def require() -> None:
    """Check that this machine can run Spark.

    Raises:
        ShopstreamError: PySpark or a suitable Java is missing.
    """
    if importlib.util.find_spec("pyspark") is None:
        raise ShopstreamError("PySpark is not installed.", "Run `pip install 'shopstream[spark]'`.")
    system_java()


def parse_properties(texts: list[str]) -> dict[str, str]:
    """Parse `KEY=VALUE` settings of Spark. Raises UsageError for another form."""
    properties = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise UsageError(f"Invalid value for --conf: {text!r}.", "Give KEY=VALUE: spark.executor.memory=4g.")
        properties[key] = value
    return properties


@contextmanager
def session(name: str, master: str | None, properties: Mapping[str, str]) -> Iterator[Any]:
    """Open a Spark session (pyspark.sql.SparkSession) and stop it at the end of the context.

    Args:
        name: name shown by the cluster.
        master: `local[2]`, `spark://…`, `yarn`, `k8s://…`; None leaves it to spark-submit or spark-defaults.conf.
        properties: properties of Spark; they override ours.

    Raises:
        ShopstreamError: Spark cannot start here, or work done with it failed.
    """
    require()
    from py4j.protocol import Py4JError  # noqa: PLC0415
    from pyspark.errors import PySparkException  # noqa: PLC0415
    from pyspark.sql import SparkSession  # noqa: PLC0415

    try:
        requested = dict(properties) if master is None else {**properties, "spark.master": master}
        own = (
            local_properties(requested)
            if (requested.get("spark.master") or _default_master(requested)).startswith("local")
            else {}
        )
        builder = SparkSession.builder.appName(name)
        for key, value in {**DEFAULTS, **own, **requested}.items():
            builder = builder.config(key, value)
        spark = builder.getOrCreate()
    except (PySparkException, Py4JError, RuntimeError) as error:
        raise ShopstreamError(
            f"Spark did not start: {first_cause(str(error))}", "Check --master and --conf."
        ) from error
    try:
        yield spark
    except (PySparkException, Py4JError) as error:
        cause = first_cause(str(error))
        raise ShopstreamError(f"Spark failed: {cause}", remedy_of(cause)) from error
    finally:
        spark.stop()


def local_properties(requested: Mapping[str, str]) -> dict[str, str]:
    """Return the properties for a local master, and set Spark's environment variables; the user's own values win."""
    python = requested.get(PYTHON) or os.environ.get("PYSPARK_PYTHON") or sys.executable
    os.environ["PYSPARK_PYTHON"] = python
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    os.environ.setdefault("SPARK_LOCAL_HOSTNAME", "localhost")
    return {**LOCAL, PYTHON: python}


def _default_master(requested: Mapping[str, str]) -> str:
    """Return the master of spark-submit or spark-defaults.conf; only Spark's Java can read it."""
    from pyspark import SparkConf, SparkContext  # noqa: PLC0415

    conf = SparkConf(loadDefaults=False)
    conf.setAll([*{**DEFAULTS, **requested}.items()])
    SparkContext._ensure_initialized(conf=conf)  # noqa: SLF001 - starts Java, as the session would
    return str(SparkConf().get("spark.master", DEFAULT_MASTER))


def first_cause(text: str) -> str:
    """Extract the cause from an error text of Spark: the error that a task raised, ours before others."""
    ours = re.search(r"features\.errors\.\w+: (.+)", text)
    if ours:
        return ours[1]
    # the last line of a traceback is the first one that is not indented
    raised = re.search(r"Traceback \(most recent call last\):\n(?:[ \t].*\n|\n)+([\w.]+: .+)", text)
    if raised:
        return raised[1].strip()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else "Spark gave no reason"


def remedy_of(cause: str) -> str:
    """Return what the user can do about the cause of Spark's failure."""
    if "No module named" in cause or "PYTHON_VERSION_MISMATCH" in cause:
        return f"Shopstream is not installed in the workers' Python: name another Python with --conf {PYTHON}=…"
    return "--debug shows all messages of Spark."
