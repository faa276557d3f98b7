"""`map list` and `map show` give the ready mappings, and `map check` takes their names."""

import json

import pytest
from typer.testing import CliRunner

from features.errors import UsageError
from producers.importing.mapping import parse_mapping
from producers.topic_mapping.ready import EXAMPLE_ANSWERS, ready_examples, ready_mappings
from shopstream.cli.app import build_app


def run(*arguments, **environment):
    return CliRunner().invoke(build_app(), ["map", *map(str, arguments)], env={"COLUMNS": "200"} | environment)


def test_list_names_every_ready_mapping_with_kind_and_source():
    result = run("list")
    assert result.exit_code == 0
    lines = {line.split("│")[1].strip(): line for line in result.output.splitlines() if line.startswith("│")}
    assert lines.keys() == ready_mappings().keys()
    assert "orders" in lines["debezium-orders"]
    assert "json, debezium" in lines["debezium-orders"]
    assert "Table of orders through Debezium" in lines["debezium-orders"]


def test_list_as_json_has_the_same_mappings():
    mappings = json.loads(run("list", "--json").output)["mappings"]
    assert [one["name"] for one in mappings] == list(ready_mappings())
    assert mappings[0].keys() == {"name", "kind", "reads", "about"}


@pytest.mark.parametrize("name", sorted(ready_mappings()))
def test_show_prints_the_file_itself(name):
    assert run("show", name).output == ready_mappings()[name]


def test_show_with_a_topic_prints_a_mapping_of_this_topic():
    shown = run("show", "debezium-orders", "--topic", "crm.public.purchases").output
    mapping = parse_mapping(shown, "shown", EXAMPLE_ANSWERS)
    assert (mapping.topic.topic, mapping.topic.envelope) == ("crm.public.purchases", "debezium")
    assert "REPLICA IDENTITY FULL" in shown


def test_show_of_an_unknown_name_lists_the_ready_ones():
    error = run("show", "segmant").exception
    assert isinstance(error, UsageError)
    assert "rees46, segment" in error.remedy


@pytest.mark.parametrize("name", sorted(ready_mappings()))
def test_check_of_a_ready_mapping_maps_its_own_examples_without_settings(name):
    result = run("check", name, SHOPSTREAM_GUEST_SALT="another salt")
    assert result.exit_code == 0, result.output
    count = len(ready_examples(name)[0].read_text().splitlines())
    assert f"{count} of {count} results are as expected." in result.output


def test_check_of_a_ready_mapping_with_a_sample_needs_its_answers_and_uses_the_own_salt(tmp_path):
    sample = tmp_path / "today.jsonl"
    sample.write_text(ready_examples("woocommerce-orders")[0].read_text().splitlines()[3])
    missing = run("check", "woocommerce-orders", "--sample", sample, SHOPSTREAM_GUEST_SALT="mine")
    assert isinstance(missing.exception, UsageError)
    assert "--set zone=" in missing.exception.remedy
    arguments = ("check", "woocommerce-orders", "--sample", sample, "--set", "zone=UTC", "--json")
    order = json.loads(run(*arguments, SHOPSTREAM_GUEST_SALT="mine").output)["records"][0]["value"]
    assert order["ts"] == 1792895400000  # 02:30 UTC
    assert order["customer_id"] != "~26d1297ce81a6ebd"


def test_saved_mapping_is_checked_with_its_answers(tmp_path):
    file = tmp_path / "orders.yaml"
    file.write_text(run("show", "woocommerce-orders", "--topic", "mine").output)
    result = run("check", file, "--set", "zone=Europe/Berlin", SHOPSTREAM_GUEST_SALT="mine")
    assert result.exit_code == 0
    assert "The mapping of the topic mine is valid." in result.output
    assert "no value" in str(run("check", file, "--set", "zone").exception)
