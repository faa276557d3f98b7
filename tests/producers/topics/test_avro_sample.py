"""The sample of clicks in Avro gives what was computed by hand, but for what needs visitors."""

import base64
import json
import os
from pathlib import Path

import pytest
from registry_server import RegistryServer, serving
from topic_mappers import topic_mapper

from connectors.messages.mapped import Message
from shopstream.settings import load_settings

FOLDER = Path(os.environ.get("SHOPTEST_SHARED_DATA", Path(__file__).parents[4] / "data")).parent / "ingest" / "samples"
OWN_WORDS = {"`price`: a negative amount": "`price`: amount below 0"}
"""Reason of the sample -> reason here, where one cause has one reason in files and topics."""


@pytest.fixture(scope="module")
def sample():
    if not (FOLDER / "avro_clicks.jsonl").is_file():
        pytest.skip("the samples are not here")
    content = json.loads((FOLDER / "avro_clicks.registry.json").read_text())
    server = RegistryServer()
    for number, schema in content["ids"].items():
        server.add(schema["schemaType"], schema["schema"], number=int(number))
    server.guids = content["guids"]
    lines = [json.loads(line) for line in (FOLDER / "avro_clicks.jsonl").read_text().splitlines()]
    _, *expected = [json.loads(line) for line in (FOLDER / "avro_clicks.expected.jsonl").read_text().splitlines()]
    messages = [
        Message(
            None if one["value"] is None else base64.b64decode(one["value"]),
            f"shop-clicks-0-{number}",
            [(name, base64.b64decode(value)) for name, value in one["headers"].items()],
        )
        for number, one in enumerate(lines)
    ]
    mapping = (FOLDER / "avro_clicks.yaml").read_text()
    with serving(server):
        mapper = topic_mapper(mapping, load_settings(registries={"main": {"url": server.url}}))
        yield mapper.map(messages), expected


def test_every_message_of_the_sample_is_as_expected(sample):
    mapped, expected = sample
    assert len(expected) == 12
    for one in expected:
        number = one["line"] - 1
        if "held" in one:
            assert mapped.left_out[number] == "no user yet"
        elif "letter" in one:
            assert mapped.refused[number].startswith(OWN_WORDS.get(one["letter"], one["letter"]))
        elif "left_out" in one:
            assert mapped.left_out[number].startswith(one["left_out"])
        else:
            records = [json.loads(record.value) for record in mapped.records if record.message == number]
            assert records == [record["value"] for record in one["records"] if record["topic"] == "events"]
            assert number not in mapped.refused
