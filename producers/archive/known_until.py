"""Reads and writes the time up to which the log of an archive is complete.

A log of dates has no record after the first instant of its last day, although the whole day is known. The importer
therefore writes the end of the known history next to the records. Other archives have no such file: their history ends
with their last record.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from features.errors import ShopstreamError
from features.schema import DAY_MS, HOUR_MS

KNOWN_UNTIL_FILE: Final = "import.json"
LONGEST_DAY_MS: Final = DAY_MS + HOUR_MS
"""Length of the day on which the clocks are set back."""


class KnownUntil(msgspec.Struct, frozen=True):
    """End of the known history of an archive.

    Attributes:
        known_until_ms: exclusive end of the complete history, epoch ms.
        dates_only: whether the log has dates without times, so that every record is at the first instant of its day.
        refused: reason -> rows of the log that the import refused.
        time_zone: IANA zone of the log's local times; None if it has none, or several.
    """

    known_until_ms: int
    dates_only: bool = False
    refused: dict[str, int] = {}
    time_zone: str | None = None

    def last_ms(self, last_record_ms: int) -> int:
        """Return the last known millisecond of the history up to a record, epoch ms.

        Args:
            last_record_ms: time of the last record that counts; later ones may have been left out.
        """
        if 0 < self.known_until_ms - last_record_ms <= LONGEST_DAY_MS:
            return self.known_until_ms - 1
        # the file describes a later record, which does not count, or is older than the record
        return last_record_ms + DAY_MS - 1 if self.dates_only else last_record_ms


def read_known_until(directory: Path) -> KnownUntil | None:
    """Return the end of the known history of an archive, or None if no importer has written one.

    Raises:
        ShopstreamError: the file is damaged.
    """
    file = directory / KNOWN_UNTIL_FILE
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _damaged(file, error) from None
    try:
        return msgspec.json.decode(content, type=KnownUntil)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _damaged(file, error) from None


def known_until_ms(directory: Path) -> int | None:
    """Return the exclusive end of the complete history, epoch ms, or None. Raises as `read_known_until`."""
    known = read_known_until(directory)
    return None if known is None else known.known_until_ms


def encode_known_until(known: KnownUntil) -> str:
    """Return the text of the file."""
    return msgspec.json.encode(known).decode() + "\n"


def _damaged(file: Path, error: Exception) -> ShopstreamError:
    return ShopstreamError(f"{file} cannot be read: {error}.", "Import the log again, or remove the file.")
