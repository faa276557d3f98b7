"""The bulk sink against scripted answers, the meaning of errors, mappings, ids; then all of it on the real server."""

from __future__ import annotations

import hashlib
import itertools
import json
import socketserver
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.elasticsearch import aliases as aliases_module
from connectors.elasticsearch import client as elastic
from connectors.elasticsearch import mappings
from connectors.elasticsearch.bulk import BulkSink
from connectors.elasticsearch.client import ElasticConnection, document_id
from connectors.elasticsearch.documents import Doc, ItemResult, Outcome, SendError, SinkOptions, Verdict, encode_bulk
from connectors.elasticsearch.verdicts import request_verdict
from consumers.index_definitions import index_definitions
from features.errors import ShopstreamError, UsageError
from features.schema import SCHEMA_VERSION, Event, Field, check_run, record_fields

FAST = SinkOptions(connections=2, docs_max=3, pause_s=0.001, pause_max_s=0.01)


def docs(count: int, *, index: str = "t-events-2026.01") -> list[Doc]:
    return [Doc(index, f"id-{n}", b'{"n":%d}' % n) for n in range(count)]


def ids_of(body: bytes) -> list[str]:
    actions = [json.loads(line) for line in body.splitlines()[::2]]
    return [next(iter(action.values()))["_id"] for action in actions]


class Script:
    """A server: `answer(ids, attempt of this very set)` returns verdicts or raises."""

    def __init__(self, answer) -> None:
        self.answer = answer
        self.sent: list[list[str]] = []
        self.lock = threading.Lock()

    def __call__(self, body: bytes):
        ids = ids_of(body)
        with self.lock:
            self.sent.append(ids)
            return self.answer(ids, self.sent.count(ids))


def run_sink(answer, count: int = 10, options: SinkOptions = FAST) -> tuple[Outcome, Script, BulkSink]:
    script = Script(answer)
    outcomes: list[Outcome] = []
    with BulkSink(script, options, seed=1) as sink:
        sink.submit(docs(count), outcomes.append)
        assert sink.flush(10)
    (outcome,) = outcomes
    return outcome, script, sink


# --- the sink ---


def test_documents_are_written_in_bounded_requests():
    outcome, script, sink = run_sink(lambda ids, n: None)
    assert (outcome.written, outcome.conflicts, outcome.rejected) == (10, (), ())
    assert sorted(len(ids) for ids in script.sent) == [1, 3, 3, 3]
    assert sink.in_flight == 0


def test_requests_are_limited_by_bytes():
    big = [Doc("i", str(n), b"x" * 1000) for n in range(5)] + [Doc("i", "huge", b"x" * 9000)]
    sent: list[int] = []
    with BulkSink(lambda body: sent.append(len(body)), SinkOptions(bytes_max=2500), seed=1) as sink:
        sink.submit(big, lambda outcome: None)
        assert sink.flush(10)
    assert len(sent) == 4
    assert sum(size > 2500 for size in sent) == 1


def test_only_rejected_items_are_retried():
    def answer(ids, n):
        busy = "id-4" in ids and (len(ids) > 1 or n < 3)
        return [ItemResult(Verdict.RETRY if busy and i == "id-4" else Verdict.WRITTEN, "429") for i in ids]

    outcome, script, sink = run_sink(answer)
    assert outcome.written == 10
    assert script.sent.count(["id-4"]) == 3
    assert sum(len(ids) for ids in script.sent) == 13
    assert sink.stats().retries == 3
    assert sink.last_error is None


def test_conflicts_and_rejections_are_reported_by_position():
    def answer(ids, n):
        verdicts = {"id-2": Verdict.CONFLICT, "id-7": Verdict.REJECTED}
        return [ItemResult(verdicts.get(i, Verdict.WRITTEN), "no such field") for i in ids]

    outcome, _, _ = run_sink(answer)
    assert outcome.written == 8
    assert outcome.conflicts == (2,)
    assert [(r.position, r.reason) for r in outcome.rejected] == [(7, "no such field")]


