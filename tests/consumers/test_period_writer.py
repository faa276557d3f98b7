"""Periods of trends on the real Elasticsearch: written, written again, and what was there before is gone."""

import polars as pl
import pytest

from connectors.elasticsearch import aliases, period_writer
from connectors.elasticsearch.client import ElasticConnection, open_client, open_sink
from connectors.elasticsearch.mappings import write_index
from connectors.elasticsearch.period_writer import Trend, replace
from consumers.index_definitions import run_definitions, trend_definitions
from features.errors import ShopstreamError
from features.schema import TREND_KEYS

WEEK = 7 * 86_400_000


@pytest.fixture
def connection(servers):
    where = servers.elasticsearch
    return ElasticConnection(where.url, where.username, where.password, options=where.options)


@pytest.fixture
def client(connection):
    with open_client(connection) as client:
        yield client


def weeks(numbers, new=1):
    names = ("returning", "reactivated", "lost", "net", "active", "lost_after_days")
    return pl.DataFrame(
        [
            {"ts": n * WEEK, "week": f"w{n}", "new": new, **dict.fromkeys(names, 0), "complete": True}
            for n in numbers
        ]
    )  # fmt: skip


def test_every_trend_has_keys_among_its_fields():
    assert {definition.name for definition in trend_definitions()} == set(TREND_KEYS)
    for definition in trend_definitions():
        assert {*TREND_KEYS[definition.name], "ts"} <= {field.name for field in definition.fields}
        assert definition in run_definitions(contact=False)


def test_period_is_replaced_and_others_are_unchanged(connection, client, run_name, monkeypatch):
    monkeypatch.setattr(period_writer, "PAGE", 2)  # so that several pages are read
    monkeypatch.setattr(period_writer, "BLOCKED_S", 0.5)
    aliases.install(client, run_name, trend_definitions())
    index = write_index(run_name, "movement")
    assert client.count(index=f"{run_name}-movement")["count"] == 0  # readers find it before its first document

    def stored():
        client.indices.refresh(index=index)
        hits = client.search(index=f"{run_name}-movement", size=100)["hits"]["hits"]  # by the alias
        return {hit["_id"]: hit["_source"]["new"] for hit in hits}

    written = []
    with open_sink(connection) as sink:
        first = replace(client, sink, run_name, Trend("movement", weeks(range(1, 9))), written.append)
        assert (first.written, first.removed, sum(written)) == (8, 0, 8)
        assert stored() == {f"w{n}": 1 for n in range(1, 9)}
        again = replace(client, sink, run_name, Trend("movement", weeks(range(1, 9))))
        assert (again.written, again.removed) == (8, 0)
        # of the weeks 3 to 7 only 4 is left
        part = replace(client, sink, run_name, Trend("movement", weeks([4], new=5), 3 * WEEK, 8 * WEEK))
        assert (part.written, part.removed) == (1, 4)
        assert stored() == {"w1": 1, "w2": 1, "w4": 5, "w8": 1}
        none = replace(client, sink, run_name, Trend("movement", weeks([1]).clear(), 8 * WEEK))
        assert (none.written, none.removed) == (0, 1)
    with open_sink(connection) as sink, pytest.raises(ShopstreamError, match="accepts no documents: strict"):
        replace(client, sink, run_name, Trend("movement", weeks([1]).with_columns(other=pl.lit(1))))
    assert list(stored()) == ["w1", "w2", "w4"]
    every = sorted(write_index(run_name, definition.name) for definition in trend_definitions())
    assert aliases.drop(client, run_name, trend_definitions()) == tuple(every)


def test_empty_trend_writes_no_document(connection, client, run_name):
    aliases.install(client, run_name, trend_definitions())
    with open_sink(connection) as sink:
        assert replace(client, sink, run_name, Trend("movement", weeks([1]).clear())).written == 0


def test_rejected_deletion_is_an_error(connection, client, run_name):
    aliases.install(client, run_name, trend_definitions())
    index = write_index(run_name, "movement")
    with open_sink(connection) as sink:
        replace(client, sink, run_name, Trend("movement", weeks(range(1, 9))))
        client.indices.add_block(index=index, block="write")
        with pytest.raises(ShopstreamError, match="could not be deleted: cluster_block_exception"):
            replace(client, sink, run_name, Trend("movement", weeks([1]).clear()))
