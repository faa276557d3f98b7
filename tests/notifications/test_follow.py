"""Alerts of the real Kafka reach every target at least once: through failures, set-asides, restarts and kill -9."""

import contextlib
import itertools
import json
import signal
import threading
import time

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient
from consume.command_line import environment, start
from notifications.messages import alert, encoded
from notifications.receivers import MailReceiver, WebReceiver, until

from connectors.kafka.client import ensure_topics, produce_all
from connectors.kafka.source import Source
from connectors.notifications import webhook
from consumers.notifications import delivery
from features.errors import ShopstreamError, UsageError
from features.schema import ALERT_TOPIC, group_name, topic_name
from shopstream.jobs.notify import Retried, follow_alerts, retry_set_aside, set_aside_file, targets, undeliverable_file
from shopstream.settings import KafkaSettings, NotifySettings, Settings, SmtpSettings, TargetSettings

PARTITIONS = 2


@pytest.fixture
def kafka(servers, run_name):
    properties = servers.kafka.client_properties()
    ensure_topics(properties, run_name, PARTITIONS)
    return properties


@pytest.fixture
def publish(kafka, run_name):
    def send(values):
        topic = topic_name(run_name, ALERT_TOPIC)
        produce_all(kafka, "test", [(topic, str(n).encode(), value, []) for n, value in enumerate(values)])

    return send


@pytest.fixture
def settings(servers, run_name, tmp_path):
    def make(give_up_after_s=600.0, page_url=None, smtp=None, **given):
        made = {}
        for name, one in given.items():
            if isinstance(one, WebReceiver):
                file = tmp_path / f"{name}.url"
                file.write_text(one.url + "\n")
                file.chmod(0o600)
                made[name] = TargetSettings(kind="webhook", url_file=file, minimum_risk="medium")
            else:
                made[name] = one
        notify = NotifySettings(give_up_after_s=give_up_after_s, page_url=page_url, targets=made, smtp=smtp)
        kafka = KafkaSettings(
            bootstrap_servers=servers.kafka.bootstrap_servers, properties=dict(servers.kafka.properties)
        )
        return Settings(home=tmp_path / "home", run=run_name, kafka=kafka, notify=notify)

    return make


@contextlib.contextmanager
def following(settings):
    """Follows the alerts in a thread; gives what it says. Ends it as Ctrl-C does."""
    stop, sayings, results = threading.Event(), [], []

    def run():
        try:
            results.append(follow_alerts(settings, stop.is_set, sayings.append))
        except ShopstreamError as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert until(lambda: results or any(text.startswith("following") for text in sayings))
    try:
        yield sayings, results
    finally:
        stop.set()
        thread.join(40)
        assert not thread.is_alive()


def places(kafka, run):
    """Partition -> committed offset and metadata of the group."""
    topic, client = topic_name(run, ALERT_TOPIC), AdminClient(kafka)
    group = ConsumerGroupTopicPartitions(
        group_name(run, "notify"), [TopicPartition(topic, n) for n in range(partitions(client, topic))]
    )
    (future,) = client.list_consumer_group_offsets([group]).values()
    return {p.partition: (p.offset, p.metadata) for p in future.result(timeout=10).topic_partitions}


def partitions(client, topic):
    return len(client.list_topics(topic, timeout=10).topics[topic].partitions)


def customers(receiver):
    return [body["data"]["customer_id"] for body in receiver.bodies()]


def accepted(receiver):
    """Customers whose alerts the receiver has accepted."""
    return {json.loads(body)["data"]["customer_id"] for _, body in receiver.accepted}


def started(kafka, run, settings):
    """Runs once, so that the group has its place."""
    with following(settings):
        assert until(lambda: all(offset >= 0 for offset, _ in places(kafka, run).values()))


def test_first_start_begins_at_the_end_and_later_ones_where_it_ended(kafka, run_name, publish, settings):
    with WebReceiver() as web:
        chosen = settings(web=web)
        publish(encoded(alert("before")))
        started(kafka, run_name, chosen)
        publish(encoded(*(alert(f"c{n}") for n in range(30))))
        with following(chosen) as (_, results):
            assert until(lambda: len(web.seen) == 30)
        assert sorted(customers(web)) == sorted(f"c{n}" for n in range(30))
        assert results[0]["web"].delivered == 30
        with following(chosen):
            time.sleep(2)
        assert len(web.seen) == 30
        assert len(set(web.ids())) == 30


