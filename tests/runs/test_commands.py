"""`runs list`, `runs drop` and `promote` as they are called, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from consume.command_line import call, environment
from stream.bench import Bench
from typer.testing import CliRunner

from connectors.endpoints import KafkaEndpoint
from connectors.kafka import client as kafka
from connectors.kafka.admin import GroupLag
from consumers.checkpoints.inventory import StoredState, remove_state, stored_states, unwritten_rows
from features.errors import ShopstreamError
from producers.archive.event_order import ArchiveRange
from producers.publisher import Publisher
from producers.replay import ReplayOptions, replay
from producers.shop.generate import generate
from producers.shop.shop import Shop
from shopstream.cli.app import build_app
from shopstream.jobs import consume as consume_job
from shopstream.jobs import runs as runs_job
from shopstream.jobs.produce import wall_clock
from shopstream.jobs.promote import Readiness
from shopstream.settings import ElasticsearchSettings, KafkaSettings, Settings

DAY = 86_400_000


# --- what is refused ---


def readiness(**changes):
    given = {"run": "b", "behind": {"features": 0}, "pending": 0, "active": False, "documents": {"events": 100}}
    return Readiness(**{**given, **changes})


@pytest.mark.parametrize(
    ("changes", "present", "message"),
    [
        ({}, {"events": 90}, None),
        ({}, {"alerts": 3, "pipeline": 7}, None),
        ({"behind": {"features": 0, "index": 12}}, {}, "role index has 12 records"),
        ({"pending": 1}, {}, "1 rows are not written"),
        ({"pending": 5, "active": True}, {}, None),
        ({"pending": 6, "active": True}, {}, "6 rows are not written"),
        ({}, {"events": 90, "orders": 1}, "no documents in orders"),
        ({"documents": {"orders": 0}}, {"orders": 1}, "no documents in orders"),
    ],
)
def test_incomplete_run_lists_its_missing_parts(changes, present, message):
    missing = readiness(**changes).missing(present)
    assert (missing == []) if message is None else (len(missing) == 1 and message in missing[0])


@pytest.mark.parametrize(
    ("alias_sets", "alias_set", "refused"),
    [
        (("b",), "shop", False),
        (("b", "shop"), "shop", True),
        (("a", "b"), "shop", True),
        (("b",), "b", True),
        ((), "b", False),
    ],
)
def test_promoted_run_is_not_dropped(alias_sets, alias_set, refused):
    run = runs_job.Run("b", alias_sets=alias_sets)
    if not refused:
        runs_job.check_droppable(run, alias_set)
        return
    with pytest.raises(ShopstreamError, match="is promoted: readers of") as caught:
        runs_job.check_droppable(run, alias_set)
    assert "Promote another run" in caught.value.remedy


def test_run_with_active_consumers_is_not_dropped():
    run = runs_job.Run("b", groups=[GroupLag("b-features", "stable", 2, 0, {}), GroupLag("b-index", "empty", 0, 0, {})])
    with pytest.raises(ShopstreamError, match=r"Workers are still consuming run b \(b-features\)"):
        runs_job.check_droppable(run, "shop")


def test_files_are_assigned_to_their_run(tmp_path):
    named = {
        "metrics/b-features-0.json": "b",
        "metrics/b-features-features-0.json": "b-features",
        "logs/b-archive-12.log": "b",
        "logs/b-archive-12.log.1": "b",
        "logs/kafka.log": None,
        "locks/b-features.lock": "b",
        "demo/sent-b.json": "b",
        "demo/b.json": "b",
        "demo/B.json": None,
        "metrics/b-baker-0.json": None,
    }
    assert {name: runs_job.run_of_file(tmp_path / name) for name in named} == named


def test_a_state_folder_is_listed_and_removed_by_run(tmp_path):
    for run, number in (("b", 0), ("b", 1), ("b-2", 0)):
        folder = tmp_path / run / f"partition={number}"
        folder.mkdir(parents=True)
        (folder / "1-2-a.checkpoint").write_bytes(b"12345")
        (folder / "1-x.ids").write_bytes(b"123")
    (tmp_path / "notes.txt").write_text("mine")
    entries = {state.run: state for state in stored_states(str(tmp_path))}
    newest = max(path.stat().st_mtime_ns for path in tmp_path.glob("b/*/*")) // 1_000_000
    assert entries["b"] == StoredState("b", 2, 2, 16, newest)
    assert set(entries) == {"b", "b-2"}
    assert remove_state(str(tmp_path), "b")
    assert not remove_state(str(tmp_path), "b")
    assert {path.name for path in tmp_path.iterdir()} == {"b-2", "notes.txt"}
    assert stored_states(str(tmp_path / "nowhere")) == []
    assert unwritten_rows(str(tmp_path), "b", {}) == 0


# --- servers that are down ---


def test_unavailable_server_is_reported_and_the_other_parts_are_listed(tmp_path):
    (tmp_path / "archive" / "b").mkdir(parents=True)
    settings = Settings(
        home=tmp_path,
        kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"),
        elasticsearch=ElasticsearchSettings(url="http://127.0.0.1:1"),
    )
    result = runs_job.overview(settings, str(tmp_path / "state"))
    assert set(result.problems) == {"kafka", "elasticsearch"}
    assert "does not answer" in str(result.problems["kafka"])
    assert "can't reach Elasticsearch (connection refused)" in str(result.problems["elasticsearch"])
    assert list(result.runs) == ["b"]


def test_listing_without_servers_reports_it_and_exits_with_1(tmp_path):
    done = call(["runs", "list", "--json"], environment(tmp_path), 60)
    assert done.returncode == 1
    assert set(json.loads(done.stdout)["problems"]) == {"kafka", "elasticsearch"}
    assert "Kafka is not running" in " ".join(done.stderr.split())
    with pytest.raises(ShopstreamError, match="is not running") as caught:
        runs_job.drop_run(Settings(home=tmp_path), "b", str(tmp_path))
    assert "shopstream up" in caught.value.remedy


def test_dropping_a_run_removes_linked_folders_and_reports_their_targets(tmp_path, monkeypatch):
    disk, home = tmp_path / "disk", tmp_path / "home"
    for position in ("archive", "state"):
        (disk / position / "partition=0").mkdir(parents=True)
        (disk / position / "partition=0" / "1-2-a.checkpoint").write_text("names")
        (home / position).mkdir(parents=True)
        (home / position / "b").symlink_to(disk / position)
    (home / "spark").mkdir()
    (home / "spark" / "b.checkpoints").write_text(f"{disk}\ns3a://shop/spark\n{tmp_path}/gone\n")
    (home / "notify").mkdir()
    for name in ("b.lock", "b.set-aside.jsonl", "b.digests.json", "b-x.digests.json"):
        (home / "notify" / name).touch()
    monkeypatch.setattr(runs_job, "drop_topics_and_groups", lambda *_: ())
    for name in ("drop", "stored_indices"):
        monkeypatch.setattr(runs_job, name, lambda *_: None)
    monkeypatch.setattr(runs_job.embedded, "kafka_endpoint", lambda _: KafkaEndpoint("127.0.0.1:1"))
    settings = Settings(home=home, elasticsearch=ElasticsearchSettings(url="http://127.0.0.1:1"))
    message = runs_job.drop_run(settings, "b", str(home / "state"))
    assert [line for line in message if "was a link" in line and str(disk / "archive") in line]
    assert [line for line in message if "was a link" in line and str(disk / "state") in line]
    assert [line.split()[2] for line in message if line.startswith("Spark")] == [str(disk), "s3a://shop/spark"]
    assert sorted(path.name for path in home.rglob("*")) == [
        "archive", "b-x.digests.json", "notify", "spark", "state",
    ]  # fmt: skip
    assert len(list(disk.rglob("*.checkpoint"))) == 2, "somebody else's, or on a disk of its own"


# --- on the real servers ---


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    directory = tmp_path_factory.mktemp("history") / "archive"
    generate(Shop(end_ms=20_400 * DAY, seed=3, customers=40, events=1_500, days=30), directory)
    return directory


def fill(bench: Bench, history: Path) -> None:
    course = ReplayOptions(ArchiveRange(history))
    properties = bench.properties
    report = replay(
        course, lambda fail: Publisher(properties, bench.run, fail), wall_clock(), lambda: False, lambda _: None
    )
    assert report.complete


def everything(client, properties, home: Path) -> set[str]:
    """Names of all that stands anywhere."""
    admin = AdminClient(properties)
    entries = {f"topic {name}" for name in admin.list_topics(timeout=10).topics}
    entries |= {f"group {group.group_id}" for group in admin.list_consumer_groups().result().valid}
    for index, entry in client.indices.get_alias(index="*", expand_wildcards="all").items():
        entries |= {f"index {index}", *(f"alias {alias}" for alias in entry["aliases"])}
    entries |= {f"template {one['name']}" for one in client.indices.get_index_template()["index_templates"]}
    return entries | {f"file {path.relative_to(home)}" for path in home.rglob("*")}


@pytest.mark.slow
def test_run_is_listed_promoted_and_dropped_without_remains(client, servers, new_run, history, tmp_path, monkeypatch):
    home = tmp_path / "home"
    variables = environment(home, servers)
    properties = servers.kafka.client_properties()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    # every prefix of the first one matches the second one
    first = new_run()
    second = new_run("-x", of=first)

    def command(*words, code=0):
        """In this process: starting one takes longer than what it does."""
        done = CliRunner().invoke(build_app(), words)
        result = done.exception.exit_code if isinstance(done.exception, ShopstreamError) else done.exit_code
        assert result == code, (done.output, done.exception)
        return done.stdout, " ".join(f"{done.stderr} {done.exception if code else ''}".split())

    def consume(*words):
        done = call(["consume", *words, "--until-end"], variables)
        assert done.returncode == 0, done.stderr

    def listed():
        return json.loads(command("runs", "list", "--json")[0])["runs"]

    def named(run):
        return {one for one in everything(client, properties, home) if run in one}

    assert named(first) == set()
    for run in (first, second):
        fill(Bench(servers, run, home / "state", 4), history)
    consume("--run", first)
    of_first = named(first) - named(second)
    assert "has 1,500 records" in command("promote", second, "--run", first, "--wait", "0", code=1)[1]
    consume("--run", second, "--roles", "features,index")
    shown, output = command("promote", second, "--run", first)
    assert f"readers of {first}-* see run {second} now" in output
    assert "1,500" in shown

    one, other = (listed()[run] for run in (first, second))
    assert one["views"] == []
    assert other["views"] == [first, second]
    assert one["topics"][f"{first}.events"]["messages"] == 1_500
    assert sum(end - start for start, end in one["topics"][f"{first}.events"]["offsets"].values()) == 1_500
    assert one["indices"]["events"]["documents"] == 1_500
    assert one["groups"][f"{first}-index"]["lag"] == 0
    assert one["checkpoints"]["partitions"] == 4
    assert one["archive"]["bytes"] > 0
    assert other["archive"] is None

    assert "is promoted: readers of" in command("runs", "drop", second, "--yes", code=1)[1]
    command("promote", first, "--run", first)
    command("runs", "drop", second, "--yes")
    assert named(second) == set()
    assert named(first) >= of_first, "what the other run has is untouched"

    drop_but_fail_midway(home, first, servers)
    left = listed()[first]
    assert left["topics"] == left["groups"] == {}
    assert left["indices"]
    command("runs", "drop", first, "--yes")
    assert named(first) == set()
    assert "nothing to delete" in command("runs", "drop", first, "--yes")[1]


def drop_but_fail_midway(home: Path, run: str, servers) -> None:
    """Elasticsearch goes away when Kafka's part is done."""
    where = servers.elasticsearch
    settings = Settings(
        home=home,
        kafka=KafkaSettings(bootstrap_servers=servers.kafka.bootstrap_servers),
        elasticsearch=ElasticsearchSettings(url=where.url, username=where.username, password=where.password),
    )
    state = consume_job.state_folder(settings, None)
    runs_job.await_idle(settings, runs_job.overview(settings, state).runs[run])

    def gone(*_):
        raise ShopstreamError("Elasticsearch does not answer.")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(runs_job, "drop", gone)
        with pytest.raises(ShopstreamError, match="does not answer"):
            runs_job.drop_run(settings, run, state)


@pytest.mark.parametrize("words", [["status"], ["dead-letters", "list"], ["forget", "c-1", "--yes"]], ids="_".join)
def test_unknown_run_is_refused_with_the_names_of_existing_runs(servers, new_run, tmp_path, words):
    there, absent = new_run(), new_run()
    kafka.ensure_topics(servers.kafka.client_properties(), there, 1)
    done = CliRunner().invoke(build_app(), [*words, "--run", absent], env=environment(tmp_path / "home", servers))
    assert isinstance(done.exception, ShopstreamError), (done.output, done.exception)
    assert done.exception.exit_code == 1
    assert f"There is no run {absent} in" in done.exception.message
    assert there in done.exception.remedy
