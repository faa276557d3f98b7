"""Attempts to deliver: against a real web server and a real mail server that fail, and the pauses between them."""

import base64
import hashlib
import hmac
import itertools
import subprocess
import time

import pytest
from notifications.messages import notification
from notifications.receivers import MailReceiver, WebReceiver, server_context
from notifications.test_bodies import ANNE, SHOP

from connectors.clock import wall_clock_ms
from connectors.notifications import smtp, webhook
from connectors.notifications.outcome import Outcome
from connectors.notifications.smtp import SmtpEndpoint, send_mail
from connectors.notifications.webhook import WebhookEndpoint, WebhookSender, retry_after_s, signing_key
from consumers.notifications.bodies import mail
from consumers.notifications.delivery import PAUSE_MAX_S, Courier, Target, pause
from features.errors import UsageError

KEY = b"k" * 32
SECRET = "whsec_" + base64.b64encode(KEY).decode()


@pytest.fixture
def web():
    with WebReceiver() as receiver:
        yield receiver


@pytest.fixture
def mails():
    with MailReceiver() as receiver:
        yield receiver


# --- webhooks ---


def post(web, **more):
    return WebhookSender(WebhookEndpoint(web.url, **more)).send("msg_1", b'{"a":1}')


def test_request_has_the_id_and_a_signature_over_id_time_and_body(web):
    assert post(web, secret=signing_key(SECRET, "x")).kind == "delivered"
    ((headers, body),) = web.seen
    stamp = headers["webhook-timestamp"]
    expected = base64.b64encode(hmac.digest(KEY, b"msg_1." + stamp.encode() + b'.{"a":1}', hashlib.sha256)).decode()
    assert (headers["webhook-id"], headers["webhook-signature"]) == ("msg_1", f"v1,{expected}")
    assert abs(int(stamp) - wall_clock_ms() / 1_000) < 60
    assert (headers["Content-Type"], body) == ("application/json", b'{"a":1}')


@pytest.mark.parametrize(
    "secret", ["abcdefghij", "whsec_!!!", "whsec_" + base64.b64encode(b"short").decode(), SECRET[6:]]
)
def test_unusable_signing_secret_is_refused_without_showing_it(secret):
    with pytest.raises(UsageError, match=r"targets\.x") as refused:
        signing_key(secret, "targets.x")
    assert secret[6:] not in refused.value.message


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        (200, "delivered", ""), (202, "delivered", ""), (204, "delivered", ""), ("cut", "delivered", ""),
        (500, "retry", "status 500"), (503, "retry", "status 503"), (408, "retry", "status 408"),
        (429, "retry", "status 429"), ("close", "retry", "the connection was closed before the answer"),
        (400, "refused", "status 400"), (404, "refused", "status 404"), (410, "refused", "status 410"),
    ],
)  # fmt: skip
def test_answers_of_a_webhook(web, answer, kind, reason):
    web.answers = [answer]
    outcome = post(web)
    assert (outcome.kind, outcome.reason) == (kind, reason)


def test_redirect_is_not_followed(web):
    with WebReceiver() as other:
        web.answers = [(code, {"Location": other.url}) for code in (301, 302, 307, 308)]
        assert {post(web).kind for _ in range(4)} == {"refused"}
        assert other.seen == []


def test_silent_webhook_is_given_up_in_bounded_time(web, monkeypatch):
    monkeypatch.setattr(webhook, "READ_TIMEOUT_S", 0.3)
    web.answers = ["hang"]
    started = time.monotonic()
    assert post(web).kind == "retry"
    assert time.monotonic() - started < 3


def test_webhook_is_used_again_after_failures(web):
    sender = WebhookSender(WebhookEndpoint(web.url))
    web.answers = ["close", 500, "cut", 200]
    assert [sender.send("m", b"{}").kind for _ in range(4)] == ["retry", "retry", "delivered", "delivered"]


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("http://127.0.0.1:1/s3cret", "retry"),
        ("http://no-such-host.invalid/s3cret", "retry"),
        # it never becomes valid
        ("http://[bad/s3cret", "refused"),
    ],
)
def test_reason_does_not_show_the_address(url, kind):
    endpoint = WebhookEndpoint(url, secret=KEY)
    outcome = WebhookSender(endpoint).send("m", b"{}")
    assert outcome.kind == kind
    assert "s3cret" not in outcome.reason + repr(endpoint)
    assert "k" * 32 not in repr(endpoint)


def test_retry_after_is_seconds_or_a_date(web):
    web.answers = [(429, {"Retry-After": "7"})]
    assert post(web).retry_after_s == 7
    later = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(wall_clock_ms() / 1_000 + 90))
    assert 80 < retry_after_s(later) <= 90
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert [retry_after_s(text) for text in (None, "soon", "-1")] == [None, None, None]


