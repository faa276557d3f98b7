"""A run with names and e-mail addresses in its index, and a terminal for its commands."""

from __future__ import annotations

import pytest
from operations.terminal import Terminal
from stream.bench import Bench

from connectors.elasticsearch.aliases import install
from connectors.kafka import reader
from consumers.index_definitions import run_definitions


@pytest.fixture
def bench(servers, run_name, tmp_path):
    bench = Bench(servers, run_name, tmp_path / "home" / "state", partitions=2)
    install(bench.client, run_name, run_definitions(contact=True))
    yield bench
    bench.client.close()


@pytest.fixture
def terminal(bench, servers, tmp_path, monkeypatch):
    return Terminal(monkeypatch, tmp_path / "home", servers, bench.run)


@pytest.fixture(autouse=True)
def short_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read of a topic collects records for as long as this; these tests read hundreds of topics of a few records."""
    monkeypatch.setattr(reader, "READ_WAIT_S", 0.05)
