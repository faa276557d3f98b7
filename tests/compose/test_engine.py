"""docker-compose.yml on a real engine: `make test-compose`. The tests follow one another over one project."""

from __future__ import annotations

import http.client
import subprocess
from dataclasses import asdict, dataclass

import pytest
from compose.engine import (
    IMAGES,
    NOTHING,
    OURS,
    STANDIN,
    Left,
    Project,
    absent,
    compose_tool,
    engine,
    free_port,
    missing_images,
    until,
)
from compose.reading import ROOT

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(1_200)]
EVENTS, CUSTOMERS = 30_000, 400
STAY = ("kafka", "elasticsearch", "kibana", "consumer", "live", "trainer", "web")
ONE_SHOT = ("secrets", "setup", "dashboards", "history")
ROLES = ("features", "index", "archive")
PARTITIONS = frozenset(range(4))
SLOW, FREE = {"cpu_period": 100_000, "cpu_quota": 20_000}, {"cpu_quota": -1}
"""What a container may use: a fifth of a core, to be met at its work; all there is."""


@pytest.fixture(scope="module")
def project(given, tmp_path_factory):
    client, tool = engine(), compose_tool()
    if missing := missing_images(client):
        absent(
            f"no images {', '.join(missing)}: `docker compose pull && docker compose build`, or compose-images-local"
        )
    override = STANDIN in (client.images.get(IMAGES[1]).attrs["Config"]["Cmd"] or [])
    ports = {name: str(free_port()) for name in given if name.endswith("_PORT")}
    values = {**given, **ports, "SHOP_EVENTS": str(EVENTS), "SHOP_CUSTOMERS": str(CUSTOMERS), "SHOP_DAYS": "150"}
    env = tmp_path_factory.mktemp("compose") / ".env"
    env.write_text("".join(f"{name}={value}\n" for name, value in values.items() if not name.startswith("COMPOSE_")))
    result = Project(client, tool, env, values, "shopstreamtest", override)
    result.down("--volumes", "--remove-orphans")
    try:
        yield result
    finally:
        result.down("--volumes", "--remove-orphans")
        client.close()


@pytest.fixture(scope="module")
def before(project):
    """What the engine had before the project was brought up."""
    return Left.on(project.client)


def page(project):
    connection = http.client.HTTPConnection("127.0.0.1", int(project.values["WEB_PORT"]), timeout=20)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    except OSError as error:
        return str(error)
    finally:
        connection.close()


@dataclass(frozen=True)
class Known:
    """Ids of what stands in Kafka; a `live` that is started again repeats its last ten minutes."""

    events: frozenset[str]
    orders: frozenset[str]
    customers: frozenset[str]

    @classmethod
    def of(cls, project) -> Known:
        events, orders = project.messages("events"), project.messages("orders")
        return cls(
            frozenset(one["event_id"] for one in events),
            frozenset(one["order_id"] for one in orders),
            frozenset(one["customer_id"] for one in [*events, *orders]),
        )

    def counts(self):
        return {what: len(ids) for what, ids in asdict(self).items()}

    def within(self, other: Known):
        return self.events <= other.events and self.orders <= other.orders and self.customers <= other.customers


def caught_up(project):
    """What Kafka holds, when Elasticsearch has exactly as many documents of each kind."""
    seen = []

    def equal():
        known = Known.of(project)
        seen[:] = [known.counts(), project.documents()]
        return known if seen[0] == seen[1] and len(known.events) >= EVENTS * 0.9 else None

    return until(180, equal, lambda: f"as many documents in Elasticsearch as in Kafka: {seen}")


def ended(project, services):
    for service in services:
        (one,) = project.containers(service)
        until(180, lambda one=one: one.reload() or one.status == "exited", f"{service} ends")
        assert one.attrs["State"]["ExitCode"] == 0, one.logs().decode()


def test_compose_accepts_the_file_and_lists_its_services(project, composed):
    project("config", "--quiet")
    assert set(project("config", "--services").split()) == set(composed.services)


def test_one_command_starts_every_service(project, before):
    project.up()
    project.healthy(STAY)
    ended(project, ONE_SHOT)
    assert page(project) == 200


def test_each_service_started_after_its_dependencies(project, composed):
    for name, service in composed.services.items():
        for other, waits in service.depends_on.items():
            (one,), (first,) = project.containers(name), project.containers(other)
            moment = "FinishedAt" if waits.condition == "service_completed_successfully" else "StartedAt"
            assert first.attrs["State"][moment] < one.attrs["State"]["StartedAt"], f"{name} did not wait for {other}"


def test_every_event_becomes_a_document(project):
    caught_up(project)


def test_ready_service_logs_the_addresses(project):
    (one,) = project.containers("ready")
    until(60, lambda: "ready: page" in one.logs().decode(), "the addresses")
    assert f"http://localhost:{project.values['WEB_PORT']}" in one.logs().decode()


def test_no_secret_is_in_a_container_that_runs(project, composed):
    secrets = {value for name, value in project.values.items() if name.endswith(("_PASSWORD", "_KEY"))}
    for name in STAY:
        if project.override and name == "elasticsearch":
            continue  # the stand-in has its users from variables
        for one in project.containers(name):
            assert not secrets & {line.partition("=")[2] for line in one.attrs["Config"]["Env"]}, name
            processes = one.top()["Processes"]
            assert not any(secret in word for row in processes for word in row for secret in secrets), name


