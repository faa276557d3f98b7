"""A server that answers as Kibana's published API says, and keeps what it was asked."""

from __future__ import annotations

import email.parser
import email.policy
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class PlayedKibana:
    """What it says, and what it was asked."""

    levels: list[str] = field(default_factory=lambda: ["available"])
    spaces: tuple[str, ...] = ("default", "shop team")
    stands: set[tuple[str, str]] = field(default_factory=set)
    credentials: str | None = None
    base: str = ""
    status: int | None = None
    says: dict[str, Any] | None = None
    asked: list[str] = field(default_factory=list)
    imported: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    def __enter__(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"kibana": self}))
        self.url = f"http://127.0.0.1:{self._server.server_port}{self.base}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    kibana: PlayedKibana

    def log_message(self, *_):
        pass

    def answer(self, status, body, **headers):
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def refused(self):
        kibana = self.kibana
        kibana.asked.append(f"{self.command} {self.path}")
        if kibana.credentials is not None and self.headers.get("Authorization") != kibana.credentials:
            self.answer(401, {"statusCode": 401, "error": "Unauthorized", "message": "security_exception"})
            return True
        if not self.path.startswith(kibana.base + "/"):
            self.answer(302, {}, Location=f"{kibana.base}/")
            return True
        return False

    def do_GET(self):
        if self.refused():
            return
        path = urlsplit(self.path.removeprefix(self.kibana.base)).path
        if path == "/api/status":
            levels = self.kibana.levels
            level = levels.pop(0) if len(levels) > 1 else levels[0]
            self.answer(503 if level == "unavailable" else 200, {"status": {"overall": {"level": level}}})
        elif path.startswith("/api/spaces/space/"):
            name = path.rsplit("/", 1)[1].replace("%20", " ")
            known = name in self.kibana.spaces
            self.answer(200 if known else 404, {"id": name} if known else {"message": "Not Found"})
        else:
            self.answer(404, {"statusCode": 404, "message": "Not Found"})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.refused():
            return
        if "kbn-xsrf" not in self.headers:
            self.answer(400, {"statusCode": 400, "message": "Request must contain a kbn-xsrf header."})
            return
        if self.kibana.status is not None:
            self.answer(self.kibana.status, self.kibana.says or {"message": "it says why"})
            return
        where = urlsplit(self.path.removeprefix(self.kibana.base))
        assert where.path.endswith("/api/saved_objects/_import")
        overwrite = parse_qs(where.query)["overwrite"] == ["true"]
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
        (part,) = form.iter_parts()
        assert part.get_param("name", header="content-disposition") == "file"
        if not (part.get_filename() or "").endswith(".ndjson"):
            self.answer(400, {"statusCode": 400, "message": "Invalid file extension"})
            return
        objects = [json.loads(line) for line in part.get_payload(decode=True).splitlines()]
        self.answer(200, self.kibana.says or self.taken(objects, overwrite))

    def taken(self, objects, overwrite):
        errors = []
        for one in objects:
            key = (one["type"], one["id"])
            if key in self.kibana.stands and not overwrite:
                errors.append({"type": key[0], "id": key[1], "meta": {}, "error": {"type": "conflict"}})
            else:
                self.kibana.stands.add(key)
                self.kibana.imported.append(one)
        found = {"success": not errors, "successCount": len(objects) - len(errors), "warnings": []}
        return found | ({"errors": errors} if errors else {})
