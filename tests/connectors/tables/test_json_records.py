"""JSON Lines, arrays and documents: exact number literals, paths, lists, and what refuses a record or the file."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.tables.file_format import FileFormat
from connectors.tables.json_path import Match, Path, parse_path, write_path
from connectors.tables.log_files import log_files
from connectors.tables.reader import LINE, read_batches
from connectors.tables.records import Unreadable, decode_json
from features.errors import ShopstreamError, UsageError

JSON = FileFormat(format="json")


def read(folder, content, columns, how=JSON, **options):
    path = folder / "a.json"
    path.write_text(content, "utf-8")
    [log] = log_files([path])
    batches = list(read_batches(log, how, columns, **options))
    rows = [(row[0], row[1:]) for batch in batches for row in batch.rows.rows()]
    refused = [(one.line, one.column, one.value, one.reason) for batch in batches for one in batch.refused]
    return rows, refused


@pytest.mark.parametrize(
    ("literal", "text"),
    [
        ("12.50", "12.50"),
        ("1E5", "1E5"),
        ("-0.0", "-0.0"),
        ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
        ("12345678901234567890123456789", "12345678901234567890123456789"),
        ("-7", "-7"),
        ("true", "true"),
        ("false", "false"),
        ("null", None),
        ('""', None),
        ('"007"', "007"),
        ('"\\u00e9"', "é"),
    ],
)
def test_values_become_text_digit_by_digit(tmp_path, literal, text):
    assert read(tmp_path, f'{{"a": {literal}}}\n', ["a"]) == ([(1, (text,))], [])


def test_lines_that_are_not_one_object_are_refused(tmp_path):
    lines = ['{"a": 1}', "", '{"a": ', "[1]", "null", '{"a": NaN}', '{"a": 1} {"a": 2}', '{"a": 01}', '{"a": 2}']
    rows, refused = read(tmp_path, "\n".join(lines), ["a"])
    assert rows == [(1, ("1",)), (9, ("2",))]
    assert [(line, reason.split(":")[0]) for line, _, _, reason in refused] == [
        (3, "this is not JSON"),
        (4, "the JSON is not an object"),
        (5, "the JSON is not an object"),
        (6, "this is not JSON"),
        (7, "this is not JSON"),
        (8, "this is not JSON"),
    ]


def test_a_key_twice_refuses_the_record(tmp_path):
    rows, refused = read(tmp_path, '{"a": 1, "b": {"c": 1, "c": 2}}\n{"a": "x:\\":", "b": ":"}\n', ["a"])
    assert rows == [(2, ('x:":',))]
    assert [(line, reason) for line, _, _, reason in refused] == [(1, "an object has a key twice")]


VALUES = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(alphabet='a":\\ ', max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.lists(st.tuples(st.text('a":\\ ', max_size=2), inner), max_size=3).map(tuple)
    ),
    max_leaves=8,
)


def written(value, colon):
    """JSON in which a tuple of pairs is an object, with its repeated keys."""
    if isinstance(value, tuple):
        return "{" + ",".join(f"{json.dumps(key)}{colon}{written(one, colon)}" for key, one in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(one, colon) for one in value) + "]"
    return json.dumps(value)


def repeats(value) -> bool:
    if isinstance(value, tuple):
        return len({key for key, _ in value}) < len(value) or any(repeats(one) for _, one in value)
    return isinstance(value, list) and any(map(repeats, value))


@given(value=VALUES, colon=st.sampled_from([":", ": ", " :", "\t: "]))
def test_repeated_keys_are_detected_exactly(value, colon):
    assert isinstance(decode_json(written(value, colon)), Unreadable) == repeats(value)


PATHS = ["a.b[0].c", "a[key=x].value", '"odd.key"."in[0]"', 'a["k=1"="v]"].b', "$user.id", "a b.c-d", "a[0][1]"]


@pytest.mark.parametrize("text", PATHS)
def test_a_path_is_written_as_it_is_read(text):
    path = parse_path(text)
    assert parse_path(write_path(path.steps)) == path


def test_steps_of_paths():
    assert parse_path("a.b[0].c") == Path(("a", "b", 0, "c"))
    assert parse_path("a[key=ga_session_id].value") == Path(("a", Match("key", "ga_session_id"), "value"))
    assert parse_path('."odd.key"') == Path(("odd.key",), depth=1)
    assert parse_path(".") == Path((), depth=1)
    assert parse_path(".[0]") == Path((0,), depth=1)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 1),
        ("a..b", 3),
        ("a.", 3),
        ("a[", 2),
        ("a[-1]", 2),
        ("a[x]", 2),
        ("a]b", 2),
        ("a[0]b", 5),
        ('a"b"', 2),
        (" a", 1),
        ("[0]", 1),
        ("...a", 3),
    ],
)
def test_an_invalid_path_names_the_position(text, position):
    with pytest.raises(ValueError, match=f"at character {position}:"):
        parse_path(text)


@given(st.lists(st.one_of(st.text(min_size=1), st.integers(0, 99), st.builds(Match, st.text(), st.text())), min_size=1))
def test_any_steps_are_written_and_read_back(steps):
    steps = ["a", *steps]
    assert parse_path(write_path(steps)).steps == tuple(steps)


RECORD = {
    "id": 7,
    "user": {"id": "u1", "odd key": 1, "none": None},
    "tags": ["x", "y"],
    "flag": True,
    "params": [{"key": "s", "value": {"int": "12"}}, {"key": "t"}, {"key": "t"}, {"key": 5, "value": 1}],
    "properties": '{"$lib": "web", "items": [{"sku": "A", "price": 1.50}]}',
    "empty": "",
    "text": "plain",
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("user.id", "u1"),
        ('user."odd key"', "1"),
        ("user.odd key", "1"),
        ("user.none", None),
        ("user.none.deeper", None),
        ("missing", None),
        ("missing.a[0]", None),
        ("tags[1]", "y"),
        ("tags[2]", None),
        ("params[key=s].value.int", "12"),
        ("params[key=u].value", None),
        ("params[key=5].value", "1"),
        ("properties.$lib", "web"),
        ("properties.items[0].price", "1.50"),
        ("empty.a", None),
        ("flag", "true"),
    ],
)
def test_paths_lead_to_values(tmp_path, path, value):
    assert read(tmp_path, json.dumps(RECORD), [path]) == ([(1, (value,))], [])


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("user", "user is an object, not a value"),
        ("tags", "tags is a list, not a value"),
        ("properties.items", "properties.items is a list, not a value"),
        ("id.a", "id is not an object"),
        ("flag[0]", "flag is not a list"),
        ("user[0]", "user is not a list"),
        ("tags.a", "tags is not an object"),
        ("params[key=t].value", "params has 2 elements with key=t"),
        ("text.a", "text is text without an object or list in it"),
    ],
)
def test_paths_that_do_not_fit_refuse_the_record(tmp_path, path, reason):
    rows, refused = read(tmp_path, json.dumps(RECORD), ["flag", path])
    assert rows == []
    assert [(line, column, why) for line, column, _, why in refused] == [(1, path, reason)]


def test_invalid_paths_are_errors_of_the_mapping(tmp_path):
    for path in ("a..b", ".a"):
        with pytest.raises(UsageError):
            read(tmp_path, "{}", [path])


def test_a_row_per_element_of_a_list(tmp_path):
    lines = [
        {"id": 1, "lines": [{"sku": "A", "n": 1}, {"sku": "B"}]},
        {"id": 2, "lines": []},
        {"id": 3},
        {"id": 4, "lines": {"sku": "C"}},
        {"id": 5, "lines": [{"sku": "D"}, {"sku": ["E"]}]},
        {"id": 6, "lines": '[{"sku": "F"}]'},
    ]
    rows, refused = read(tmp_path, "\n".join(map(json.dumps, lines)), [".sku", "id", ".n"], each="lines")
    assert rows == [
        (1, ("A", "1", "1", 0)),
        (1, ("B", "1", None, 1)),
        (2, (None, "2", None, None)),
        (3, (None, "3", None, None)),
        (6, ("F", "6", None, 0)),
    ]
    assert [(line, column, why) for line, column, _, why in refused] == [
        (4, "lines", "lines is not a list"),
        (5, ".sku", "sku is a list, not a value"),
    ]


def test_elements_that_are_values_are_read_by_a_point(tmp_path):
    assert read(tmp_path, '{"id": 1, "tags": ["a", 2.0]}', ["."], each="tags") == ([(1, ("a", 0)), (1, ("2.0", 1))], [])


def test_all_columns_are_keys_and_nested_values(tmp_path):
    [log] = log_files([tmp_path / "a.json"]) if (tmp_path / "a.json").write_text(json.dumps(RECORD)) else []
    [batch] = read_batches(log, JSON, None)
    row = batch.rows.to_dicts()[0]
    assert row["user.odd key"] == "1"
    assert json.loads(row["tags"]) == ["x", "y"]
    assert row[LINE] == 1


@pytest.mark.parametrize(
    ("content", "how", "message"),
    [
        ('{\n "a": 1\n}\n{\n "a": 2\n}\n', JSON, "line 1: the object continues on the next line"),
        ("a,b\n1,2\n", JSON, "line 1: a,b begins no JSON object"),
        ('[{"a": 1}', JSON, "is not one JSON document"),
        ('[{"a": 1}]\n[{"a": 2}]', JSON, "is not one JSON document"),
        ('{"data": {}}', FileFormat(format="json", records="data.orders"), "has no list at data.orders"),
        ('{"d": []}\n{"d": []}', FileFormat(format="json", records="d"), "is not one JSON document"),
        ('{"d": [{"a": 1}], "d": [{"a": 2}]}', FileFormat(format="json", records="d"), "an object has a key twice"),
    ],
)
def test_files_that_are_no_log_are_refused(tmp_path, content, how, message):
    with pytest.raises(ShopstreamError, match=rf"a\.json.*{message}"):
        read(tmp_path, content, ["a"], how)


def test_elements_of_an_array_are_numbered(tmp_path):
    rows, refused = read(tmp_path, ' \n[{"a": 1.50},\n 5, {"a": [1]}, {"a": "x"}]', ["a"])
    assert rows == [(1, ("1.50",)), (4, ("x",))]
    assert [(line, why) for line, _, _, why in refused] == [
        (2, "the JSON is not an object"),
        (3, "a is a list, not a value"),
    ]


def test_a_damaged_first_line_refuses_its_row_only(tmp_path):
    rows, refused = read(tmp_path, '{"a": \n{"a": 2}\n', ["a"])
    assert rows == [(2, ("2",))]
    assert [line for line, *_ in refused] == [1]


@pytest.mark.parametrize("content", ["", "\n \n", "[]"])
def test_a_file_without_records_has_no_rows(tmp_path, content):
    assert read(tmp_path, content, ["a"]) == ([], [])


def test_deep_nesting_and_very_long_integers_refuse_the_record(tmp_path):
    opened, closed, digits = "[" * 5000, "]" * 5000, "1" * 5000
    rows, refused = read(tmp_path, f'{{"a": {opened}1{closed}}}\n{{"a": {digits}}}\n{{"a": 1}}', ["a"])
    assert rows == [(3, ("1",))]
    assert [line for line, *_ in refused] == [1, 2]


@pytest.mark.parametrize("key", ["*", "^name$", "^.*$"])
def test_key_that_is_a_pattern_of_names_is_written_in_quotes(tmp_path, key):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({key: 1, "name": 2}))
    log, how = log_files([path])[0], FileFormat(format="json")
    (batch,) = read_batches(log, how, None)
    assert batch.rows.columns[1:] == [json.dumps(key), "name"]
    (batch,) = read_batches(log, how, [json.dumps(key), "name"])
    assert batch.rows.row(0) == (1, "1", "2")
    with pytest.raises(ValueError, match="in quotes"):
        parse_path(key)
