"""Elasticsearch's users and roles for the commands: made with the rights of `consumers.permissions`, and no more.

Of a server whose users stand in its own files (the embedded one) nothing is changed: there the files decide.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from elastic_transport import TransportError
from elasticsearch import ApiError, AuthenticationException, Elasticsearch

from connectors.elasticsearch.client import ElasticConnection, open_client, told
from consumers.permissions import ElasticDuty, elastic_role
from features.errors import ShopstreamError
from shopstream.embedded.elastic_users import READER

KIBANA_USER: Final = "kibana_system"
"""Built in; it has a role and lacks a password."""
FILE_REALM: Final = "file"
VIEWER: Final = "viewer"
"""A role of Elasticsearch's own: sees Kibana's dashboards, changes none."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user to be there.

    Attributes:
        name: of the user, and of its role.
        variable: of the environment, that holds the password.
        duty: what it may do; None for a user that the server has built in.
        further: roles that are there already.
    """

    name: str
    variable: str
    duty: ElasticDuty | None
    further: tuple[str, ...] = ()


ACCOUNTS: Final = (
    Account("shopstream-writer", "WRITER_PASSWORD", "write"),
    Account(READER, "READER_PASSWORD", "read"),
    Account("shopstream-trainer", "TRAINER_PASSWORD", "admin"),
    Account("shopstream-analyst", "ANALYST_PASSWORD", "read", (VIEWER,)),
    Account(KIBANA_USER, "KIBANA_PASSWORD", None),
)
"""For the consumers; the live page; trends and forecasts; people in Kibana; Kibana itself."""

PASSWORD_CHARS_MIN: Final = 6
"""Elasticsearch takes no shorter one."""


def chosen(environment: Mapping[str, str]) -> list[tuple[Account, str]]:
    """The accounts whose password the environment holds, with it.

    Raises:
        ShopstreamError: a password is too short.
    """
    found = [(account, environment[account.variable]) for account in ACCOUNTS if environment.get(account.variable)]
    for account, password in found:
        if len(password) < PASSWORD_CHARS_MIN:
            raise ShopstreamError(
                f"{account.variable} has {len(password)} characters.",
                f"Elasticsearch takes a password of {PASSWORD_CHARS_MIN} or more.",
            )
    return found


def settle(connection: ElasticConnection, run: str, wanted: list[tuple[Account, str]]) -> list[tuple[str, str]]:
    """Makes roles and users as they should be; doing it again changes nothing.

    Args:
        connection: as a user who may manage security.
        run: whose indices the roles name.
        wanted: accounts and their passwords.

    Returns:
        Names of users, and what was done for each.

    Raises:
        ShopstreamError: the server does not answer or does not allow it.
    """
    done = []
    with open_client(connection, connections=1) as client:
        for account, password in wanted:
            done.append((account.name, _settle_one(client, connection.url, run, account, password)))
    return done


def _settle_one(client: Elasticsearch, url: str, run: str, account: Account, password: str) -> str:
    realm = _realm(client, account.name, password)
    if realm == FILE_REALM:
        return "stands in the server's files"
    with _failures_named(url):
        if account.duty is None:
            if realm is None:
                client.security.change_password(username=account.name, password=password)
            return "has its password already" if realm else "has its password"
        role = elastic_role(account.duty, run)
        client.security.put_role(name=account.name, cluster=role["cluster"], indices=role["indices"])
        client.security.put_user(username=account.name, password=password, roles=[account.name, *account.further])
    return "is there already" if realm else "is made"


def _realm(client: Elasticsearch, name: str, password: str) -> str | None:
    """The kind of realm that knows the user by this password; None where none does."""
    try:
        said = client.options(basic_auth=(name, password)).security.authenticate()
    except AuthenticationException:
        return None
    except (ApiError, TransportError) as error:
        raise told(error, f"The password of {name}") from error
    return str(said["authentication_realm"]["type"])


@contextlib.contextmanager
def _failures_named(url: str) -> Iterator[None]:
    try:
        yield
    except (ApiError, TransportError) as error:
        raise told(error, f"Elasticsearch at {url}, its users") from error
