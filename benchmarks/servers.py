"""Provides the servers of the measurements, started for them or running already, and cleans up."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from confluent_kafka import KafkaException
from rich.console import Console

from connectors.elasticsearch.aliases import drop, install
from connectors.elasticsearch.client import ElasticConnection, open_client
from connectors.kafka.client import open_admin
from connectors.kafka.topic_settings import topic_configs
from consumers.index_definitions import index_definitions
from features.schema import Field
from features.scores.score import SCORED_ROW_FIELDS
from shopstream import embedded
from shopstream.settings import load_settings

DEFINITIONS = index_definitions((*SCORED_ROW_FIELDS, Field("version", "int")))


@dataclass(slots=True)
class Servers:
    """The servers, and the runs created on them."""

    kafka: dict[str, str] = field(repr=False)
    elastic: dict[str, Any] = field(repr=False)
    runs: list[str] = field(default_factory=list)

    def new_run(self) -> str:
        """Return a unique run name; its topics and indices are removed at the end."""
        name = f"bench-{uuid.uuid4().hex[:8]}"
        self.runs.append(name)
        return name

    def make_indices(self, run: str) -> None:
        """Create templates and empty indices of a run."""
        with open_client(ElasticConnection(**self.elastic)) as client:
            drop(client, run, DEFINITIONS)
            install(client, run, DEFINITIONS)

    def drop_indices(self, run: str) -> None:
        """Remove the indices of `make_indices`."""
        with open_client(ElasticConnection(**self.elastic)) as client:
            drop(client, run, DEFINITIONS)

    def clear(self) -> None:
        """Remove the topics, groups and indices of all runs."""
        admin = open_admin(self.kafka)
        known = admin.list_topics(timeout=10).topics
        topics = {topic for run in self.runs for topic in topic_configs(run)}
        topics |= {topic for topic in known for run in self.runs if run in topic}  # changelogs of quixstreams
        for done in admin.delete_topics([topic for topic in topics if topic in known]).values() if topics else ():
            done.result()
        listed = admin.list_consumer_groups().result().valid
        groups = [group.group_id for group in listed if any(run in group.group_id for run in self.runs)]
        for removed in admin.delete_consumer_groups(groups).values() if groups else ():
            try:
                removed.result()
            except KafkaException:
                continue  # its session has not ended yet; an empty group expires by itself
        for run in self.runs:
            self.drop_indices(run)


@contextmanager
def open_servers(which: Literal["own", "settings"], work: Path, console: Console) -> Iterator[Servers]:
    """Open the servers of the measurements; runs are removed afterwards."""
    settings = load_settings(home=work / "home" if which == "own" else None)
    endpoints = embedded.up(settings, console) if which == "own" else embedded.endpoints(settings)
    elastic = endpoints.elasticsearch
    servers = Servers(
        endpoints.kafka.client_properties(),
        {"url": elastic.url, "username": elastic.username, "password": elastic.password},
    )
    try:
        yield servers
    finally:
        try:
            servers.clear()
        finally:
            if which == "own":
                embedded.down(settings)
