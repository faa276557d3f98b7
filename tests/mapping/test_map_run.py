"""`map run` on the real Kafka: every message once, in step, through kills and rebalances."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from confluent_kafka import KafkaException
from consume.command_line import call, environment, start
from mapping.processes import kill_workers, wait_for
from mapping.topics import CLICKS, ORDERS, START_MS, backlog, click, create, latest_ms, order, records, send

from connectors.kafka.client import open_admin
from connectors.kafka.offsets import committed_metadata, topic_ids
from connectors.kafka.reader import read_to_end
from consumers.mapping.committed_facts import read_facts
from features.schema import DAY_MS, HOUR_MS, group_name, topic_name
from producers.importing.columns import guest_id


@pytest.fixture
def shop(servers, run_name, tmp_path):
    """Two foreign topics with a backlog of a year, their mappings, and the variables of the commands."""
    properties = servers.kafka.client_properties()
    clicks, orders = f"{run_name}-web", f"{run_name}-shop-orders"
    create(properties, clicks, 4)
    create(properties, orders, 1)
    sent = backlog(clicks, orders, np.random.default_rng(7))
    send(properties, sent.messages)
    files = []
    for name, text, topic in (("clicks", CLICKS, clicks), ("orders", ORDERS, orders)):
        file = tmp_path / f"{name}.yaml"
        file.write_text(text.format(topic=topic))
        files.append(file)
    return properties, sent, files, environment(tmp_path / "home", servers)


@pytest.fixture
def refused(servers, run_name, tmp_path):
    """A run in which a mapping refused a message of a type that it does not know, and the command line."""
    properties = servers.kafka.client_properties()
    topic = f"{run_name}-web"
    create(properties, topic, 1)
    good, bad = click(1, START_MS, "c1"), click(2, START_MS, "c2", type="basket")
    send(properties, {(topic, 0): [json.dumps(good).encode(), json.dumps(bad).encode(), b"{"]})
    file = tmp_path / "clicks.yaml"
    file.write_text(CLICKS.format(topic=topic))
    variables = environment(tmp_path / "home", servers)
    done = call(["map", "run", file, "--run", run_name, "--until-end"], variables)
    assert done.returncode == 0, done.stderr
    return properties, file, lambda *arguments: call([*arguments, "--run", run_name], variables)


def test_refused_messages_are_mapped_again_after_a_correction(refused, run_name):
    properties, file, command = refused
    file.write_text(file.read_text().replace("cart: add_to_cart", "cart: add_to_cart, basket: add_to_cart"))
    replay = ("dead-letters", "replay", "--mapping", file, "--yes")
    done = command(*replay)
    assert "1 records sent" in done.stdout, done.stdout + done.stderr
    assert "still refused: not JSON" in done.stdout
    events = records(properties, run_name, "events")
    assert sorted(one["event_id"] for values in events.values() for one in values) == ["e1", "e2"]
    assert "was already replayed" in command(*replay).stdout
    assert "another system" in command("dead-letters", "replay", "--dry-run").stdout


def test_ids_made_of_offsets_do_not_repeat_after_the_topic_was_created_again(refused, run_name):
    """Kafka deletes the offsets that a group has committed of a deleted topic, so that the run begins again at 0."""
    properties, file, command = refused
    topic, admin = f"{run_name}-web", open_admin(properties)
    file.write_text(file.read_text().replace("  id: id\n", ""))
    replay = ("dead-letters", "replay", "--mapping", file, "--yes")
    former = topic_ids(admin, [topic])[topic]
    file.write_text(file.read_text().replace("cart: add_to_cart", "cart: add_to_cart, basket: add_to_cart"))
    assert "1 records sent" in command(*replay).stdout
    admin.delete_topics([topic])[topic].result()
    wait_for(lambda: created(properties, topic))
    again = [json.dumps(click(number, START_MS, "c1")).encode() for number in (3, 4)]
    send(properties, {(topic, 0): again})
    done = command("map", "run", file, "--until-end")
    assert done.returncode == 0, done.stderr
    current = topic_ids(admin, [topic])[topic]
    ids = [one["event_id"] for values in records(properties, run_name, "events").values() for one in values]
    assert sorted(ids) == sorted(["e1", f"{topic}-0-1-{former}", f"{topic}-0-0-{current}", f"{topic}-0-1-{current}"])


def created(properties, topic):
    """Create a topic, which fails while its predecessor is not gone yet."""
    try:
        create(properties, topic, 1)
    except KafkaException:
        return False
    return True


def test_message_of_a_dead_letter_is_shown_from_its_topic_on_request(refused, tmp_path):
    _, _, command = refused
    shown = command("dead-letters", "show", "0").stdout
    assert "`type`: unknown event type" in " ".join(shown.split())
    assert not {"basket", "c2"} & set(re.split(r"\W+", shown))
    assert '"user": "c2"' in command("dead-letters", "show", "0", "--contact").stdout
    command("dead-letters", "show", "0", "--out", tmp_path / "message.json")
    assert json.loads((tmp_path / "message.json").read_bytes())["user"] == "c2"


def totals(done):
    """The figures of the last log line about the role."""
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    return next(line for line in reversed(lines) if line.get("event") == "ended")


@pytest.mark.parametrize("workers", [1, 2])
def test_backlog_of_a_year_is_mapped_completely_and_in_step(shop, run_name, workers):
    properties, sent, files, variables = shop
    done = call(["map", "run", *files, "--run", run_name, "--until-end", "--workers", workers], variables)
    assert done.returncode == 0, done.stderr
    figures = totals(done)
    assert figures["consumed"] == sent.count == figures["valid"] + figures["left_out"] + figures["rejected"]
    assert (figures["left_out"], figures["rejected"]) == (sent.left_out, sent.refused)
    events = records(properties, run_name, "events")
    assert {one["event_id"] for values in events.values() for one in values} == sent.event_ids
    orders = records(properties, run_name, "orders")
    assert {(one["order_id"], one["status"]) for values in orders.values() for one in values} == sent.order_states
    # six hours in step, two of disorder within a partition, half an hour of the retries
    assert max(latest_ms(values, "ts") for values in events.values()) <= 9 * HOUR_MS
    letters = list(read_to_end(properties, topic_name(run_name, "dead-letter"), f"{run_name}-look"))
    assert len(letters) == sent.refused
    assert {letter.value() for letter in letters} == {None}


def test_workers_that_are_killed_ten_times_lose_nothing_and_stay_in_step(shop, run_name):
    properties, sent, files, variables = shop
    rng = np.random.default_rng(3)
    for _ in range(2):
        kill_workers(start(["map", "run", *files, "--run", run_name, "--workers", 2], variables), rng)
    later = {"e-later-1", "e-later-2"}
    at_ms = START_MS + 366 * DAY_MS
    clicks = next(topic for topic, _ in sent.messages if topic.endswith("-web"))
    more = [json.dumps(click(one.removeprefix("e"), at_ms, "c1")).encode() for one in sorted(later)]
    send(properties, {(clicks, 2): more})
    done = call(["map", "run", *files, "--run", run_name, "--until-end"], variables)
    assert done.returncode == 0, done.stderr
    events = records(properties, run_name, "events")
    assert {one["event_id"] for values in events.values() for one in values} == sent.event_ids | later
    orders = records(properties, run_name, "orders")
    assert {(one["order_id"], one["status"]) for values in orders.values() for one in values} == sent.order_states
    assert max(latest_ms(values, "ts") for values in events.values()) < 48 * HOUR_MS


def test_command_continues_where_it_stopped(shop, run_name):
    _, sent, files, variables = shop
    for expected in (sent.count, 0):
        done = call(["map", "run", *files, "--run", run_name, "--until-end"], variables)
        assert done.returncode == 0, done.stderr
        assert totals(done)["consumed"] == expected


def test_start_by_time_skips_messages_before_it(shop, run_name):
    _, _, files, variables = shop
    arguments = ["map", "run", *files, "--run", run_name, "--until-end", "--from"]
    done = call([*arguments, "latest"], variables)
    assert (done.returncode, totals(done)["consumed"]) == (0, 0), done.stderr
    # the committed offsets count, not --from
    assert totals(call([*arguments, "2020-01-01"], variables))["consumed"] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CLICKS.format(topic="nowhere-at-all"), "Topic nowhere-at-all cannot be read"),
        (CLICKS.format(topic="shop.events"), "is a topic of the run"),
        (CLICKS.format(topic="a").replace("session:", "sesion:"), "sesion"),
        (CLICKS.format(topic="a").replace("from: {topic: a}\n", "file: {format: json}\n"), "names no topic"),
    ],
)
def test_mapping_that_cannot_run_is_refused_before_anything_is_read(servers, tmp_path, text, message):
    file = tmp_path / "clicks.yaml"
    file.write_text(text)
    done = call(["map", "run", file], environment(tmp_path / "home", servers))
    assert done.returncode in (1, 2)
    assert message in " ".join(done.stderr.split())


# --- the secret of guests ---------------------------------------------------------------------------------------------
GUESTS = ORDERS.replace("customer: user", "customer: {{path: user, guest: true}}")


def test_another_secret_of_guests_is_refused_before_anything_is_read(servers, run_name, tmp_path):
    properties = servers.kafka.client_properties()
    first, other = f"{run_name}-guests", f"{run_name}-more"
    files = []
    for topic in (first, other):
        create(properties, topic, 1)
        one = order(1, START_MS, START_MS, "ann@shop.com", "paid")
        send(properties, {(topic, 0): [json.dumps(one).encode(), b"{"]})
        files.append(tmp_path / f"{topic}.yaml")
        files[-1].write_text(GUESTS.format(topic=topic))
    variables = environment(tmp_path / "home", servers)
    map_run = ["map", "run", "--run", run_name, "--until-end"]
    done = call([*map_run, files[0]], {**variables, "SHOPSTREAM_GUEST_SALT": "first secret"})
    assert done.returncode == 0, done.stderr
    committed = committed_metadata(open_admin(properties), group_name(run_name, "map"))
    assert read_facts(committed[first, 0]).guests
    assert "secret" not in str(committed)
    # also where the command has another topic alone
    replay = ["dead-letters", "replay", "--run", run_name, "--mapping", files[0], "--dry-run"]
    for arguments in ([*map_run, files[0]], [*map_run, files[1]], replay):
        done = call(arguments, {**variables, "SHOPSTREAM_GUEST_SALT": "second secret"})
        assert (done.returncode, "another guest_salt" in " ".join(done.stderr.split())) == (1, True), done.stderr
    ids = [one["customer_id"] for values in records(properties, run_name, "orders").values() for one in values]
    assert ids == [guest_id("ann@shop.com", b"first secret")]
    done = call([*map_run, files[1]], {**variables, "SHOPSTREAM_GUEST_SALT": "first secret"})
    assert done.returncode == 0, done.stderr
    assert sum(map(len, records(properties, run_name, "orders").values())) == 2
