"""Spark as the tests start it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import psutil

SHOPSTREAM: Final = str(Path(sys.executable).parent / "shopstream")
MASTERS: Final = ("local[2]", "local-cluster[2,1,1536]")
"""In one process, and with executors of their own."""
MEMORY: Final = {"spark.driver.memory": "1g", "spark.executor.memory": "1g"}


def executors() -> list[psutil.Process]:
    """Those of this process that are processes of their own."""
    entries = []
    for child in psutil.Process().children(recursive=True):
        try:
            if "CoarseGrainedExecutorBackend" in " ".join(child.cmdline()):
                entries.append(child)
        except psutil.Error:
            continue
    return entries
