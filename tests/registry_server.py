"""A schema registry over HTTP for tests: the paths that readers and confluent's serializers call, in memory.

It gives Protobuf as Confluent's registry does: source text, and descriptors as base64 with `format=serialized`.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from connectors.endpoints import RegistryEndpoint


class RegistryServer:
    """Registry with a list of the requests that it received.

    `faults` are HTTP status codes of the next answers; `login` is what `Authorization` must be.
    """

    def __init__(self) -> None:
        self.schemas: dict[int, dict[str, Any]] = {}
        self.guids: dict[str, int] = {}
        self.subjects: dict[str, list[int]] = {}
        self.requests: list[str] = []
        self.faults: list[int] = []
        self.login: str | None = None
        self.url = ""

    def add(self, kind: str, schema: Any, *, subject: str = "", references=(), number: int | None = None) -> int:
        """Register a schema and return its id. `references` are (name, subject, version)."""
        number = number or len(self.schemas) + 1
        self.schemas[number] = {
            "schemaType": kind,
            "schema": schema if isinstance(schema, str) else json.dumps(schema),
            "references": [{"name": name, "subject": of, "version": version} for name, of, version in references],
        }
        self.subjects.setdefault(subject, []).append(number)
        return number

    def endpoint(self, **more: Any) -> RegistryEndpoint:
        return RegistryEndpoint("main", self.url, **more)

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> tuple[int, Any]:
        self.requests.append(target)
        if self.faults:
            status = self.faults.pop(0)
            return status, {"error_code": status * 100, "message": "made to fail"}
        if self.login is not None and headers.get("Authorization") != self.login:
            return 401, {"error_code": 40101, "message": "Unauthorized"}
        url = urlsplit(target)
        parts = url.path.strip("/").split("/")
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        match [method, *parts]:
            case ["GET", "schemas", "types"]:
                return 200, ["AVRO", "JSON", "PROTOBUF"]
            case ["GET", "schemas", "ids", number]:
                return self._schema(int(number), query)
            case ["GET", "schemas", "guids", guid]:
                return self._schema(self.guids.get(guid), query)
            case ["GET", "subjects", subject, "versions", version]:
                numbers = self.subjects.get(subject, [])
                number = numbers[int(version) - 1] if 0 < int(version) <= len(numbers) else None
                status, found = self._schema(number, query)
                if status != 200:
                    return status, found
                return 200, {**found, "subject": subject, "version": int(version), "id": number}
            case ["POST", "subjects", subject] | ["POST", "subjects", subject, "versions"]:
                return 200, self._registered(subject, json.loads(body))
        return 404, {"message": f"HTTP 404 Not Found: {target}"}

    def _schema(self, number: int | None, query: dict[str, str]) -> tuple[int, Any]:
        if number not in self.schemas:
            return 404, {"error_code": 40403, "message": f"Schema {number} not found"}
        found = self.schemas[number]
        if found["schemaType"] == "PROTOBUF" and query.get("format") != "serialized":
            return 200, {**found, "schema": 'syntax = "proto3"; // the source text'}
        return 200, found

    def _registered(self, subject: str, schema: dict[str, Any]) -> dict[str, Any]:
        schema = {"schemaType": "AVRO", "references": [], **schema}
        known = [number for number, one in self.schemas.items() if one["schema"] == schema["schema"]]
        references = [(one["name"], one["subject"], one["version"]) for one in schema["references"]]
        number = known[0] if known else self.add(
            schema["schemaType"], schema["schema"], subject=subject, references=references
        )  # fmt: skip
        numbers = self.subjects.setdefault(subject, [])
        if number not in numbers:
            numbers.append(number)
        guid = str(uuid.uuid5(uuid.NAMESPACE_OID, schema["schema"]))
        self.guids[guid] = number
        return {"id": number, "guid": guid, "version": numbers.index(number) + 1, "subject": subject}


@contextmanager
def serving(server: RegistryServer, context: ssl.SSLContext | None = None, port: int = 0) -> Iterator[RegistryServer]:
    """Serve a registry on the loopback, with TLS if there is a context; port 0 is a free one."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, content = server.answer(self.command, self.path, self.headers, body)
            sent = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = _answer  # noqa: N815 - the names of the standard library

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as http:
        if context is not None:
            http.socket = context.wrap_socket(http.socket, server_side=True)
        thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        server.url = f"http{'s' if context else ''}://127.0.0.1:{http.server_address[1]}"
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


def prefixed(number: int, payload: bytes) -> bytes:
    """Return a value with the id of its schema before it."""
    return b"\0" + number.to_bytes(4, "big") + payload


def basic_login(username: str, password: str) -> str:
    """Return the header of a login."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