# --- mail ---


def send(mails, encryption="none", **more):
    endpoint = SmtpEndpoint("localhost", mails.port, encryption, **more)
    return send_mail(endpoint, mail(notification(), "msg_1", SHOP, ANNE), "anne@example.org")


def test_mail_arrives_with_its_id(mails):
    assert send(mails).kind == "delivered"
    ((recipient, message),) = mails.mails
    assert "anne@example.org" in recipient
    assert message["Message-ID"] == "<msg_1@example.org>"
    assert "c-1" in message["Subject"]


@pytest.mark.parametrize(
    ("verb", "reply", "kind"),
    [
        ("RCPT", "550 unknown", "refused"), ("RCPT", "450 later", "retry"), ("DATA", "554 no", "refused"),
        ("DATA", "452 full", "retry"), ("MAIL", "421 busy", "retry"), ("EHLO", "close", "retry"),
        ("DATA", "close", "retry"), ("QUIT", "close", "delivered"),
    ],
)  # fmt: skip
def test_replies_of_a_mail_server(mails, verb, reply, kind):
    mails.replies = {verb: [reply] * 2}
    assert send(mails).kind == kind


def test_silent_mail_server_is_given_up_in_bounded_time(mails, monkeypatch):
    monkeypatch.setattr(smtp, "TIMEOUT_S", 0.3)
    mails.replies = {"MAIL": ["hang"]}
    started = time.monotonic()
    assert send(mails).kind == "retry"
    assert time.monotonic() - started < 5


def test_password_is_sent_over_verified_tls_only(tmp_path):
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    login = {"username": "shop", "password": "pa55word"}
    with MailReceiver(server_context(certificate, key)) as mails:
        stranger = send(mails, "starttls", **login)
        assert (stranger.kind, mails.logins) == ("retry", [])
        assert send(mails, "starttls", ca_certs=str(certificate), **login).kind == "delivered"
        assert len(mails.logins) == len(mails.mails) == 1
    with MailReceiver() as plain:
        assert send(plain, "starttls", **login).kind == "refused"
        assert (plain.logins, plain.mails) == ([], [])


# --- pauses ---


class Time:
    def __init__(self):
        self.now_s = 0.0
        self.pauses = []

    def clock_s(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds


def courier(outcomes, give_up_after_s=1e9, stopped=lambda: False):
    time_, seen, sayings = Time(), [], []

    def attempt(_, identifier):
        seen.append((time_.now_s, identifier))
        return outcomes.pop(0)

    made = Courier(Target("t", attempt), give_up_after_s, stopped, time_.clock_s, time_.sleep, sayings.append)
    return made, seen, sayings


def test_attempts_are_repeated_with_the_same_id_and_growing_pauses():
    made, seen, sayings = courier([*[Outcome("retry", "status 503")] * 12, Outcome("delivered")])
    assert made.deliver(notification()).kind == "delivered"
    assert len({identifier for _, identifier in seen}) == 1
    pauses = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(seen)]
    for attempt, seconds in enumerate(pauses):
        longest = min(2.0**attempt, PAUSE_MAX_S)
        assert longest / 2 - 0.01 <= seconds <= longest + 0.01
    assert (made.counts.delivered, made.counts.retries, made.counts.set_aside) == (1, 12, 0)
    assert sayings == ["t: status 503; repeating", "t accepts notifications again"]


def test_pauses_of_different_notifications_differ_and_respect_retry_after():
    assert len({pause(3, f"id-{n}", None) for n in range(20)}) == 20
    assert pause(0, "id", 40.0) == 40.0
    assert pause(0, "id", 1e9) == 3_600.0
    assert pause(10_000, "id", None) <= PAUSE_MAX_S


def test_refused_notification_is_not_repeated():
    made, seen, _ = courier([Outcome("refused", "status 400")])
    assert made.deliver(notification()) == Outcome("refused", "status 400")
    assert (len(seen), made.counts.set_aside) == (1, 1)


def test_attempts_end_after_the_longest_time():
    made, seen, _ = courier([Outcome("retry", "status 500")] * 50, give_up_after_s=60)
    outcome = made.deliver(notification())
    assert outcome.kind == "refused"
    assert outcome.reason == f"given up after {len(seen)} attempts: status 500"
    assert seen[-1][0] <= 60
    assert len(seen) >= 6


def test_stop_ends_a_pause_without_an_outcome():
    stop = []
    made, seen, _ = courier([Outcome("retry", "x", 500.0)], stopped=lambda: bool(stop))
    made.sleep = stop.append
    assert made.deliver(notification()) is None
    assert len(seen) == 1
