"""Notifies people: builds the targets of the settings and follows the alerts of a run.

Secrets are read from files that only their owner can read, or from variables of the environment. They appear in no
message.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import ssl
import stat
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.headerregistry import Address
from pathlib import Path
from typing import Final

import filelock
import msgspec

from connectors.files import private_folder, private_lock
from connectors.notifications.outcome import Outcome
from connectors.notifications.smtp import SmtpEndpoint, send_mail
from connectors.notifications.webhook import WebhookEndpoint, WebhookSender, is_webhook_url, signing_key
from consumers.notifications.bodies import json_body, mail, slack_body, teams_body
from consumers.notifications.delivery import Counts, Courier, Send, Target
from consumers.notifications.follower import NOT_AN_ALERT, Follower, read_alert
from consumers.notifications.message import Notification, alert_notification
from consumers.notifications.set_aside import SetAside
from features.errors import ShopstreamError, UsageError
from features.scores.alerts import Alert, decode_alert
from features.scores.score import RISKS
from shopstream import embedded
from shopstream.jobs.runs import NOTIFY_FOLDER
from shopstream.jobs.serve_dashboards import action_texts
from shopstream.settings import MAIL_ADDRESS, Settings, TargetSettings, config_path, private_text

BODIES: Final = {"webhook": json_body, "slack": slack_body, "teams": teams_body}
"""Kind of a target -> function that writes the body of its requests."""
_SECRETS: Final = frozenset({"url", "secret", "password"})

OnMessage = Callable[[str], None]


# --- targets ----------------------------------------------------------------------------------------------------------


def targets(settings: Settings, chosen: Callable[[TargetSettings], bool]) -> list[Target]:
    """Return the targets of the settings, with their secrets.

    Args:
        settings: settings with the section `notify`.
        chosen: whether a target is needed.

    Raises:
        UsageError: no target is chosen, or a setting is wrong.
        ShopstreamError: a file of a secret cannot be read, or others can read it.
    """
    _check_settings_file()
    named = {name: one for name, one in settings.notify.targets.items() if chosen(one)}
    if not named:
        raise UsageError(
            "The settings have no target for it.",
            "Add [notify.targets.NAME] to shopstream.toml, as docs/notifications.md describes.",
        )
    return [_target(settings, name, one) for name, one in named.items()]


def _target(settings: Settings, name: str, given: TargetSettings) -> Target:
    risks = frozenset(RISKS[RISKS.index(given.minimum_risk) :])
    send = _mail_send(settings, given) if given.kind == "email" else _webhook_send(name, given)
    return Target(name, send, risks, given.alerts, given.digest)


def _webhook_send(name: str, given: TargetSettings) -> Send:
    setting = f"notify.targets.{name}"
    url = given.url.get_secret_value() if given.url else ""
    if given.url_file is not None:
        url = private_text(given.url_file, f"{setting}.url_file")
    if not is_webhook_url(url):
        field = "url" if given.url_file is None else "url_file"
        raise UsageError(f"The address of {setting} is not an http or https URL.", f"Correct {setting}.{field}.")
    check_authority(given.ca_certs, f"{setting}.ca_certs")
    secret = given.secret.get_secret_value() if given.secret else ""
    if given.secret_file is not None:
        secret = private_text(given.secret_file, f"{setting}.secret_file")
    key = signing_key(secret, setting) if secret else b""
    sender = WebhookSender(WebhookEndpoint(url, key, None if given.ca_certs is None else str(given.ca_certs)))
    body = BODIES[given.kind]

    def send(notification: Notification, identifier: str) -> Outcome:
        return sender.send(identifier, body(notification, identifier))

    return send


def _mail_send(settings: Settings, given: TargetSettings) -> Send:
    smtp = settings.notify.smtp
    if smtp is None or given.to is None:
        raise UsageError("A target of kind email needs a mail server.", "Add [notify.smtp] to shopstream.toml.")
    password = smtp.password.get_secret_value() if smtp.password else None
    if smtp.password_file is not None:
        password = private_text(smtp.password_file, "notify.smtp.password_file")
    check_authority(smtp.ca_certs, "notify.smtp.ca_certs")
    ca_certs = None if smtp.ca_certs is None else str(smtp.ca_certs)
    endpoint = SmtpEndpoint(smtp.host, smtp.port, smtp.encryption, smtp.username, password, ca_certs)
    sender, recipient = _address(smtp.sender), _address(given.to)

    def send(notification: Notification, identifier: str) -> Outcome:
        message = mail(notification, identifier, sender, recipient)
        return send_mail(endpoint, message, recipient.addr_spec)

    return send


def check_authority(path: Path | None, setting: str) -> None:
    """Refuse a file that is no certificate authority, before attempts are repeated for hours.

    Args:
        path: PEM file; None: the authorities of the system.
        setting: name of the setting, for the error.

    Raises:
        UsageError: the file cannot be read, or holds no certificate.
    """
    if path is None:
        return
    try:
        ssl.create_default_context(cafile=str(path))
    except OSError as error:
        # of a file that is none, the library gives no errno text but its own
        reason = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror or str(error)
        raise UsageError(f"{setting}: {path} cannot be used: {reason}.", "Name a PEM file of the authority.") from error


def _address(text: str) -> Address:
    match = MAIL_ADDRESS.fullmatch(text)
    assert match is not None, "the settings are checked"
    return Address((match[1] or "").strip(), addr_spec=match[2] or match[3])


def _check_settings_file() -> None:
    """Refuse a settings file that holds secrets of notifications and that others can read."""
    path = config_path(os.environ)
    if path is None or not stat.S_IMODE(path.stat().st_mode) & 0o077:
        return
    section = tomllib.loads(path.read_text("utf-8")).get("notify", {})
    held = {
        "smtp": section.get("smtp", {}),
        **{f"targets.{name}": one for name, one in section.get("targets", {}).items()},
    }
    for name, one in held.items():
        for secret in sorted(_SECRETS & one.keys()):
            raise ShopstreamError(
                f"Others can read the settings file {path}, which holds notify.{name}.{secret}.",
                f"Use notify.{name}.{secret}_file or a variable of the environment, or run `chmod 600 {path}`.",
            )


# --- alerts -----------------------------------------------------------------------------------------------------------


def composer(settings: Settings) -> Callable[[Alert], Notification]:
    """Return the function that makes a notification of an alert."""
    return functools.partial(
        alert_notification,
        run=settings.run,
        actions=action_texts(),
        money=settings.shop.money,
        page_url=settings.notify.page_url or "",
        hold_out=settings.hold_out.to_rule(),
    )


def follow_alerts(settings: Settings, stopped: Callable[[], bool], on_message: OnMessage) -> dict[str, Counts]:
    """Deliver the alerts of a run to the targets of the settings until the process ends.

    Args:
        settings: settings with the run, Kafka and the targets.
        stopped: whether to end.
        on_message: callback with a sentence for people; called from several threads.

    Returns:
        Name of a target -> its numbers.

    Raises:
        UsageError: there is no target, or a setting is wrong.
        ShopstreamError: another process follows the alerts from this data folder, or Kafka does not answer.
    """
    receivers = targets(settings, lambda one: one.alerts)
    kafka = embedded.kafka_endpoint(settings).client_properties()
    with exclusive(settings):
        follower = Follower(
            kafka, settings.run, _instance_id(settings), receivers, settings.notify.give_up_after_s, composer(settings),
            set_aside_file(settings), on_message,
        )  # fmt: skip
        follower.follow(stopped, time.monotonic, time.sleep)
    return {courier.target.name: courier.counts for courier in follower.couriers}


def _instance_id(settings: Settings) -> str:
    digest = hashlib.sha256(f"{platform.node()}\0{settings.home.resolve()}".encode()).hexdigest()[:12]
    return f"{settings.run}-notify-{digest}"


def set_aside_file(settings: Settings) -> SetAside:
    """Return the notes of the alerts that could not be delivered."""
    return SetAside(settings.home / NOTIFY_FOLDER / f"{settings.run}.set-aside.jsonl")


@contextmanager
def exclusive(settings: Settings) -> Iterator[None]:
    """Hold the lock of the run's notifications within the data folder. Raises ShopstreamError if another holds it."""
    path = settings.home / NOTIFY_FOLDER / f"{settings.run}.lock"
    private_folder(path.parent)
    try:
        with private_lock(path).acquire(blocking=False):
            yield
    except filelock.Timeout:
        raise ShopstreamError(
            f"Another process notifies of the alerts of run {settings.run} from {settings.home}.",
            "Stop it first (Ctrl-C).",
        ) from None


