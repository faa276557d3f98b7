"""Archive, foreign topics, `map run`, `consume`: the rows are those of `features` over the archive, through kills."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from consume.command_line import call, environment, start
from elasticsearch import Elasticsearch
from elasticsearch.helpers import scan
from mapping.processes import kill_workers
from oracle.rows import FEATURE_DTYPES, assert_same_rows, feature_frame

from connectors.clock import iso
from features.schema import DAY_MS
from producers.topic_mapping.ready import ready_mappings, with_topic

END_MS = 20_400 * DAY_MS
MAPPING_OF = {
    "segment": "segment", "posthog": "posthog", "debezium": "debezium-orders", "woocommerce": "woocommerce-orders",
}  # fmt: skip


def worked(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("clicks", "orders"), [("segment", "debezium"), ("posthog", "woocommerce")])
def test_mapped_topics_give_the_rows_of_the_archive(tmp_path, servers, run_name, clicks, orders):
    variables = environment(tmp_path / "home", servers) | {"SHOPSTREAM_GUEST_SALT": "salt"}
    archive, rows = tmp_path / "archive", tmp_path / "rows.parquet"
    shop = ["--customers", 150, "--events", 6_000, "--days", 60, "--end", iso(END_MS), "--deleted", 0.05]
    worked(call(["generate", *shop, "--out", archive], variables))
    worked(call(["features", archive, "--as-of", iso(END_MS), "--out", rows], variables))
    files = []
    for shape in (clicks, orders):
        topic = f"{run_name}-{shape}"
        dirt = ["--dirt", 0.05, "--poison", 0.02, "--partitions", 3, "--run", run_name]
        worked(call(["replay", archive, "--as", shape, "--topic", topic, *dirt], variables))
        file = tmp_path / f"{shape}.yaml"
        file.write_text(with_topic(ready_mappings()[MAPPING_OF[shape]], topic))
        files.append(file)
    answers = ["--set", "zone=UTC"] if "{ask: zone}" in "".join(file.read_text() for file in files) else []
    mapping = ["map", "run", *files, *answers, "--run", run_name]
    kill_workers(start([*mapping, "--workers", 2], variables), np.random.default_rng(1), times=3)
    worked(call([*mapping, "--until-end"], variables))
    consume = ["consume", "--run", run_name, "--until-end", "--as-of", iso(END_MS), "--roles", "features"]
    done = worked(call(consume, variables))
    figures = next(json.loads(line) for line in done.stderr.splitlines() if '"ended"' in line)
    assert (figures["late"], figures["rejected"]) == (0, 0)
    with Elasticsearch(**servers.elasticsearch.client_options()) as client:
        client.indices.refresh(index=f"{run_name}-customers")
        found = [hit["_source"] for hit in scan(client, index=f"{run_name}-customers")]
    got = feature_frame([{name: one.get(name) for name in FEATURE_DTYPES} for one in found])
    expected = pl.read_parquet(rows).with_columns(pl.col(pl.Datetime).dt.epoch("ms")).select(*FEATURE_DTYPES)
    assert_same_rows(got.select(*FEATURE_DTYPES), expected.cast(FEATURE_DTYPES))  # type: ignore[arg-type]
