"""The command `inspect`: text and JSON, the draft's file, next steps and exit codes."""

from __future__ import annotations

import json
import zipfile

import pytest
from typer.testing import CliRunner

from features.errors import UsageError
from producers.importing.mapping import parse_mapping
from shopstream.cli.app import build_app

ORDERS = "order_id;customer_id;created_at;total\n1;ann;03/04/2024;12,50\n2;bob;05/06/2024;3,00\n"


def run(*arguments):
    return CliRunner().invoke(build_app(), ["inspect", *map(str, arguments)])


@pytest.fixture
def orders(tmp_path):
    (tmp_path / "orders.csv").write_text(ORDERS, "utf-8")
    return tmp_path / "orders.csv"


def test_text_fits_100_columns_and_ends_with_the_next_steps(orders):
    result = run(orders)
    assert result.exit_code == 0
    assert max(len(line) for line in result.output.splitlines() if "shopstream" not in line) <= 100
    assert f"shopstream inspect {orders} --out mapping.yaml" in result.output
    assert "To decide" in result.output


def test_the_draft_is_written_and_the_next_step_is_a_dry_run(orders, tmp_path):
    out = tmp_path / "m.yaml"
    result = run(orders, "--out", out)
    assert parse_mapping(out.read_text("utf-8"), "m").file.decimal == ","
    assert f"shopstream import {orders} --mapping {out} --dry-run" in result.output


def test_an_existing_output_is_replaced_only_by_force(orders, tmp_path):
    out = tmp_path / "m.yaml"
    out.write_text("mine", "utf-8")
    assert isinstance(run(orders, "--out", out).exception, UsageError)
    assert out.read_text("utf-8") == "mine"
    assert run(orders, "--out", out, "--force").exit_code == 0
    assert out.read_text("utf-8") != "mine"


def test_json_is_one_document(orders):
    (group,) = json.loads(run(orders, "--json").stdout)["groups"]
    assert {question["topic"] for question in group["questions"]} == {"date order", "zone"}
    assert group["draft"]["columns"]["customer"] == "customer_id"
    assert (group["rows_read"], group["complete"]) == (2, True)


def test_a_draft_without_a_required_part_exits_with_1(tmp_path):
    (tmp_path / "x.csv").write_text("order_id,created_at,total\n1,2024-03-01,5\n", "utf-8")
    result = run(tmp_path / "x.csv")
    assert result.exit_code == 1
    assert "No column is recognised as customer" in result.output


def test_an_unreadable_file_exits_with_1_and_others_are_described(orders, tmp_path):
    (tmp_path / "x.db").write_bytes(b"SQLite format 3\0")
    result = run(orders, tmp_path / "x.db")
    assert result.exit_code == 1
    assert "SQLite" in result.output
    assert "customer_id" in result.output


def test_files_of_two_forms_get_two_drafts(orders, tmp_path):
    (tmp_path / "clicks.csv").write_text("event_type,user_id,timestamp\nview,a,2024-03-01T10:00:00Z\n", "utf-8")
    run(orders, tmp_path / "clicks.csv", "--out", tmp_path / "m.yaml")
    kinds = [parse_mapping((tmp_path / name).read_text("utf-8"), name).kind for name in ("m.yaml", "m-2.yaml")]
    assert kinds == ["orders", "clicks"]


@pytest.mark.parametrize("rows", ["0", "-1", "some"])
def test_a_number_of_rows_that_is_none_is_a_wrong_call(orders, rows):
    assert isinstance(run(orders, "--rows", rows).exception, UsageError)


def test_the_number_of_rows_limits_the_findings(orders):
    assert "first 1 row;" in run(orders, "--rows", "1").output
    assert "all 2 rows" in run(orders, "--rows", "all").output


def test_next_steps_name_the_members_of_a_zip_file_of_several_forms(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr("out/orders.csv", ORDERS)
        packed.writestr("README.txt", "hello\nworld\n")
    result = run(tmp_path / "x.zip")
    assert f"shopstream inspect {tmp_path}/x.zip/out/orders.csv --out mapping.yaml" in result.output
    assert f"{tmp_path}/x.zip --" not in result.output
