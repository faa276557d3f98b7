"""Permissions as they are declared: of a run, and of no run whose name begins with that of the run."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from consumers.index_definitions import run_definitions
from consumers.permissions import ELASTIC_DUTIES, KAFKA_DUTIES, elastic_role
from features.schema import GROUPS, SOURCE_TOPICS, group_name, topic_name

SIBLINGS = ["shop-x", "shop-events", "shop-order", "shop-customers", "shop2", "shopp"]


def indices(run):
    for one in run_definitions(contact=False):
        yield f"{run}-{one.name}"
        yield f"{run}-{one.name}-{'2026.03' if one.monthly else '000001'}"


@pytest.mark.parametrize("duty", ELASTIC_DUTIES)
@pytest.mark.parametrize("sibling", SIBLINGS)
def test_role_of_a_run_matches_its_indices_and_none_of_a_run_with_a_longer_name(duty, sibling):
    names = elastic_role(duty, "shop")["indices"][0]["names"]
    assert all(any(fnmatchcase(index, name) for name in names) for index in indices("shop"))
    assert not [index for index in indices(sibling) if any(fnmatchcase(index, name) for name in names)]


def test_duty_write_deletes_documents_of_the_pipeline_index_only():
    deleting = [part for part in elastic_role("write", "shop")["indices"] if "delete" in part["privileges"]]
    assert [part["names"] for part in deleting] == [["shop-pipeline", "shop-pipeline-000001"]]


@pytest.mark.parametrize("duty", KAFKA_DUTIES)
@pytest.mark.parametrize("sibling", SIBLINGS)
def test_kafka_permissions_match_no_topic_or_group_of_a_run_with_a_longer_name(duty, sibling):
    others = {
        "topic": [topic_name(sibling, topic) for topic in SOURCE_TOPICS],
        "group": [group_name(sibling, group) for group in GROUPS],
        "transactional-id": [f"{group_name(sibling, 'features')}-0-0123456789ab"],
    }
    for permission in KAFKA_DUTIES[duty]("shop"):
        name = permission.name.removesuffix("*")
        fits = str.startswith if permission.prefixed else str.__eq__
        assert not [other for other in others[permission.resource] if fits(other, name)], permission