def test_one_secret_can_be_shown(project):
    output = project("run", "--rm", "--no-deps", "secrets", "/secrets", "--show", "ANALYST_PASSWORD")
    assert output.strip() == project.values["ANALYST_PASSWORD"]


def test_no_log_holds_a_traceback(project, composed):
    for name, service in composed.services.items():
        if service.ours:
            for one in project.containers(name):
                message = one.logs().decode("utf-8", "replace")
                assert "panicked" not in message, name
                assert "Traceback" not in message, name


def test_status_works_with_the_permissions_of_the_consumer(project):
    code, output = project.in_consumer("shopstream", "status")
    assert code == 0, output


@pytest.mark.parametrize("service", ["setup", "dashboards", "history", "consumer", "live", "trainer", "web"])
def test_every_command_prints_its_help_in_the_image(service, composed, project):
    words = [word for word in composed.services[service].command if word.isalpha()]
    output = project.client.containers.run(OURS, [*words, "--help"], read_only=True, tmpfs={"/tmp": ""}, remove=True)
    assert f"shopstream {words[0]}" in output.decode()


def test_image_has_no_build_tools_and_no_root_user(project):
    inside = "id -u; command -v pip gcc cc make git; find / -xdev -perm -4000 -path '/opt/*' 2>/dev/null; true"
    output = project.client.containers.run(OURS, ["-c", inside], entrypoint="sh", remove=True)
    assert output.split() == [b"10001"]


def history_came_once(project):
    """The live shop adds a few customers of its own."""
    return CUSTOMERS <= project.sent("customers") < 2 * CUSTOMERS


def test_second_run_of_a_one_shot_service_changes_nothing(project):
    assert history_came_once(project)
    project.up()
    for service in ONE_SHOT:
        (one,) = project.containers(service)
        one.start()
    ended(project, ONE_SHOT)
    assert history_came_once(project)


@pytest.mark.parametrize("service", ["setup", "dashboards"])
def test_one_shot_service_killed_while_it_works_completes_on_restart(service, project):
    (one,) = project.containers(service)
    one.update(**SLOW)
    one.start()
    one.reload()
    project.kill(one)
    one.update(**FREE)
    until(60, lambda: project.was_restarted(one), f"{service} is started again")
    ended(project, [service])


def test_three_consumers_share_the_partitions(project):
    project.up("--no-recreate", "--scale", "consumer=3")

    def shared(number):
        """Whether so many members of each group own something each, and together every partition once."""
        for role in ROLES:
            parts = [{part for topic, part in one if topic == "shop.events"} for one in project.shares(role)]
            if len(parts) != number or not all(parts) or sum(map(len, parts)) != len(PARTITIONS):
                return False
            assert frozenset().union(*parts) == PARTITIONS
        return True

    until(180, lambda: shared(3), "three members of each group with partitions")
    until(120, lambda: project.health("consumer") == {"healthy"}, "three healthy consumers")
    assert len(project.containers("consumer")) == 3
    for one in project.containers("live"):
        one.stop()
    caught_up(project)
    project.up("--no-recreate", "--scale", "consumer=1")
    until(120, lambda: shared(1), "one member of each group")


@pytest.mark.parametrize("service", STAY)
def test_killed_service_restarts_and_loses_no_record(service, project):
    known = caught_up(project)
    (one,) = project.containers(service)
    project.kill(one)
    until(60, lambda: project.was_restarted(one), f"{service} is started again")
    project.healthy((service, "consumer"))
    assert known.within(caught_up(project))
    until(60, lambda: page(project) == 200, "the page answers")


def test_down_and_up_keeps_the_data(project):
    known = caught_up(project)
    project.down()
    assert project.containers("kafka") == []
    project.up()
    project.healthy(STAY)
    assert known.within(caught_up(project))
    assert history_came_once(project)
    until(60, lambda: page(project) == 200, "the page answers")


def test_down_with_volumes_removes_all_data(project, before):
    project.down("--volumes")
    assert Left.on(project.client).beyond(before) == NOTHING


def test_history_killed_while_sending_resumes(project):
    project.up("history")
    (one,) = project.containers("history")
    one.update(**SLOW)
    until(180, lambda: project.sent("events") > 0, "history sends")
    sent = project.sent("events")
    project.kill(one)
    one.update(**FREE)
    assert sent < EVENTS, "too late to kill it"
    until(60, lambda: project.was_restarted(one), "history is started again")
    ended(project, ["history"])
    project.up("consumer")
    known = caught_up(project)
    assert len(known.customers) <= CUSTOMERS
    project.down("--volumes")


def test_without_env_the_secrets_are_generated_once(project, tmp_path):
    """Only their service runs: two calls, and the second one keeps what the first one made."""
    empty = tmp_path / ".env"
    empty.write_text("")
    call = [*project.tool, "--env-file", str(empty), "-p", project.name, "-f", str(ROOT / "docker-compose.yml")]

    def run(*words):
        done = subprocess.run([*call, *words], capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        assert run("run", "--rm", "secrets").count("is generated") == 10
        shown = run("run", "--rm", "secrets", "/secrets", "--show", "ANALYST_PASSWORD").strip()
        assert len(shown) == 32
        assert run("run", "--rm", "secrets").count("is unchanged") == 10
        assert run("run", "--rm", "secrets", "/secrets", "--show", "ANALYST_PASSWORD").strip() == shown
    finally:
        run("down", "--volumes")
