"""The alert rules name metrics that there are, and the guide tells what to do at each."""

from __future__ import annotations

import re

import yaml
from guards.repository import ROOT

from consumers.metrics.definitions import METRICS, PREFIX, PREFIXED_METRICS

RULES = yaml.safe_load((ROOT / "docs" / "prometheus-rules.yml").read_text("utf-8"))
GUIDE = (ROOT / "docs" / "operations.md").read_text("utf-8")


def rules():
    return [rule for group in RULES["groups"] for rule in group["rules"]]


def test_alert_rules_use_existing_metrics():
    prefixed = {metric.exported_name for _, metric in PREFIXED_METRICS.values()}
    known = prefixed | {metric.exported_name for metric in METRICS.values() if metric.name}
    for rule in rules():
        named = set(re.findall(rf"{PREFIX}\w+", rule["expr"]))
        assert named, rule["alert"]
        assert named <= known, rule["alert"]


def test_every_alert_rule_is_complete():
    assert len({rule["alert"] for rule in rules()}) == len(rules()) >= 10
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "warn")
        assert rule["annotations"]["summary"]
        expression = re.sub(r'"[^"]*"', "", rule["expr"])
        assert all(expression.count(a) == expression.count(b) for a, b in ("()", "[]", "{}"))


def test_guide_describes_the_remedy_for_each_alert():
    messages = set(re.findall(r"^\| `(Shopstream\w+)` \|", GUIDE, re.MULTILINE))
    assert messages == {rule["alert"] for rule in rules()}