def test_failing_webhook_gets_every_alert_with_the_same_id(kafka, run_name, publish, settings, monkeypatch):
    monkeypatch.setattr(delivery, "PAUSE_S", 0.05)
    monkeypatch.setattr(webhook, "READ_TIMEOUT_S", 0.5)
    with WebReceiver() as web:
        chosen = settings(web=web)
        started(kafka, run_name, chosen)
        web.answers = [500, "close", "hang", (429, {"Retry-After": "1"}), 503, "cut", 500]
        publish(encoded(*(alert(f"c{n}") for n in range(6))))
        with following(chosen) as (sayings, _):
            assert until(lambda: len(web.seen) == 12)
        assert len(set(web.ids())) == len(set(customers(web))) == 6
        by_id = {identifier: set() for identifier in web.ids()}
        for (_, body), identifier in zip(web.seen, web.ids(), strict=True):
            by_id[identifier].add(body)
        assert all(len(bodies) == 1 for bodies in by_id.values())
        assert "s3cret" not in "".join(sayings)
        assert "web: status 500; repeating" in sayings


def test_refused_alert_is_set_aside_and_sent_again_by_retry(kafka, run_name, publish, settings):
    with WebReceiver() as web:
        chosen = settings(web=web)
        started(kafka, run_name, chosen)
        web.answers = [(302, {"Location": "http://127.0.0.1:1/"}), 400]
        publish(encoded(*(alert(f"c{n}") for n in range(3))))
        with following(chosen) as (sayings, results):
            assert until(lambda: len(web.seen) == 3)
        assert results[0]["web"].set_aside == 2
        assert any("status 400" in text for text in sayings)
        entries = set_aside_file(chosen).entries()
        assert sorted(entry.reason[:10] for entry in entries) == ["status 302", "status 400"]
        assert "c0" not in (chosen.home / "notify" / f"{run_name}.set-aside.jsonl").read_text()
        web.answers = [500, 400]
        sayings = []
        assert retry_set_aside(chosen, lambda: False, sayings.append, 5.0) == Retried(1, 1)
        assert retry_set_aside(chosen, lambda: False, sayings.append, 5.0) == Retried(1, 0)
        assert set_aside_file(chosen).entries() == []
        assert set(customers(web)) == {"c0", "c1", "c2"}
        assert len(set(web.ids())) == 3


def test_alert_that_is_not_read_in_time_stays_set_aside(kafka, run_name, publish, settings, monkeypatch):
    with WebReceiver() as web:
        chosen = settings(web=web)
        started(kafka, run_name, chosen)
        web.answers = [400]
        publish(encoded(alert("c0")))
        with following(chosen):
            assert until(lambda: len(set_aside_file(chosen).entries()) == 1)
        for name in ("open_at", "read"):
            with monkeypatch.context() as broken:
                broken.setattr(Source, name, no_answer if name == "open_at" else lambda *_: [])
                with pytest.raises(ShopstreamError):
                    retry_set_aside(chosen, lambda: False, print, 5.0)
            assert len(set_aside_file(chosen).entries()) == 1


def test_message_that_is_no_alert_is_counted_and_retried_once(kafka, run_name, publish, settings):
    with WebReceiver() as web:
        chosen = settings(web=web)
        started(kafka, run_name, chosen)
        publish([b"{}", encoded(alert("c0"))[0]])
        with following(chosen) as (sayings, results):
            assert until(lambda: len(web.seen) == 1 and len(set_aside_file(chosen).entries()) == 1)
        assert (results[0]["web"].delivered, results[0]["web"].set_aside) == (1, 1)
        assert any("the message is not an alert" in text for text in sayings)
        sayings = []
        assert retry_set_aside(chosen, lambda: False, sayings.append, 5.0) == Retried(undeliverable=1)
        assert "is not sent: the message is not an alert" in sayings[0]
        # it is not lost, and not tried again
        (entry,) = undeliverable_file(chosen).entries()
        assert (entry.target, entry.reason) == ("web", "the message is not an alert")
        assert retry_set_aside(chosen, lambda: False, sayings.append, 5.0) == Retried()
        assert len(web.seen) == 1


def no_answer(*_):
    raise ShopstreamError("Kafka does not answer.", "")


def test_target_that_does_not_answer_delays_no_other_and_loses_nothing(kafka, run_name, publish, settings, monkeypatch):
    monkeypatch.setattr(delivery, "PAUSE_MAX_S", 0.2)
    with WebReceiver() as slow, WebReceiver() as fast:
        chosen = settings(slow=slow, fast=fast)
        started(kafka, run_name, chosen)
        before = places(kafka, run_name)
        slow.answers = [503] * 10_000
        publish(encoded(*(alert(f"c{n}") for n in range(20))))
        with following(chosen):
            assert until(lambda: len(fast.seen) == 20)
            assert until(lambda: any(metadata != "{}" for _, metadata in places(kafka, run_name).values()))
        after = places(kafka, run_name)
        assert {number: offset for number, (offset, _) in after.items()} == {
            number: offset for number, (offset, _) in before.items()
        }
        slow.answers, slow.seen = [], []
        with following(chosen):
            assert until(lambda: len(slow.seen) == 20)
            time.sleep(1)
        # the fast one gets none of them again: its place is in the metadata
        assert len(fast.seen) == 20
        assert len(set(customers(slow))) == 20
        assert {metadata for _, metadata in places(kafka, run_name).values()} == {"{}"}


