"""The sink of alerts: when its rows are done."""

from connectors.elasticsearch.documents import Rejected
from consumers.features.documents import CustomerRows
from consumers.features.topic_sink import TopicSink


def test_sending_no_rows_completes_immediately():
    done: list[list[Rejected]] = []
    TopicSink(None, "r").send(CustomerRows([], [], 0), done.append)  # type: ignore[arg-type]
    assert done == [[]]