def test_lost_connection_is_retried_until_it_returns():
    def answer(ids, n):
        if n < 4:
            raise SendError(Verdict.RETRY, "connection refused")

    outcome, script, sink = run_sink(answer, 3)
    assert outcome.written == 3
    assert len(script.sent) == 4
    assert sink.stats().retries == 9


def test_malformed_document_is_isolated_and_the_others_are_written():
    def answer(ids, n):
        if "id-5" in ids:
            raise SendError(Verdict.SPLIT, "400 malformed")

    outcome, _, _ = run_sink(answer, 12, SinkOptions(docs_max=12, connections=1))
    assert outcome.written == 11
    assert [r.position for r in outcome.rejected] == [5]


def test_wrong_credentials_end_the_sink_with_an_error():
    def answer(ids, n):
        raise request_verdict(401, {"error": {"type": "security_exception", "reason": "unable to authenticate"}})

    done: list[Outcome] = []
    with BulkSink(Script(answer), FAST, seed=1) as sink:
        sink.submit(docs(2), done.append)
        with pytest.raises(ShopstreamError, match="unable to authenticate"):
            sink.flush(10)
        with pytest.raises(ShopstreamError, match="unable to authenticate"):
            sink.submit(docs(2), done.append)
    assert done == []


def test_item_without_write_permission_ends_the_sink():
    with BulkSink(lambda body: [ItemResult(Verdict.FATAL, "unauthorized")], FAST, seed=1) as sink:
        sink.submit(docs(1), lambda outcome: None)
        with pytest.raises(ShopstreamError, match=r"t-events-2026\.01: unauthorized"):
            sink.flush(10)


def test_a_bug_in_a_thread_is_an_error_not_a_hang():
    with BulkSink(lambda body: [ItemResult(Verdict.WRITTEN)] * 99, FAST, seed=1) as sink:
        sink.submit(docs(2), lambda outcome: None)
        with pytest.raises(ShopstreamError, match="failed"):
            sink.flush(10)


def test_callbacks_run_in_the_callers_thread_and_submit_waits_when_full():
    gate = threading.Event()
    options = SinkOptions(connections=1, docs_max=5, queue_docs_max=10)
    threads: set[int] = set()
    with BulkSink(lambda body: (gate.wait(10), None)[1], options, seed=1) as sink:
        sink.submit(docs(10), lambda outcome: threads.add(threading.get_ident()))
        assert sink.free() == 0
        threading.Timer(0.2, gate.set).start()
        started = time.monotonic()
        sink.submit(docs(10), lambda outcome: threads.add(threading.get_ident()))
        assert time.monotonic() - started > 0.1
        assert sink.in_flight <= 10
        assert sink.flush(10)
        assert sink.free() == 10
    assert threads == {threading.get_ident()}


def test_empty_submission_completes_immediately():
    done: list[Outcome] = []
    with BulkSink(lambda body: None, FAST, seed=1) as sink:
        sink.submit([], done.append)
        assert sink.poll() == 1
    assert done[0].written == 0


def test_flush_gives_up_in_time_and_close_does_not_wait_for_a_dead_server():
    def answer(ids, n):
        raise SendError(Verdict.RETRY, "down")

    started = time.monotonic()
    with BulkSink(Script(answer), SinkOptions(pause_s=30, pause_max_s=30), seed=1) as sink:
        sink.submit(docs(1), lambda outcome: None)
        assert not sink.flush(0.2)
        assert sink.last_error == "down"
    assert time.monotonic() - started < 3


@given(st.lists(st.sampled_from([*Verdict]).filter(lambda v: v not in (Verdict.FATAL, Verdict.SPLIT)), max_size=30))
def test_every_document_has_exactly_one_outcome(verdicts):
    """Whatever the server answers first; a second try is written."""
    first = dict(zip((f"id-{n}" for n in range(len(verdicts))), verdicts, strict=True))

    def answer(ids, n):
        return [ItemResult(first.pop(i, Verdict.WRITTEN)) for i in ids]

    outcome, _, _ = run_sink(answer, len(verdicts), SinkOptions(connections=1, docs_max=4, pause_s=0.0001))
    assert outcome.written + len(outcome.conflicts) + len(outcome.rejected) == len(verdicts)
    assert len(outcome.conflicts) == verdicts.count(Verdict.CONFLICT)
    assert len(outcome.rejected) == verdicts.count(Verdict.REJECTED)


