"""Rules of segments: what they say, to whom they apply, and what is said of one that is wrong."""

from __future__ import annotations

import operator

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scores.scorers import BREAKS, THRESHOLDS, rows_of

from connectors.formats.rules_file import builtin_rules, default_rules, load_rules, parse_rules
from features.errors import UsageError
from features.rules.segments import with_profiles
from features.scores.score import scored

HEAD = "version: 1\nthresholds: {many: 5}\nactions: {act: do it, rest: nothing, other: more}\n"
TAIL = "default: {name: Others, action: rest}\n"


def rules_of(when: str, more: str = "") -> str:
    return f"{HEAD}segments:\n  - name: Chosen\n    when: {when}\n    action: act\n{TAIL}{more}"


def chosen(when: str, *rows: dict, probability: list | None = None, profiles: dict | None = None) -> list[bool]:
    """Which of the rows a condition takes."""
    rules = parse_rules(rules_of(when), "test.yaml")
    frame = rows_of(*rows)
    if profiles is not None:
        frame = with_profiles(frame, pl.DataFrame(profiles), rules.profile_columns)
    churn = None if probability is None else pl.Series(probability, dtype=pl.Float64)
    reasons = pl.Series([["recency_days", "visit_trend"]] * len(rows), dtype=pl.List(pl.String))
    result = scored(frame, BREAKS, rules, churn_probability=churn, thresholds=THRESHOLDS, churn_reasons=reasons)
    return [name == "Chosen" for name in result["segment"].to_list()]


# --- tests of one column ----------------------------------------------------------------------------------------------
ORDERS = [{"orders_total": n} for n in range(8)]


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("3", {3}),
        ("3.0", {3}),
        ("[1, 7]", {1, 7}),
        ("{is: 3}", {3}),
        ("{in: [0, 2]}", {0, 2}),
        ("{at_least: 6}", {6, 7}),
        ("{above: 6}", {7}),
        ("{at_most: 1}", {0, 1}),
        ("{below: 1}", {0}),
        ("{between: [2, 4]}", {2, 3, 4}),
        ("{above: 2, below: 5}", {3, 4}),
        ("$many", {5}),
        ("{at_least: $many}", {5, 6, 7}),
        ("{between: [4, $many]}", {4, 5}),
    ],
)
def test_numeric_conditions_select_their_rows(test, expected):
    assert {n for n, one in enumerate(chosen(f"{{orders_total: {test}}}", *ORDERS)) if one} == expected


def test_text_flag_and_list_conditions_select_their_rows():
    rows = [{"top_category_90d": name, "orders_total": 1} for name in ("Shoes", "no", None)]
    assert chosen("{top_category_90d: Shoes}", *rows) == [True, False, False]
    assert chosen("{top_category_90d: [no, Hats]}", *rows) == [False, True, False]
    risky = {"probability": [0.95, 0.7, 0.1]}
    assert chosen("{churn_risk: [high, critical]}", *rows, **risky) == [True, True, False]
    assert chosen("{churn_reasons: {has: visit_trend}}", *rows, **risky) == [True, True, False]
    profiles = {"customer_id": ["c0", "c1"], "premium": [True, False]}
    assert chosen("{premium: true}", *rows, profiles=profiles) == [True, False, False]
    assert chosen("{premium: false}", *rows, profiles=profiles) == [False, True, False]
    assert chosen("{premium: true}", *rows) == [False, False, False]


def test_condition_on_null_is_false_and_not_negates_it():
    rows = [{"recency_days": 5.0}, {"recency_days": None}]
    assert chosen("{recency_days: {below: 10}}", *rows) == [True, False]
    assert chosen("{not: {recency_days: {below: 10}}}", *rows) == [False, True]
    assert chosen("{recency_days: {is_null: true}}", *rows) == [False, True]
    assert chosen("{recency_days: {is_null: false}}", *rows) == [True, False]


def test_all_any_and_not_can_be_nested():
    condition = "{any: [{orders_total: 1}, {all: [{orders_total: {above: 3}}, {not: {orders_total: [5, 6]}}]}]}"
    assert [n for n, one in enumerate(chosen(condition, *ORDERS)) if one] == [1, 4, 7]
    assert [
        n for n, one in enumerate(chosen("{orders_total: {above: 1}, not: {orders_total: 3}}", *ORDERS)) if one
    ] == [
        2,
        4,
        5,
        6,
        7,
    ]


