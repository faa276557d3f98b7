"""Lists each run's data in Kafka, Elasticsearch and the data folder, and removes all of it.

Runs are found by their data; there is no separate list of runs that could differ from it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from connectors.elasticsearch import aliases
from connectors.elasticsearch.aliases import StoredIndex, drop, stored_indices
from connectors.elasticsearch.client import elastic_connection, open_client
from connectors.kafka import admin as kafka_admin
from connectors.kafka.admin import GroupLag, TopicSize
from connectors.kafka.run_removal import drop_topics_and_groups
from connectors.kafka.topic_settings import run_topics
from consumers.checkpoints.inventory import StoredState, remove_folder, remove_state, stored_states
from consumers.index_definitions import run_definitions
from features.errors import ShopstreamError, UsageError
from features.schema import GROUPS, RUN_NAME_PATTERN, check_run
from shopstream import embedded
from shopstream.jobs import consume as consume_job
from shopstream.settings import Settings
from shopstream.spark.checkpoint_registry import FOLDER as SPARK_FOLDER
from shopstream.spark.checkpoint_registry import SUFFIX as SPARK_SUFFIX
from shopstream.spark.checkpoint_registry import spark_checkpoints

DEMO_FOLDER: Final = "demo"
"""Folder below the data folder: the demo's histories, and how much of them each run holds."""
NOTIFY_FOLDER: Final = "notify"
"""Folder below the data folder: files `RUN.*` with what was set aside, and which digests were sent."""
RECORD_FOLDERS: Final = ("metrics", "logs", consume_job.LOCKS, DEMO_FOLDER, SPARK_FOLDER, NOTIFY_FOLDER)
"""Folders below the data folder with files `RUN-ROLE-NUMBER.*` or `RUN-ROLE.*`, and those of other commands."""
LEAVE_TIMEOUT_S: Final = 12.0
"""Longer than the session time-out of the workers (8 s)."""


@dataclass(slots=True)
class Run:
    """All data of a run.

    Attributes:
        name: name of the run.
        topics: topics with their counts and offsets.
        groups: consumer groups with their lag and members.
        indices: indices with documents and bytes.
        alias_sets: alias sets whose aliases `SET-...` lead to its indices.
        state: checkpoints of the run.
        archive: folder that the role `archive` wrote below the data folder; None if there is none.
        archive_bytes: size of that folder in bytes.
        files: metrics, logs and progress files below the data folder.
    """

    name: str
    topics: list[TopicSize] = field(default_factory=list)
    groups: list[GroupLag] = field(default_factory=list)
    indices: list[StoredIndex] = field(default_factory=list)
    alias_sets: tuple[str, ...] = ()
    state: StoredState | None = None
    archive: Path | None = None
    archive_bytes: int = 0
    files: list[Path] = field(default_factory=list)

    @property
    def messages(self) -> int:
        """Number of messages in all topics."""
        return sum(topic.messages for topic in self.topics)

    @property
    def documents(self) -> int:
        """Number of documents in all indices."""
        return sum(index.documents for index in self.indices)

    @property
    def index_bytes(self) -> int:
        """Size of all indices in bytes."""
        return sum(index.size_bytes for index in self.indices)

    @property
    def members(self) -> int:
        """Number of workers in all consumer groups."""
        return sum(group.members for group in self.groups)

    def as_json(self) -> dict[str, Any]:
        """Return the form of `runs list --json`."""
        return {
            "views": list(self.alias_sets),
            "topics": {
                topic.topic: {
                    "partitions": topic.partitions,
                    "messages": topic.messages,
                    "offsets": {str(number): list(bounds) for number, bounds in topic.offsets.items()},
                }
                for topic in self.topics
            },
            "groups": {
                group.group: {
                    "active": group.members > 0,
                    "members": group.members,
                    "lag": group.lag,
                    "lag_by_topic": group.lag_by_topic,
                }
                for group in self.groups
            },
            "indices": {
                index.name: {
                    "documents": index.documents,
                    "bytes": index.size_bytes,
                    "parts": list(index.parts),
                    "aliases": list(index.aliases),
                }
                for index in self.indices
            },
            "checkpoints": None
            if self.state is None
            else {
                "partitions": self.state.partitions,
                "files": self.state.checkpoints,
                "bytes": self.state.size_bytes,
                "newest_ms": self.state.newest_ms,
            },
            "archive": None if self.archive is None else {"folder": str(self.archive), "bytes": self.archive_bytes},
            "files": [str(path) for path in self.files],
        }


@dataclass(frozen=True, slots=True)
class Overview:
    """All runs by name, and errors of parts that could not be listed: `kafka`, `elasticsearch`, `state`."""

    runs: dict[str, Run]
    problems: dict[str, ShopstreamError]


