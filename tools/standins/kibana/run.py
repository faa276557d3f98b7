"""The fake Kibana of tests/panels on Kibana's port: ready immediately, it stores imported objects in memory."""
# ruff: noqa: INP001 - the program of an image

import json
from http.server import ThreadingHTTPServer
from typing import Any

from played_kibana import PlayedKibana, _Handler

PORT = 5601


class Compact(_Handler):  # type: ignore[misc]  # the tests have no types
    """Answers as compactly as Kibana does, which the health check of docker-compose.yml counts on."""

    kibana = PlayedKibana()

    def respond(self, status: int, body: Any, **headers: str) -> None:
        """Send one JSON object."""
        data = json.dumps(body, separators=(",", ":")).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


ThreadingHTTPServer(("0.0.0.0", PORT), Compact).serve_forever()  # noqa: S104 - inside a container