# --- any rule against plain Python ------------------------------------------------------------------------------------
COMPARE = {
    "at_least": operator.ge,
    "at_most": operator.le,
    "above": operator.gt,
    "below": operator.lt,
    "is": operator.eq,
}
_names = st.sampled_from(["orders_total", "recency_days", "sessions_7d"])
_leaf = st.builds(lambda n, o, v: {n: {o: v}}, _names, st.sampled_from(sorted(COMPARE)), st.integers(0, 4))
_null = st.builds(lambda n, v: {n: {"is_null": v}}, _names, st.booleans())
_between = st.builds(lambda n, a, d: {n: {"between": [a, a + d]}}, _names, st.integers(0, 4), st.integers(0, 2))
_within = st.builds(lambda n, v: {n: v}, _names, st.lists(st.integers(0, 4), min_size=1, max_size=3))
_conditions = st.recursive(
    st.one_of(_leaf, _null, _between, _within),
    lambda inner: st.one_of(
        st.builds(
            lambda parts, joiner: {joiner: parts},
            st.lists(inner, min_size=1, max_size=3),
            st.sampled_from(["all", "any"]),
        ),
        st.builds(lambda part: {"not": part}, inner),
    ),
    max_leaves=6,
)


def holds(condition: dict, row: dict) -> bool:
    def one(key, content):
        if key == "not":
            return not holds(content, row)
        if key in ("all", "any"):
            return (all if key == "all" else any)(holds(part, row) for part in content)
        value = row[key]
        if isinstance(content, list):
            return value is not None and value in content
        ((name, operand),) = content.items()
        if name == "is_null":
            return (value is None) == operand
        if value is None:
            return False
        return operand[0] <= value <= operand[1] if name == "between" else COMPARE[name](value, operand)

    return all(one(key, content) for key, content in condition.items())


@settings(deadline=None)
@given(
    st.lists(_conditions, min_size=1, max_size=4), st.lists(st.tuples(*[st.none() | st.integers(0, 4)] * 3), min_size=1)
)
def test_first_matching_rule_wins(conditions, values):
    rows = [
        {"orders_total": a or 0, "recency_days": None if b is None else float(b), "sessions_7d": c or 0}
        for a, b, c in values
    ]
    segments = "".join(
        f"  - {{name: S{i}, when: {condition}, action: act}}\n" for i, condition in enumerate(conditions)
    )
    text = HEAD + "segments:\n" + segments.replace("'", "").replace("True", "true").replace("False", "false") + TAIL
    result = parse_rules(text, "any.yaml").assign(rows_of(*rows))
    expected = [next((f"S{i}" for i, c in enumerate(conditions) if holds(c, row)), "Others") for row in rows]
    assert result["segment"].to_list() == expected
    assert result["recommended_action"].to_list() == ["rest" if name == "Others" else "act" for name in expected]


# --- modifiers --------------------------------------------------------------------------------------------------------
def test_modifiers_are_applied_in_order_after_the_rules():
    more = """modifiers:
  - {name: premium, when: {premium: true}, segment: "Premium {segment}"}
  - {name: danger, when: {recency_days: {above: 30}}, segment: "{segment}, at risk ({segment})", action: other}
  - {name: first named, when: {segment: Chosen, orders_total: {above: 8}}, action: rest}
"""
    rules = parse_rules(rules_of("{orders_total: {above: 5}}", more), "test.yaml")
    rows = rows_of(
        {"orders_total": 6}, {"orders_total": 6, "recency_days": 31.0}, {"recency_days": 40.0}, {"orders_total": 9}
    )
    frame = with_profiles(rows, pl.DataFrame({"customer_id": ["c1", "c0"], "premium": [True, True]}), ("premium",))
    assert rules.profile_columns == ("premium",)
    assert rules.assign(frame).rows() == [
        ("Premium Chosen", "act"),
        ("Premium Chosen, at risk (Premium Chosen)", "other"),
        ("Others, at risk (Others)", "other"),
        ("Chosen", "rest"),
    ]


def test_profiles_are_joined_by_customer_and_times_become_epoch_ms():
    rows = rows_of({}, {}, {})
    profiles = pl.DataFrame(
        {
            "customer_id": ["c2", "c0", "x"],
            "signup_ts": pl.Series([1, 2, 3], dtype=pl.Datetime("ms", "UTC")),
            "age": [30, None, 1],
        }
    )
    result = with_profiles(rows, profiles, ("signup_ts", "age", "premium"))
    assert result.select("customer_id", "signup_ts", "age", "premium").rows() == [
        ("c0", 2, None, None),
        ("c1", None, None, None),
        ("c2", 1, 30, None),
    ]
    assert with_profiles(rows, profiles, ()) is rows


