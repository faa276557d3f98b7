"""Every identifier that people read has words."""

from __future__ import annotations

import pytest

from features.definitions import FEATURES
from features.labels import (
    DRIVER_LABELS,
    FEATURE_LABELS,
    SCORE_LABELS,
    column_label,
    labels_of_values,
    sentence_case,
    value_label,
)
from features.schema import DEVICES, EVENT_TYPES, NOT_KNOWN, STAGES, STATUSES
from features.scores.score import RISKS, SCORES


def test_every_feature_has_words_of_its_own():
    assert set(FEATURE_LABELS) == {feature.name for feature in FEATURES}
    assert len(set(FEATURE_LABELS.values())) == len(FEATURE_LABELS)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("stage", STAGES), ("device", DEVICES), ("event_type", EVENT_TYPES), ("status", STATUSES),
        ("churn_risk", RISKS),
    ],
)  # fmt: skip
def test_every_value_of_a_closed_set_has_words(field, values):
    assert set(labels_of_values()[field]) == set(values)


def test_no_word_is_an_identifier():
    words = [word for values in labels_of_values().values() for word in values.values()]
    assert not [word for word in (*words, *DRIVER_LABELS.values()) if "_" in word or word[0].islower()]


def test_values_of_open_sets_are_unchanged_and_missing_ones_are_not_set():
    assert value_label("category", "Toys_&_more") == "Toys_&_more"
    assert value_label("country", NOT_KNOWN) == "Not set"
    assert value_label("recommended_action", "personal_contact") == "Personal contact"
    assert value_label("churn_reasons", "sessions_7d") == "Few visits (7 days)"
    assert value_label("churn_reasons", "own_feature_30d") == "Own feature 30d"
    assert sentence_case("a_b") == "A b"


def test_every_score_has_words_of_its_own():
    assert set(SCORE_LABELS) == {score.name for score in SCORES}


def test_column_without_words_is_written_in_sentence_case():
    assert column_label("orders_365d") == "Orders, last 12 months"
    assert column_label("churn_risk") == "Churn risk"
    assert column_label("newsletter_clicks_30d") == "Newsletter clicks 30d"
