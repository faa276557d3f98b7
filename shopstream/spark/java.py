"""The system's own Java, which Spark needs: the one of Shopstream's servers lacks a module that it asks for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from features.errors import ShopstreamError

VERSIONS: Final = (17, 21)
"""That Spark 4 runs on."""
REMEDY: Final = "Install a Java 17 or 21 (on Debian and Ubuntu: openjdk-17-jre-headless), or name one in JAVA_HOME."


def system_java() -> str:
    """What the system's Java says of its version.

    Raises:
        ShopstreamError: there is none, it does not start, or Spark does not run on it.
    """
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if java is None:
        raise ShopstreamError("Spark needs a Java of the system's own, and there is none.", REMEDY)
    try:
        said = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=True).stderr
    except (OSError, subprocess.SubprocessError) as error:
        raise ShopstreamError(f"The Java that Spark would use does not start: {error}.", REMEDY) from error
    version = major_version(said)
    if version not in VERSIONS:
        raise ShopstreamError(f"Spark would use Java {version or 'of an unknown version'} ({java}).", REMEDY)
    return said.splitlines()[0]


def major_version(said: str) -> int | None:
    """The major version in what `java -version` says, None where it says none; of `1.8.0` it is 8."""
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(found[1]) if found else None
