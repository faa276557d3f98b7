"""A customer's profile, erased wherever it is kept; what was done in each place, and what could not be.

The order matters: the tombstone goes first, so that no consumer brings back what is erased after it.

1. Topic: a tombstone. 2. Whoever consumes reads it. 3. Checkpoints, index and archive are written anew without the
profile. 4. Dead letters that hold it. 5. What was copied meanwhile by a consumer that had not read the tombstone yet
is looked for once more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from consumers import erasure
from consumers.elastic import open_client
from consumers.erasure import Tombstone
from consumers.profile_files import forget_in_archive, forget_in_checkpoints
from features.errors import ShopstreamError
from features.schema import CUSTOMERS_FILE, topic_name
from shopstream import consuming, runs, servers
from shopstream.moments import iso
from shopstream.settings import Settings

CONSUMERS_TIMEOUT_S: Final = 30.0
"""How long running consumers may take to read the tombstone."""
COMPACTION_TIMEOUT_S: Final = 90.0
SETTLE_S: Final = 1.0
SERVER_FOLDERS: Final = frozenset({"kafka", "elasticsearch"})
"""Below the data folder, and no archives."""


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one place.

    Attributes:
        place: where.
        what: was done, or why not.
        reached: False where the profile may stand still.
    """

    place: str
    what: str
    reached: bool = True