def test_closing_the_sink_closes_its_client():
    released: list[bool] = []
    with BulkSink(lambda body: None, FAST, seed=1, release=lambda: released.append(True)) as sink:
        sink.submit(docs(2), lambda outcome: None)
        assert sink.flush(10)
        assert released == []
    assert released == [True]


def test_failed_open_of_a_sink_leaves_no_client_open(monkeypatch):
    opened = []
    open_client = elastic.open_client
    monkeypatch.setattr(elastic, "open_client", lambda *a, **k: opened.append(open_client(*a, **k)) or opened[-1])
    closed = []

    def close(client):
        closed.append(client)

    monkeypatch.setattr(elastic.Elasticsearch, "close", close)
    with pytest.raises(ShopstreamError, match=r"Can't reach Elasticsearch at http://127.0.0.1:1 \(connection refused"):
        elastic.open_sink(ElasticConnection("http://127.0.0.1:1"))
    assert closed == opened


def test_bulk_body_holds_an_action_and_a_source_for_each_document():
    body = encode_bulk([Doc("i", 'a"b', b"{}", version=7), Doc("j", "c", b'{"x":1}', create=True)], range(2))
    assert [json.loads(line) for line in body.splitlines()] == [
        {"index": {"_index": "i", "_id": 'a"b', "version": 7, "version_type": "external"}},
        {},
        {"create": {"_index": "j", "_id": "c"}},
        {"x": 1},
    ]
    assert body.endswith(b"\n")


# --- what a network may answer ---


GENUINE = b"HTTP/1.1 200 OK\r\nx-elastic-product: Elasticsearch\r\ncontent-type: application/json\r\n"


class Proxy(socketserver.BaseRequestHandler):
    """Something between us and the server: hangs up, or answers with a page of its own."""

    answer = b""

    def handle(self) -> None:
        self.request.recv(65_536)
        self.request.sendall(self.answer)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (b"", Verdict.RETRY),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\ncut off", Verdict.RETRY),
        (b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 4\r\n\r\nsoon", Verdict.BLOCKED),
        (b"HTTP/1.1 404 No\r\ncontent-type: text/html\r\ncontent-length: 4\r\n\r\nnope", Verdict.BLOCKED),
        (
            GENUINE + b"content-length: 2\r\n\r\n{}",
            Verdict.BLOCKED,
        ),
        (
            GENUINE + b"content-length: 3\r\n\r\n{x}",
            Verdict.RETRY,
        ),
    ],
)
def test_no_network_failure_loses_a_document(answer, verdict):
    handler = type("Handler", (Proxy,), {"answer": answer})
    with socketserver.TCPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        client = elastic.open_client(ElasticConnection(f"http://127.0.0.1:{server.server_address[1]}"))
        with pytest.raises(SendError) as caught:
            elastic.BulkTransport(client)(b"{}\n")
        server.shutdown()
        thread.join()
    assert caught.value.verdict is verdict


# --- ids, names, mappings ---


def test_document_ids_are_unambiguous_and_bounded():
    assert document_id("e-1") == "e-1"
    assert document_id("a|b") == "a|b"
    assert document_id("a|b", "c") != document_id("a", "b|c")
    assert document_id("a\\", "b") != document_id("a", "\\b")
    assert document_id("é" * 256) == "é" * 256
    assert document_id("é" * 257) == hashlib.sha256(("é" * 257).encode()).hexdigest()


@given(st.lists(st.lists(st.text("a|\\", max_size=4), min_size=2, max_size=2), min_size=2, max_size=8))
def test_different_parts_have_different_ids(pairs):
    for one, other in itertools.combinations(pairs, 2):
        assert (document_id(*one) == document_id(*other)) == (one == other)