def test_each_target_gets_the_risks_and_forms_of_its_settings(kafka, run_name, publish, settings, tmp_path):
    with WebReceiver() as slack, WebReceiver() as teams, MailReceiver() as mails:
        chosen = settings(
            slack=TargetSettings(kind="slack", url=slack.url, minimum_risk="critical"),
            teams=TargetSettings(kind="teams", url=teams.url),
            off=TargetSettings(kind="slack", url=slack.url, alerts=False),
            mail=TargetSettings(kind="email", to="anne@example.org", minimum_risk="medium"),
            smtp=SmtpSettings(host="localhost", port=mails.port, encryption="none", sender="Shop <shop@example.org>"),
            page_url="https://page.example",
        )
        started(kafka, run_name, chosen)
        publish([*encoded(*(alert(risk, risk) for risk in ("medium", "high", "critical"))), None, b"\xff{not json"])
        with following(chosen) as (_, _):
            assert until(lambda: (len(slack.seen), len(teams.seen), len(mails.mails)) == (1, 2, 3))
            assert until(lambda: len(set_aside_file(chosen).entries()) == 3)
        assert "critical" in slack.bodies()[0]["text"]
        assert "https://page.example/?view=customer&id=critical" in json.dumps(slack.bodies()[0])
        assert {body["type"] for body in teams.bodies()} == {"message"}
        assert len({message["Message-ID"] for _, message in mails.mails}) == 3
        assert {entry.reason for entry in set_aside_file(chosen).entries()} == {"the message is not an alert"}


def test_second_process_of_the_data_folder_is_refused(kafka, run_name, settings):
    with WebReceiver() as web:
        chosen = settings(web=web)
        with following(chosen), pytest.raises(ShopstreamError, match="Another process notifies"):
            follow_alerts(chosen, lambda: True, lambda _: None)


def test_deleted_alerts_are_reported_and_following_goes_on(kafka, run_name, publish, settings):
    with WebReceiver() as web:
        chosen = settings(web=web)
        started(kafka, run_name, chosen)
        publish(encoded(*(alert(f"c{n}") for n in range(10))))
        topic, client = topic_name(run_name, ALERT_TOPIC), AdminClient(kafka)
        ends = [TopicPartition(topic, n, -1) for n in range(partitions(client, topic))]
        for future in client.delete_records(ends).values():
            future.result(timeout=10)
        with following(chosen) as (sayings, _):
            publish(encoded(alert("later")))
            assert until(lambda: customers(web) == ["later"])
        assert any("alerts were deleted before they were read" in text for text in sayings)


# --- secrets ---


def test_secret_file_that_others_can_read_is_refused(settings, tmp_path):
    file = tmp_path / "url"
    file.write_text("https://hooks.example/s3cret")
    chosen = settings(x=TargetSettings(kind="slack", url_file=file))
    file.chmod(0o644)
    with pytest.raises(ShopstreamError, match="Others can read") as refused:
        targets(chosen, lambda _: True)
    assert "s3cret" not in str(refused.value)
    file.chmod(0o600)
    (target,) = targets(chosen, lambda _: True)
    assert "s3cret" not in repr(target)


def test_settings_file_with_secrets_that_others_can_read_is_refused(settings, tmp_path, monkeypatch):
    file = tmp_path / "shopstream.toml"
    file.write_text('[notify.targets.x]\nkind = "slack"\nurl = "https://hooks.example/s3cret"\n')
    monkeypatch.setenv("SHOPSTREAM_CONFIG", str(file))
    chosen = settings(x=TargetSettings(kind="slack", url="https://hooks.example/s3cret"))
    file.chmod(0o640)
    with pytest.raises(ShopstreamError, match=r"holds notify\.targets\.x\.url") as refused:
        targets(chosen, lambda _: True)
    assert "s3cret" not in str(refused.value)
    file.chmod(0o600)
    assert len(targets(chosen, lambda _: True)) == 1


