"""Erases a customer's profile from every place, and reports the result of each place.

Only one erasure works at a time: it holds a lock of the data folder, and a lock of the run across machines. The
tombstone goes first, so that no consumer restores what is erased after it. Dying at any step leaves places that the
next call finds again; no state is needed between two calls.

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
from consumers.erasure.indices import forget_in_alerts, forget_in_index, purge
from consumers.erasure.lock import BUSY_REMEDY, WAIT_S, Lock, erasure_lock
from consumers.erasure.profile_topic import Tombstones
from features.errors import ShopstreamError, UsageError
from features.schema import CUSTOMERS_FILE, topic_name
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
class Done:
    """Result for one place.

    Attributes:
        place: name of the place.
        what: action taken, or the reason for none.
        reached: False if the profile may still be there.
    """

    place: str
    what: str
    reached: bool = True


@dataclass(slots=True)
class Forgetting:
    """Erasure of one customer.

    Args:
        settings: servers and data folder.
        customer_id: id of the customer.
        state: path or URI of the checkpoints.
        archives: further archives, besides those below the data folder.
        now: force compaction and the deletion of dead letters instead of waiting for them.
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
    now: bool = False
    wait_s: float = WAIT_S
    on_wait: Callable[[], None] = lambda: None
    clock_ms: Callable[[], int] = wall_clock_ms
    done: list[Done] = field(default_factory=list)

    def __post_init__(self) -> None:
        try:
            self.customer_id.encode()
        except UnicodeEncodeError:
            raise UsageError("CUSTOMER is no UTF-8.", "Give the customer_id of the records.") from None

    def run(self, names: Iterable[str] | None = None) -> list[Done]:
        """Erase the profile and return the result of every place.

        Args:
            names: names of the runs; default: all runs.

        Raises:
            ShopstreamError: another erasure works in this data folder and does not end, or there is no such folder.
        """
        with _alone_here(self.settings.home, self.wait_s, self.on_wait):
            known = runs_job.overview(self.settings, self.state)
            for part, problem in known.problems.items():
                self.done.append(Done(part, str(problem), reached=False))
            for name in known.runs if names is None else names:
                self._run(name, known.runs.get(name))
            for folder in self._archives():
                self._attempt(f"archive {folder}", lambda folder=folder: self._in_archive(folder))  # type: ignore[misc]
        return self.done

    # --- one run ---

    def _run(self, name: str, run: runs_job.Run | None) -> None:
        kafka: Mapping[str, Any] = {}
        topic = topic_name(name, "customers")
        with ExitStack() as held:
            lock: Lock | None = None
            if run is None or any(found.topic == topic for found in run.topics):
                kafka = self._attempt(f"topic {topic}", self._kafka) or {}
                if kafka:
                    waiting = erasure_lock(kafka, name, wait_s=self.wait_s, on_wait=self.on_wait)
                    lock = self._attempt(f"topic {topic}", lambda: held.enter_context(waiting))
                    if lock is None:
                        return  # the other erasure would restore what is erased here
            self._in_places(name, run, kafka, lock)

    def _in_places(self, name: str, run: runs_job.Run | None, kafka: Mapping[str, Any], lock: Lock | None) -> None:
        topic = f"topic {topic_name(name, 'customers')}"
        grave: Tombstones | None = None
        if lock is not None:
            self._attempt(topic, lambda: self._restored(kafka, name))
            grave = self._attempt(
                topic, lambda: profile_topic.write_tombstones(kafka, name, self.customer_id, self.clock_ms())
            )
        if grave is not None:
            self._attempt(f"consumers of {name}", lambda: self._await_consumers(kafka, name, grave))
        self._attempt(f"checkpoints of {name}", lambda: self._in_checkpoints(name))
        if run is None or any(index.name in ("customers", "alerts") for index in run.indices):
            self._attempt(f"indices of {name}", lambda: self._in_indices(name))
        if grave is not None and lock is not None:
            self._attempt(f"dead letters of {name}", lambda: self._in_letters(kafka, name, grave, lock))
            self._attempt(f"topic {topic_name(name, 'alerts')}", lambda: self._in_alerts(kafka, name, grave))
            self._attempt(topic, lambda: self._in_topic(kafka, name, grave, lock))
        # a checkpoint that was being written may have been completed since
        self._attempt(f"checkpoints of {name}", lambda: self._in_checkpoints(name, again=True))
        self._in_spark(name)

    def _attempt(self, place: str, act: Callable[[], Any]) -> Any:
        """Call `act` and return its result; record a text or a `Done` as done, an error as a place not reached."""
        try:
            found = act()
        except ShopstreamError as error:
            self.done.append(Done(place, str(error), reached=False))
            return None
        if isinstance(found, str):
            self.done.append(Done(place, found))
            return None
        if isinstance(found, Done):
            self.done.append(found)
            return None
        return found

    def _kafka(self) -> Mapping[str, Any]:
        return embedded.kafka_endpoint(self.settings).client_properties()

    @staticmethod
    def _restored(kafka: Mapping[str, Any], name: str) -> str | None:
        if profile_topic.restore_settings(kafka, name):
            return "settings that an erasure left when it was killed are the broker's again"
        return None

    def _await_consumers(self, kafka: Mapping[str, Any], name: str, grave: Tombstones) -> Done | None:
        place = f"consumers of {name}"
        found = [role for role in PROFILE_ROLES if profile_topic.members(kafka, name, role)]
        end_s = time.monotonic() + CONSUMERS_TIMEOUT_S
        late = [r for r in found if not profile_topic.await_readers(kafka, name, r, grave, end_s - time.monotonic())]
        if late:
            said = (
                f"the running ones of {' and '.join(late)} have not committed behind the tombstone within "
                f"{CONSUMERS_TIMEOUT_S:.0f} s: they may write what they have read before it (archive: with its next "
                "files, within 5 minutes). Do this again then"
            )
            return Done(place, said, reached=False)
        return Done(place, "have read the tombstone, or have left") if found else None

    def _in_checkpoints(self, name: str, *, again: bool = False) -> Done | None:
        place = f"checkpoints of {name}"
        looked = forget_in_checkpoints(self.state, name, self.customer_id, self.clock_ms())
        if again and not looked.changed and not looked.busy:
            return None
        said = f"{looked.changed} of {looked.seen} held the profile and were written again"
        if again:
            said = f"{looked.changed} more written again"
        return Done(place, said + _strange(looked) + _busy(looked), reached=not looked.busy)

    def _in_indices(self, name: str) -> str:
        endpoint = embedded.elastic_endpoint(self.settings)
        with open_client(elastic_connection(endpoint), connections=1) as client:
            changed = forget_in_index(client, name, self.customer_id)
            alerts = forget_in_alerts(client, name, self.customer_id)
            if self.now:
                purge(client, name)
        said = (
            "the customer's document was written again without the profile" if changed else "no profile in the document"
        )
        return f"{said}; {alerts} alerts held fields of it and were written again" if alerts else said

    def _in_letters(self, kafka: Mapping[str, Any], name: str, grave: Tombstones, lock: Lock) -> Done:
        place = f"dead letters of {name}"
        found, person = dead_letter_erasure.dead_letters_of(kafka, name, grave.person)
        said = []
        deleted = 0
        for _ in range(TRIES if self.now else 0):
            if not found.numbers:
                break
            gone, copies = dead_letter_erasure.delete_dead_letters(kafka, name, person, lock.check)
            deleted += gone
            said = [
                f"{deleted} were deleted, {copies} others copied behind them: their numbers and their 30 days are new"
            ]
            found, person = dead_letter_erasure.dead_letters_of(kafka, name, person)
        if found.numbers and self.now:
            said.append(f"{len(found.numbers)} came back ({_listed(found.numbers)}): do it again")
        elif found.numbers and found.retention_ms < 0:
            said.append(f"{_hold(found)} and are kept for ever: --force-compaction deletes them")
        elif found.numbers:
            said.append(
                f"{_hold(found)}; the last is kept until {iso(found.gone_by_ms)}: --force-compaction deletes them"
            )
        elif not deleted:
            said.append("none holds the profile")
        if found.others:
            said.append(f"{len(found.others)} hold no more than the id ({_listed(found.others)})")
        return Done(place, "; ".join(said), reached=not (self.now and found.numbers))

    @staticmethod
    def _in_alerts(kafka: Mapping[str, Any], name: str, grave: Tombstones) -> str | None:
        found = dead_letter_erasure.alerts_of(kafka, name, grave.person)
        if not found.numbers:
            return None
        until = (
            "are kept for ever" if found.retention_ms < 0 else f"are kept until {iso(found.gone_by_ms)} at the latest"
        )
        return (
            f"{_hold(found)}, as alerts of an earlier version do: their country. They {until}: a message that "
            "others may be reading cannot be taken out of the middle of a log"
        )

    def _in_topic(self, kafka: Mapping[str, Any], name: str, grave: Tombstones, lock: Lock) -> Done:
        topic = topic_name(name, "customers")
        place = f"topic {topic}"
        places = ", ".join(f"partition {number} offset {offset}" for number, offset in grave.offsets.items())
        said, older = f"tombstone at {places}", grave.records + sum(grave.misplaced.values())
        if grave.misplaced:
            said += f"; {sum(grave.misplaced.values())} records stood under {len(grave.misplaced)} other keys"
        said += _shared(grave)
        settings = profile_topic.retention_settings(kafka, topic)
        kept_ms = int(settings[TOMBSTONE_SETTING] or 0)
        if telling := sum(grave.person.is_named_in(key) for _, key in grave.misplaced):
            said += (
                f"; {telling} of these keys hold a name or an address themselves: their tombstones stay in the log for "
                f"{kept_ms / 3_600_000:g} hours ({TOMBSTONE_SETTING}), so that no consumer misses them"
            )
        if not older:
            return Done(place, f"{said}; the log holds no older record of the customer{_kept(kept_ms)}")
        if "compact" not in (settings["cleanup.policy"] or ""):
            said += f"; {older} older records stay, since the topic is not compacted (cleanup.policy)"
            return Done(place, said, reached=False)
        if not self.now:
            return Done(
                place,
                f"{said}; readers find no profile from here on, but {older} older records stay in the log "
                f"until the broker compacts it: --force-compaction makes it do so{_kept(kept_ms)}",
            )
        if profile_topic.compact(kafka, name, grave, lock.check, COMPACTION_TIMEOUT_S):
            return Done(place, f"{said}; compacted: {older} older records are gone from the log{_kept(kept_ms)}")
        said = f"{said}; the broker has not compacted the log within {COMPACTION_TIMEOUT_S:.0f} s"
        return Done(place, said, reached=False)

    def _in_spark(self, name: str) -> None:
        for place in spark_checkpoints(self.settings, name):
            said = (
                "the stream on Spark was started with this checkpoint: its state lets go of the profile with the first "
                "batch behind the tombstone, and Spark deletes older states 100 batches later. Only Spark can write "
                "there; to be rid of it at once delete the checkpoint and begin another one"
            )
            self.done.append(Done(f"Spark's checkpoint {place}", said))

    # --- archives ---

    def _archives(self) -> list[str]:
        """Return the given archives, and every folder below the data folder that holds profiles, links included."""
        found = list(self.archives)
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
                found.append(folder)
        return list(dict.fromkeys(found))

    def _in_archive(self, folder: str) -> Done:
        place = f"archive {folder}"
        if "://" not in folder and not Path(folder).is_dir():
            return Done(place, "there is no such folder", reached=False)
        looked = forget_in_archive(folder, self.customer_id, self.clock_ms())
        total = looked.changed
        for _ in range(TRIES):
            if not looked.changed and not looked.busy:
                break
            # a running archive consumer may have copied it just now
            time.sleep(SETTLE_S)
            looked = forget_in_archive(folder, self.customer_id, self.clock_ms())
            total += looked.changed
        said = f"{total} files held the profile and were written again" if total else "no profile"
        if looked.changed:
            return Done(place, f"{said}; it comes back as a consumer writes. Do it again", reached=False)
        return Done(place, said + _busy(looked), reached=not looked.busy)


