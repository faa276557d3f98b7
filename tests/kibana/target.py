"""The Kibana under test: a real one by its URL, or the stand-in of tests/panels.

KIBANA_URL=http://localhost:5601 KIBANA_USERNAME=elastic KIBANA_PASSWORD=... pytest tests/kibana

KIBANA_SPACE         space with the dashboards; default: the default space
KIBANA_RUN           run whose dashboards are tested; default: shop
KIBANA_SCREENSHOTS   folder for pictures of every board
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import urllib3

from dashboards.kibana.client import Kibana, _credentials
from features.errors import ShopstreamError

REAL = "KIBANA_URL"
INTERNAL = {"kbn-xsrf": "true", "x-elastic-internal-origin": "Kibana", "elastic-api-version": "1"}
"""Headers of Kibana's own page. Without them an internal endpoint refuses (server.restrictInternalApis, 9.0)."""


def real_kibana() -> Kibana | None:
    """The Kibana of the environment; None: the stand-in has to do."""
    if not (url := os.environ.get(REAL)):
        return None
    username, password = os.environ.get("KIBANA_USERNAME") or None, os.environ.get("KIBANA_PASSWORD")
    return Kibana(url.rstrip("/"), os.environ.get("KIBANA_SPACE", ""), username, password)


@dataclass(frozen=True)
class Target:
    """A Kibana, the run whose dashboards are tested, and whether it is a real one."""

    kibana: Kibana
    run: str
    real: bool

    @property
    def base(self) -> str:
        return self.kibana.url + (f"/s/{self.kibana.space}" if self.kibana.space else "")

    @property
    def credentials(self) -> dict[str, str]:
        return _credentials(self.kibana)

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        """Status and JSON body of the response."""
        response = urllib3.request(
            method, self.base + path, json=body, headers={**INTERNAL, **self.credentials}, timeout=90, retries=False
        )
        return response.status, json.loads(response.data or b"null")


@dataclass(frozen=True)
class KibanaSearch:
    """Searches as dashboards do: through Kibana, with the permissions of its user."""

    target: Target

    def __call__(self, index: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        params = {"index": f"{self.target.run}-{index}", "ignore_unavailable": True, "body": dict(body)}
        params["wait_for_completion_timeout"] = "60s"
        status, content = self.target.request("POST", "/internal/search/ese", {"params": params})
        if status != 200 or content.get("isRunning") or content.get("isPartial"):
            raise ShopstreamError(f"Kibana's search of {params['index']}: {status} {json.dumps(content)[:300]}", "")
        found = content["rawResponse"]
        if failures := found.get("_shards", {}).get("failures"):
            raise ShopstreamError(f"Kibana's search of {params['index']}: {json.dumps(failures)[:300]}", "")
        total = found.get("hits", {}).get("total")
        if isinstance(total, int):  # its strategy turns {"value": 3} into 3 for the page
            found["hits"]["total"] = {"value": total, "relation": "eq"}
        return found
