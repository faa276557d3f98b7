"""Where the measurements take place: a pair of servers, started for them or running already, and a clean end."""

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
class Ground:
    """The servers, and the runs that were made on them."""

    kafka: dict[str, str] = field(repr=False)
    elastic: dict[str, Any] = field(repr=False)
    runs: list[str] = field(default_factory=list)

    def new_run(self) -> str:
        """A name that no other run has; its topics and indices are removed at the end."""
        name = f"bench-{uuid.uuid4().hex[:8]}"
        self.runs.append(name)
        return name

    def make_indices(self, run: str) -> None:
        """Templates and empty indices of a run."""
        with open_client(ElasticConnection(**self.elastic)) as client:
            drop(client, run, DEFINITIONS)
            install(client, run, DEFINITIONS)

    def drop_indices(self, run: str) -> None:
        """Remove what `make_indices` made."""
        with open_client(ElasticConnection(**self.elastic)) as client:
            drop(client, run, DEFINITIONS)

    def clear(self) -> None:
        """Remove the topics, groups and indices of all runs."""
        admin = open_admin(self.kafka)
        known = admin.list_topics(timeout=10).topics
        wanted = {topic for run in self.runs for topic in topic_configs(run)}
        wanted |= {topic for topic in known for run in self.runs if run in topic}  # changelogs of quixstreams
        for done in admin.delete_topics([topic for topic in wanted if topic in known]).values() if wanted else ():
            done.result()
        listed = admin.list_consumer_groups().result().valid
        groups = [group.group_id for group in listed if any(run in group.group_id for run in self.runs)]
        for removed in admin.delete_consumer_groups(groups).values() if groups else ():
            try:
                removed.result()
            except KafkaException:
                continue  # its session has not ended yet; without members it expires by itself
        for run in self.runs:
            self.drop_indices(run)


@contextmanager
def ground(which: Literal["own", "settings"], work: Path, console: Console) -> Iterator[Ground]:
    """Servers to measure on; what was made there is removed afterwards."""
    settings = load_settings(home=work / "home" if which == "own" else None)
    endpoints = embedded.up(settings, console) if which == "own" else embedded.endpoints(settings)
    elastic = endpoints.elasticsearch
    made = Ground(
        endpoints.kafka.client_properties(),
        {"url": elastic.url, "username": elastic.username, "password": elastic.password},
    )
    try:
        yield made
    finally:
        try:
            made.clear()
        finally:
            if which == "own":
                embedded.down(settings)
