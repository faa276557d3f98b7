"""The thread that writes checkpoints, without being one."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any

import numpy as np
from simulation.boundary import Boundary


class Pool(Executor):
    """Stands for the thread that writes checkpoints, one after the other: immediately, later, or never."""

    def __init__(self, worker: Boundary, rng: np.random.Generator) -> None:
        self._worker, self._rng = worker, rng
        self._tasks: list[Task] = []

    def submit(self, work: Any, /, *args: Any) -> Task:  # type: ignore[override]
        self._tasks.append(Task(self, lambda: work(*args)))
        return self._tasks[-1]

    def shutdown(self, wait: bool = True, **_: Any) -> None:
        if not self._worker.is_dead and self._tasks:
            self.work_up_to(self._tasks[-1])

    def may_work(self) -> bool:
        """Whether the thread has had its turn."""
        return not self._worker.is_dead and bool(self._rng.random() < 0.4)

    def work_up_to(self, last: Task) -> None:
        """Does what was submitted up to a task, those first that nobody waits for any more."""
        while last.found is None:
            self._tasks.pop(0).work()


class Task:
    """Stands for a Future."""

    def __init__(self, pool: Pool, work: Any) -> None:
        self._pool, self._work = pool, work
        self.found: tuple[Any, BaseException | None] | None = None

    def work(self) -> None:
        try:
            self.found = (self._work(), None)
        except Exception as error:  # noqa: BLE001 - as a Future does
            self.found = (None, error)

    def done(self) -> bool:
        if self.found is None and self._pool.may_work():
            self.exception()
        return self.found is not None

    def exception(self) -> BaseException | None:
        self._pool.work_up_to(self)
        assert self.found is not None
        return self.found[1]

    def result(self) -> Any:
        if (error := self.exception()) is not None:
            raise error
        assert self.found is not None
        return self.found[0]
