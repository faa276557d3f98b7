"""Fakes a Kibana server that implements the published API and records its requests."""

from __future__ import annotations

import email.parser
import email.policy
import json
import ssl
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class PlayedKibana:
    """A fake server: its responses, and the requests and objects that it received."""

    levels: list[str] = field(default_factory=lambda: ["available"])
    spaces: tuple[str, ...] = ("default", "shop team")
    objects: set[tuple[str, str]] = field(default_factory=set)
    credentials: str | None = None
    base: str = ""
    certificate: str | None = None
    status: int | None = None
    response: dict[str, Any] | None = None
    requests: list[str] = field(default_factory=list)
    imported: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    has_settings: bool = True
    rules: dict[str, dict[str, Any]] = field(default_factory=dict)
    rules_refused: dict[str, Any] | None = None
    search: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    """Parameters of a search -> Elasticsearch's response, for the endpoint that dashboards use."""
    url: str = ""

    def __enter__(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"kibana": self}))
        self.url = f"http://127.0.0.1:{self._server.server_port}{self.base}"
        if self.certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.url = f"https://localhost:{self._server.server_port}{self.base}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def create_rule(self, name, rule):
        """Status and body of the response to a new alert rule, which is checked as Kibana's schema does."""
        if self.rules_refused is not None:
            return self.rules_refused["statusCode"], self.rules_refused
        if name in self.rules:
            return 409, {"statusCode": 409, "message": f"Saved object [alert/{name}] conflict"}
        fault = _rule_fault(name, rule)
        if fault:
            return 400, {"statusCode": 400, "error": "Bad Request", "message": fault}
        self.rules[name] = rule
        return 200, {"id": name, **rule}


RULE = {"name", "rule_type_id", "consumer", "tags", "schedule", "enabled", "actions", "params"}
QUERY = {
    "searchType", "timeField", "timeWindowSize", "timeWindowUnit", "thresholdComparator", "threshold", "size",
    "aggType", "groupBy", "excludeHitsFromPreviousRun",
}  # fmt: skip


def _rule_fault(name, rule):
    """What Kibana's schema refuses in a rule by a query of Elasticsearch; empty if it is accepted."""
    if uuid.UUID(name).version not in (1, 4) or str(uuid.UUID(name)) != name:
        return "Predefined IDs are not allowed for saved objects with encrypted attributes unless the ID is a UUID."
    if rule.keys() != RULE or (rule["rule_type_id"], rule["consumer"]) != (".es-query", "stackAlerts"):
        return "[request body]: definition for this key is missing"
    params = rule["params"]
    esql = params.get("searchType") == "esqlQuery"
    keys = QUERY | ({"esqlQuery"} if esql else {"index", "esQuery"})
    if not keys <= params.keys() <= keys | {"aggField"}:
        return f"params invalid: {sorted(params.keys() ^ keys)}"
    if esql and (params["thresholdComparator"], params["threshold"]) != (">", [0]):
        return "[threshold]: is required to be 0"
    if not esql and "query" not in json.loads(params["esQuery"]):
        return '[esQuery]: must contain "query"'
    if params["aggType"] != "count" and not params.get("aggField"):
        return "[aggField]: must have a value"
    return ""


class _Handler(BaseHTTPRequestHandler):
    kibana: PlayedKibana

    def log_message(self, *_):
        pass

    def respond(self, status, body, **headers):
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def rejected(self):
        kibana = self.kibana
        kibana.requests.append(f"{self.command} {self.path}")
        if kibana.credentials is not None and self.headers.get("Authorization") != kibana.credentials:
            self.respond(401, {"statusCode": 401, "error": "Unauthorized", "message": "security_exception"})
            return True
        if not self.path.startswith(kibana.base + "/"):
            self.respond(302, {}, Location=f"{kibana.base}/")
            return True
        return False

    def do_GET(self):
        if self.rejected():
            return
        path = urlsplit(self.path.removeprefix(self.kibana.base)).path
        if path == "/api/status":
            levels = self.kibana.levels
            level = levels.pop(0) if len(levels) > 1 else levels[0]
            self.respond(503 if level == "unavailable" else 200, {"status": {"overall": {"level": level}}})
        elif path.startswith("/api/spaces/space/"):
            name = path.rsplit("/", 1)[1].replace("%20", " ")
            known = name in self.kibana.spaces
            self.respond(200 if known else 404, {"id": name} if known else {"message": "Not Found"})
        else:
            self.respond(404, {"statusCode": 404, "message": "Not Found"})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.rejected():
            return
        if "kbn-xsrf" not in self.headers:
            self.respond(400, {"statusCode": 400, "message": "Request must contain a kbn-xsrf header."})
            return
        if self.kibana.status is not None:
            self.respond(self.kibana.status, self.kibana.response or {"message": "no disk space left"})
            return
        url = urlsplit(self.path.removeprefix(self.kibana.base))
        if url.path.endswith("/api/kibana/settings"):
            if not self.kibana.has_settings:
                self.respond(404, {"statusCode": 404, "message": "Not Found"})
                return
            self.kibana.settings |= json.loads(body)["changes"]
            self.respond(200, {"settings": {}})
            return
        if url.path.endswith("/internal/search/ese") and self.kibana.search is not None:
            if (self.headers["x-elastic-internal-origin"], self.headers["elastic-api-version"]) != ("Kibana", "1"):
                self.respond(400, {"statusCode": 400, "message": "uri [/internal/search/ese] is not available"})
                return
            found = self.kibana.search(json.loads(body)["params"])
            self.respond(200, {"isRunning": False, "isPartial": False, "rawResponse": found})
            return
        if "/api/alerting/rule/" in url.path:
            self.respond(*self.kibana.create_rule(url.path.rsplit("/", 1)[1], json.loads(body)))
            return
        assert url.path.endswith("/api/saved_objects/_import")
        overwrite = parse_qs(url.query)["overwrite"] == ["true"]
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
        (part,) = form.iter_parts()
        assert part.get_param("name", header="content-disposition") == "file"
        if not (part.get_filename() or "").endswith(".ndjson"):
            self.respond(400, {"statusCode": 400, "message": "Invalid file extension"})
            return
        objects = [json.loads(line) for line in part.get_payload(decode=True).splitlines()]
        self.respond(200, self.kibana.response or self.save(objects, overwrite))

    def save(self, objects, overwrite):
        errors = []
        for one in objects:
            key = (one["type"], one["id"])
            if key in self.kibana.objects and not overwrite:
                errors.append({"type": key[0], "id": key[1], "meta": {}, "error": {"type": "conflict"}})
            else:
                self.kibana.objects.add(key)
                self.kibana.imported.append(one)
        result = {"success": not errors, "successCount": len(objects) - len(errors), "warnings": []}
        return result | ({"errors": errors} if errors else {})