def test_mappings_are_strict_and_complete():
    columns = (Field("orders_total", "int"), Field("recency_days", "float"), Field("last_order_ts", "time"))
    for definition in index_definitions(columns):
        mapping = mappings.mapping(definition)
        assert mapping["dynamic"] == "strict"
        assert list(mapping["properties"]) == [f.name for f in definition.fields]
    customers = {d.name: mappings.mapping(d) for d in index_definitions(columns)}["customers"]["properties"]
    assert customers["orders_total"] == {"type": "long"}
    assert customers["recency_days"] == {"type": "double"}
    assert customers["last_order_ts"] == {"type": "date", "format": "epoch_millis||strict_date_optional_time"}
    assert customers["premium"] == {"type": "boolean"}
    assert customers["country"]["type"] == "keyword"
    assert "email" not in customers
    (with_contact,) = (d for d in index_definitions((), contact=True) if d.name == "customers")
    assert "email" in mappings.mapping(with_contact)["properties"]


def test_month_index_follows_the_utc_month_of_the_time():
    ts = np.array([0, 1_772_323_199_999, 1_772_323_200_000], np.int64)
    assert mappings.month_indices("shop", "events", ts) == [
        "shop-events-1970.01",
        "shop-events-2026.02",
        "shop-events-2026.03",
    ]


def test_indices_belong_to_one_run():
    assert mappings.belongs_to("a", "events", "a-events-2026.01")
    assert mappings.belongs_to("a", "customers", "a-customers-000001")
    assert not mappings.belongs_to("a", "events", "a-events-customers-000001")
    assert not mappings.belongs_to("a", "events", "a-events-events-2026.01")
    assert not mappings.belongs_to("a", "events", "a2-events-2026.01")


@pytest.mark.parametrize("run", ["", "Shop", "a.b", "-a", "a b", "a" * 65, "é", "a\n"])
def test_invalid_run_name_is_refused(run):
    with pytest.raises(UsageError, match="run name"):
        check_run(run)


def test_repr_of_the_connection_hides_secrets():
    connection = ElasticConnection("https://me:s3cret@host:9200/", api_key="k3y", options={"headers": {"x": "t0ken"}})
    assert connection.url == "https://host:9200/"
    assert (connection.username, connection.password) == ("me", "s3cret")
    for secret in ("s3cret", "k3y", "t0ken"):
        assert secret not in repr(connection)


def test_unreachable_server_is_reported_in_seconds():
    started = time.monotonic()
    with pytest.raises(ShopstreamError, match=r"Can't reach Elasticsearch at http://127\.0\.0\.1:1"):
        elastic.check(elastic.open_client(ElasticConnection("http://127.0.0.1:1")))
    assert time.monotonic() - started < 6


# --- the real server ---
NOON = 1_779_280_440_000  # 2026-05-20T12:34:00Z
DAY = 86_400_000


@pytest.fixture
def connection(servers):
    where = servers.elasticsearch
    return ElasticConnection(where.url, where.username, where.password, options=where.options)


@pytest.fixture
def client(connection):
    with elastic.open_client(connection) as client:
        yield client


def test_wrong_password_is_an_error_without_the_password(connection):
    wrong = ElasticConnection(connection.url, connection.username, "wr0ng")
    with pytest.raises(ShopstreamError, match="credentials") as caught:
        elastic.check(elastic.open_client(wrong))
    assert "wr0ng" not in str(caught.value)


def test_install_is_idempotent_and_drop_removes_everything(client, run_name):
    definitions = index_definitions((Field("orders_total", "int"),))
    aliases_module.install(client, run_name, definitions)
    aliases_module.install(client, run_name, definitions)
    wider = index_definitions((Field("orders_total", "int"), Field("churn_probability", "float")))
    aliases_module.install(client, run_name, wider)
    customers = client.indices.get_mapping(index=f"{run_name}-customers").body
    (mapping,) = customers.values()
    assert mapping["mappings"]["properties"]["churn_probability"] == {"type": "double"}
    assert elastic.check(client).startswith("9.")
    with pytest.raises(ShopstreamError, match="another schema"):
        aliases_module.install(client, run_name, index_definitions((Field("orders_total", "string"),)))
    dropped = aliases_module.drop(client, run_name, definitions)
    assert f"{run_name}-customers-000001" in dropped
    assert not client.indices.exists_index_template(name=f"{run_name}-customers")