@dataclass(frozen=True, slots=True)
class Retried:
    """Numbers of the alerts that were set aside.

    Attributes:
        delivered: alerts that are delivered now.
        left: alerts that are still set aside.
        undeliverable: messages that no longer exist or are not alerts. They are noted in `undeliverable_file` instead.
    """

    delivered: int = 0
    left: int = 0
    undeliverable: int = 0


def undeliverable_file(settings: Settings) -> SetAside:
    """Return the notes of the set-aside messages that can never be delivered."""
    return SetAside(settings.home / NOTIFY_FOLDER / f"{settings.run}.undeliverable.jsonl")


def retry_set_aside(
    settings: Settings, stopped: Callable[[], bool], on_message: OnMessage, give_up_after_s: float
) -> Retried:
    """Deliver the alerts again that were set aside, to the target of each. Delivered ones are no longer set aside.

    Args:
        settings: settings with the run, Kafka and the targets.
        stopped: whether to end.
        on_message: callback with a sentence for people.
        give_up_after_s: time of unsuccessful attempts after which an alert stays set aside, seconds.

    Raises:
        UsageError: there is no target, or a setting is wrong.
        ShopstreamError: another process follows the alerts from this data folder, or Kafka does not answer.
    """
    with exclusive(settings):
        notes = set_aside_file(settings)
        entries = notes.entries()
        if not entries:
            return Retried()
        couriers = {
            one.name: Courier(one, give_up_after_s, stopped, time.monotonic, time.sleep, on_message)
            for one in targets(settings, lambda one: one.alerts)
        }
        kafka = embedded.kafka_endpoint(settings).client_properties()
        compose = composer(settings)
        finished: set[tuple[str, int, int]] = set()
        delivered = 0
        try:
            for entry in entries:
                courier = couriers.get(entry.target)
                if courier is None:
                    on_message(f"{entry.target}: the settings do not have the target")
                    continue
                value = read_alert(kafka, settings.run, entry.partition, entry.offset)
                alert = None if value is None else decode_alert(value)
                if alert is None:
                    reason = "the alert is deleted" if value is None else NOT_AN_ALERT
                    # noted on disk before it is no longer set aside
                    undeliverable_file(settings).add(msgspec.structs.replace(entry, reason=reason))
                    finished.add(entry.position)
                    on_message(f"{entry.target}: message {entry.partition}:{entry.offset} is not sent: {reason}")
                    continue
                outcome = courier.deliver(compose(alert))
                if stopped():
                    break
                if outcome is not None and outcome.kind == "delivered":
                    delivered += 1
                    finished.add(entry.position)
                elif outcome is not None:
                    on_message(f"{entry.target}: {outcome.reason}")
        finally:
            notes.remove(finished)
        return Retried(delivered, len(entries) - len(finished), len(finished) - delivered)
