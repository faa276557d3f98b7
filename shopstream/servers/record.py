"""What is remembered of the embedded servers between commands: `servers.json` in the data folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from shopstream.notes import read_note, write_note
from shopstream.servers.process import Identity

RECORD_FILE: Final = "servers.json"


class ServerRecord(msgspec.Struct, frozen=True):
    """One embedded server; the ports stay when it is stopped, so that a restart has the same address."""

    version: str
    port: int
    inner_port: int
    """Kafka's controller, Elasticsearch's transport: loopback, used by the server itself only."""
    identity: Identity | None = None
    """The process; None when stopped."""
    secure: bool = False
    """It speaks TLS, and asks for a password."""

    def is_running(self) -> bool:
        """Whether the recorded process, and not another with its pid, is alive."""
        return self.identity is not None and self.identity.process() is not None


class Record(msgspec.Struct, frozen=True):
    """Both servers; None for one that was never started here."""

    kafka: ServerRecord | None = None
    elasticsearch: ServerRecord | None = None


def read(home: Path) -> Record:
    """The record of a data folder; empty where there is none.

    Raises:
        ShopstreamError: the file is damaged.
    """
    remedy = "Delete it; if servers of this folder still run, end them by hand first."
    return read_note(home / RECORD_FILE, Record, remedy) or Record()


def write(home: Path, record: Record) -> None:
    """Replace the record of a data folder, in one step."""
    write_note(home / RECORD_FILE, record)
