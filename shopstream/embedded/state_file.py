"""Stores the state of the embedded servers between commands: `servers.json` in the data folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from connectors.files import read_note, write_note
from shopstream.embedded.process_identity import Identity, works_in

RECORD_FILE: Final = "servers.json"


class ServerRecord(msgspec.Struct, frozen=True):
    """State of one embedded server; the ports are kept when it stops, so that a restart has the same address."""

    version: str
    port: int
    inner_port: int
    """Port of Kafka's controller or Elasticsearch's transport: loopback, used by the server itself only."""
    identity: Identity | None = None
    """Process of the server; None when stopped."""
    secure: bool = False
    """Whether it uses TLS and requires a password."""

    def is_running(self) -> bool:
        """Return whether the recorded process, and not another with its pid, is alive."""
        return self.identity is not None and self.identity.process() is not None


class Record(msgspec.Struct, frozen=True):
    """State of both servers; None for one that was never started here."""

    kafka: ServerRecord | None = None
    elasticsearch: ServerRecord | None = None


def read(home: Path) -> Record:
    """Read the record of a data folder; empty if there is none.

    Raises:
        ShopstreamError: the file is damaged.
    """
    remedy = "Delete it; if servers of this folder still run, end them manually first."
    known = read_note(home / RECORD_FILE, Record, remedy) or Record()
    return Record(_with_start(known.kafka, home / "kafka"), _with_start(known.elasticsearch, home / "elasticsearch"))


def _with_start(entry: ServerRecord | None, folder: Path) -> ServerRecord | None:
    """Fill in `start` of a record of format 1, which lacks it: the process is matched by command line or folder."""
    if entry is None or entry.identity is None or entry.identity.start:
        return entry
    pid = entry.identity.pid
    return msgspec.structs.replace(entry, identity=Identity.of(pid)) if works_in(pid, folder) else entry


def write(home: Path, record: Record) -> None:
    """Replace the record of a data folder, in one step."""
    write_note(home / RECORD_FILE, record)
