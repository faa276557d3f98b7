"""How a Python process of ours is started, and how it ends with the process that started it."""

from __future__ import annotations

import ctypes
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def python_command(module: str, *words: str) -> list[str]:
    """The command line that runs a module of ours in another process.

    `-P` keeps the working directory out of the search path: a folder `features` there is not imported.

    Args:
        module: run as `__main__`.
        words: its arguments.
    """
    return [sys.executable, "-P", "-m", module, *words]


def die_with_parent() -> None:
    """Ends this process as soon as its parent has ended, on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
