"""Ready mappings of topics: every one loads, and its examples give the results that were written by hand."""

import json
import re

import pytest

from connectors.messages.mapped import Message
from features.errors import UsageError
from features.records.decode import decode
from producers.importing.mapping import parse_mapping, questions
from producers.topic_mapping.examples import check_examples
from producers.topic_mapping.mapper import TopicMapper
from producers.topic_mapping.ready import (
    EXAMPLE_ANSWERS,
    EXAMPLE_SALT,
    load_topic_mapping,
    ready_examples,
    ready_mappings,
    ready_summaries,
    with_topic,
)

NAMES = sorted(ready_mappings())


def mapper_of(name):
    return TopicMapper(*load_topic_mapping(name, EXAMPLE_ANSWERS), EXAMPLE_SALT)


def test_ready_mappings_are_those_of_the_documentation():
    assert NAMES == [
        "cloudevents", "debezium-orders", "ga4", "posthog", "rees46", "segment", "shopify-orders", "snowplow",
        "woocommerce-orders",
    ]  # fmt: skip
    assert [one.name for one in ready_summaries()] == NAMES
    assert all(one.about and one.reads and one.kind in ("orders", "clicks") for one in ready_summaries())


@pytest.mark.parametrize("name", NAMES)
def test_examples_of_a_ready_mapping_give_the_expected_results(name):
    mapper = mapper_of(name)
    examples, expectations = ready_examples(name)
    report = check_examples(mapper, mapper.topic, examples, expectations)
    assert report.differences == []
    assert report.expected == len(report.results)


@pytest.mark.parametrize("name", NAMES)
def test_examples_of_a_ready_mapping_have_every_outcome(name):
    mapper = mapper_of(name)
    report = check_examples(mapper, mapper.topic, ready_examples(name)[0], None)
    assert report.mapped
    assert report.reasons("left_out")
    assert report.reasons("refused")


@pytest.mark.parametrize("name", NAMES)
def test_records_of_a_ready_mapping_are_valid_to_the_consumers(name):
    lines = ready_examples(name)[0].read_bytes().splitlines()
    messages = [Message(None if line == b"null" else line, f"t-0-{number}") for number, line in enumerate(lines)]
    records = mapper_of(name).map(messages).records
    for topic in {record.topic for record in records}:
        own = [record for record in records if record.topic == topic]
        assert not decode(topic, [one.value for one in own], [one.key for one in own], [2**42] * len(own)).rejected


@pytest.mark.parametrize("name", NAMES)
def test_ready_mapping_asks_only_for_what_it_uses(name):
    asked = questions(ready_mappings()[name])
    assert asked.keys() <= EXAMPLE_ANSWERS.keys()
    for question in asked:
        with pytest.raises(UsageError, match=f"--set {question}="):
            load_topic_mapping(name)


@pytest.mark.parametrize("name", NAMES)
def test_ready_mapping_says_what_must_be_adapted(name):
    comments = " ".join(line for line in ready_mappings()[name].splitlines() if line.startswith("#"))
    assert re.search(r"Adapt: the topic", comments)


def test_clouds_event_in_binary_mode_has_its_attributes_in_headers():
    value = {"order_id": "O-1", "customer_id": "u-1", "placed_at": "2026-03-02T09:00:00Z", "total": 30}
    headers = [
        ("ce_specversion", b"1.0"), ("ce_type", b"com.example.shop.order.placed"), ("ce_time", b"2026-03-02T09:00:01Z"),
    ]  # fmt: skip
    mapped = mapper_of("cloudevents").map([Message(json.dumps(value).encode(), "t-0-0", headers)])
    order = json.loads(mapped.records[0].value)
    assert (order["order_id"], order["status"], order["updated_ts"]) == ("O-1", "placed", 1772442001000)


def test_unknown_name_lists_the_ready_mappings():
    with pytest.raises(UsageError, match="There is no mapping segmant") as error:
        load_topic_mapping("segmant")
    assert "segment, shopify-orders" in error.value.remedy


def test_mapping_of_a_file_is_read_by_its_path(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text(ready_mappings()["rees46"])
    name, mapping = load_topic_mapping(str(file))
    assert (name, mapping.topic.topic) == ("own", "rees46.events")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("topic", ["shop.raw-1", "true", "12", "1e3"])
def test_topic_of_a_mapping_is_replaced_and_nothing_else(name, topic):
    text = ready_mappings()[name]
    changed = with_topic(text, topic)
    former, mapping = (parse_mapping(one, name, EXAMPLE_ANSWERS) for one in (text, changed))
    assert mapping.topic.topic == topic
    assert mapping.model_copy(update={"topic": former.topic}) == former
    assert [line for line in changed.splitlines() if "from:" not in line] == [
        line for line in text.splitlines() if "from:" not in line
    ]


@pytest.mark.parametrize("text", ["kind: orders\n", "from: {format: json}\n", "from: [topic]\n", "", "from:\n"])
def test_text_without_a_topic_is_refused(text):
    with pytest.raises(UsageError, match="names no topic"):
        with_topic(text, "shop.raw")


def test_currency_without_rates_is_refused_because_messages_are_judged_one_by_one():
    text = ready_mappings()["woocommerce-orders"].replace("currency, rates: {EUR: 1}", "currency")
    with pytest.raises(UsageError, match="currency without rates"):
        TopicMapper("own", parse_mapping(text, "own", EXAMPLE_ANSWERS), EXAMPLE_SALT)