def test_an_index_of_another_schema_version_is_refused_with_the_remedy(client, run_name, monkeypatch):
    """Its documents have other ids and meanings; they stay as they are."""
    definitions = index_definitions(())
    monkeypatch.setattr(mappings, "SCHEMA_VERSION", SCHEMA_VERSION - 1)
    aliases_module.install(client, run_name, definitions)
    monkeypatch.undo()
    before = client.indices.get_mapping(index=f"{run_name}-*").body
    with pytest.raises(ShopstreamError, match=f"is of schema version {SCHEMA_VERSION - 1}") as refused:
        aliases_module.install(client, run_name, definitions)
    assert "new run" in refused.value.remedy
    assert client.indices.get_mapping(index=f"{run_name}-*").body == before
    aliases_module.drop(client, run_name, definitions)


def test_typed_date_finds_documents_with_epoch_ms(client, run_name):
    aliases_module.install(client, run_name, index_definitions(()))
    index = mappings.month_indices(run_name, "orders", np.array([NOON]))[0]
    for number, ts in enumerate((NOON - DAY, NOON, NOON + DAY)):
        client.index(index=index, id=str(number), document={"order_id": str(number), "ts": ts}, refresh=True)
    assert found_by(client, run_name, {"gte": "2026-05-20", "lt": "2026-05-21"}) == ["1"]
    assert found_by(client, run_name, {"gte": "2026-05-20T12:34:00.000Z"}) == ["1", "2"]
    assert found_by(client, run_name, {"gte": NOON, "lt": NOON + 1}) == ["1"]
    found = client.search(
        index=f"{run_name}-orders", query={"term": {"ts": NOON}}, docvalue_fields=["ts"], sort=["ts"],
        aggregations={"days": {"date_histogram": {"field": "ts", "fixed_interval": "1d"}}},
    ).body  # fmt: skip
    (hit,) = found["hits"]["hits"]
    assert (hit["_source"]["ts"], hit["fields"]["ts"], hit["sort"]) == (NOON, [str(NOON)], [NOON])
    (day,) = found["aggregations"]["days"]["buckets"]
    assert day["key_as_string"] == str(day["key"])


def test_run_with_times_of_epoch_ms_alone_still_gets_new_fields_and_months(client, run_name, monkeypatch):
    """The server refuses another format of an existing field: old indices keep theirs, new months get both."""
    monkeypatch.setitem(mappings._TYPES, "time", {"type": "date", "format": "epoch_millis"})
    aliases_module.install(client, run_name, index_definitions(()))
    old, new = mappings.month_indices(run_name, "orders", np.array([NOON - 40 * DAY, NOON]))
    client.index(index=old, id="0", document={"order_id": "0", "ts": NOON - 40 * DAY}, refresh=True)
    monkeypatch.undo()
    wider = index_definitions((Field("orders_total", "int"), Field("last_order_ts", "time")))
    for _ in range(2):
        aliases_module.install(client, run_name, wider)
        client.index(index=new, id="1", document={"order_id": "1", "ts": NOON}, refresh=True)
    found = client.indices.get_mapping(index=f"{run_name}-*").body
    times = {name: found[name]["mappings"]["properties"]["ts"]["format"] for name in (old, new)}
    assert times == {old: "epoch_millis", new: mappings.TIME_FORMAT}
    customers = found[mappings.write_index(run_name, "customers")]["mappings"]["properties"]
    assert customers["signup_ts"]["format"] == "epoch_millis"
    assert customers["last_order_ts"]["format"] == mappings.TIME_FORMAT
    assert customers["orders_total"] == {"type": "long"}
    assert found_by(client, run_name, {"gte": 0}) == ["0", "1"]


def found_by(client, run, bounds):
    """Ids of the orders in a range of time."""
    hits = client.search(index=f"{run}-orders", query={"range": {"ts": bounds}})["hits"]["hits"]
    return sorted(hit["_id"] for hit in hits)