def overview(settings: Settings, state: str) -> Overview:
    """List every run; a part that does not answer becomes a problem, and the others are listed.

    Args:
        settings: data folder and servers.
        state: local path or URI of the checkpoints.
    """
    runs: dict[str, Run] = {}
    problems: dict[str, ShopstreamError] = {}

    def run_of(name: str) -> Run:
        return runs.setdefault(name, Run(name))

    for part, add in (("kafka", _add_kafka), ("elasticsearch", _add_indices)):
        try:
            add(settings, run_of)
        except ShopstreamError as error:
            problems[part] = error
    try:
        for checkpoints in stored_states(state):
            run_of(checkpoints.run).state = checkpoints
    except ShopstreamError as error:
        problems["state"] = error
    _add_folders(settings, run_of)
    return Overview(dict(sorted(runs.items())), problems)


def _add_kafka(settings: Settings, run_of: Any) -> None:
    endpoint = embedded.kafka_endpoint(settings)
    kafka_admin.check(endpoint, 5)
    sizes = {topic.topic: topic for topic in kafka_admin.topic_sizes(endpoint)}
    existing = run_topics(sizes)
    for run, topics in existing.items():
        run_of(run).topics += [sizes[topic] for topic in topics]
    for group in kafka_admin.group_lags(endpoint):
        run, _, role = group.group.rpartition("-")
        if run in existing and role in GROUPS:
            run_of(run).groups.append(group)


def _add_indices(settings: Settings, run_of: Any) -> None:
    endpoint = embedded.elastic_endpoint(settings)
    with open_client(elastic_connection(endpoint)) as client:
        indices = stored_indices(client, [definition.name for definition in run_definitions(contact=False)])
    alias_sets: dict[str, set[str]] = {}
    for index in indices:
        run_of(index.run).indices.append(index)
        run_alias_sets = alias_sets.setdefault(index.run, set())
        run_alias_sets |= {
            alias.removesuffix(f"-{index.name}") for alias in index.aliases if alias.endswith(f"-{index.name}")
        }
    for run, names in alias_sets.items():
        run_of(run).alias_sets = tuple(sorted(names))


def _add_folders(settings: Settings, run_of: Any) -> None:
    archives = settings.home / "archive"
    for folder in sorted(archives.iterdir()) if archives.is_dir() else []:
        if folder.is_dir() and _is_run(folder.name):
            run = run_of(folder.name)
            run.archive = folder
            run.archive_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    for path in _record_files(settings):
        if (name := run_of_file(path)) is not None:
            run_of(name).files.append(path)


def _record_files(settings: Settings) -> Iterable[Path]:
    for folder in RECORD_FOLDERS:
        records = settings.home / folder
        yield from sorted(path for path in records.iterdir() if path.is_file()) if records.is_dir() else ()


def run_of_file(path: Path) -> str | None:
    """Return the name of the run that a file of the data folder belongs to; None if it belongs to no run."""
    if path.parent.name == NOTIFY_FOLDER:
        name = path.name.partition(".")[0]
        return name if _is_run(name) else None
    suffix = {DEMO_FOLDER: ".json", SPARK_FOLDER: SPARK_SUFFIX}.get(path.parent.name)
    if suffix is not None:
        # RUN.json is format 1 of the demo's progress
        name = path.stem.removeprefix("sent-") if path.parent.name == DEMO_FOLDER else path.stem
        return name if path.suffix == suffix and _is_run(name) else None
    roles = "|".join(consume_job.ROLES)
    # rotated logs end with a number
    match = re.fullmatch(rf"({RUN_NAME_PATTERN}?)-(?:{roles})(?:-\d+)?\.[a-z.0-9]+", path.name, re.ASCII)
    return match[1] if match else None


def _is_run(name: str) -> bool:
    try:
        check_run(name)
    except UsageError:
        return False
    return True


# --- dropping ---------------------------------------------------------------------------------------------------------


def check_droppable(run: Run, alias_set: str) -> None:
    """Refuse to drop a run that readers see or workers consume.

    Args:
        run: current data of the run.
        alias_set: alias set that readers of this installation use, such as `shop`.

    Raises:
        ShopstreamError: the run must not be dropped now.
    """
    seen = [name for name in run.alias_sets if name != run.name or name == alias_set]
    if seen:
        aliases = ", ".join(f"`{name}-...`" for name in seen)
        raise ShopstreamError(
            f"Run {run.name} is promoted: readers of {aliases} see it.",
            "Promote another run first (`shopstream promote NAME`), or delete all data with `shopstream down --data`.",
        )
    active = [group.group for group in run.groups if group.members]
    if active:
        raise ShopstreamError(
            f"Workers are still consuming run {run.name} ({', '.join(active)}).",
            "Stop them first (Ctrl-C on their `shopstream consume`).",
        )


