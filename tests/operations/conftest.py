from __future__ import annotations

import pytest

from connectors.kafka import reader


@pytest.fixture(autouse=True)
def short_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read of a topic collects records for as long as this; these tests read hundreds of topics of a few records."""
    monkeypatch.setattr(reader, "READ_WAIT_S", 0.05)
