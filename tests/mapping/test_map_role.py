"""The loop of the role `map` with parts in memory: what it refuses, counts, holds and tells the other workers."""

from __future__ import annotations

import json

import pytest

from connectors.kafka.source import Batch, CommittedOffset, Partition
from connectors.messages.mapped import Mapped, MappedRecord
from consumers.mapping.committed_facts import CommittedFacts, read_facts
from consumers.mapping.consumer import MapOptions, MapRole
from consumers.mapping.held_messages import NO_TIME, STEP_MS, UNKNOWN_TIME
from consumers.mapping.topic_mappers import TopicMappers
from features.errors import ShopstreamError
from features.schema import DAY_MS

NOW_MS = 1_767_225_600_000
WEB = Partition("web", 0)


class OnePartition:
    """A source of one partition whose messages are read at once."""

    def __init__(self, values, append_ms=NOW_MS):
        self.values, self.append_ms = values, append_ms
        self.committed = None
        self.paused = []
        self.owner = None

    def open(self, owner):
        self.owner = owner

    def read(self, records_max, timeout_s):
        if self.owner is not None and not self.owner._owned:
            self.owner.assigned({WEB: CommittedOffset(0, "")})
        values, self.values = self.values[:records_max], self.values[records_max:]
        n = len(values)
        self.read_to = getattr(self, "read_to", 0) + n
        first = self.read_to - n
        return [Batch(WEB, range(first, first + n), values, [None] * n, [self.append_ms] * n, [()] * n)] if n else []

    def position(self, partition):
        return self.read_to

    def at_end(self, partition):
        return not self.values

    def pause_partition(self, partition):
        self.paused.append(partition)

    def resume_partition(self, partition):
        self.paused.remove(partition)

    def lag(self):
        return len(self.values)

    def commit(self, offsets):
        self.committed = offsets[WEB][0]
        self.commits = [*getattr(self, "commits", []), self.committed]

    def close(self):
        pass


class Writer:
    """A writer that keeps its records; `idle` says whether the brokers have them."""

    bytes_max = 100

    def __init__(self, *, idle=True):
        self.idle = idle
        self.records = []
        self.waits = 0

    def write(self, record, stop):
        self.records.append(record)
        return True

    def poll(self):
        pass

    def flush(self, timeout_s, stop):
        return self.idle

    def await_idle(self):
        self.waits += 1


class Letters(list):
    def send(self, letter):
        self.append(letter)

    def flush(self):
        pass


class Times:
    """A mapper whose messages are lists of times: a record for each; other messages are left out or refused."""

    last_error = None

    def __init__(self, name="times", only=0):
        self.name, self.topic, self.only = name, "web", only

    def map(self, messages):
        mapped = Mapped()
        for n, message in enumerate(messages):
            one = json.loads(message.value)
            if isinstance(one, str):
                {"left out": mapped.left_out, "refused": mapped.refused}[one][n] = f"by {self.name}"
            elif self.only and self.only not in one:
                mapped.left_out[n] = f"by {self.name}"
            else:
                mapped.records += [MappedRecord("events", b"c", json.dumps({"ts": t}).encode(), n, t) for t in one]
        return mapped


TIMES = (Times(),)


def run(values, *, turns=3, mappers=TIMES, writer=None, append_ms=NOW_MS, options=None, others=NO_TIME, ids=dict):
    source = OnePartition([json.dumps(one).encode() for one in values], append_ms)
    writer, letters, told = writer or Writer(), Letters(), []
    role = MapRole(
        source, list(mappers), writer, letters, options=options or MapOptions(commit_every_s=0), topic_ids=ids
    )
    left = iter(range(turns))
    stopped = []

    def stop():
        # the loop asks before each turn, and the writing asks again
        if not stopped and len(told) >= turns:
            stopped.append(next(left, None))
        return bool(stopped)

    progress = role.run(stop, others_ms=lambda time_ms: told.append(time_ms) or others)
    return source, writer, letters, told, progress