def await_idle(settings: Settings, run: Run, timeout_s: float = LEAVE_TIMEOUT_S) -> None:
    """Wait until a run's groups are empty; a stopped static member counts until its session times out.

    Args:
        settings: address of Kafka.
        run: the run; its groups are replaced by the last ones read.
        timeout_s: maximum wait.
    """
    endpoint = embedded.kafka_endpoint(settings)
    deadline_s = time.monotonic() + timeout_s
    while run.members and time.monotonic() < deadline_s:
        time.sleep(0.5)
        names = {group.group for group in run.groups}
        run.groups = [group for group in kafka_admin.group_lags(endpoint, run.name) if group.group in names]


def drop_run(settings: Settings, run: str, state: str, *, keep_archive: bool = False) -> list[str]:
    """Remove all data of a run, step by step; skips data that is already gone, so it can be called again.

    Returns:
        Sentences about data that stays: a folder that is a link is removed as a link.

    1. Kafka: groups, then topics. If a worker has joined meanwhile, this fails before anything is removed.
    2. Elasticsearch: indices with their aliases, then templates.
    3. Checkpoints, the archive, and the files of metrics, logs and the demo's progress.

    After a crash at any step the rest is still listed under the run's name.

    Raises:
        ShopstreamError: a server does not answer or refuses, or a file cannot be deleted.
    """
    kafka, elastic = embedded.kafka_endpoint(settings), embedded.elastic_endpoint(settings)
    with open_client(elastic_connection(elastic)) as client:
        # both servers must answer before anything is removed
        stored_indices(client, ())
        drop_topics_and_groups(kafka.client_properties(), run)
        drop(client, run, run_definitions(contact=False))
    stays = [] if "://" in state else _behind(Path(state) / run)
    remove_state(state, run)
    if not keep_archive:
        stays += _behind(settings.home / "archive" / run)
        remove_folder(str(settings.home / "archive"), run)
    stays += [
        f"Spark's checkpoint {checkpoint} is not deleted: delete it by hand."
        for checkpoint in spark_checkpoints(settings, run)
    ]
    for path in _record_files(settings):
        if run_of_file(path) == run:
            path.unlink(missing_ok=True)
    return stays


def _behind(folder: Path) -> list[str]:
    """Describe what stays if the deleted folder is a link: its target may belong to others, or be a separate disk."""
    if not folder.is_symlink():
        return []
    return [f"{folder} was a link: its target is not deleted and may hold personal data: {folder.resolve()}"]


def check_visible(settings: Settings) -> None:
    """Check that the run is in Elasticsearch, with the permissions of a reader.

    Args:
        settings: settings with Elasticsearch and the run.

    Raises:
        ShopstreamError: there is no such run, or Elasticsearch does not answer.
    """
    existing = _visible_runs(settings)
    if existing is not None:
        raise _no_run(settings.run, "in Elasticsearch", existing)


def other_runs(settings: Settings) -> list[str]:
    """Return the runs that are in Elasticsearch if `settings.run` is not; else nothing. Raises as `check_visible`."""
    return sorted(_visible_runs(settings) or ())


def _visible_runs(settings: Settings) -> Collection[str] | None:
    """Return the runs in Elasticsearch; None if `settings.run` is one of them."""
    with open_client(elastic_connection(embedded.elastic_endpoint(settings, read_only=True)), connections=1) as client:
        if aliases.is_visible(client, settings.run, run_definitions(contact=False)):
            return None
        return aliases.alias_sets(client)


def check_exists(settings: Settings, state: str | None = None) -> None:
    """Check that the run is in Kafka, Elasticsearch or the data folder; passes if one of them does not answer.

    Args:
        settings: settings with the servers, the data folder and the run.
        state: local path or URI of the checkpoints; None: below the data folder.

    Raises:
        ShopstreamError: none of them has the run.
    """
    existing = overview(settings, consume_job.state_folder(settings, state))
    if settings.run not in existing.runs and not existing.problems:
        raise _no_run(settings.run, "in Kafka, Elasticsearch or the data folder", existing.runs)


def _no_run(run: str, where: str, existing: Iterable[str]) -> ShopstreamError:
    names = ", ".join(sorted(existing))
    remedy = f"Runs: {names}." if names else "There are no runs yet: `shopstream consume` creates one."
    return ShopstreamError(f"There is no run {run} {where}.", remedy)
