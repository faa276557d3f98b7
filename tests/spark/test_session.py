"""Spark as somebody starts it who has not activated the environment, and names no master."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

import psutil
import pytest
from spark.clusters import SHOPSTREAM

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(1200)]
pytest.importorskip(
    "pyspark", reason="the extra [spark] is not installed; `make test-spark` has an environment with it"
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    directory = tmp_path_factory.mktemp("shop") / "archive"
    command = [SHOPSTREAM, "generate", "--customers", "50", "--events", "2000", "--days", "30", "--seed", "9"]
    subprocess.run([*command, "--end", "2024-01-01", "--out", str(directory)], check=True, capture_output=True)
    return directory


@pytest.fixture
def bare(tmp_path):
    """An environment whose `python3` is not ours and has none of our libraries."""
    other = tmp_path / "bin" / "python3"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'pyarrow'\" >&2\nexit 1\n")
    other.chmod(0o755)
    stored = {name: os.environ[name] for name in ("JAVA_HOME", "HOME") if name in os.environ}
    return {**stored, "PATH": f"{other.parent}:/usr/bin:/bin", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}


@pytest.mark.parametrize("master", [[], ["--master", "local[2]"], ["--conf", "spark.master=local[2]"]])
def test_spark_runs_without_activation_and_listens_on_loopback_only(master, archive, bare, tmp_path):
    command = [SHOPSTREAM, "spark", "backfill", str(archive), "--as-of=2024-01-01", "--out", str(tmp_path / "rows")]
    listening = set()
    running = subprocess.Popen(
        [*command, *master], env=bare, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )

    def look() -> None:
        while running.poll() is None:
            listening.update(addresses(running.pid))
            time.sleep(0.3)

    watcher = threading.Thread(target=look)
    watcher.start()
    output, _ = running.communicate(timeout=600)
    watcher.join()
    assert running.returncode == 0, output
    assert list(Path(tmp_path / "rows").glob("as_of=*/*.parquet"))
    assert listening
    assert listening <= {"127.0.0.1", "::1"}


def addresses(pid):
    """Where the process and its children listen, Java's way of writing 127.0.0.1 included."""
    result = set()
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for process in family:
            for one in process.net_connections("inet"):
                if one.status == psutil.CONN_LISTEN:
                    result.add(one.laddr.ip.removeprefix("::ffff:"))
    except psutil.Error:
        pass
    return result


def test_python_without_the_libraries_is_named_before_the_start(archive, bare, tmp_path):
    command = [SHOPSTREAM, "spark", "backfill", str(archive), "--as-of=2024-01-01", "--out", str(tmp_path / "rows")]
    chosen = ["--conf", "spark.pyspark.python=/usr/bin/python3"]
    done = subprocess.run([*command, *chosen], env=bare, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        pytest.skip("the system's Python has our libraries")
    lines = done.stderr.split("error ")[-1].splitlines()
    assert "No module named" in lines[0]
    assert "spark.pyspark.python" in done.stderr
