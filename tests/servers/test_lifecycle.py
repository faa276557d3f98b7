"""The real servers: up, up again, restart, crash, down. They have a data folder of their own."""

import io
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from elasticsearch import AuthenticationException, Elasticsearch
from rich.console import Console
from typer.testing import CliRunner

from features.errors import ShopstreamError
from shopstream import embedded
from shopstream.cli.app import build_app
from shopstream.embedded import Endpoints, state_file
from shopstream.embedded.state_file import ServerRecord
from shopstream.settings import ElasticsearchSettings, KafkaSettings, Settings

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.xdist_group("lifecycle")]
QUIET = Console(quiet=True)
TOPIC = "shop.events"


@pytest.fixture(scope="module")
def settings() -> Iterator[Settings]:
    home = Path(tempfile.mkdtemp(prefix="shopstream-lifecycle-"))
    home.chmod(0o711)
    # ports that no other test prefers: a restart may not lose its ports to servers that start in between
    kafka, elasticsearch = KafkaSettings(heap="256m", port=19_292), ElasticsearchSettings(heap="512m", port=19_400)
    settings = Settings(home=home, kafka=kafka, elasticsearch=elasticsearch)
    yield settings
    embedded.down(settings)
    shutil.rmtree(home)


@pytest.fixture
def pair(settings: Settings) -> Endpoints:
    """Running servers of our own: started by the first test, and again by one that finds them down."""
    return embedded.up(settings, QUIET)


def entries(settings: Settings) -> tuple[ServerRecord, ServerRecord]:
    known = state_file.read(settings.home)
    assert known.kafka is not None
    assert known.elasticsearch is not None
    return known.kafka, known.elasticsearch


def processes(entry: ServerRecord) -> list[psutil.Process]:
    assert entry.identity is not None
    process = entry.identity.process()
    assert process is not None
    return [process, *process.children(recursive=True)]


def elastic(pair: Endpoints, **options: object) -> Elasticsearch:
    return Elasticsearch(**{**pair.elasticsearch.client_options(), **options})


def test_second_up_changes_nothing(pair: Endpoints, settings: Settings) -> None:
    before = entries(settings)
    assert embedded.up(settings, QUIET) == pair == embedded.endpoints(settings)
    assert entries(settings) == before


def test_servers_listen_on_loopback_only(pair: Endpoints, settings: Settings) -> None:
    listening = [
        connection.laddr
        for entry in entries(settings)
        for process in processes(entry)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert {address.port for address in listening} >= {entry.port for entry in entries(settings)}
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_elasticsearch_requires_the_generated_password(pair: Endpoints) -> None:
    with elastic(pair) as client:
        assert client.cluster.health()["status"] == "green"
    with elastic(pair, basic_auth=("elastic", "changeme")) as client, pytest.raises(AuthenticationException):
        client.cluster.health()
    with elastic(pair, basic_auth=None) as client, pytest.raises(AuthenticationException):
        client.cluster.health()


def test_password_is_in_a_private_file_only(pair: Endpoints, settings: Settings) -> None:
    file = settings.home / "secrets" / "elastic-password"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    password = file.read_text().strip()
    assert len(password) >= 32
    assert password == pair.elasticsearch.password
    assert password not in repr(pair)
    for process in (process for entry in entries(settings) for process in processes(entry)):
        assert password not in " ".join(process.cmdline())
        assert password not in str(process.environ())
    for log in (settings.home / "logs").iterdir():
        assert password not in log.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="about root")
def test_elasticsearch_does_not_run_as_root(pair: Endpoints, settings: Settings) -> None:
    _, entry = entries(settings)
    for process in processes(entry):
        assert 0 not in process.uids()
        assert 0 not in process.gids()


