"""Creates the Elasticsearch users and roles of the commands, with only the permissions of `consumers.permissions`.

Users from a server's own files (the embedded one) are not changed: the files take precedence.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from elastic_transport import TransportError
from elasticsearch import ApiError, AuthenticationException, Elasticsearch

from connectors.elasticsearch.client import ElasticConnection, open_client, readable_error
from consumers.permissions import ElasticDuty, elastic_role
from features.errors import ShopstreamError
from shopstream.embedded.elastic_users import PAGE, READER

KIBANA_USER: Final = "kibana_system"
"""Built-in user; it has a role but no password."""
FILE_REALM: Final = "file"
VIEWER: Final = "viewer"
"""Built-in role of Elasticsearch: may view Kibana's dashboards, not change them."""


@dataclass(frozen=True, slots=True)
class ElasticUser:
    """A user to create.

    Attributes:
        name: name of the user and of its role.
        variable: environment variable that holds the password.
        duty: permissions of the user; None for a user built into the server.
        further: existing roles to add.
    """

    name: str
    variable: str
    duty: ElasticDuty | None
    further: tuple[str, ...] = ()


USERS: Final = (
    ElasticUser("shopstream-writer", "WRITER_PASSWORD", "write"),
    ElasticUser(READER, "READER_PASSWORD", "read"),
    ElasticUser(PAGE, "PAGE_PASSWORD", "page"),
    ElasticUser("shopstream-trainer", "TRAINER_PASSWORD", "admin"),
    ElasticUser("shopstream-analyst", "ANALYST_PASSWORD", "read", (VIEWER,)),
    ElasticUser(KIBANA_USER, "KIBANA_PASSWORD", None),
)
"""Users for the consumers, readers such as reports, the live page, trends and forecasts, people in Kibana, and Kibana
itself."""

PASSWORD_CHARS_MIN: Final = 6
"""Minimum length that Elasticsearch accepts."""


def chosen(environment: Mapping[str, str], folder: Path | None = None) -> list[tuple[ElasticUser, str]]:
    """Return the users whose password is given, with the password.

    Args:
        environment: variables with passwords.
        folder: folder with further passwords, in files with the names of the variables, such as a mounted Secret of
            Kubernetes. A variable takes precedence over a file.

    Raises:
        ShopstreamError: a password is too short, or the folder or a file in it cannot be read.
    """
    given = environment if folder is None else {**_from_files(folder), **environment}
    users = [(user, given[user.variable]) for user in USERS if given.get(user.variable)]
    for user, password in users:
        if len(password) < PASSWORD_CHARS_MIN:
            raise ShopstreamError(
                f"{user.variable} has {len(password)} characters.",
                f"Elasticsearch requires at least {PASSWORD_CHARS_MIN}.",
            )
    return users


def _from_files(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        raise ShopstreamError(f"The folder {folder} does not exist.", "Correct --passwords.")
    files = {user.variable: folder / user.variable for user in USERS}
    try:
        return {name: path.read_text("utf-8").strip() for name, path in files.items() if path.exists()}
    except OSError as error:
        raise ShopstreamError(f"{error.filename} cannot be read: {error.strerror}.", "Correct --passwords.") from error


def create_users(
    connection: ElasticConnection, run: str, users: list[tuple[ElasticUser, str]]
) -> list[tuple[str, str]]:
    """Create or update roles and users; idempotent.

    Args:
        connection: connection of a user who may manage security.
        run: run whose indices the roles name.
        users: users and their passwords.

    Returns:
        Names of users, and the action taken for each.

    Raises:
        ShopstreamError: the server does not answer or does not allow it.
    """
    done = []
    with open_client(connection, connections=1) as client:
        for user, password in users:
            done.append((user.name, _create_user(client, connection.url, run, user, password)))
    return done


def _create_user(client: Elasticsearch, url: str, run: str, user: ElasticUser, password: str) -> str:
    realm = _realm(client, user.name, password)
    if realm == FILE_REALM:
        return "is defined in the server's files"
    with _failures_named(url):
        if user.duty is None:
            if realm is None:
                client.security.change_password(username=user.name, password=password)
            return "already has its password" if realm else "has a new password"
        role = elastic_role(user.duty, run)
        client.security.put_role(name=user.name, cluster=role["cluster"], indices=role["indices"])
        client.security.put_user(username=user.name, password=password, roles=[user.name, *user.further])
    return "already exists" if realm else "is created"


def _realm(client: Elasticsearch, name: str, password: str) -> str | None:
    """Return the kind of realm that accepts the user with this password; None if none does."""
    try:
        response = client.options(basic_auth=(name, password)).security.authenticate()
    except AuthenticationException:
        return None
    except (ApiError, TransportError) as error:
        raise readable_error(error, f"The password of {name}") from error
    return str(response["authentication_realm"]["type"])


@contextlib.contextmanager
def _failures_named(url: str) -> Iterator[None]:
    try:
        yield
    except (ApiError, TransportError) as error:
        raise readable_error(error, f"Elasticsearch at {url}, its users") from error
