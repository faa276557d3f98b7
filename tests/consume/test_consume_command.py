"""`consume` as it is called: wrong calls, servers that are not there, and whole rounds on the real servers."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import psutil
import pytest
from consume.command_line import call, environment, start
from elasticsearch import Elasticsearch

from connectors.clock import iso
from connectors.kafka.admin import group_lags
from connectors.kafka.client import ensure_topics
from features.schema import DAY_MS
from producers.archive.event_order import ArchiveRange
from producers.publisher import Publisher
from producers.replay import ReplayOptions, replay
from producers.shop.generate import generate
from producers.shop.shop import Shop
from shopstream.cli.options import chosen
from shopstream.jobs.consume import ROLES, Consumption, checked, instance_id
from shopstream.jobs.produce import wall_clock
from shopstream.runtime.coordinator_types import WorkerName
from shopstream.settings import Settings

END_MS = 20_400 * DAY_MS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--as-of", "2025-01-01"], "without --until-end"),
        (["--until-end", "--as-of", "soon"], "Invalid time for --as-of: 'soon'"),
        (["--roles", "features,indx"], "Unknown names in --roles: indx"),
        (["--roles", ","], "--roles is empty"),
        (["--workers", "0"], "Invalid value for --workers: 0"),
        (["--clock", "sun"], "'sun' is not one of"),
        (["--roles", "index", "--until-end", "--as-of", "2025-01-01"], "role features"),
        (["--run", "No Name"], "No Name"),
    ],
)
def test_wrong_calls_exit_with_2_before_any_connection(tmp_path, arguments, message):
    done = call(["consume", *arguments], environment(tmp_path), 60)
    assert done.returncode == 2, done.stderr
    assert message in " ".join(done.stderr.split())


def test_unreachable_servers_are_reported_in_seconds(tmp_path):
    variables = environment(tmp_path) | {
        "SHOPSTREAM_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "SHOPSTREAM_ELASTICSEARCH__URL": "http://127.0.0.1:1",
    }
    began = time.monotonic()
    done = call(["consume"], variables, 60)
    assert done.returncode == 1
    assert "does not answer" in " ".join(done.stderr.split())
    assert time.monotonic() - began < 30


def test_error_without_servers_names_up_as_the_remedy(tmp_path):
    done = call(["consume"], environment(tmp_path), 60)
    assert done.returncode == 1
    assert "shopstream up" in done.stderr


def test_roles_are_unique_and_in_a_fixed_order():
    assert chosen("--roles", "archive, features,archive", ROLES) == ("features", "archive")


def test_valid_options_are_accepted():
    assert checked(Consumption(until_end=True, as_of=1)).as_of == 1


def test_instance_ids_differ_by_worker_and_folders_and_stay_the_same(tmp_path):
    names = [WorkerName(role, number) for role in ("features", "index") for number in (0, 1)]
    homes = [Settings(home=tmp_path / home) for home in ("one", "two")]
    ids = {instance_id(home, name, state) for home in homes for name in names for state in ("/a", "/b")}
    assert len(ids) == 16
    (tmp_path / "one").mkdir()
    (tmp_path / "link").symlink_to("one")
    same = [Settings(home=tmp_path / home) for home in ("one", "link", "two/../one")]
    assert len({instance_id(home, names[0], "/a") for home in same}) == 1


# --- on the real servers ---


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    directory = tmp_path_factory.mktemp("history") / "archive"
    done = generate(Shop(end_ms=END_MS, seed=3, customers=150, events=12_000, days=40), directory)
    return directory, done


@pytest.fixture
def sent(servers, run_name, history):
    """The history, in the topics of a run."""
    directory, made = history
    properties = servers.kafka.client_properties()
    ensure_topics(properties, run_name, 4)
    report = replay(
        ReplayOptions(ArchiveRange(directory)),
        lambda on_failure: Publisher(properties, run_name, on_failure),
        wall_clock(),
        lambda: False,
        lambda _: None,
    )
    assert report.complete
    return made


def as_ofs(client, run):
    client.indices.refresh(index=f"{run}-customers")
    answer = client.search(index=f"{run}-customers", size=0, aggs={"t": {"terms": {"field": "as_of"}}})
    return {bucket["key"]: bucket["doc_count"] for bucket in answer["aggregations"]["t"]["buckets"]}


def count(client, alias):
    client.indices.refresh(index=alias)
    return client.count(index=alias)["count"]


def highest_ms(client, run):
    events = client.search(index=f"{run}-events", size=0, aggs={"t": {"max": {"field": "ts"}}})
    orders = client.search(index=f"{run}-orders", size=0, aggs={"t": {"max": {"field": "updated_ts"}}})
    return int(max(answer["aggregations"]["t"]["value"] for answer in (events, orders)))


def last_word(done):
    return json.loads(done.stderr.strip().splitlines()[-1])


@pytest.mark.slow
def test_until_end_gives_every_customer_one_row_at_t_with_any_number_of_workers(tmp_path, servers, run_name, sent):
    variables = environment(tmp_path, servers)
    options = servers.elasticsearch.client_options()
    done = call(["consume", "--run", run_name, "--until-end", "--workers", "2"], variables)
    assert done.returncode == 0, done.stderr
    with Elasticsearch(**options) as client:
        assert count(client, f"{run_name}-events") == sent.events
        assert count(client, f"{run_name}-orders") == sent.counts.orders
        assert count(client, f"{run_name}-sessions") == sent.counts.sessions
        (as_of,) = as_ofs(client, run_name)
        assert as_of == highest_ms(client, run_name) == last_word(done)["final_as_of"]

        # one that joins when the other has read everything is given partitions of which nothing is left to read
        folder = tmp_path / "metrics"
        reports = [json.loads((folder / f"{run_name}-features-{worker}.json").read_text()) for worker in range(2)]
        assert [report["state"] for report in reports] == ["done", "done"]
        assert sum(report["consumed"] for report in reports) >= sent.events + sent.order_records

        # all over again, with nothing new to read and more workers than partitions: the rows move to a later T
        later = as_of + 5 * DAY_MS
        features = ["consume", "--run", run_name, "--until-end", "--roles", "features"]
        again = call([*features, "--workers", "5", "--as-of", iso(later)], variables)
        assert again.returncode == 0, again.stderr
        assert as_ofs(client, run_name) == {later: count(client, f"{run_name}-customers")}

        early = call([*features, "--as-of", iso(as_of - 1)], variables)
        assert early.returncode == 2
        assert f"--as-of {iso(as_of - 1)}" in " ".join(early.stderr.split())
        assert as_ofs(client, run_name) == {later: count(client, f"{run_name}-customers")}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_commands_with_one_state_folder_share_the_partitions(tmp_path, servers, run_name, sent):
    arguments = ["consume", "--roles", "features", "--state", tmp_path / "state", "--run", run_name]
    homes = [tmp_path / "one", tmp_path / "two"]
    processes = [start(arguments, environment(home, servers)) for home in homes]
    reports = [home / "metrics" / f"{run_name}-features-0.json" for home in homes]

    def members():
        return sum(group.members for group in group_lags(servers.kafka, run_name))

    try:
        end = time.monotonic() + 120
        while members() < 2:
            assert time.monotonic() < end
            assert all(process.poll() is None for process in processes)
            time.sleep(0.5)
        time.sleep(20)  # twice the session time-out and more: who is pushed out has been by then
        assert members() == 2
        entries = [json.loads(report.read_text()) for report in reports]
    finally:
        for process in processes:
            process.send_signal(signal.SIGINT)
        output = [process.communicate(timeout=90)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], output
    assert [(report["state"], report["restarts"]) for report in entries] == [("running", 0)] * 2, output


@pytest.mark.slow
def test_without_an_end_a_killed_worker_restarts_and_ctrl_c_exits_with_0(tmp_path, servers, run_name, sent):
    process = start(["consume", "--run", run_name], environment(tmp_path, servers))
    file = tmp_path / "metrics" / f"{run_name}-features-0.json"

    def metrics():
        return json.loads(file.read_text()) if file.exists() else {}

    def wait_until(condition):
        end = time.monotonic() + 120
        while not condition(metrics()):
            assert time.monotonic() < end, metrics()
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)

    try:
        wait_until(lambda m: m.get("consumed", 0) >= sent.events and m["dirty"] == 0)
        kill_worker(process.pid, run_name)
        wait_until(lambda m: m.get("restarts") == 1 and m["state"] == "running")
        process.send_signal(signal.SIGINT)
        _, output = process.communicate(timeout=90)
    finally:
        process.kill()
    assert process.returncode == 0, output
    assert "features-0 ended unexpectedly: signal SIGKILL" in output
    with Elasticsearch(**servers.elasticsearch.client_options()) as client:
        assert count(client, f"{run_name}-events") == sent.events


def kill_worker(parent, run):
    """Kills the worker whose output is the log file of the features role: ours, and nobody else's."""
    for child in psutil.Process(parent).children():
        if Path(f"/proc/{child.pid}/fd/1").resolve().name == f"{run}-features-0.log":
            child.kill()
            return
    raise AssertionError("no features worker")