def test_settings_without_a_target_are_a_usage_error(settings):
    with pytest.raises(UsageError, match="no target"):
        targets(settings(), lambda _: True)


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "email"}, {"kind": "email", "to": "a@b.c", "url": "https://x"}, {"kind": "slack"},
        {"kind": "slack", "url": "https://x", "url_file": "f"}, {"kind": "slack", "url": "https://x", "secret": "s"},
        {"kind": "webhook", "url": "https://x", "secret": "s", "secret_file": "f"}, {"kind": "fax", "url": "https://x"},
        {"kind": "email", "to": "a@b.c, d@e.f"}, {"kind": "email", "to": "a@b.c\nBcc: d@e.f"},
        {"kind": "email", "to": "nobody"},
    ],
)  # fmt: skip
def test_contradicting_settings_of_a_target_are_refused(given):
    with pytest.raises(ValueError, match=r"kind|only|give either|e-mail"):
        TargetSettings(**given)


@pytest.mark.parametrize(
    "given",
    [{"username": "u"}, {"password": "p"}, {"username": "u", "password": "p", "encryption": "none"},
     {"username": "u", "password": "p", "password_file": "f"}],
)  # fmt: skip
def test_contradicting_settings_of_the_mail_server_are_refused(given):
    with pytest.raises(ValueError, match="password"):
        SmtpSettings(host="h", sender="a@b.c", **given)


# --- kill -9 ---


@pytest.mark.timeout(300)
def test_killed_while_a_request_waits_for_its_answer_the_alert_is_sent_again(
    kafka, servers, run_name, publish, tmp_path, settings
):
    with WebReceiver() as web:
        variables = environment(tmp_path / "home", servers) | {
            "SHOPSTREAM_NOTIFY__TARGETS__TEAM__KIND": "webhook",
            "SHOPSTREAM_NOTIFY__TARGETS__TEAM__URL": web.url,
        }
        started(kafka, run_name, settings(team=TargetSettings(kind="webhook", url=web.url)))
        web.answers = ["hang"]
        publish(encoded(alert("c1")))
        process = start(["notify", "alerts", "--run", run_name], variables)
        assert until(lambda: web.seen, 60)
        # several commits are due meanwhile
        time.sleep(4)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        assert not web.accepted
        process = start(["notify", "alerts", "--run", run_name], variables)
        assert until(lambda: accepted(web) == {"c1"}, 60)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert len(set(web.ids())) == 1


@pytest.mark.timeout(300)
def test_killed_in_the_middle_every_alert_arrives_and_ids_tell_repetitions(
    kafka, servers, run_name, publish, tmp_path, settings
):
    """Killed at different points of its work: while requests wait, between a delivery and its commit, at its start."""
    with WebReceiver() as first, WebReceiver() as second:
        files = []
        for receiver, name in ((first, "first"), (second, "second")):
            file = tmp_path / name
            file.write_text(receiver.url)
            file.chmod(0o600)
            files.append(file)
        config = tmp_path / "shopstream.toml"
        config.write_text(
            "\n".join(
                f'[notify.targets.{file.name}]\nkind = "webhook"\nurl_file = "{file}"\nminimum_risk = "medium"'
                for file in files
            )
        )
        variables = environment(tmp_path / "home", servers) | {"SHOPSTREAM_CONFIG": str(config)}
        for name, value in servers.kafka.properties.items():
            assert name, value  # the shared servers need no login
        started(kafka, run_name, settings(first=first, second=second))
        total = 120
        publish(encoded(*(alert(f"c{n}") for n in range(total))))
        second.answers = list(itertools.islice(itertools.cycle([200, 200, 503]), 200))
        kills = 0
        for wanted in (1, 20, 45, 90):
            process = start(["notify", "alerts", "--run", run_name], variables)
            assert until(lambda wanted=wanted: len(set(first.ids())) >= wanted, 60), process.stderr.read()
            process.send_signal(signal.SIGKILL)
            _, output = process.communicate(timeout=30)
            assert "s3cret" not in output
            kills += 1
        process = start(["notify", "alerts", "--run", run_name], variables)
        everyone = {f"c{n}" for n in range(total)}
        assert until(lambda: accepted(first) == accepted(second) == everyone, 120)
        topic_ends = sum(offset for offset, _ in places(kafka, run_name).values())
        assert until(lambda: sum(offset for offset, _ in places(kafka, run_name).values()) >= total, 30), topic_ends
        process.send_signal(signal.SIGINT)
        out, output = process.communicate(timeout=60)
        assert process.returncode == 0, output
        assert "first:" in out
        for receiver in (first, second):
            pairs = set(zip(receiver.ids(), customers(receiver), strict=True))
            assert len(pairs) == total  # an id is of one alert, and an alert has one id
        assert not set(first.ids()) & set(second.ids())
        assert kills == 4
