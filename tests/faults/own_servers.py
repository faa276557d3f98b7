"""Servers that may be killed: an own Kafka or Elasticsearch in an own data folder, never one that other tests share."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import psutil
from rich.console import Console

from shopstream.embedded import Endpoints, down, state_file, up
from shopstream.settings import Settings

Which = Literal["kafka", "elasticsearch"]


class OwnServer:
    """One embedded server, and what can happen to it.

    Args:
        which: the server that is ours; the other one is that of `shared`.
        shared: where the other one is.
        home: the data folder.
    """

    def __init__(self, which: Which, shared: Endpoints, home: Path) -> None:
        self._which = which
        self._settings = Settings(home=home, **_other(which, shared))
        self.endpoints = self.start()

    def start(self) -> Endpoints:
        """Starts it, or starts it again on the ports and with the data it had."""
        return up(self._settings, Console(quiet=True))

    def kill(self) -> None:
        """SIGKILL to every process of it; returns when they are gone."""
        family = self._family()
        for process in family:
            process.kill()
        psutil.wait_procs(family, timeout=10)

    def pause(self, seconds: float) -> None:
        """SIGSTOP, a wait, SIGCONT."""
        family = self._family()
        for process in family:
            process.suspend()
        try:
            time.sleep(seconds)
        finally:
            for process in family:
                process.resume()

    def close(self) -> None:
        """Stops it."""
        down(self._settings)

    def _family(self) -> list[psutil.Process]:
        entry = getattr(state_file.read(self._settings.home), self._which)
        process = entry.identity.process()
        return [process, *process.children(recursive=True)]


def _other(which: Which, shared: Endpoints) -> dict[str, Any]:
    """The settings that name the server which is not ours."""
    if which == "elasticsearch":
        return {"kafka": {"bootstrap_servers": shared.kafka.bootstrap_servers}}
    elastic = shared.elasticsearch
    return {"elasticsearch": {"url": elastic.url, "username": elastic.username, "password": elastic.password}}


@contextmanager
def own_server(which: Which, shared: Endpoints) -> Iterator[OwnServer]:
    """A server of our own, gone with its data afterwards."""
    home = Path(tempfile.mkdtemp(prefix=f"shopstream-faults-{which}-"))
    home.chmod(0o711)  # as root, Elasticsearch runs as another user, who has to reach its data
    server = OwnServer(which, shared, home)
    try:
        yield server
    finally:
        server.close()
        shutil.rmtree(home, ignore_errors=True)
