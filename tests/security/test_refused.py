"""A door that stays shut says so immediately: what is wrong, what to do, exit code 1; nothing tries for ever."""

from __future__ import annotations

import time

import pytest
from consume.command_line import call
from security.pair import variables

from connectors.elasticsearch.client import ElasticConnection, open_client
from connectors.elasticsearch.client import check as check_elastic
from connectors.kafka.client import check_broker
from connectors.kafka.errors import LOG, is_final, unreachable
from features.errors import ShopstreamError
from producers.shop.generate import generate
from producers.shop.shop import Shop

SECONDS_MAX = 20
"""Of a whole command, on a busy machine; most take two."""


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("refused") / "data"
    generate(Shop(end_ms=20_400 * 86_400_000, seed=5, customers=5, events=100, days=3), folder)
    return folder


KAFKA = {
    "wrong password": ({"sasl.password": "wrong"}, "refused the credentials", "sasl.password"),
    "unknown user": ({"sasl.username": "nobody"}, "refused the credentials", "sasl.username"),
    "another mechanism": ({"sasl.mechanism": "SCRAM-SHA-256"}, "SCRAM-SHA-512", "sasl.mechanism"),
    "no authority": ({"ssl.ca.location": None}, "is not trusted", "ssl.ca.location"),
    "wrong authority": ({"ssl.ca.location": "FOREIGN"}, "is not trusted", "ssl.ca.location"),
    "plain to TLS": ({"security.protocol": "plaintext"}, "closed the connection", "SASL_SSL"),
    "a password without TLS": ({"security.protocol": "sasl_plaintext"}, "closed the connection", "SASL_SSL"),
    "TLS without a password": ({"security.protocol": "ssl"}, "closed the connection", "sasl.username"),
    "TLS to plain": ({"bootstrap.servers": "PLAIN"}, "does not use TLS", "security.protocol"),
    "a password to plain": (
        {"bootstrap.servers": "PLAIN", "security.protocol": "sasl_plaintext"},
        "does not support this SASL mechanism",
        "remove SASL_",
    ),
}
ELASTIC = {
    "wrong password": ({"password": "wrong"}, "credentials were refused", "password"),
    "unknown user": ({"username": "nobody"}, "credentials were refused", "user name"),
    "wrong key": ({"username": None, "password": None, "api_key": "d3Jvbmc6d3Jvbmc="}, "credentials", "expired"),
    "nonsense as a key": ({"username": None, "password": None, "api_key": "wrong"}, "credentials", "API key"),
    "no authority": ({"ca_certs": None}, "is not trusted", "ca_certs"),
    "wrong authority": ({"ca_certs": "FOREIGN"}, "is not trusted", "ca_certs"),
    "absent authority": ({"ca_certs": "/nowhere/ca.pem"}, "/nowhere/ca.pem", "ca_certs"),
    "http to https": ({"url": "HTTP", "ca_certs": None}, "closed the connection", "https://"),
    "an authority for http": ({"url": "HTTP"}, "'https'", "settings"),
    "https to http": ({"url": "PLAIN"}, "does not use TLS", "http://"),
}


@pytest.fixture
def kafka_case(request, secure, servers, foreign):
    """Properties of a case, what is said, what is to be done."""
    changes, message, remedy = KAFKA[request.param]
    names = {"FOREIGN": str(foreign), "PLAIN": servers.kafka.bootstrap_servers}
    return {name: names.get(value, value) for name, value in changes.items()}, message, remedy


@pytest.fixture
def elastic_case(request, secure, servers, foreign):
    changes, message, remedy = ELASTIC[request.param]
    url = secure.elasticsearch.url
    names = {
        "FOREIGN": str(foreign),
        "HTTP": url.replace("https", "http"),
        "PLAIN": servers.elasticsearch.url.replace("http", "https"),
    }
    return {name: names.get(value, value) for name, value in changes.items()}, message, remedy


@pytest.mark.parametrize("kafka_case", KAFKA, indirect=True)
def test_refused_kafka_connection_gives_a_reason_and_a_remedy(secure, kafka_case):
    changes, message, remedy = kafka_case
    given = {**secure.kafka.client_properties(), **changes}
    began = time.monotonic()
    with pytest.raises(ShopstreamError) as caught:
        check_broker({name: value for name, value in given.items() if value is not None}, timeout_s=2)
    assert time.monotonic() - began < 10
    assert message in caught.value.message
    assert remedy in caught.value.remedy
    assert "rdkafka#" not in caught.value.message


