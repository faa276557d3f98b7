"""deploy/kubernetes as kubectl renders it: valid by Kubernetes' schemas, right for our command line and settings."""

from __future__ import annotations

import functools
import shutil
import subprocess

import kubernetes_validate
import pytest
import yaml
from compose.reading import ROOT, loaded
from guards.test_commands import parses
from guards.test_project import PROJECT

from shopstream.jobs.create_users import USERS
from shopstream.jobs.serve_dashboards import Listening
from shopstream.runtime import secret_files
from shopstream.settings import ENV_PREFIX, Settings

FOLDER = ROOT / "deploy" / "kubernetes"
OVERLAYS = sorted(path.parent.name for path in FOLDER.glob("*/kustomization.yaml"))
OLDEST = "1.30"
"""Oldest version of Kubernetes whose schemas are checked; the newest is that of the package."""
SERVICES = {"setup": "setup", "consumer": "consumer", "trainer": "trainer", "web": "web"}
"""Container -> service of docker-compose.yml that does the same."""


@functools.cache
def rendered(overlay):
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed here")
    done = subprocess.run(
        ["kubectl", "kustomize", str(FOLDER / overlay)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def of_kind(overlay, kind):
    return {one["metadata"]["name"]: one for one in rendered(overlay) if one["kind"] == kind}


def pods(overlay):
    """Component -> template of its pod."""
    found = {}
    for one in rendered(overlay):
        spec = one.get("spec", {})
        template = spec.get("template") or spec.get("jobTemplate", {}).get("spec", {}).get("template")
        if template:
            found[one["metadata"]["labels"]["app.kubernetes.io/component"]] = template
    return found


def container(overlay, name):
    (one,) = pods(overlay)[name]["spec"]["containers"]
    return one


def variables(overlay, name):
    """Environment of a container, without the optional Secret."""
    one, maps = container(overlay, name), of_kind(overlay, "ConfigMap")
    shared = [maps[source["configMapRef"]["name"]]["data"] for source in one["envFrom"] if "configMapRef" in source]
    assert len(shared) == 1
    return {**shared[0], **{pair["name"]: pair["value"] for pair in one["env"]}}


overlays = pytest.mark.parametrize("overlay", OVERLAYS)
containers = pytest.mark.parametrize("name", SERVICES)


def test_there_is_a_base_and_an_example():
    assert OVERLAYS == ["base", "example"]


@overlays
@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
def test_every_object_is_valid_by_the_schema_of_kubernetes(overlay, version):
    kinds = [one["kind"] for one in rendered(overlay)]
    assert {"StatefulSet", "Deployment", "CronJob", "Job", "PodDisruptionBudget", "NetworkPolicy"} <= set(kinds)
    for one in rendered(overlay):
        kubernetes_validate.validate(one, version, strict=True)


def test_misspelt_field_is_refused_by_the_schema():
    (one,) = of_kind("base", "StatefulSet").values()
    wrong = {**one, "spec": {**one["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(wrong, OLDEST, strict=True)


@overlays
@containers
def test_every_command_parses(overlay, name):
    parses(["shopstream", *container(overlay, name)["args"]])


@overlays
@containers
def test_every_variable_is_a_setting_with_a_valid_value(overlay, name, monkeypatch):
    for variable, value in variables(overlay, name).items():
        if (name, variable) == ("setup", "KIBANA_PASSWORD"):
            continue
        section = Settings
        assert variable.startswith(ENV_PREFIX)
        for part in variable.removeprefix(ENV_PREFIX).lower().split("__"):
            assert part in section.model_fields, variable
            section = section.model_fields[part].annotation
        monkeypatch.setenv(variable, value)
    Settings()


@overlays
@containers
def test_container_runs_as_in_compose(overlay, name):
    service = loaded({}).services[SERVICES[name]]
    one, spec = container(overlay, name), pods(overlay)[name]["spec"]
    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"] == 10001
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert one["resources"]["limits"]["memory"] == f"{service.memory_mib}Mi"
    assert one["image"].rpartition(":")[2] == PROJECT["project"]["version"]
    user = variables(overlay, name)["SHOPSTREAM_ELASTICSEARCH__USERNAME"]
    assert user == service.environment["SHOPSTREAM_ELASTICSEARCH__USERNAME"]


@overlays
@containers
def test_mounts_are_those_of_compose(overlay, name):
    """With one exception: the cache of compiled code is in the pod's own folder."""
    service = loaded({}).services[SERVICES[name]]
    one, spec = container(overlay, name), pods(overlay)[name]["spec"]
    mounts = {mount["mountPath"]: mount for mount in one["volumeMounts"]}
    needed = {*service.mounts.values(), *(path.split(":")[0] for path in service.tmpfs)}
    assert set(mounts) == needed - {"/var/lib/shopstream/kernels"}
    assert {mount["name"] for mount in mounts.values()} == {volume["name"] for volume in spec["volumes"]}
    for path, mount in mounts.items():
        if mount["name"] == "data":
            assert path == f"/var/lib/shopstream/{mount['subPath']}"
    (claim,) = of_kind(overlay, "PersistentVolumeClaim").values()
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    claims = [volume["persistentVolumeClaim"]["claimName"] for volume in spec["volumes"] if volume["name"] == "data"]
    assert set(claims) <= {claim["metadata"]["name"]}


@overlays
@containers
def test_each_pod_reads_the_secret_of_its_duty(overlay, name, tmp_path):
    """Its files are those that `secret_files` writes, so one call makes all Secrets."""
    secret_files.write_secrets(tmp_path, {})
    (secret,) = [volume["secret"] for volume in pods(overlay)[name]["spec"]["volumes"] if "secret" in volume]
    assert secret["secretName"] == f"shopstream-{name}"
    user = variables(overlay, name)["SHOPSTREAM_ELASTICSEARCH__USERNAME"]
    password = {one.name: one.variable for one in USERS} | {"elastic": "ELASTIC_PASSWORD"}
    path = f"/run/shopstream/{password[user]}"
    assert variables(overlay, name)["SHOPSTREAM_ELASTICSEARCH__PASSWORD_FILE"] == path
    assert (tmp_path / name / password[user]).is_file()


@overlays
def test_probes_request_a_path_that_the_program_serves_on_its_port(overlay):
    consumer, web = container(overlay, "consumer"), container(overlay, "web")
    port = int(variables(overlay, "consumer")["SHOPSTREAM_METRICS__PORT"])
    assert variables(overlay, "consumer")["SHOPSTREAM_METRICS__HOST"] == "0.0.0.0"
    assert consumer["ports"] == [{"name": "metrics", "containerPort": port}]
    page = next(word for word in web["args"] if word.startswith("--port="))
    assert web["ports"] == [{"name": "http", "containerPort": int(page.removeprefix("--port="))}]
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        probe = consumer[kind]["httpGet"]
        assert (probe["port"], probe["path"]) == ("metrics", "/readyz" if kind == "readinessProbe" else "/healthz")
        probe = web[kind]["httpGet"]
        assert (probe["port"], probe["path"]) == ("http", "/")
        hosts = [header["value"] for header in probe["httpHeaders"] if header["name"] == "Host"]
        assert set(hosts) <= set(Listening("0.0.0.0").allowed)
        assert hosts


@overlays
def test_services_and_budgets_select_their_pods(overlay):
    found = pods(overlay)
    kinds = ("Service", "PodDisruptionBudget", "StatefulSet", "Deployment")
    for kind in kinds:
        assert of_kind(overlay, kind)
        for name, one in of_kind(overlay, kind).items():
            selector = one["spec"]["selector"]
            wanted = selector.get("matchLabels", selector)
            component = name.removeprefix("shopstream-")
            selected = {key for key, pod in found.items() if wanted.items() <= pod["metadata"]["labels"].items()}
            assert selected == {component}, (kind, name)
    for one in of_kind(overlay, "Service").values():
        names = {
            port["name"]
            for pod in found.values()
            for part in pod["spec"]["containers"]
            for port in part.get("ports", [])
        }
        assert {port["targetPort"] for port in one["spec"]["ports"]} <= names


@overlays
def test_a_disruption_leaves_a_pod_of_each_kind(overlay):
    budgets = of_kind(overlay, "PodDisruptionBudget")
    assert budgets["shopstream-consumer"]["spec"]["maxUnavailable"] == 1
    assert of_kind(overlay, "StatefulSet")["shopstream-consumer"]["spec"]["replicas"] > 1
    least = budgets["shopstream-web"]["spec"]["minAvailable"]
    assert of_kind(overlay, "Deployment")["shopstream-web"]["spec"]["replicas"] > least


@overlays
def test_no_more_consumers_than_partitions(overlay):
    partitions = int(variables(overlay, "consumer")["SHOPSTREAM_KAFKA__PARTITIONS"])
    assert of_kind(overlay, "StatefulSet")["shopstream-consumer"]["spec"]["replicas"] <= partitions


@overlays
def test_network_policies_cover_every_pod_and_every_port_in_use(overlay):
    policies = of_kind(overlay, "NetworkPolicy")
    everything = policies["shopstream"]["spec"]
    assert everything["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in everything
    for pod in pods(overlay).values():
        assert everything["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    out = {port["port"] for rule in everything["egress"] for port in rule["ports"]}
    settings = variables(overlay, "consumer")
    servers = [*settings["SHOPSTREAM_KAFKA__BOOTSTRAP_SERVERS"].split(","), settings["SHOPSTREAM_ELASTICSEARCH__URL"]]
    assert {53, *(int(server.rpartition(":")[2]) for server in servers)} <= out
    if any("s3://" in word for word in container(overlay, "consumer")["args"]):
        assert 443 in out
    for name, inside in (("web", 8050), ("consumer", 9400)):
        (rule,) = policies[f"shopstream-{name}"]["spec"]["ingress"]
        assert [port["port"] for port in rule["ports"]] == [inside]
        assert container(overlay, name)["ports"][0]["containerPort"] == inside


@overlays
def test_training_rounds_do_not_overlap(overlay):
    (job,) = of_kind(overlay, "CronJob").values()
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    assert "--once" in container(overlay, "trainer")["args"]


@overlays
def test_stateful_set_names_an_existing_service(overlay):
    """Its pods have stable host names, of which the consumers make the ids of static members."""
    (one,) = of_kind(overlay, "StatefulSet").values()
    service = of_kind(overlay, "Service")[one["spec"]["serviceName"]]
    assert service["spec"]["clusterIP"] == "None"


@overlays
def test_password_of_an_existing_kibana_is_unchanged(overlay):
    """The Secret has one for it, as for compose; an empty variable takes precedence over the file."""
    environment = variables(overlay, "setup")
    assert environment["KIBANA_PASSWORD"] == ""
    assert "KIBANA_PASSWORD" in secret_files.NAMES