@dataclass(slots=True)
class Forgetting:
    """One customer's erasure.

    Args:
        settings: servers and data folder.
        customer_id: who.
        state: path or URI of the checkpoints.
        archives: further archives, beside those below the data folder.
        now: compaction and the deletion of letters are forced instead of awaited.
    """

    settings: Settings
    customer_id: str
    state: str
    archives: tuple[str, ...] = ()
    now: bool = False
    done: list[Done] = field(default_factory=list)

    def run(self, names: Iterable[str] | None = None) -> list[Done]:
        """Erases, and tells of every place.

        Args:
            names: runs; by default all there are.
        """
        known = runs.overview(self.settings, self.state)
        for part, problem in known.problems.items():
            self.done.append(Done(part, str(problem), reached=False))
        for name in known.runs if names is None else names:
            self._run(name, known.runs.get(name))
        for folder in self._archives():
            self._attempt(f"archive {folder}", lambda folder=folder: self._in_archive(folder))  # type: ignore[misc]
        return self.done

    # --- one run ---

    def _run(self, name: str, run: runs.Run | None) -> None:
        kafka: Mapping[str, Any] = {}
        grave: Tombstone | None = None
        if run is None or any(topic.topic == topic_name(name, "customers") for topic in run.topics):
            topic = f"topic {topic_name(name, 'customers')}"
            kafka = self._attempt(topic, self._kafka) or {}
            grave = self._attempt(topic, lambda: erasure.bury(kafka, name, self.customer_id)) if kafka else None
        if grave is not None:
            self._attempt(f"consumers of {name}", lambda: self._await_consumers(kafka, name, grave))
        self._attempt(f"checkpoints of {name}", lambda: self._in_checkpoints(name))
        if run is None or any(index.name == "customers" for index in run.indices):
            self._attempt(f"index {name}-customers", lambda: self._in_index(name))
        if grave is not None:
            self._attempt(f"dead letters of {name}", lambda: self._in_letters(kafka, name, grave))
            self._attempt(f"topic {topic_name(name, 'customers')}", lambda: self._in_topic(kafka, name, grave))
        # a checkpoint that was being written may have come to stand since
        self._attempt(f"checkpoints of {name}", lambda: self._in_checkpoints(name, again=True))

    def _attempt(self, place: str, act: Callable[[], Any]) -> Any:
        """What `act` gives; a sentence is what it has done. An error is told as a place that was not reached."""
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
        return servers.kafka_endpoint(self.settings).client_properties()

    def _await_consumers(self, kafka: Mapping[str, Any], name: str, grave: Tombstone) -> Done | None:
        if not erasure.members(kafka, name, "features"):
            return None
        if erasure.await_readers(kafka, name, "features", grave, CONSUMERS_TIMEOUT_S):
            return Done(f"consumers of {name}", "have read the tombstone, or have left")
        said = f"the running ones have not read the tombstone within {CONSUMERS_TIMEOUT_S:.0f} s; do this again later"
        return Done(f"consumers of {name}", said, reached=False)

    def _in_checkpoints(self, name: str, *, again: bool = False) -> str | None:
        seen, changed = forget_in_checkpoints(self.state, name, self.customer_id)
        if again:
            return f"{changed} more written anew" if changed else None
        return f"{changed} of {seen} held the profile and were written anew"

    def _in_index(self, name: str) -> str:
        endpoint = servers.elastic_endpoint(self.settings)
        with open_client(consuming.elastic_connection(endpoint), connections=1) as client:
            changed = erasure.forget_in_index(client, name, self.customer_id)
        return "the document was written anew without the profile" if changed else "no profile in the document"

    def _in_letters(self, kafka: Mapping[str, Any], name: str, grave: Tombstone) -> str:
        found = erasure.letters_of(kafka, name, self.customer_id, grave.contact)
        others = f"; {len(found.others)} more hold no more than the id" if found.others else ""
        if not found.personal:
            return f"none holds the profile{others}"
        numbers = sorted(letter.number for letter in found.personal)
        listed = ", ".join(map(str, numbers[:20])) + (" …" if len(numbers) > 20 else "")
        if self.now:
            copies = erasure.delete_letters(kafka, name, frozenset(numbers))
            return (
                f"{len(numbers)} were deleted ({listed}), {copies} others copied behind them: their numbers and their "
                f"30 days are new{others}"
            )
        if found.retention_ms < 0:
            return f"{len(numbers)} hold it ({listed}) and are kept for ever: --now deletes them{others}"
        until = iso(found.gone_by_ms)
        return f"{len(numbers)} hold it ({listed}); the last is kept until {until}: --now deletes them{others}"

    def _in_topic(self, kafka: Mapping[str, Any], name: str, grave: Tombstone) -> Done:
        place = f"topic {topic_name(name, 'customers')}"
        places = ", ".join(f"partition {number} offset {offset}" for number, offset in grave.offsets.items())
        written = f"tombstone at {places}"
        if not grave.records:
            return Done(place, f"{written}; the log holds no older record of the customer")
        if not self.now:
            return Done(
                place,
                f"{written}; readers find no profile from here on, but {grave.records} older records stay in the log "
                "until the broker compacts it: --now makes it do so",
            )
        if erasure.compact(kafka, name, self.customer_id, grave, COMPACTION_TIMEOUT_S):
            return Done(place, f"{written}; compacted: {grave.records} older records are gone from the log")
        said = f"{written}; the broker has not compacted the log within {COMPACTION_TIMEOUT_S:.0f} s"
        return Done(place, said, reached=False)

    # --- archives ---

    def _archives(self) -> list[str]:
        """Given ones, and every folder below the data folder that holds profiles."""
        found = list(self.archives)
        for child in sorted(self.settings.home.iterdir()) if self.settings.home.is_dir() else []:
            if child.is_dir() and child.name not in SERVER_FOLDERS:
                found += [str(path.parent) for path in sorted(child.rglob(CUSTOMERS_FILE))]
        return list(dict.fromkeys(found))

    def _in_archive(self, folder: str) -> Done:
        place = f"archive {folder}"
        if "://" not in folder and not Path(folder).is_dir():
            return Done(place, "there is no such folder", reached=False)
        _, changed = forget_in_archive(folder, self.customer_id)
        if changed:
            # a running archive consumer may have copied it just now
            time.sleep(SETTLE_S)
            changed += forget_in_archive(folder, self.customer_id)[1]
        return Done(place, f"{changed} files held the profile and were written anew" if changed else "no profile")
