"""A secure pair of servers, users with the permissions of each duty, and authorities that nobody should trust."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
from pathlib import Path

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from consume.command_line import environment
from elasticsearch import Elasticsearch

from consumers.permissions import KAFKA_DUTIES, elastic_role
from shopstream.embedded import certificates

RUN = "sec"
"""The run that the users of the duties have permissions on."""
KAFKA_PASSWORD = "kafka-Pa55-of-a-duty"
ELASTIC_PASSWORD = "elastic-Pa55-of-a-duty"


def variables(home, endpoints, **changes):
    """Variables of a user of existing servers: everything by settings, nothing by the pair's own data folder.

    Args:
        changes: `kafka` properties to be set (None: to be left out), `elastic` settings alike.
    """
    kafka = {**endpoints.kafka.client_properties(), **changes.get("kafka", {})}
    address = kafka.pop("bootstrap.servers")
    result = environment(home) | {
        "SHOPSTREAM_KAFKA__BOOTSTRAP_SERVERS": address,
        "SHOPSTREAM_KAFKA__PROPERTIES": json.dumps({k: v for k, v in kafka.items() if v is not None}),
    }
    elastic = {
        "url": endpoints.elasticsearch.url,
        "username": endpoints.elasticsearch.username,
        "password": endpoints.elasticsearch.password,
        "ca_certs": endpoints.elasticsearch.options.get("ca_certs"),
        **changes.get("elastic", {}),
    }
    for name, value in elastic.items():
        if value is not None:
            result[f"SHOPSTREAM_ELASTICSEARCH__{name.upper()}"] = value
    return result


def foreign_authority(folder: Path) -> Path:
    """The certificate of another authority: a valid file that has signed nothing here."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "foreign.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/CN=foreign", "-days", "2", "-keyout", str(folder / "foreign.key"), "-out", str(file)],
        check=True, capture_output=True,
    )  # fmt: skip
    return file


def write_elastic_users(folder: Path, users: dict[str, str], run: str = RUN) -> None:
    """Users of the file realm with the declared roles, as a server finds them when it starts.

    Args:
        folder: the server's own, `HOME/elasticsearch`.
        users: name -> duty.
    """
    config = folder / "config"
    config.mkdir(parents=True, exist_ok=True)
    salt = os.urandom(32)
    key = hashlib.pbkdf2_hmac("sha512", ELASTIC_PASSWORD.encode(), salt, 10_000, 32)
    hashed = f"{{PBKDF2}}10000${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"
    roles = {f"{run}-{duty}": elastic_role(duty, run) for duty in users.values()}
    (config / "roles.yml").write_text("".join(f"{name}: {json.dumps(role)}\n" for name, role in roles.items()))
    (config / "users").write_text("".join(f"{name}:{hashed}\n" for name in users))
    (config / "users_roles").write_text("".join(f"{run}-{duty}:{name}\n" for name, duty in users.items()))


def add_kafka_users(properties, users: dict[str, str], run: str = RUN) -> None:
    """Users with the declared permissions."""
    admin = AdminClient(properties)
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    upserts = [UserScramCredentialUpsertion(name, info, KAFKA_PASSWORD.encode()) for name in users]
    for future in admin.alter_user_scram_credentials(upserts).values():
        future.result(timeout=30)
    for future in admin.create_acls(
        [acl for name, duty in users.items() for acl in bindings(name, duty, run)]
    ).values():
        future.result(timeout=30)


def bindings(name, duty, run):
    """The declaration, as the client takes it."""
    words = {"DescribeConfigs": "DESCRIBE_CONFIGS", "AlterConfigs": "ALTER_CONFIGS"}
    kinds = {
        "topic": ResourceType.TOPIC,
        "group": ResourceType.GROUP,
        "transactional-id": ResourceType.TRANSACTIONAL_ID,
    }
    for permission in KAFKA_DUTIES[duty](run):
        kind = kinds[permission.resource]
        pattern = ResourcePatternType.PREFIXED if permission.prefixed else ResourcePatternType.LITERAL
        for operation in permission.operations:
            yield AclBinding(
                kind, permission.name.removesuffix("*"), pattern, f"User:{name}", "*",
                AclOperation[words.get(operation, operation.upper())], AclPermissionType.ALLOW,
            )  # fmt: skip


def secrets_of(home: Path) -> list[str]:
    """Every secret that the pair of a data folder has made."""
    return [certificates.read_secret(path) for path in sorted((home / "secrets").iterdir()) if path.suffix != ".p12"]


def clear(endpoints, run: str = RUN) -> None:
    """Removes what an earlier session has left of the run on servers that were kept."""
    admin = AdminClient(endpoints.kafka.client_properties())
    topics = [topic for topic in admin.list_topics(timeout=10).topics if topic.startswith(f"{run}.")]
    groups = [g.group_id for g in admin.list_consumer_groups().result().valid if g.group_id.startswith(f"{run}-")]
    futures = [*(admin.delete_topics(topics) if topics else {}).values()]
    futures += (admin.delete_consumer_groups(groups) if groups else {}).values()
    for future in futures:
        future.result(timeout=30)
    with Elasticsearch(**endpoints.elasticsearch.client_options()) as client:
        if result := list(client.indices.get(index=f"{run}-*", filter_path="*.aliases")):
            client.indices.delete(index=",".join(result))
