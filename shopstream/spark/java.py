"""Finds the system's own Java for Spark: the Java of Shopstream's servers lacks a module that Spark requires."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from features.errors import ShopstreamError

VERSIONS: Final = (17, 21)
"""Java versions that Spark 4 supports."""
REMEDY: Final = "Install Java 17 or 21 (on Debian and Ubuntu: openjdk-17-jre-headless), or set JAVA_HOME to it."


def system_java() -> str:
    """Return the version line of the system's Java.

    Raises:
        ShopstreamError: there is no Java, it does not start, or Spark does not support it.
    """
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if java is None:
        raise ShopstreamError("Spark needs Java on the system, and none is installed.", REMEDY)
    try:
        output = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=True).stderr
    except (OSError, subprocess.SubprocessError) as error:
        raise ShopstreamError(f"Spark's Java does not start: {error}.", REMEDY) from error
    version = major_version(output)
    if version not in VERSIONS:
        raise ShopstreamError(f"Spark does not support Java {version or 'of an unknown version'} ({java}).", REMEDY)
    return output.splitlines()[0]


def major_version(output: str) -> int | None:
    """Parse the major version from the output of `java -version`; None if there is none; `1.8.0` gives 8."""
    match = re.search(r'version "(?:1\.)?(\d+)', output)
    return int(match[1]) if match else None
