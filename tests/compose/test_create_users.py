"""Users and roles: what is asked of Elasticsearch, by its published API, and what is left alone."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from connectors.elasticsearch.client import ElasticConnection, connection
from consumers.permissions import elastic_role
from features.errors import ShopstreamError
from shopstream.embedded.elastic_users import READER
from shopstream.jobs import create_users

PASSWORDS = {one.variable: f"secret-of-{one.name}" for one in create_users.USERS}


class Played:
    """An Elasticsearch that keeps users and roles."""

    def __init__(self):
        self.users = {"elastic": "super", "kibana_system": None}
        self.roles, self.roles_of, self.asked = {}, {}, []

    def __enter__(self):
        handler = type("Handler", (_Handler,), {"played": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.connection = ElasticConnection(f"http://127.0.0.1:{self.server.server_port}", "elastic", "super")
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    played: Played

    def log_message(self, *_):
        pass

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {
            "X-Elastic-Product": "Elasticsearch", "Content-Type": "application/json", "Content-Length": str(len(data)),
        }.items():  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def login(self):
        name, _, password = (
            base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode().partition(":")
        )
        return name if self.played.users.get(name) == password else None

    def do_GET(self):
        name = self.login()
        if name is None:
            self.answer(
                401, {"error": {"type": "security_exception", "reason": "unable to authenticate"}, "status": 401}
            )
        else:
            self.answer(200, {"username": name, "authentication_realm": {"name": "native1", "type": "native"}})

    def do_PUT(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.login() != "elastic":
            self.answer(403, {"error": {"type": "security_exception", "reason": "unauthorized"}, "status": 403})
            return
        *_, kind, name = self.path.removesuffix("/_password").split("/")
        self.played.asked.append(f"{kind} {name}")
        if kind == "role":
            self.played.roles[name] = body
        else:
            self.played.users[name] = body["password"]
            self.played.roles_of[name] = body.get("roles")
        self.answer(200, {})

    def do_POST(self):
        self.do_PUT()


def test_each_user_gets_the_permissions_of_its_duty():
    with Played() as played:
        done = dict(create_users.create_users(played.connection, "demo", create_users.chosen(PASSWORDS)))
    own = {"shopstream-writer", READER, "shopstream-page", "shopstream-trainer", "shopstream-analyst"}
    assert own | {"kibana_system"} == done.keys()
    for account in create_users.USERS:
        assert played.users[account.name] == PASSWORDS[account.variable]
        if account.duty is not None:
            assert played.roles[account.name] == elastic_role(account.duty, "demo")
            assert played.roles_of[account.name] == [account.name, *account.further]
    assert set(played.roles) == done.keys() - {"kibana_system"}
    assert played.roles_of["shopstream-analyst"] == ["shopstream-analyst", "viewer"]


def test_second_call_reports_existing_users_and_sets_a_new_password():
    with Played() as played:
        requested = create_users.chosen(PASSWORDS)
        create_users.create_users(played.connection, "demo", requested)
        again = create_users.create_users(played.connection, "demo", requested)
        assert {what for _, what in again} == {"already exists", "already has its password"}
        changed = create_users.chosen({"WRITER_PASSWORD": "another-one"})
        assert create_users.create_users(played.connection, "demo", changed) == [("shopstream-writer", "is created")]
    assert played.users["shopstream-writer"] == "another-one"


def test_users_without_a_given_password_are_unchanged():
    with Played() as played:
        create_users.create_users(
            played.connection,
            "demo",
            create_users.chosen({**PASSWORDS, **dict.fromkeys(PASSWORDS.keys() - {"READER_PASSWORD"}, "")}),
        )
        assert played.asked == [f"role {READER}", f"user {READER}"]


def test_error_for_missing_permissions_hides_the_password():
    with Played() as played:
        played.users["visitor"] = "pass"
        visitor = ElasticConnection(played.connection.url, "visitor", "pass")
        with pytest.raises(ShopstreamError) as caught:
            create_users.create_users(visitor, "demo", create_users.chosen(PASSWORDS))
    assert "its users" in str(caught.value)
    assert not any(secret in str(caught.value) for secret in PASSWORDS.values())


def test_error_for_a_short_password_names_its_variable():
    with pytest.raises(ShopstreamError, match="READER_PASSWORD has 3 characters") as caught:
        create_users.chosen({"READER_PASSWORD": "abc"})
    assert "abc" not in str(caught.value)


def test_users_from_files_of_the_server_are_unchanged(servers, server_settings):
    secret = (server_settings.home / "secrets" / "elastic-reader-password").read_text().strip()
    done = create_users.create_users(connection(servers), "demo", create_users.chosen({"READER_PASSWORD": secret}))
    assert done == [(READER, "is defined in the server's files")]