@contextmanager
def _alone_here(home: Path, wait_s: float, on_wait: Callable[[], None]) -> Iterator[None]:
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
        raise ShopstreamError(f"Another erasure works in {home}.", BUSY_REMEDY) from None
    except OSError as error:
        raise ShopstreamError(f"The data folder {home} cannot be written: {error.strerror}.") from error
    try:
        yield
    finally:
        lock.release()


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, sorted(numbers)[:SHOWN_MAX])) + (" …" if len(numbers) > SHOWN_MAX else "")


def _hold(found: dead_letter_erasure.PersonalMessages) -> str:
    return f"{len(found.numbers)} hold it ({_listed(found.numbers)})"


def _shared(grave: Tombstones) -> str:
    if not grave.shared:
        return ""
    others = ", ".join(grave.shared[:SHOWN_MAX]) + (" …" if len(grave.shared) > SHOWN_MAX else "")
    return f"; profiles of other customers have the same name or address: {others}. Forget those too if they are one"


def _kept(kept_ms: int) -> str:
    """Return the warning for consumers that may pause longer than the tombstone is kept."""
    if kept_ms >= TOMBSTONE_RETENTION_MS:
        return ""
    return (
        f". The tombstone is kept for {kept_ms / 3_600_000:g} hours: a consumer that pauses longer keeps the profile "
        f"({TOMBSTONE_SETTING} of the topic)"
    )


def _strange(looked: FileCounts) -> str:
    if not looked.strange:
        return ""
    shown = ", ".join(looked.strange[:SHOWN_MAX]) + (" …" if len(looked.strange) > SHOWN_MAX else "")
    return f"; left alone, since their names are none of ours, and yours to look after: {shown}"


def _busy(looked: FileCounts) -> str:
    if not looked.busy:
        return ""
    return (
        f"; cannot be read, being written or cut short: {', '.join(looked.busy[:SHOWN_MAX])}. Do it again in a minute"
    )