def test_message_gives_all_of_its_records_or_none():
    late = NOW_MS + 2 * DAY_MS
    source, writer, letters, _, progress = run([[NOW_MS, NOW_MS + 5], "left out", "refused", [NOW_MS, late]])
    assert [record.time_ms for record in writer.records] == [NOW_MS, NOW_MS + 5]
    assert [(letter.offset, letter.key, letter.value) for letter in letters] == [(2, None, None), (3, None, None)]
    assert letters[1].error == "its time is 2.0 days after the time of the message, at most 1 counts"
    counts = progress.consumed, progress.valid, progress.left_out, progress.rejected, progress.written
    assert counts == (4, 1, 1, 2, 2)
    assert source.committed == 4


def test_record_that_no_topic_accepts_is_a_dead_letter():
    class Small(Writer):
        bytes_max = 20

    _, writer, letters, _, _ = run([[NOW_MS]], writer=Small())
    assert not writer.records
    assert letters[0].error == "a record has 22 bytes, at most 20 are sent"


def test_two_mappings_of_a_topic_judge_a_message_together():
    one, two = Times("one"), Times("two", only=NOW_MS + 1)
    _, writer, letters, _, progress = run([[NOW_MS], [NOW_MS + 1], "left out", "refused"], mappers=[one, two])
    assert [record.time_ms for record in writer.records] == [NOW_MS, NOW_MS + 1, NOW_MS + 1]
    assert (progress.valid, progress.left_out, progress.rejected) == (2, 1, 1)
    assert letters[0].error == "two: by two"


@pytest.mark.parametrize(("idle", "expected"), [(True, NO_TIME), (False, UNKNOWN_TIME)])
def test_others_wait_until_the_brokers_have_the_records(idle, expected):
    """Else the records of another worker could overtake those in this worker's queue."""
    _, _, _, told, _ = run([[NOW_MS - DAY_MS]], writer=Writer(idle=idle))
    assert told[-1] == expected


@pytest.mark.parametrize(("others", "expected"), [(NO_TIME, 0), (NOW_MS, 1)])
def test_step_is_acknowledged_at_once_only_if_other_workers_wait(others, expected):
    _, writer, _, _, _ = run([[NOW_MS - DAY_MS]], others=others)
    assert writer.waits == expected


def test_batches_of_a_topic_that_are_mapped_together_keep_their_messages_apart():
    """Records and reasons of each batch have the positions that they have when the batch is mapped alone."""
    texts = [[[NOW_MS], "left out"], ["refused", [NOW_MS + 1, NOW_MS + 2]], [[NOW_MS + 2 * DAY_MS], "left out"]]
    batches = [
        Batch(Partition("web", number), range(2), [json.dumps(one).encode() for one in values], [None] * 2,
              [NOW_MS] * 2, [()] * 2)
        for number, values in enumerate(texts)
    ]  # fmt: skip
    mappers = TopicMappers(TIMES, 100, {})
    together, alone = mappers.map(batches), [mappers.map([batch])[0] for batch in batches]
    for one, other in zip(together, alone, strict=True):
        assert (one.records, one.left_out, one.refused, one.dropped) == (
            other.records,
            other.left_out,
            other.refused,
            other.dropped,
        )
    assert [len(one.records) for one in together] == [1, 2, 0]


def test_backlog_is_committed_before_a_repetition_would_be_too_late():
    """A crash repeats what is not committed. By then, records of 48 hours later may be on the topic."""
    days = [[NOW_MS - (9 - day) * DAY_MS] for day in range(9)]
    source, writer, _, _, _ = run(days, turns=30, options=MapOptions(commit_every_s=1e9))
    assert len(writer.records) == 9
    assert source.commits == list(range(10))


def test_topic_that_is_created_again_stops_the_role(monkeypatch):
    monkeypatch.setattr("consumers.mapping.consumer.IDENTIFY_EVERY_S", 0)
    ids = iter(["one", "one", "two"])
    with pytest.raises(ShopstreamError, match="was deleted and created again"):
        run([[NOW_MS - DAY_MS]], turns=10, ids=lambda: {"web": next(ids)})


