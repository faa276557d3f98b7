"""Notifying of alerts with the permissions of its duty, over TLS."""

from __future__ import annotations

import contextlib
import signal

import pytest
from consume.command_line import start
from notifications.messages import alert, encoded
from notifications.receivers import WebReceiver, until
from security.pair import KAFKA_PASSWORD, RUN, variables

from connectors.kafka.client import ensure_topics, produce_all
from features.schema import ALERT_TOPIC, topic_name
from shopstream.settings import KafkaSettings


@pytest.mark.slow
def test_alerts_are_followed_with_the_permissions_of_notify(secure, tmp_path):
    properties = secure.kafka.client_properties()
    ensure_topics(properties, RUN, KafkaSettings().partitions)
    user = {"sasl.username": "notifier", "sasl.password": KAFKA_PASSWORD}
    with WebReceiver() as web:
        environment = variables(tmp_path, secure, kafka=user) | {
            "SHOPSTREAM_NOTIFY__TARGETS__TEAM__KIND": "slack",
            "SHOPSTREAM_NOTIFY__TARGETS__TEAM__URL": web.url,
        }
        process = start(["notify", "alerts", "--run", RUN], environment)
        try:
            assert "following" in process.stderr.readline()
            send = [(topic_name(RUN, ALERT_TOPIC), b"k", value, []) for value in encoded(alert("c-1"))]
            # the first start begins at the end: alerts before it has its place do not count
            assert until(lambda: produce_all(properties, "test", send) and web.seen, 60)
            process.send_signal(signal.SIGINT)
            out, output = process.communicate(timeout=60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    assert process.returncode == 0, output
    assert "team:" in out
    assert "s3cret" not in out + output
