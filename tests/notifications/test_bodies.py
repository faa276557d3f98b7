"""Bodies of notifications: facts in words, ids, and foreign text that stays text."""

import json
from email import message_from_bytes, policy
from email.headerregistry import Address

import pytest
from notifications.messages import ACTIONS, DAY, HOSTILE, alert, notification

from consumers.notifications.bodies import json_body, mail, slack_body, teams_body
from consumers.notifications.message import Entry, Notification, alert_notification, message_id, one_line
from features.hold_out import HoldOut

SHOP = Address("Shop", addr_spec="shop@example.org")
ANNE = Address(addr_spec="anne@example.org")


def test_alert_is_in_words_with_its_action_and_link():
    facts = dict(notification().facts)
    assert facts == {
        "Churn risk": "High (before: Medium)",
        "Churn probability (90 days)": "73%",
        "Why": "Long time since last order; Long time since last visit; Unknown input",
        "Recommended action": "Personal contact: Call or write personally.",
        "Segment": "At Risk",
        "Revenue, last 12 months": "1,234.50",
        "Day (UTC)": DAY,
    }
    assert notification().title == "Churn risk of customer c-1 rose to high"
    assert notification("a&b ü").url == "https://page.example/?view=customer&id=a%26b+%C3%BC"
    assert notification().time == "2026-05-20T12:34:00.000Z"


def test_id_is_of_alert_and_target():
    same = message_id(notification(), "slack")
    assert same == message_id(notification(churn_probability=0.9, ts=5), "slack")
    others = [
        message_id(notification(), "mail"), message_id(notification("c-2"), "slack"),
        message_id(notification(churn_risk="critical"), "slack"), message_id(notification(day="2026-05-21"), "slack"),
    ]  # fmt: skip
    assert len({same, *others}) == 5


def test_json_body_has_the_fields_of_the_alert_and_the_id():
    body = json.loads(json_body(notification(), "msg_1"))
    assert (body["id"], body["type"], body["timestamp"]) == ("msg_1", "churn.risk_rose", "2026-05-20T12:34:00.000Z")
    fields = {name: getattr(alert(), name) for name in alert().__struct_fields__}
    assert body["data"].items() >= fields.items()
    assert body["data"]["run"] == "shop"


def test_slack_body_escapes_foreign_text():
    body = json.loads(slack_body(notification(HOSTILE, segment=HOSTILE), "msg_1"))
    assert body["blocks"][0]["text"]["type"] == "plain_text"
    marked = [block["text"]["text"] for block in body["blocks"][1:-1]] + [body["text"]]
    assert "<!channel>" not in "".join(marked)
    assert "&lt;!channel&gt;" in body["text"]
    assert "msg_1" in json.dumps(body["blocks"][-1]).replace("\\u200b", "")
    (link,) = (text for text in marked if text.startswith("<https"))
    assert link.count("<") == link.count(">") == link.count("|") == 1


def test_slack_body_stays_within_the_limits_of_slack():
    entries = tuple(Entry("c" * 300, ("x" * 4_000,), "https://page.example/") for _ in range(80))
    long = Notification(("k",), "t", "time", "t" * 500, (("a", "b" * 9_000),), {}, entries, "Heading")
    body = json.loads(slack_body(long, "id"))
    assert len(body["blocks"]) <= 50
    assert len(body["blocks"][0]["text"]["text"]) <= 150
    assert all(len(block["text"]["text"]) <= 3_000 for block in body["blocks"] if block["type"] == "section")


def test_teams_body_is_a_message_with_one_adaptive_card():
    body = json.loads(teams_body(notification(HOSTILE), "msg_1"))
    (attachment,) = body["attachments"]
    assert (body["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    title, facts, *_ = card["body"]
    assert "\\[a\\]\\(http://evil\\)" in title["text"]
    assert {"title": "Day \\(UTC\\)", "value": DAY.replace("-", "\\-")} in facts["facts"]
    (action,) = card["actions"]
    assert action["type"] == "Action.OpenUrl"


def test_mail_has_text_html_and_the_id_and_no_injected_header():
    sent = mail(notification(HOSTILE, segment=HOSTILE), "msg_1", SHOP, ANNE).as_bytes()
    read = message_from_bytes(sent, policy=policy.default)
    assert read["Message-ID"] == "<msg_1@example.org>"
    assert (read["From"], read["To"], read["Bcc"]) == ("Shop <shop@example.org>", "anne@example.org", None)
    assert "script" in read["Subject"]
    text, html = (read.get_body((kind,)).get_content() for kind in ("plain", "html"))
    assert "High (before: Medium)" in text
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert 'href="https://page.example/?view=customer&amp;id=' in html


@pytest.mark.parametrize("text", ["a\r\nb", "a\u2028b", "a\x00b", "a\tb", "  a b "])
def test_id_becomes_one_printable_line(text):
    assert one_line(text) == "a b"
    assert len(one_line("x" * 600)) == 200


def test_alert_of_a_hold_out_customer_recommends_nothing():
    rule = HoldOut(0.5, "alerts")
    names = [f"c-{n}" for n in range(20)]
    held_out = next(one for one in names if rule.contains(one))
    other = next(one for one in names if not rule.contains(one))
    texts = {}
    for name in (held_out, other):
        one = alert_notification(alert(name), "shop", ACTIONS, hold_out=rule)
        texts[name] = (dict(one.facts)["Recommended action"], one.data)
    assert texts[held_out][0] == "None: the customer is in the hold-out group. Do not contact."
    assert texts[held_out][1]["hold_out"] is True
    assert texts[held_out][1]["recommended_action"] == "none"
    assert ACTIONS[texts[other][1]["recommended_action"]] in texts[other][0]
    assert "hold_out" not in texts[other][1]
