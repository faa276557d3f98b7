"""The page over a run of made documents, some of them hostile, and a browser to look at it."""

from __future__ import annotations

import contextlib
import shutil
import time
import uuid

import pytest
from elasticsearch import Elasticsearch
from page.looking import Reader
from panels.documents import NOW, documents, put
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from connectors.elasticsearch.client import ElasticConnection, elastic_connection, open_client
from connectors.elasticsearch.search import Searcher
from connectors.elasticsearch.workspace import Workspace
from dashboards.boards import DASHBOARDS
from dashboards.web.app import Source
from dashboards.web.request_queue import Limits
from features.calendar import UTC_CALENDAR
from shopstream import embedded as known_servers
from shopstream.jobs.serve_dashboards import Listening, action_texts, serve_source

NEVER_FRESH = Limits(fresh_s=-1.0)
"""Tests write documents beside the page, and read them at once."""
HOSTILE = (
    "<script>window.hacked=1</script>",
    "=cmd|' /C calc'!A0",
    '"><img src=x onerror="window.hacked=1">',
    "../../etc/passwd",
    "a&b c?d#e%66",
)
"""Ids of customers, segments and products that somebody sent."""


def hostile_documents():
    made = documents(seed=11)
    for n, word in enumerate(HOSTILE):
        words = {"customer_id": word, "segment": word, "country": word, "channel": word, "recommended_action": word}
        more = {
            "customers": {"churn_reasons": [word], "churn_probability": 0.9, "revenue_365d": 10_000.0 + n},
            "sessions": {"start_ts": NOW - 5_000},
            "orders": {"ts": NOW - 5_000},
            "order-items": {"ts": NOW - 5_000, "product_id": word, "category": word, "amount": 9_000.0 + n},
            "alerts": {"ts": NOW - 5_000},
        }
        for index, own in more.items():
            document = dict(made[index][n])
            document |= {name: value for name, value in words.items() if name in document}
            bands = {"churn_risk": "critical"} if "churn_risk" in document else {}
            sold = {"status": "placed"} if "status" in document else {}
            made[index].append(document | bands | sold | own)
    return made


class Switched:
    """A search that can be cut off from its server, as when it is stopped."""

    def __init__(self, real, dead):
        self.real, self.dead, self.down, self.rounds = real, dead, False, 0

    def __call__(self, index, body):
        return (self.dead if self.down else self.real)(index, body)

    def many(self, searches):
        self.rounds += 1
        return (self.dead if self.down else self.real).many(searches)


@pytest.fixture(scope="session")
def shop(servers, server_settings):
    """Run, its documents, a client that may write, a search as the page asks."""
    run, made = f"t{uuid.uuid4().hex[:10]}", hostile_documents()
    reader = elastic_connection(known_servers.elastic_endpoint(server_settings, read_only=True))
    nowhere = ElasticConnection("http://127.0.0.1:9", options={"request_timeout": 1})
    with (
        Elasticsearch(**servers.elasticsearch.client_options(), request_timeout=120) as client,
        open_client(reader) as reading,
        open_client(nowhere) as dead,
    ):
        put(client, run, made)
        try:
            yield run, made, client, Switched(Searcher(reading, run), Searcher(dead, run))
        finally:
            client.indices.delete(index=",".join(client.indices.get(index=f"{run}-*")))
            for template in client.indices.get_index_template(name=f"{run}-*")["index_templates"]:
                client.indices.delete_index_template(name=template["name"])


@pytest.fixture(scope="session")
def made(shop):
    return shop[1]


@pytest.fixture(scope="session")
def no_customer_table(tmp_path_factory):
    return tmp_path_factory.mktemp("mart")


@pytest.fixture(scope="session")
def page_client(server_settings, servers):
    """A client with the permissions of the page."""
    with open_client(elastic_connection(known_servers.page_endpoint(server_settings))) as client:
        yield client


def source_of(run, search, customer_table, calendar=UTC_CALENDAR, workspace=None):
    return Source(
        DASHBOARDS, run, search, customer_table, lambda: NOW + 60_000, time.monotonic, lambda: calendar,
        actions=action_texts(), workspace=workspace, limits=NEVER_FRESH,
    )  # fmt: skip


@pytest.fixture(scope="session")
def served(shop, no_customer_table, page_client):
    """Address of the page."""
    run, _, _, search = shop
    source = source_of(run, search, no_customer_table, workspace=Workspace(page_client, run))
    with serve_source(source, Listening(port=0)) as address:
        yield address


@pytest.fixture(scope="session")
def chromium():
    binary, driver = shutil.which("chromium") or shutil.which("chromium-browser"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no browser: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-dev-shm-usage",
        "no-first-run",
        "window-size=1400,1200",
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with contextlib.closing(_Closing(webdriver.Chrome(options=options, service=Service(driver)))) as held:
        yield held.browser


class _Closing:
    def __init__(self, browser):
        self.browser = browser

    def close(self):
        self.browser.quit()


@pytest.fixture
def reader(chromium, served, shop):
    """Somebody who looks at the page; the console must stay silent."""
    shop[3].down = False
    page_reader = Reader(chromium, served)
    chromium.set_window_size(1400, 1200)
    yield page_reader
    assert page_reader.complaints() == []
    chromium.get("about:blank")
