"""Erases a customer's profile from every location, and reports the result for each.

Only one erasure works at a time: it holds a lock of the data folder, and a lock of the run across machines. The
tombstone goes first, so that no consumer restores what is erased after it. After a crash at any step the next call
finds the remaining locations again; no state is needed between two calls.

1. Topic: a tombstone.
2. Running consumers read it.
3. Checkpoints, indices and archives are rewritten without the profile.
4. Dead letters that hold it.
5. Compaction.
6. A second check for copies made meanwhile by a consumer that had not read the tombstone yet.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import filelock

from connectors.clock import iso, wall_clock_ms
from connectors.elasticsearch.client import elastic_connection, open_client
from connectors.kafka.topic_settings import TOMBSTONE_RETENTION_MS, TOMBSTONE_SETTING
from consumers.archive.files import PARTS_FOLDER
from consumers.erasure import dead_letters as dead_letter_erasure
from consumers.erasure import profile_topic
from consumers.erasure.files import FileCounts, forget_in_archive, forget_in_checkpoints
from consumers.erasure.indices import forget_contact, forget_in_alerts, forget_in_index, purge
from consumers.erasure.lock import BUSY_REMEDY, WAIT_S, Lock, erasure_lock
from consumers.erasure.profile_topic import Tombstones
from features.errors import ShopstreamError, UsageError
from features.schema import CUSTOMERS_FILE, topic_name
from features.workspace import CONTACTS
from shopstream import embedded
from shopstream.jobs import consume as consume_job
from shopstream.jobs import runs as runs_job
from shopstream.settings import Settings
from shopstream.spark.checkpoint_registry import spark_checkpoints

CONSUMERS_TIMEOUT_S: Final = 30.0
"""Maximum time for running consumers to read the tombstone."""
COMPACTION_TIMEOUT_S: Final = 90.0
SETTLE_S: Final = 1.0
TRIES: Final = 5
"""Attempts for files and dead letters that come back while they are erased."""
SHOWN_MAX: Final = 20
PROFILE_ROLES: Final = ("features", "archive")
"""Roles that consume profiles."""
SERVER_FOLDERS: Final = frozenset({"kafka", "elasticsearch"})
"""Folders below the data folder that hold no archives."""


@dataclass(frozen=True, slots=True)
class ErasureResult:
    """Result for one location of the profile.

    Attributes:
        location: name of the topic, index, archive or checkpoints.
        message: action taken, or the reason for none.
        reached: False if the profile may still be there.
    """

    location: str
    message: str
    reached: bool = True


@dataclass(slots=True)
class Erasure:
    """Erasure of one customer.

    Args:
        settings: servers and data folder.
        customer_id: id of the customer.
        state: path or URI of the checkpoints.
        archives: further archives, besides those below the data folder.
        force_compaction: compact the topic and delete the dead letters now, not on schedule.
        wait_s: maximum wait for another erasure to end.
        on_wait: called if another erasure is running.
        clock_ms: wall clock, epoch ms.

    Raises:
        UsageError: the id cannot be a customer id.
    """

    settings: Settings
    customer_id: str
    state: str
    archives: tuple[str, ...] = ()
    force_compaction: bool = False
    wait_s: float = WAIT_S
    on_wait: Callable[[], None] = lambda: None
    clock_ms: Callable[[], int] = wall_clock_ms
    results: list[ErasureResult] = field(default_factory=list)

    def __post_init__(self) -> None:
        try:
            self.customer_id.encode()
        except UnicodeEncodeError:
            raise UsageError("CUSTOMER is not valid UTF-8.", "Give the customer_id as the records spell it.") from None

    def run(self, names: Iterable[str] | None = None) -> list[ErasureResult]:
        """Erase the profile and return the result for every location.

        Args:
            names: names of the runs; default: all runs.

        Raises:
            ShopstreamError: another erasure of this data folder did not end in time, or the folder does not exist.
        """
        with _exclusive_erasure_lock(self.settings.home, self.wait_s, self.on_wait):
            known = runs_job.overview(self.settings, self.state)
            for part, problem in known.problems.items():
                self.results.append(ErasureResult(part, str(problem), reached=False))
            for name in known.runs if names is None else names:
                self._run(name, known.runs.get(name))
            for folder in self._archives():
                self._attempt(f"archive {folder}", lambda folder=folder: self._in_archive(folder))  # type: ignore[misc]
        return self.results

    # --- one run ---

    def _run(self, name: str, run: runs_job.Run | None) -> None:
        kafka: Mapping[str, Any] = {}
        topic = topic_name(name, "customers")
        with ExitStack() as held:
            lock: Lock | None = None
            if run is None or any(counts.topic == topic for counts in run.topics):
                kafka = self._attempt(f"topic {topic}", self._kafka) or {}
                if kafka:
                    waiting = erasure_lock(kafka, name, wait_s=self.wait_s, on_wait=self.on_wait)
                    lock = self._attempt(f"topic {topic}", lambda: held.enter_context(waiting))
                    if lock is None:
                        return  # the other erasure would restore what is erased here
            self._erase_run(name, run, kafka, lock)

    def _erase_run(self, name: str, run: runs_job.Run | None, kafka: Mapping[str, Any], lock: Lock | None) -> None:
        topic = f"topic {topic_name(name, 'customers')}"
        tombstones: Tombstones | None = None
        if lock is not None:
            self._attempt(topic, lambda: self._restored(kafka, name))
            tombstones = self._attempt(
                topic, lambda: profile_topic.write_tombstones(kafka, name, self.customer_id, self.clock_ms())
            )
        if tombstones is not None:
            self._attempt(f"consumers of {name}", lambda: self._await_consumers(kafka, name, tombstones))
        self._attempt(f"checkpoints of {name}", lambda: self._in_checkpoints(name))
        if run is None or any(index.name in ("customers", "alerts", CONTACTS) for index in run.indices):
            self._attempt(f"indices of {name}", lambda: self._in_indices(name))
        if tombstones is not None and lock is not None:
            self._attempt(f"dead letters of {name}", lambda: self._in_dead_letters(kafka, name, tombstones, lock))
            self._attempt(f"topic {topic_name(name, 'alerts')}", lambda: self._in_alerts(kafka, name, tombstones))
            self._attempt(topic, lambda: self._in_topic(kafka, name, tombstones, lock))
        # a checkpoint that was being written may have been completed since
        self._attempt(f"checkpoints of {name}", lambda: self._in_checkpoints(name, again=True))
        self._in_spark(name)

    def _attempt(self, location: str, act: Callable[[], Any]) -> Any:
        """Call `act`; record a text, an `ErasureResult` or an error as the result, and return any other value."""
        try:
            outcome = act()
        except ShopstreamError as error:
            self.results.append(ErasureResult(location, str(error), reached=False))
            return None
        if isinstance(outcome, str):
            self.results.append(ErasureResult(location, outcome))
            return None
        if isinstance(outcome, ErasureResult):
            self.results.append(outcome)
            return None
        return outcome

    def _kafka(self) -> Mapping[str, Any]:
        return embedded.kafka_endpoint(self.settings).client_properties()

    @staticmethod
    def _restored(kafka: Mapping[str, Any], name: str) -> str | None:
        if profile_topic.restore_settings(kafka, name):
            return "the settings that a killed erasure had changed are restored"
        return None

    def _await_consumers(self, kafka: Mapping[str, Any], name: str, tombstones: Tombstones) -> ErasureResult | None:
        location = f"consumers of {name}"
        roles = [role for role in PROFILE_ROLES if profile_topic.members(kafka, name, role)]
        end_s = time.monotonic() + CONSUMERS_TIMEOUT_S
        late = [
            r for r in roles if not profile_topic.await_readers(kafka, name, r, tombstones, end_s - time.monotonic())
        ]
        if late:
            message = (
                f"{' and '.join(late)} did not commit past the tombstone within {CONSUMERS_TIMEOUT_S:.0f} s and may "
                "still write older records (archive: with its next files, within 5 minutes). Repeat the erasure then"
            )
            return ErasureResult(location, message, reached=False)
        return ErasureResult(location, "all have read the tombstone or have stopped") if roles else None

    def _in_checkpoints(self, name: str, *, again: bool = False) -> ErasureResult | None:
        location = f"checkpoints of {name}"
        looked = forget_in_checkpoints(self.state, name, self.customer_id, self.clock_ms())
        if again and not looked.changed and not looked.busy:
            return None
        message = f"{looked.changed} of {looked.seen} held the profile and were rewritten"
        if again:
            message = f"{looked.changed} more were rewritten"
        return ErasureResult(location, message + _foreign_files(looked) + _busy(looked), reached=not looked.busy)

    def _in_indices(self, name: str) -> str:
        endpoint = embedded.elastic_endpoint(self.settings)
        with open_client(elastic_connection(endpoint), connections=1) as client:
            changed = forget_in_index(client, name, self.customer_id)
            alerts = forget_in_alerts(client, name, self.customer_id)
            contacted = forget_contact(client, name, self.customer_id)
            if self.force_compaction:
                purge(client, name)
        message = "the customer's document was rewritten without the profile" if changed else "no profile"
        message += "; the state on the work list was deleted" if contacted else ""
        return f"{message}; {alerts} alerts held its fields and were rewritten" if alerts else message

    def _in_dead_letters(
        self, kafka: Mapping[str, Any], name: str, tombstones: Tombstones, lock: Lock
    ) -> ErasureResult:
        location = f"dead letters of {name}"
        held, person = dead_letter_erasure.dead_letters_of(kafka, name, tombstones.person)
        messages = []
        deleted = 0
        for _ in range(TRIES if self.force_compaction else 0):
            if not held.numbers:
                break
            gone, copies = dead_letter_erasure.delete_dead_letters(kafka, name, person, lock.check)
            deleted += gone
            messages = [f"{deleted} deleted; {copies} others copied behind them, with new numbers and 30 new days"]
            held, person = dead_letter_erasure.dead_letters_of(kafka, name, person)
        if held.numbers and self.force_compaction:
            messages.append(f"{len(held.numbers)} came back ({_listed(held.numbers)}): repeat the erasure")
        elif held.numbers and held.retention_ms < 0:
            messages.append(f"{_counted(held)}, which never expire: --force-compaction deletes them")
        elif held.numbers:
            messages.append(f"{_counted(held)}, until {iso(held.gone_by_ms)}: --force-compaction deletes them")
        elif not deleted:
            messages.append("no profile")
        if held.others:
            messages.append(f"{len(held.others)} with the id only ({_listed(held.others)})")
        return ErasureResult(location, "; ".join(messages), reached=not (self.force_compaction and held.numbers))

    @staticmethod
    def _in_alerts(kafka: Mapping[str, Any], name: str, tombstones: Tombstones) -> str | None:
        held = dead_letter_erasure.alerts_of(kafka, name, tombstones.person)
        if not held.numbers:
            return None
        until = "for ever" if held.retention_ms < 0 else f"until {iso(held.gone_by_ms)} at the latest"
        return (
            f"{_counted(held)}: alerts of format 1 hold the country. They stay {until}, since Kafka cannot "
            "delete single messages from a log"
        )

    def _in_topic(self, kafka: Mapping[str, Any], name: str, tombstones: Tombstones, lock: Lock) -> ErasureResult:
        topic = topic_name(name, "customers")
        location = f"topic {topic}"
        offsets = ", ".join(f"partition {number} offset {offset}" for number, offset in tombstones.offsets.items())
        message, older = f"tombstone at {offsets}", tombstones.records + sum(tombstones.misplaced.values())
        if tombstones.misplaced:
            message += f"; {sum(tombstones.misplaced.values())} records had {len(tombstones.misplaced)} other keys"
        message += _shared(tombstones)
        settings = profile_topic.retention_settings(kafka, topic)
        retention_ms = int(settings[TOMBSTONE_SETTING] or 0)
        if personal := sum(tombstones.person.is_named_in(key) for _, key in tombstones.misplaced):
            message += (
                f"; {personal} of these keys contain a name or an address: their tombstones stay in the log for "
                f"{retention_ms / 3_600_000:g} hours ({TOMBSTONE_SETTING}), so that no consumer misses them"
            )
        warning = _retention_warning(retention_ms)
        if not older:
            return ErasureResult(location, f"{message}; the log holds no older record of the customer{warning}")
        if "compact" not in (settings["cleanup.policy"] or ""):
            message += f"; {older} older records stay, since the topic is not compacted (cleanup.policy)"
            return ErasureResult(location, message, reached=False)
        if not self.force_compaction:
            return ErasureResult(
                location,
                f"{message}; readers find no profile from now on, but {older} older records stay in the log until the "
                f"broker compacts it: --force-compaction compacts it now{warning}",
            )
        if profile_topic.compact(kafka, name, tombstones, lock.check, COMPACTION_TIMEOUT_S):
            return ErasureResult(location, f"{message}; compacted: {older} older records are deleted{warning}")
        message += f"; the broker did not compact the log within {COMPACTION_TIMEOUT_S:.0f} s"
        return ErasureResult(location, message, reached=False)

    def _in_spark(self, name: str) -> None:
        for checkpoint in spark_checkpoints(self.settings, name):
            message = (
                "the state of the Spark stream drops the profile with the first batch after the tombstone, and Spark "
                "deletes older states 100 batches later. Only Spark can write there: to erase it now, delete the "
                "checkpoint and start a new one"
            )
            self.results.append(ErasureResult(f"Spark's checkpoint {checkpoint}", message))

    # --- archives ---

    def _archives(self) -> list[str]:
        """Return the given archives, and every folder below the data folder that holds profiles, links included."""
        archives = list(self.archives)
        seen: set[str] = set()
        home = self.settings.home
        for folder, inner, files in os.walk(home, followlinks=True):
            # a folder seen twice means a cycle of links
            inner[:] = sorted(name for name in inner if folder != str(home) or name not in SERVER_FOLDERS)
            real = os.path.realpath(folder)
            if real in seen:
                inner.clear()
                continue
            seen.add(real)
            if PARTS_FOLDER in inner or any(CUSTOMERS_FILE in name for name in files):
                archives.append(folder)
        return list(dict.fromkeys(archives))

    def _in_archive(self, folder: str) -> ErasureResult:
        location = f"archive {folder}"
        if "://" not in folder and not Path(folder).is_dir():
            return ErasureResult(location, "the folder does not exist", reached=False)
        looked = forget_in_archive(folder, self.customer_id, self.clock_ms())
        total = looked.changed
        for _ in range(TRIES):
            if not looked.changed and not looked.busy:
                break
            # a running archive consumer may have copied it just now
            time.sleep(SETTLE_S)
            looked = forget_in_archive(folder, self.customer_id, self.clock_ms())
            total += looked.changed
        message = f"{total} files held the profile and were rewritten" if total else "no profile"
        if looked.changed:
            return ErasureResult(location, f"{message}; a consumer keeps writing it: repeat the erasure", reached=False)
        return ErasureResult(location, message + _busy(looked), reached=not looked.busy)


@contextmanager
def _exclusive_erasure_lock(home: Path, wait_s: float, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the data folder's erasure lock: erasures share its archives and checkpoints."""
    if not home.is_dir():
        yield
        return
    folder = home / consume_job.LOCKS
    lock = filelock.FileLock(folder / "forget.lock", mode=0o600)
    try:
        folder.mkdir(exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            on_wait()
            lock.acquire(timeout=wait_s)
    except filelock.Timeout:
        raise ShopstreamError(f"Another erasure is running in {home}.", BUSY_REMEDY) from None
    except OSError as error:
        raise ShopstreamError(f"The data folder {home} cannot be written: {error.strerror}.") from error
    try:
        yield
    finally:
        lock.release()


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, sorted(numbers)[:SHOWN_MAX])) + (" …" if len(numbers) > SHOWN_MAX else "")


