"""Writes a notification in the forms of its receivers: JSON, Slack, Teams and e-mail. Pure.

Texts may hold ids and names of foreign systems. Each form escapes them by its own rules, so that a customer id can
neither notify a channel nor become a link or a tag.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any, Final

import msgspec

from consumers.notifications.message import Entry, Notification

SLACK_TEXT_MAX: Final = 3_000
"""Longest text of a section of Slack."""
SLACK_HEADER_MAX: Final = 150
SLACK_BLOCKS_MAX: Final = 50
CARD_VERSION: Final = "1.4"
"""Version of Adaptive Cards that every client of Teams shows."""
_CARD_MARKUP: Final = re.compile(r"([\\`*_\[\]()#+\-!<>|~])")
_SLACK_MARKUP: Final = re.compile(r"([*_~`])")


def json_body(notification: Notification, message_id: str) -> bytes:
    """Return the body for any program: identifiers unchanged in `data`, words in `title`, `facts` and `entries`."""
    content = {
        "id": message_id,
        "type": notification.type,
        "timestamp": notification.time,
        "title": notification.title,
        "facts": dict(notification.facts),
        "entries": [{"title": one.title, "lines": one.lines, "url": one.url} for one in notification.entries],
        "url": notification.url,
        "data": notification.data,
    }
    return msgspec.json.encode(content)


# --- Slack ------------------------------------------------------------------------------------------------------------


def slack_body(notification: Notification, message_id: str) -> bytes:
    """Return the body for an incoming webhook of Slack: blocks, and a text for notifications and screen readers."""
    facts = "\n".join(f"*{_slack(label)}*: {_slack(value)}" for label, value in notification.facts)
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": _cut(notification.title, SLACK_HEADER_MAX)}},
        _section(facts),
    ]
    if notification.heading:
        blocks.append(_section(f"*{_slack(notification.heading)}*"))
    for entry in notification.entries:
        title = f"*{_slack_link(entry.url, entry.title)}*"
        blocks.append(_section("\n".join([title, *map(_slack, entry.lines)])))
    if notification.url:
        blocks.append(_section(_slack_link(notification.url, notification.url_text)))
    context = {"type": "context", "elements": [{"type": "mrkdwn", "text": _slack(message_id)}]}
    content = {"text": _slack(notification.title), "blocks": [*blocks[: SLACK_BLOCKS_MAX - 1], context]}
    return msgspec.json.encode(content)


def _slack(text: str) -> str:
    """Return a text without markup: `&`, `<` and `>` as entities, a zero-width space before other marks."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SLACK_MARKUP.sub("\u200b\\1", escaped)


def _slack_link(url: str, text: str) -> str:
    # the bar ends the address, and the address is percent-encoded
    return f"<{url}|{_slack(text).replace('|', '¦')}>" if url else _slack(text)


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": _cut(text, SLACK_TEXT_MAX)}}


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


# --- Teams ------------------------------------------------------------------------------------------------------------


def teams_body(notification: Notification, message_id: str) -> bytes:
    """Return the body for a workflow of Teams that posts to a channel: a message with one Adaptive Card."""
    facts = [{"title": _card(label), "value": _card(value)} for label, value in notification.facts]
    body: list[dict[str, Any]] = [
        _block(_card(notification.title), size="Large", weight="Bolder"),
        {"type": "FactSet", "facts": facts},
    ]
    if notification.heading:
        body.append(_block(_card(notification.heading), weight="Bolder"))
    for entry in notification.entries:
        title = f"[{_card(entry.title)}]({entry.url})" if entry.url else _card(entry.title)
        body += [_block(title, spacing="Medium"), *(_block(_card(line), spacing="None") for line in entry.lines)]
    body.append(_block(_card(message_id), size="Small", isSubtle=True))
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": CARD_VERSION,
        "msteams": {"width": "Full"},
        "body": body,
    }
    if notification.url:
        card["actions"] = [{"type": "Action.OpenUrl", "title": notification.url_text, "url": notification.url}]
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return msgspec.json.encode({"type": "message", "attachments": [attachment]})


def _block(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "TextBlock", "text": text, "wrap": True, **more}


def _card(text: str) -> str:
    """Return a text whose marks of Markdown are escaped."""
    return _CARD_MARKUP.sub(r"\\\1", text)


# --- e-mail -----------------------------------------------------------------------------------------------------------


def mail(notification: Notification, message_id: str, sender: Address, recipient: Address) -> EmailMessage:
    """Return an e-mail in plain text and HTML. Its Message-ID is made of the id, so mail programs know repetitions.

    Args:
        notification: content.
        message_id: id of the notification for the recipient.
        sender: name and address in `From`; its domain ends the Message-ID.
        recipient: name and address in `To`.
    """
    message = EmailMessage(policy=SMTP)
    message["Subject"] = notification.title
    message["From"] = sender
    message["To"] = recipient
    message["Message-ID"] = f"<{message_id}@{sender.domain}>"
    # no answer of an absence assistant
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(_plain(notification, message_id))
    message.add_alternative(_html(notification, message_id), subtype="html")
    return message


def _plain(notification: Notification, message_id: str) -> str:
    lines = [notification.title, "", *(f"{label}: {value}" for label, value in notification.facts), ""]
    if notification.heading:
        lines += [notification.heading, ""]
    for entry in notification.entries:
        lines += [entry.title, *(f"  {line}" for line in entry.lines), *([f"  {entry.url}"] if entry.url else []), ""]
    if notification.url:
        lines += [f"{notification.url_text}: {notification.url}", ""]
    return "\n".join([*lines, message_id, ""])


def _html(notification: Notification, message_id: str) -> str:
    rows = "".join(
        f'<tr><th align="left">{_text(label)}</th><td>{_text(value)}</td></tr>' for label, value in notification.facts
    )
    heading = f"<h3>{_text(notification.heading)}</h3>" if notification.heading else ""
    link = f"<p>{_link(notification.url, notification.url_text)}</p>" if notification.url else ""
    return (
        f'<!doctype html><html lang="en"><body><h2>{_text(notification.title)}</h2>'
        f'<table cellpadding="4">{rows}</table>{heading}{_list(notification.entries)}{link}'
        f"<p><small>{_text(message_id)}</small></p></body></html>\n"
    )


def _list(entries: Sequence[Entry]) -> str:
    items = "".join(
        f"<li>{_link(one.url, one.title)}{''.join(f'<br>{_text(line)}' for line in one.lines)}</li>" for one in entries
    )
    return f"<ol>{items}</ol>" if items else ""


def _link(url: str, text: str) -> str:
    return f'<a href="{_text(url)}">{_text(text)}</a>' if url else _text(text)


def _text(text: str) -> str:
    return html.escape(text)