# --- mistakes ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            rules_of("{recency_day: 3}"),
            "f.yaml, line 6: segments[0].when.recency_day: there is no column recency_day (did you mean recency_days?)",
        ),
        (
            rules_of("{orders_total: {atleast: 3}}"),
            "line 6: segments[0].when.orders_total: there is no test atleast (did you mean at_least?)",
        ),
        (rules_of("{orders_total: many}"), "orders_total is a number, not 'many'"),
        (rules_of("{orders_total: true}"), "orders_total is a number, not True"),
        (rules_of("{orders_total: .nan}"), "orders_total is a number, not nan"),
        (rules_of("{orders_total: $few}"), "there is no threshold $few"),
        (rules_of("{orders_total: {between: [4, 2]}}"), "no value lies between 4 and 2"),
        (rules_of("{orders_total: {between: 4}}"), "`between` takes two values"),
        (rules_of("{orders_total: {has: 4}}"), "orders_total is not a list"),
        (rules_of("{orders_total: []}"), "`in` takes a list of values, at least one"),
        (rules_of("{orders_total: {}}"), "a test of orders_total needs one of"),
        (rules_of("{orders_total: {is_null: 1}}"), "`is_null` takes true or false"),
        (rules_of("{rfm_code: 545}"), "rfm_code is text, not 545; put it in quotes"),
        (rules_of("{rfm_code: {above: x}}"), "rfm_code is a string and has no order"),
        (rules_of("{premium: yes}"), "premium is true or false, not 'yes'"),
        (rules_of("{premium: {between: [true, true]}}"), "premium is a bool and has no order"),
        (rules_of("{churn_risk: hi}"), "churn_risk is never 'hi'; it is one of low, medium, high, critical"),
        (rules_of("{churn_reasons: recency_days}"), "churn_reasons is a list; use `has`"),
        (rules_of("{segment: Chosen}"), "there is no column segment"),
        (rules_of("{name: x}"), "there is no column name"),
        (rules_of("{}"), "a condition is a mapping of columns to tests, with at least one"),
        (rules_of("{any: {orders_total: 1}}"), "`any` takes a list of conditions"),
        (rules_of("{not: 3}"), "line 6: segments[0].when.not: a condition is a mapping"),
        (rules_of("{orders_total: 1, orders_total: 2}"), "line 6: orders_total is repeated"),
        (
            rules_of("{orders_total: 1}").replace("action: act\n", "action: fly\n"),
            "line 7: segments[0].action: there is no action fly; there are act, rest, other",
        ),
        (
            rules_of("{orders_total: 1}", "modifiers:\n  - {name: idle, when: {orders_total: 1}}\n"),
            "line 10: modifiers[0]: a modifier changes",
        ),
        (
            rules_of("{orders_total: 1}", "modifiers:\n  - {name: m, action: act, when: {segment: Chose}}\n"),
            "segment is never 'Chose'",
        ),
        (rules_of("{orders_total: 1}", "colour: red\n"), "line 9: colour: unknown key"),
        (rules_of("{orders_total: 1}").replace("version: 1", "version: 2"), "line 1: version: input should be 1"),
        (HEAD + TAIL, "segments: field required"),
        ("- 1\n", "the document: input should be a valid dictionary"),
        ("", "line 1: the document"),
        ("a: [\n", "f.yaml, line 2: expected the node content"),
        ("a: 2024-13-45\n", "f.yaml: month must be in 1..12"),
    ],
)
def test_error_in_rules_names_its_line_and_path(text, message):
    with pytest.raises(UsageError) as caught:
        parse_rules(text, "f.yaml")
    assert message in caught.value.message


def test_all_errors_in_rules_are_reported_together():
    with pytest.raises(UsageError) as caught:
        parse_rules(rules_of("{a: 1, b: 2, all: [{c: 3}]}").replace("action: act\n", "action: fly\n"), "f.yaml")
    assert len(caught.value.message.splitlines()) == 4


