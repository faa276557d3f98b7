"""Parameters of the address: what is not offered or too much is refused in words."""

from __future__ import annotations

import pytest

from dashboards.boards.funnel import FUNNEL
from dashboards.boards.pipeline import PIPELINE_BOARD
from dashboards.panels import Span
from dashboards.web.parameters import CHARS_MAX, VALUES_MAX, number_of, parse_query
from features.errors import UsageError

END = 1_779_280_440_000
DAY = 86_400_000


def test_a_board_opens_with_its_own_time_range():
    assert parse_query(FUNNEL, {}).span_to(END) == Span(END - FUNNEL.days * DAY, END)
    assert parse_query(PIPELINE_BOARD, {}).filters == {}


@pytest.mark.parametrize(("text", "ms"), [("1h", 3_600_000), ("24h", DAY), ("7d", 7 * DAY), ("730d", 730 * DAY)])
def test_a_time_range_ends_at_the_newest_document(text, ms):
    assert parse_query(FUNNEL, {"last": [text]}).span_to(END) == Span(END - ms, END)


def test_date_range_includes_both_days():
    query = parse_query(FUNNEL, {"from": ["2026-05-01"], "to": ["2026-05-02"]})
    assert query.span_to(END) == Span(1_777_593_600_000, 1_777_593_600_000 + 2 * DAY)


def test_filter_values_are_not_changed():
    hostile = '<script>"=1+1'
    assert parse_query(FUNNEL, {"device": ["mobile", "tablet"], "category": [hostile]}).filters == {
        "device": ("mobile", "tablet"), "category": (hostile,),
    }  # fmt: skip


@pytest.mark.parametrize(
    "parameters",
    [
        {"last": ["0d"]}, {"last": ["731d"]}, {"last": ["17521h"]}, {"last": ["7"]}, {"last": ["-7d"]},
        {"last": ["7d\n"]}, {"last": ["7d", "8d"]}, {"last": ["\u0667d"]},
        {"from": ["2026-05-01"]}, {"from": ["2026-05-02"], "to": ["2026-05-01"]},
        {"from": ["2020-01-01"], "to": ["2026-01-01"]}, {"from": ["2026-02-30"], "to": ["2026-03-01"]},
        {"from": ["now"], "to": ["now"]}, {"from": ["\u0662\u0660\u0662\u0666-05-01"], "to": ["2026-05-02"]},
        {"email": ["a@example.com"]}, {"query": ["{}"]}, {"role": ["features"]},
        {"device": ["x"] * (VALUES_MAX + 1)}, {"device": ["x" * (CHARS_MAX + 1)]},
    ],
    ids=str,
)  # fmt: skip
def test_parameters_out_of_bounds_are_refused(parameters):
    with pytest.raises(UsageError):
        parse_query(FUNNEL, parameters)


@pytest.mark.parametrize("text", ["-1", "1e3", "501", "9" * 30, "\u0663", "1 "])
def test_number_out_of_bounds_is_refused(text):
    assert number_of({"size": ["500"]}, "size", 50, 500) == 500
    with pytest.raises(UsageError):
        number_of({"size": [text]}, "size", 50, 500)