class Losing(Times):
    """Loses a value of each message."""

    def map(self, messages):
        mapped = super().map(messages)
        mapped.dropped = {n: ["`country`: no code"] for n in range(len(messages)) if n not in mapped.left_out}
        return mapped


def test_dropped_values_count_by_mapping_path_and_reason_once_their_message_is_written():
    late = NOW_MS + 2 * DAY_MS
    _, _, _, _, progress = run([[NOW_MS], [NOW_MS + 1], "left out", "refused", [late]], mappers=(Losing(),))
    assert (progress.consumed, progress.valid, progress.dropped) == (5, 2, 2)
    assert progress.dropped_by == {f"dropped.{Losing().name}: `country`: no code": 2}


def test_values_that_several_mappings_of_a_topic_drop_count_for_each():
    _, _, _, _, progress = run([[NOW_MS]], mappers=(Losing(name="one"), Losing(name="two")))
    assert progress.dropped_by == {"dropped.one: `country`: no code": 1, "dropped.two: `country`: no code": 1}


def test_dropped_values_of_a_message_on_hold_do_not_count_yet():
    early, later = NOW_MS - 9 * DAY_MS, NOW_MS - 9 * DAY_MS + STEP_MS + 1
    _, _, _, _, progress = run([[early], [later]], mappers=(Losing(),), others=early)
    assert (progress.consumed, progress.dropped) == (1, 1)


def role_of(guests):
    source = OnePartition([])
    return source, MapRole(source, TIMES, Writer(), Letters(), topic_ids=lambda: {"web": "id"}, guests=guests)


@pytest.mark.parametrize(("known", "current"), [("one", "two"), ("two", "one")])
def test_offsets_of_another_secret_of_guests_are_refused(known, current):
    _, role = role_of(current)
    start = CommittedOffset(7, CommittedFacts("id", known).text())
    with pytest.raises(ShopstreamError, match=r"another guest_salt.*SHOPSTREAM_GUEST_SALT.*--run NAME"):
        role.assigned({WEB: start})


@pytest.mark.parametrize(
    ("known", "current", "committed"),
    [("", "one", "one"), ("one", "one", "one"), ("one", "", "one"), ("", "", "")],
)
def test_fingerprint_of_the_secret_is_committed_and_stays_while_no_mapping_makes_guests(known, current, committed):
    source, role = role_of(current)
    texts = []
    source.read_to = 8
    source.commit = lambda offsets: texts.append(offsets[WEB][1])
    role.assigned({WEB: CommittedOffset(7, CommittedFacts("id", known).text())})
    role.revoked([WEB])
    assert [read_facts(text) for text in texts] == [CommittedFacts("id", committed)]


def test_metadata_of_another_writer_has_no_facts():
    assert read_facts("") == read_facts("epoch 7") == CommittedFacts()


def test_offsets_of_a_topic_that_was_created_again_are_refused_before_a_message_is_read():
    _, role = role_of("")
    with pytest.raises(ShopstreamError, match="was deleted and created again"):
        role.assigned({WEB: CommittedOffset(7, CommittedFacts("former id").text())})


def test_nothing_is_written_ahead_of_the_other_workers():
    early, late = NOW_MS - 9 * DAY_MS, NOW_MS - 9 * DAY_MS + STEP_MS + 1
    source, writer, _, _, progress = run([[early], [late]], others=early)
    assert [record.time_ms for record in writer.records] == [early]
    assert source.committed == 1 == progress.consumed


def test_partition_that_waits_is_paused():
    options = MapOptions(commit_every_s=0, held_messages_max=2)
    source, _, _, _, _ = run([[NOW_MS - 9 * DAY_MS + n] for n in range(4)], others=1, options=options)
    assert source.paused == [WEB]