def test_run_named_like_an_index_of_another_run_is_separate(client, run_name):
    """`RUN-events-*` matches the indices of a run called `RUN-events`; each must get its own template."""
    inner = f"{run_name}-events"
    definitions = index_definitions(())
    try:
        for order in ((run_name, inner), (inner, run_name)):
            for run in order:
                aliases_module.install(client, run, definitions)
        for run in (run_name, inner):
            client.index(index=f"{run}-order-items-2026.01", id="1", document={"order_id": "o", "line": 1})
        aliases = client.indices.get_alias(index=f"{inner}-order-items-2026.01").body
        assert list(aliases[f"{inner}-order-items-2026.01"]["aliases"]) == [f"{inner}-order-items"]
        aliases_module.drop(client, run_name, definitions)
        assert client.indices.exists(index=f"{inner}-order-items-2026.01")
        assert client.indices.exists(index=f"{inner}-customers-000001")
    finally:
        aliases_module.drop(client, inner, definitions)


def test_bulk_sink_writes_to_a_real_server(connection, client, run_name):
    aliases_module.install(client, run_name, index_definitions(()))
    index = mappings.month_indices(run_name, "events", np.array([1_772_323_200_000]))[0]

    def event(**more):
        base = dict.fromkeys((f.name for f in record_fields(Event)), None)
        return json.dumps({**base, "event_id": "e", "ts": 1_772_323_200_000, **more}).encode()

    batch = [
        Doc(index, "versioned", event(category="new"), version=5),
        Doc(index, "versioned", event(category="old"), version=4),
        Doc(index, "wrong-type", event(quantity="many")),
        Doc(index, "é" * 300, event()),  # an id beyond 512 bytes spoils a whole request
        Doc(index, "long", event(category="x" * 40_000)),
        Doc(index, "nul", event(category="a\u0000b")),
        *(Doc(index, f"plain-{n}", event(), create=True) for n in range(50)),
        Doc(index, "plain-7", event(), create=True),
    ]
    outcomes: list[Outcome] = []
    with elastic.open_sink(connection, SinkOptions(connections=1)) as sink:
        sink.submit(batch, outcomes.append)
        assert sink.flush(60)
    (outcome,) = outcomes
    assert outcome.conflicts == (1, 56)
    reasons = {r.position: r.reason for r in outcome.rejected}
    assert list(reasons) == [2, 3]
    assert "quantity" in reasons[2]
    assert "512" in reasons[3]
    assert outcome.written == 53
    client.indices.refresh(index=index)
    assert client.count(index=f"{run_name}-events")["count"] == 53
    assert client.get(index=index, id="versioned")["_source"]["category"] == "new"


def test_documents_of_a_read_only_index_are_retried(connection, client, run_name):
    aliases_module.install(client, run_name, index_definitions(()))
    index = mappings.write_index(run_name, "pipeline")
    client.indices.add_block(index=index, block="write")
    outcomes: list[Outcome] = []
    with elastic.open_sink(connection, SinkOptions(pause_s=0.05, pause_max_s=0.2)) as sink:
        sink.submit([Doc(index, "1", b'{"at":1,"role":"x","worker":0}')], outcomes.append)
        assert not sink.flush(1.0)
        assert "block" in (sink.last_error or "")
        client.indices.put_settings(index=index, settings={"index.blocks.write": False})
        assert sink.flush(30)
        assert sink.last_error is None
    assert outcomes[0].written == 1


def test_fixed_indices_take_their_documents_by_alias_and_by_name(connection, client, run_name):
    aliases_module.install(client, run_name, index_definitions((Field("orders_total", "int"),)))
    body = b'{"customer_id":"c","orders_total":3}'
    outcomes: list[Outcome] = []
    with elastic.open_sink(connection) as sink:
        for index in (mappings.write_index(run_name, "customers"), mappings.alias(run_name, "customers")):
            sink.submit([Doc(index, index, body, version=1 << 40)], outcomes.append)
        assert sink.flush(30)
    assert [o.written for o in outcomes] == [1, 1]