def test_restart_preserves_data_addresses_and_password(pair: Endpoints, settings: Settings) -> None:
    admin = AdminClient(pair.kafka.client_properties())
    for future in admin.create_topics([NewTopic(TOPIC, 1, 1)]).values():
        future.result(timeout=30)
    producer = Producer(pair.kafka.client_properties())
    producer.produce(TOPIC, b'{"kept": true}')
    assert producer.flush(30) == 0
    with elastic(pair) as client:
        client.index(index="shop-customers", id="c1", document={"kept": True}, refresh=True)

    assert {(stopped.name, stopped.graceful) for stopped in embedded.down(settings)} == {
        ("kafka", True),
        ("elasticsearch", True),
    }
    with pytest.raises(ShopstreamError, match="not running"):
        embedded.endpoints(settings)
    assert embedded.down(settings) == []

    assert embedded.up(settings, QUIET) == pair
    consumer = Consumer({**pair.kafka.client_properties(), "group.id": "shop-test"})
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    message = consumer.poll(30)
    consumer.close()
    assert message is not None
    assert message.value() == b'{"kept": true}'
    with elastic(pair) as client:
        assert client.get(index="shop-customers", id="c1")["_source"] == {"kept": True}


def test_crashed_servers_are_detected_and_restarted(pair: Endpoints, settings: Settings) -> None:
    """And a lost password file costs a new password, not the data."""
    with elastic(pair) as client:
        client.index(index="shop-crash", id="c1", document={"kept": True}, refresh=True)
    kafka, search = entries(settings)
    everything = [*processes(kafka), *processes(search)]
    # only the parents: Elasticsearch's own server process has to follow its launcher
    everything[0].kill()
    processes(search)[0].kill()
    psutil.wait_procs(everything, timeout=20)

    result = embedded.status(settings)
    assert not result.healthy()
    assert result.kafka.problem is not None
    assert "has ended" in result.kafka.problem
    (settings.home / "secrets" / "elastic-password").unlink()
    message = Console(file=io.StringIO(), width=200)
    again = embedded.up(settings, message)
    assert "was not stopped properly" in message.file.getvalue()
    assert (again.kafka, again.elasticsearch.url) == (pair.kafka, pair.elasticsearch.url)
    assert again.elasticsearch.password != pair.elasticsearch.password
    with elastic(again) as client:
        assert client.get(index="shop-crash", id="c1")["_source"] == {"kept": True}
    assert embedded.status(settings).healthy()


def test_status_command_prints_the_endpoints_as_json(
    pair: Endpoints, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOPSTREAM_HOME", str(settings.home))
    result = CliRunner().invoke(build_app(), ["status", "--json"])
    assert result.exit_code == 0, result.output
    messages = json.loads(result.stdout)
    assert messages["kafka"]["bootstrap_servers"] == pair.kafka.bootstrap_servers
    assert messages["elasticsearch"]["url"] == pair.elasticsearch.url
    assert messages["elasticsearch"]["username"] == "elastic"
    assert Path(messages["elasticsearch"]["password_file"]).read_text().strip() == pair.elasticsearch.password
    assert (messages["kafka"]["version"], messages["elasticsearch"]["version"]) == ("4.1.0", "9.2.0")
    assert pair.elasticsearch.password not in result.output
    assert CliRunner().invoke(build_app(), ["status"]).exit_code == 0


def test_doctor_reports_no_fault_for_running_servers(
    pair: Endpoints, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOPSTREAM_HOME", str(settings.home))
    result = CliRunner().invoke(build_app(), ["doctor"])
    assert result.exit_code == 0, result.output
    assert "broken" not in result.output
    assert f"answers at {pair.kafka.bootstrap_servers}" in result.output


def test_existing_servers_are_used_and_checked(pair: Endpoints, tmp_path: Path) -> None:
    external = Settings(
        home=tmp_path,
        kafka=KafkaSettings(bootstrap_servers=pair.kafka.bootstrap_servers),
        elasticsearch=ElasticsearchSettings(url=pair.elasticsearch.url, password=pair.elasticsearch.password),
    )
    assert embedded.up(external, QUIET) == pair
    assert embedded.status(external).healthy()
    assert embedded.down(external) == []
    assert not (tmp_path / state_file.RECORD_FILE).exists()
    wrong = external.model_copy(
        update={"elasticsearch": ElasticsearchSettings(url=pair.elasticsearch.url, username="elastic", password="no")}
    )
    with pytest.raises(ShopstreamError, match="credentials were refused") as caught:
        embedded.up(wrong, QUIET)
    assert "password" in caught.value.remedy
