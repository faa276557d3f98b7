"""Histories run again: a replay equals the live run, and a corrected one takes its place while live goes on."""

from __future__ import annotations

import threading
import time

import pytest
from oracle.rows import assert_same_rows
from runs.life import Scale, corrected, export, last_ms, living, run_again
from stream.bench import INDICES, Bench

from connectors.elasticsearch import aliases as aliases_module
from connectors.elasticsearch.mappings import alias, owner
from consumers.index_definitions import run_definitions
from features.schema import DAY_MS
from shopstream.jobs.archive_features import batch_features

pytestmark = pytest.mark.timeout(600)

DEFINITIONS = run_definitions(contact=False)
NAMES = [definition.name for definition in DEFINITIONS]
LIFE = [
    pytest.param(Scale(), 300, id="short"),
    pytest.param(Scale(5_000, 20_000, 2.0), 30_000, id="long", marks=[pytest.mark.campaign, pytest.mark.slow]),
]
"""How large a life, and the rows that its worker writes before it is looked at."""


@pytest.fixture
def benches(servers, new_run, tmp_path):
    """The run that is lived into, and the one that is made of its history."""
    entries = [Bench(servers, name, tmp_path / "state", partitions=4) for name in (new_run(), new_run("-again"))]
    yield entries
    for bench in entries:
        bench.client.close()


@pytest.mark.parametrize(("scale", "rows"), LIFE)
def test_replay_of_a_live_run_gives_equal_rows_at_the_same_as_of(benches, tmp_path, scale, rows):
    """With dirt: what came late or malformed in the live run is in neither."""
    lived, again = benches
    with living(lived, scale, dirt=0.05) as life:
        life.wait(rows)
    archive = export(lived, tmp_path / "archive")
    as_of = last_ms(archive) + DAY_MS
    lived.consume(as_of)
    dead_letters = lived.messages("dead-letter")
    assert dead_letters, "there was dirt"
    run_again(again, archive, as_of)
    assert not again.messages("dead-letter")

    expected = batch_features(archive, as_of)
    assert expected.height > rows // 10
    for bench in benches:
        assert_same_rows(bench.feature_frame(), expected, note=bench.run)
        assert_same_rows(bench.topic_frame(), expected, note=f"{bench.run}, on the topic")
    for index in INDICES:
        # every column of every document: profiles, sessions, orders and their lines too
        requested, got = lived.by_id(index), again.by_id(index)
        assert got.keys() == requested.keys(), index
        assert requested, index
        wrong = [(got[key], requested[key]) for key in requested if got[key] != requested[key]]
        assert not wrong, (index, len(wrong), wrong[0])


class Reader:
    """Asks an alias set again and again, as a dashboard does, and notes whose documents it finds."""

    def __init__(self, bench: Bench) -> None:
        self.answers: list[dict[tuple[str, str], int]] = []
        self._bench, self._over = bench, threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _read(self) -> None:
        aliases = [alias(self._bench.run, index) for index in INDICES]
        by_index = {"of": {"terms": {"field": "_index", "size": 200}}}
        while not self._over.is_set():
            answer = self._bench.client.search(index=aliases, size=0, aggs=by_index, track_total_hits=True)
            result: dict[tuple[str, str], int] = {}
            for bucket in answer["aggregations"]["of"]["buckets"]:
                whose = owner(bucket["key"], NAMES)
                result[whose] = result.get(whose, 0) + bucket["doc_count"]
            self.answers.append(result)
            time.sleep(0.01)


@pytest.mark.parametrize(("scale", "rows"), LIFE)
def test_corrected_history_replaces_the_old_one_while_the_live_run_continues(benches, tmp_path, scale, rows):
    live, fixed = benches
    with living(live, scale) as life:
        life.wait(rows)
        archive = export(live, tmp_path / "archive")
        done = corrected(archive, tmp_path / "corrected")
        assert min(done.values()) > 0, done
        as_of = last_ms(archive) + 1
        run_again(fixed, tmp_path / "corrected", as_of)
        for index in INDICES:
            fixed.client.indices.refresh(index=alias(fixed.run, index))
        whole = {(fixed.run, index): n for index, n in counted(fixed).items() if index in INDICES}

        reader = Reader(live)
        try:
            for promoted in (fixed, live, fixed):
                seen, written = len(reader.answers), life.written
                aliases_module.promote(live.client, live.run, promoted.run, DEFINITIONS)
                # the live run goes on, whoever is seen
                life.wait(written + 20)
                until_s = time.monotonic() + 20
                while len(reader.answers) < seen + 5:
                    assert time.monotonic() < until_s
                    time.sleep(0.01)
        finally:
            reader.stop()

    met = []
    before: dict[str, int] = {}
    for answer in reader.answers:
        runs = {run for run, _ in answer}
        assert len(runs) == 1, f"a mixture: {answer}"
        (run,) = runs
        met += [run] if met[-1:] != [run] else []
        assert {index for _, index in answer} == set(INDICES), f"an empty index: {answer}"
        if run == fixed.run:
            assert answer == whole, "not all of the new documents"
        else:
            assert all(answer[run, index] >= before.get(index, 1) for index in INDICES), "not all of the old documents"
            before = {index: answer[run, index] for index in INDICES}
    assert met == [live.run, fixed.run, live.run, fixed.run]
    print(f"{len(reader.answers)} answers, {done}")

    # what the readers of the live run's name find is the corrected history, to the last column
    expected = batch_features(tmp_path / "corrected", as_of)
    seen_by_readers = Bench.feature_frame(live)
    assert_same_rows(seen_by_readers, expected, note="through the alias")
    assert batch_features(archive, as_of).equals(expected) is False, "the correction changes something"


def counted(bench: Bench) -> dict[str, int]:
    return aliases_module.count_documents(bench.client, bench.run, DEFINITIONS)