def _counted(held: dead_letter_erasure.PersonalMessages) -> str:
    return f"{len(held.numbers)} with the profile ({_listed(held.numbers)})"


def _shared(tombstones: Tombstones) -> str:
    if not tombstones.shared:
        return ""
    others = ", ".join(tombstones.shared[:SHOWN_MAX]) + (" …" if len(tombstones.shared) > SHOWN_MAX else "")
    return f"; other customers have the same name or address: {others}. Erase them too if they are the same person"


def _retention_warning(retention_ms: int) -> str:
    """Return the warning for consumers that may pause for longer than the retention of the tombstone."""
    if retention_ms >= TOMBSTONE_RETENTION_MS:
        return ""
    return (
        f". The tombstone lasts {retention_ms / 3_600_000:g} hours: a consumer that pauses longer keeps the profile "
        f"({TOMBSTONE_SETTING} of the topic)"
    )


def _foreign_files(looked: FileCounts) -> str:
    if not looked.strange:
        return ""
    shown = ", ".join(looked.strange[:SHOWN_MAX]) + (" …" if len(looked.strange) > SHOWN_MAX else "")
    return f"; unchanged, since Shopstream did not write them: {shown}. Check them by hand"


def _busy(looked: FileCounts) -> str:
    if not looked.busy:
        return ""
    return f"; being written or incomplete: {', '.join(looked.busy[:SHOWN_MAX])}. Repeat the erasure in a minute"