@pytest.mark.parametrize("elastic_case", ELASTIC, indirect=True)
def test_refused_elasticsearch_connection_gives_a_reason_and_a_remedy(secure, elastic_case):
    changes, message, remedy = elastic_case
    elastic = secure.elasticsearch
    good = {"url": elastic.url, "username": elastic.username, "password": elastic.password, **elastic.options}
    with pytest.raises(ShopstreamError) as caught:
        check_elastic(open_client(ElasticConnection(**{**good, **changes})))
    assert message in caught.value.message
    assert remedy in caught.value.remedy


def refused(arguments, found, said):
    began = time.monotonic()
    done = call(arguments, found, 120)
    assert done.returncode == 1, done.stdout + done.stderr
    assert " ".join(said.split()) in " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < SECONDS_MAX


def command(name, archive):
    return {
        "replay": ["replay", archive, "--run", "refused"],
        "live": ["live", "--run", "refused", "--for", "60s"],
        "consume": ["consume", "--run", "refused"],
        "status": ["status", "--run", "refused"],
        "up": ["up"],
        "demo": ["demo", "--once", "--customers", "5", "--events", "100", "--days", "3", "--run", "refused"],
    }[name]


def longer(*names):
    """Commands that only `make security` tries: they ask the servers by the same lines as the others."""
    return [pytest.param(name, marks=pytest.mark.campaign) for name in names]


@pytest.mark.parametrize("name", ["replay", "consume", "status", *longer("live", "up", "demo")])
def test_every_command_stops_when_kafka_refuses_it(secure, archive, tmp_path, name):
    result = variables(tmp_path, secure, kafka={"sasl.password": "wrong"})
    refused(command(name, archive), result, "refused the credentials")


@pytest.mark.parametrize("name", ["consume", "status", *longer("up", "demo")])
def test_every_command_stops_when_elasticsearch_refuses_it(secure, archive, tmp_path, name):
    result = variables(tmp_path, secure, elastic={"password": "wrong"})
    refused(command(name, archive), result, "credentials were refused")


@pytest.mark.campaign
@pytest.mark.parametrize("kafka_case", KAFKA, indirect=True)
@pytest.mark.parametrize("name", ["replay", "live", "consume", "status", "up", "demo"])
def test_every_command_reports_every_refusal_of_kafka(secure, archive, tmp_path, name, kafka_case):
    changes, message, _ = kafka_case
    refused(command(name, archive), variables(tmp_path, secure, kafka=changes), message)


@pytest.mark.campaign
@pytest.mark.parametrize("elastic_case", ELASTIC, indirect=True)
@pytest.mark.parametrize("name", ["consume", "status", "up", "demo"])
def test_every_command_reports_every_refusal_of_elasticsearch(secure, archive, tmp_path, name, elastic_case):
    changes, message, _ = elastic_case
    refused(command(name, archive), variables(tmp_path, secure, elastic=changes), message)


@pytest.mark.parametrize(
    ("received", "message", "final"),
    [
        ([("_ALL_BROKERS_DOWN", "1/1 brokers are down")], "does not answer.", False),
        ([("_TRANSPORT", "h:1/bootstrap: Connect to ipv4#1 failed: Connection refused (after 0ms in state CONNECT)")],
         "does not answer: Connect to ipv4#1 failed: Connection refused.", False),
        ([("_TRANSPORT", "Broker transport failure"), ("_RESOLVE", "no such host")], "not known", False),
        ([(LOG, "FAIL [rdkafka#p-1] [thrd:h:1/1]: h:1/1: Disconnected (after 1ms in state APIVERSION_QUERY)")],
         "closed the connection at the first request: Disconnected.", False),
        ([("_TRANSPORT", "failure"), ("_AUTHENTICATION", "bad password")], "refused the credentials", True),
        ([], "does not answer.", False),
    ],
)  # fmt: skip
def test_most_specific_kafka_error_is_reported(received, message, final):
    assert message in unreachable("h:1", received).message
    assert is_final(received) is final