# --- the files that come with the program -----------------------------------------------------------------------------
SEGMENTS = [
    ("Prospect", "invite_to_first_order", {}),
    ("Lost", "let_go", {"orders_total": 4, "recency_days": 400.0}),
    ("Lost", "let_go", {"orders_total": 1, "orders_365d": 1, "recency_days": 99.0, "revenue_365d": 5.0}),
    ("New", "welcome_series", {"orders_total": 1, "orders_365d": 1, "recency_days": 3.0, "revenue_365d": 500.0}),
    ("Promising", "second_order_offer", {"orders_total": 1, "orders_365d": 1, "recency_days": 25.0}),
    ("Champions", "reward_and_refer", {"orders_total": 9, "orders_365d": 5, "recency_days": 5.0, "revenue_365d": 90.0}),
    (
        "Can't Lose Them",
        "personal_contact",
        {"orders_total": 9, "orders_365d": 5, "recency_days": 50.0, "revenue_365d": 90.0},
    ),
    ("At Risk", "win_back_offer", {"orders_total": 3, "orders_365d": 3, "recency_days": 50.0, "revenue_365d": 9.0}),
    ("At Risk", "win_back_offer", {"orders_total": 2, "orders_365d": 1, "recency_days": 50.0, "revenue_365d": 90.0}),
    ("Loyal", "keep_close", {"orders_total": 5, "orders_365d": 5, "recency_days": 25.0, "revenue_365d": 15.0}),
    (
        "Potential Loyalist",
        "build_habit",
        {"orders_total": 2, "orders_365d": 2, "recency_days": 5.0, "revenue_365d": 15.0},
    ),
    (
        "Needs Attention",
        "remind_of_favourites",
        {"orders_total": 3, "orders_365d": 3, "recency_days": 25.0, "revenue_365d": 15.0},
    ),
    (
        "About to Sleep",
        "time_limited_offer",
        {"orders_total": 2, "orders_365d": 2, "recency_days": 25.0, "revenue_365d": 15.0},
    ),
    (
        "Hibernating",
        "low_cost_reminder",
        {"orders_total": 2, "orders_365d": 2, "recency_days": 35.0, "revenue_365d": 25.0},
    ),
]


@pytest.mark.parametrize(("segment", "action", "row"), SEGMENTS, ids=[f"{s[0]} {i}" for i, s in enumerate(SEGMENTS)])
def test_default_rules_assign_the_documented_segments(segment, action, row):
    result = scored(rows_of(row), BREAKS, default_rules())
    assert result.select("segment", "recommended_action").row(0) == (segment, action)


def test_every_default_segment_has_a_case_and_every_action_is_used():
    rules = default_rules()
    assert set(rules.names) == {segment for segment, _, _ in SEGMENTS}
    named = {part.action for part in [*rules.document.segments, rules.document.default, *rules.document.modifiers]}
    assert named == set(rules.document.actions)


def test_a_high_risk_changes_the_action_and_not_the_segment():
    row = {"orders_total": 9, "orders_365d": 2, "recency_days": 5.0, "revenue_365d": 15.0}
    loyal = {"orders_total": 9, "orders_365d": 5, "recency_days": 5.0, "revenue_365d": 99.0}
    frame = rows_of(row, row, loyal)
    result = scored(frame, BREAKS, default_rules(), churn_probability=pl.Series([0.1, 0.7, 0.7]), thresholds=THRESHOLDS)
    assert result.select("segment", "recommended_action").rows() == [
        ("Potential Loyalist", "build_habit"),
        ("Potential Loyalist", "win_back_offer"),
        ("Champions", "personal_contact"),
    ]


def test_value_rules_group_by_thresholds():
    rows = rows_of(
        {"revenue_365d": 499.99},
        {"revenue_365d": 500.0},
        {"orders_365d": 6, "avg_order_value_365d": 60.0},
        {"revenue_365d": 700.0, "recency_ratio": 3.0, "recency_days": 31.0},
    )
    result = scored(rows, BREAKS, load_rules("value"))
    assert result["segment"].to_list() == ["General", "High Value", "High Value", "High Value at Risk"]


def test_supplied_rules_are_valid_and_preserve_their_text():
    for name, text in builtin_rules().items():
        assert load_rules(name).text == text
    assert len(default_rules().document.segments) >= 10


def test_unknown_rules_are_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="There is no rules file"):
        load_rules(str(tmp_path / "none.yaml"))
    (tmp_path / "mine.yaml").write_text(rules_of("{orders_total: 1}"))
    assert load_rules(str(tmp_path / "mine.yaml")).names == ("Chosen", "Others")


def test_no_rows_have_no_segments():
    result = scored(rows_of({}), BREAKS, default_rules()).head(0)
    assert default_rules().assign(rows_of({}).head(0).hstack(result)).is_empty()
