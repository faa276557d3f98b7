"""docker-compose.yml on a real engine: `make test-compose`. The tests follow one another over one project."""

from __future__ import annotations

import http.client
import json
import subprocess

import pytest
from compose.engine import IMAGES, STANDIN, Project, absent, compose_tool, free_port, said, until
from compose.reading import ROOT

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(1_200)]
EVENTS = 30_000
STAY = ("kafka", "elasticsearch", "kibana", "consumer", "live", "trainer", "web")
ONE_SHOT = ("setup", "dashboards", "history")


@pytest.fixture(scope="module")
def project(given, tmp_path_factory):
    tool = compose_tool()
    if missing := [image for image in IMAGES if said("docker", "image", "inspect", image).returncode]:
        absent(
            f"no images {', '.join(missing)}: `docker compose pull && docker compose build`, or compose-images-local"
        )
    command = json.loads(said("docker", "image", "inspect", "--format", "{{json .Config.Cmd}}", IMAGES[1]).stdout)
    ports = {name: str(free_port()) for name in given if name.endswith("_PORT")}
    values = {**given, **ports, "SHOP_EVENTS": str(EVENTS), "SHOP_CUSTOMERS": "400", "SHOP_DAYS": "150"}
    env = tmp_path_factory.mktemp("compose") / ".env"
    env.write_text("".join(f"{name}={value}\n" for name, value in values.items() if not name.startswith("COMPOSE_")))
    found = Project(tool, env, values, "shopstreamtest", STANDIN in (command or []))
    found("down", "--volumes", "--remove-orphans")
    try:
        yield found
    finally:
        found("down", "--volumes", "--remove-orphans")


def page(project):
    connection = http.client.HTTPConnection("127.0.0.1", int(project.values["WEB_PORT"]), timeout=20)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    except OSError as error:
        return str(error)
    finally:
        connection.close()


def caught_up(project, least=EVENTS):
    """Kafka's different events, when Elasticsearch has exactly as many documents."""

    def equal():
        kafka, elastic = project.events()
        return kafka if kafka == elastic and kafka >= least else 0

    return until(120, equal, "as many events in Elasticsearch as in Kafka")


def test_one_command_brings_everything_up(project):
    project.up()
    for service in STAY:
        until(240, lambda service=service: project.health(service) == {"healthy"}, f"{service} is healthy")
    for service in ONE_SHOT:
        (one,) = project.ids(service)
        until(120, lambda one=one: project.state(one)["Status"] == "exited", f"{service} ends")
        assert project.state(one)["ExitCode"] == 0, said("docker", "logs", one).stderr
    assert page(project) == 200


def test_every_event_is_a_document(project):
    caught_up(project)


def test_status_works_with_the_rights_of_the_consumer(project):
    done = said("docker", "exec", project.ids("consumer")[0], "shopstream", "status")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("service", ["setup", "dashboards", "history", "consumer", "live", "trainer", "web"])
def test_every_command_has_its_help_in_the_image(service, composed):
    words = [word for word in composed.services[service].command if word.isalpha()]
    done = said("docker", "run", "--rm", "--read-only", "--tmpfs", "/tmp", "shopstream:0.1.0", *words, "--help")
    assert done.returncode == 0, done.stderr
    assert f"shopstream {words[0]}" in done.stdout


def test_the_image_has_no_tools_of_a_build_and_no_root():
    inside = "id -u; command -v pip gcc cc make git; find / -xdev -perm -4000 -path '/opt/*' 2>/dev/null"
    done = said("docker", "run", "--rm", "--entrypoint", "sh", "shopstream:0.1.0", "-c", inside)
    assert done.stdout.split() == ["10001"]


def test_what_ran_once_does_nothing_the_second_time(project):
    before = project.run()["topics"]["shop.customers"]["messages"]
    project.up()
    for service in ("setup", "history"):
        words = {"setup": ["setup"], "history": ["history", "/var/lib/shopstream/history/shop", "--customers=400"]}
        more = [f"--events={EVENTS}", "--days=150"] if service == "history" else []
        out = project("run", "--rm", "--no-deps", "-T", service, *words[service], *more)
        assert "Traceback" not in out
    assert project.run()["topics"]["shop.customers"]["messages"] == before == 400


def test_three_consumers_share_the_partitions(project):
    project.up("--no-recreate", "--scale", "consumer=3")

    def members():
        groups = project.run()["groups"]
        return {role: groups[f"shop-{role}"]["members"] for role in ("features", "index", "archive")}

    until(120, lambda: set(members().values()) == {3}, f"three members of each group: {members()}")
    until(120, lambda: project.health("consumer") == {"healthy"}, "three healthy consumers")
    said("docker", "stop", *project.ids("live"))
    caught_up(project)
    project.up("--no-recreate", "--scale", "consumer=1")
    until(120, lambda: set(members().values()) == {1}, "one member of each group")


@pytest.mark.parametrize("service", ["kafka", "elasticsearch", "consumer", "live", "web", "trainer"])
def test_killed_and_back_nothing_is_lost(service, project):
    before = caught_up(project)
    for one in project.ids(service):
        said("docker", "kill", one)
        assert said("docker", "start", one).returncode == 0
    until(240, lambda: project.health(service) == {"healthy"}, f"{service} is healthy again")
    until(240, lambda: project.health("consumer") == {"healthy"}, "the consumer is healthy")
    assert caught_up(project) >= before
    until(60, lambda: page(project) == 200, "the page answers")


def test_down_and_up_keeps_the_data(project):
    before = caught_up(project)
    project("down")
    assert said("docker", "ps", "-aq", "--filter", f"label=com.docker.compose.project={project.name}").stdout == ""
    project.up()
    until(240, lambda: project.health("consumer") == {"healthy"}, "the consumer is healthy")
    assert caught_up(project) >= before
    assert project.run()["topics"]["shop.customers"]["messages"] == 400


def test_down_with_volumes_leaves_nothing(project):
    project("down", "--volumes")
    for kind in (["ps", "-aq"], ["volume", "ls", "-q"], ["network", "ls", "-q"]):
        label = f"label=com.docker.compose.project={project.name}"
        assert said("docker", *kind, "--filter", label).stdout == ""


def test_without_secrets_it_says_what_to_do(project, tmp_path):
    empty = tmp_path / ".env"
    empty.write_text("")
    done = subprocess.run(
        [*project.tool, "--env-file", str(empty), "-f", str(ROOT / "docker-compose.yml"), "config", "--quiet"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode != 0
    assert "run make env first" in done.stderr
