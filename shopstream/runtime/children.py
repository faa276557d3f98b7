"""Starts Python processes of this project, and ends them together with their parent."""

from __future__ import annotations

import ctypes
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def python_command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module of this project in another process.

    `-P` keeps the working directory out of the search path: a folder `features` there is not imported.

    Args:
        module: name of the module to run as `__main__`.
        arguments: arguments of the module.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def die_with_parent() -> None:
    """End this process as soon as its parent has ended (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
