"""Runs Shopstream commands as steps of a larger job, each in its own process, which frees its memory when it ends."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from types import MappingProxyType
from typing import Final, Literal, Self

from features.errors import ShopstreamError
from shopstream.runtime.children import python_command

ENTRY: Final = "shopstream.cli.step"
CAPTURE_VARIABLES: Final = {"COLUMNS": "1000", "PYTHONUNBUFFERED": "1"}
"""Environment of a captured step: its lines are not wrapped, and each is written when it is printed."""
POLL_S: Final = 0.1
STOP_S: Final = 5.0
"""Maximum time from SIGTERM to the end of a step; then it is killed."""
ERROR_MARK: Final = "error "
"""Begins the line of a command's error message."""
LINES_MAX: Final = 30
"""Maximum number of output lines in the message about a crash."""

StepOutcome = Literal["running", "done", "failed", "stopped"]


class CrashedError(ShopstreamError):
    """The process of a step ended without an error message of Shopstream."""


class Step:
    """A command in its own process; a context manager that stops the process at its end.

    Args:
        words: arguments after `shopstream`.
        capture: keep the output for `last_line` and `error` instead of showing it.
    """

    def __init__(self, words: Sequence[str], *, capture: bool, variables: Mapping[str, str]) -> None:
        self.name = words[0]
        self.outcome: StepOutcome = "running"
        self.seconds = 0.0
        self.output = ""
        self._began_s = time.monotonic()
        # a file never blocks the process, as a full pipe does
        self._file = tempfile.TemporaryFile() if capture else None  # noqa: SIM115 - closed by __exit__
        self._process = subprocess.Popen(
            python_command(ENTRY, *words),
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=self._file,
            env={**os.environ, **(CAPTURE_VARIABLES if capture else {}), **variables},
            process_group=0,  # Ctrl-C in the terminal is for the parent, which stops the step
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.poll() == "running":
            self.outcome = "stopped"
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._file is not None:
            self._file.close()

    def poll(self) -> StepOutcome:
        """Update the outcome, the duration and the output; return the outcome."""
        if self.outcome == "running":
            self.seconds = time.monotonic() - self._began_s
            if (code := self._process.poll()) is not None:
                self.outcome = "failed" if code else "done"
            if self._file is not None:
                # the process shares the file's position, which a read must not move
                size = os.fstat(self._file.fileno()).st_size
                self.output = os.pread(self._file.fileno(), size, 0).decode(errors="replace")
        return self.outcome

    @property
    def last_line(self) -> str:
        """The last line of the output: the current activity of a running step."""
        return self.output.rstrip().rpartition("\n")[2]

    def error(self) -> str:
        """Return the error message of a failed step.

        Raises:
            CrashedError: there is none, since the process crashed or was killed; with the last lines of the output.
        """
        lines = self.output.splitlines()
        for line in reversed(lines):
            if line.startswith(ERROR_MARK):
                return line.removeprefix(ERROR_MARK)
        raise CrashedError(
            "\n".join([f"The step {self.name} ended with exit code {self._process.returncode}.", *lines[-LINES_MAX:]]),
            f"Run `shopstream {self.name}` alone to see its error.",
        )


def run_steps(
    commands: Sequence[Sequence[str]],
    keep_on: Callable[[Sequence[Step]], bool],
    *,
    capture: bool = False,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> list[Step]:
    """Run commands side by side; return their steps, all of which have ended.

    Args:
        commands: arguments after `shopstream`, for each step.
        keep_on: called several times a second with all steps; False stops those that run.
        capture: as in `Step`.
        variables: environment variables of the commands, in addition to those of this process.
    """
    with ExitStack() as running:
        steps = [running.enter_context(Step(words, capture=capture, variables=variables)) for words in commands]
        while any([step.poll() == "running" for step in steps]) and keep_on(steps):  # noqa: C419 - each is polled
            time.sleep(POLL_S)
    return steps
