"""Messages in common form give the rows of `records_batch`; every other message is left to it."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectors.tables.batches import LINE, POSITION
from connectors.tables.json_fields import FieldReader, plain_messages
from connectors.tables.records import Unreadable, decode_json, records_batch

COLUMNS = [
    "id", "a.b", "a.c.d", "a.c", "tags[0]", "pairs[key=x].value", "sums[*].n", '"odd key"', "text.inner",
    ".x", ".y.z",
]  # fmt: skip
WITHOUT_ELEMENTS = [column for column in COLUMNS if not column.startswith(".")]
KEYS = st.sampled_from(
    [
        *("id", "a", "b", "c", "d", "tags", "pairs", "key", "value", "sums", "n", "odd key", "text", "inner", "list"),
        *("x", "y", "z", "é", 'q"', "back\\", "co:lon", ""),
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["x", "", "é", 'q":', "\\", "\u2028", '{"inner": 5}', '{"inner": [1]}', "[1]", "1.50", "\t"])
)
VALUES = st.recursive(
    SCALARS, lambda one: st.lists(one, max_size=3) | st.dictionaries(KEYS, one, max_size=5), max_leaves=12
)
PARTS = {
    "id": SCALARS,
    "a": st.fixed_dictionaries({}, optional={"b": VALUES, "c": st.fixed_dictionaries({}, optional={"d": SCALARS})}),
    "list": st.lists(st.none() | st.fixed_dictionaries({}, optional={"x": SCALARS, "y": VALUES}), max_size=3) | VALUES,
    "sums": st.lists(st.fixed_dictionaries({"n": st.sampled_from([1, 2.5, "0.10", None])}), max_size=3),
    "pairs": st.lists(st.fixed_dictionaries({"key": st.sampled_from(["x", "y"]), "value": SCALARS}), max_size=3),
}
OBJECTS = st.fixed_dictionaries({}, optional=PARTS) | st.dictionaries(KEYS, VALUES, max_size=6)


@st.composite
def messages(draw) -> bytes:
    """JSON in one of its spellings; sometimes with bytes changed, so that it is JSON no more or has a key twice."""
    content = draw(OBJECTS)
    blank = draw(st.sampled_from(["", "", " ", "\n\t"]))
    text = json.dumps(
        content,
        ensure_ascii=draw(st.booleans()),
        separators=(f"{blank},{blank}", f"{blank}:{blank}"),
    )
    if draw(st.booleans()) and text.startswith("{") and text != "{}":
        text = f"{text[:-1]}{blank},{blank}{draw(st.sampled_from(DOUBLES))}}}"
    value = bytearray(f"{blank}{text}{blank}".encode())
    for piece in draw(st.lists(st.sampled_from(PIECES), max_size=draw(st.sampled_from([0, 0, 2])))):
        at = draw(st.integers(0, len(value)))
        value[at : at + draw(st.integers(0, 2))] = piece
    return bytes(value)


DOUBLES = [
    '"id":1',
    '"i\\u0064":1',
    '"new":{"k":1,"k":2}',
    '"new":[{"k":1},{"k":2}]',
    '"a":{"b":1}',
    '"n\\n":"\\u00e9"',
]
PIECES = [
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"0", b"-", b"1e5", b"01", b".5", b"1.", b"1e", b"+1"),
    *(b"null", b"true", b"nul", b"NaN", b"\xff", b"\xc3\xa9", b"\0", b"\n", b"\x01", b"\\u12", b"\\ud800", b"\\udc00"),
    *(b"\\x", b"\\/", b'\\"', b"/**/", b"'", b"\xef\xbb\xbf"),
]


MANY_KEYS = b"{" + b",".join(b'"%d":1' % number for number in range(1_025)) + b"}"


def expected(values: list[bytes], columns: list[str], each: str | None) -> tuple[dict[int, pl.DataFrame], set[int]]:
    """Rows of each message by the decoder, and the messages that it refuses."""
    rows, refused = {}, set()
    for number, value in enumerate(values):
        try:
            content = decode_json(value.decode())
        except UnicodeDecodeError:
            refused.add(number)
            continue
        if isinstance(content, Unreadable) or not isinstance(content, dict):
            refused.add(number)
            continue
        batch = records_batch([(number, content)], columns, each)
        if batch.refused:
            refused.add(number)
        else:
            rows[number] = batch.rows
    return rows, refused


@pytest.mark.parametrize(("columns", "each"), [(COLUMNS, "list"), (WITHOUT_ELEMENTS, None), (COLUMNS, "deep.list")])
@example([b'{"id": 1, "id": 2}', b'{"id": {"id": 1}}', b'{"a": {"b": 1}, "x": {"b": 1}}'])
@example([b'{"list": [null], "deep": {"list": [null, {"x": 1.50}]}}', b'{"list": [], "id": 1e5}'])
@example([b'{"text": "{\\"inner\\": 5}", "id": "\xc3\xa9"}', b'{"id": "\xff"}'])
@given(values=st.lists(messages(), min_size=1, max_size=8))
def test_messages_in_common_form_give_the_rows_of_the_decoder(columns, each, values):
    assert FieldReader.reads(columns, each)
    rows, others = FieldReader(columns, each).read(values)
    by_line, refused = expected(values, columns, each)
    assert refused <= set(others)
    read = [number for number in range(len(values)) if number not in others]
    assert rows.columns == [LINE, *columns, *([] if each is None else [POSITION])]
    assert set(rows[LINE].to_list()) == set(read)
    for number in read:
        assert rows.filter(pl.col(LINE) == number).equals(by_line[number])


@given(st.lists(messages(), min_size=1, max_size=20))
def test_kernel_accepts_no_message_that_the_decoder_refuses(values):
    for value, is_plain in zip(values, plain_messages(values), strict=True):
        if is_plain:
            content = decode_json(value.decode())
            assert isinstance(content, dict), (value, content)


@example([b'{"a" :1,"a":2}', b'{"a":1,"a" : 2,"b":":"}', b'{"k\\\\":1,"k\\\\":2}', b'{"a\\":":1,"a\\":":2}'])
@given(st.lists(messages(), min_size=1, max_size=20))
def test_decoder_refuses_exactly_the_objects_with_a_key_twice(values):
    def pairs(content):
        repeated.append(len({key for key, _ in content}) < len(content))

    for value in values:
        repeated: list[bool] = []
        try:
            text = value.decode()
            json.loads(text, object_pairs_hook=pairs)
        except ValueError:
            continue
        content = decode_json(text)
        if not isinstance(content, Unreadable) or "twice" in content.reason:
            assert isinstance(content, Unreadable) is any(repeated), text


@pytest.mark.parametrize(
    "value",
    [
        b'{"a":{"b":[1,-2.50,3e5,true,false,null,{}],"c":[]},"id":"x\\n\\u00e9 \\"q\\":"}',
        b' { "id" : "1" , "a" : { "b" : "x" } }\n',
        '{"id":"é","a":{"b":"中文"}}'.encode(),
        b'{"x":{"k":1},"y":{"k":1},"z":[{"k":1},{"k":1}]}',
        b"{}",
    ],
)
def test_common_form_is_accepted(value):
    assert plain_messages([value]).all()


@pytest.mark.parametrize(
    "value",
    [
        b'{"k":1,"k":1}', b'{"a":[{"k":1,"b":{},"k":2}]}', b'{"k\\u0031":1}', b"[]", b"1", b"", b"{", b"{}x", b"{}{}",
        b'{"a":01}', b'{"a":1.}', b'{"a":.5}', b'{"a":+1}', b'{"a":1e}', b'{"a":-}', b'{"a":nul}', b'{"a":NaN}',
        b'{"a":"\\x"}', b'{"a":"\\u12"}', b'{"a":"\\ud83d\\ude00"}', b'{"a":"\n"}', b'{"a":"\xff"}', b'{"a" 1}',
        b'{"a":1,}', b'{"a":[1,]}', b'{"a":[1 2]}', b'{"a":[}]', b"{a:1}", b'{"a":1]', b"\xef\xbb\xbf{}", b'{"a":"',
        b'{"a":' + b"[" * 65 + b"]" * 65 + b"}", b'{"a":' + b"9" * 65 + b"}", MANY_KEYS,
    ],
)  # fmt: skip
def test_other_form_is_left_to_the_decoder(value):
    assert not plain_messages([b"{}", value, b"{}"])[1]
    assert plain_messages([b"{}", value, b"{}"])[[0, 2]].all()


@pytest.mark.parametrize(
    ("columns", "each"),
    [
        (["a.list"], "a.list"), (["a"], "a.list"), (["a.list[0].x"], "a.list"), (["a[0]"], "a.list"),
        ([".", "id"], "list"), ([".[0]"], "list"), (["..x"], "a[*].b"), ([".x"], "a[0].list"),
    ],
)  # fmt: skip
def test_path_of_the_list_itself_is_left_to_the_decoder(columns, each):
    assert not FieldReader.reads(columns, each)


def test_many_messages_are_read_with_their_lines():
    values = [json.dumps({"id": n, "list": [{"x": n}] * (n % 3)}).encode() for n in range(500)]
    values[7] = b'{"id": 1, "id": 2}'
    rows, others = FieldReader(["id", ".x"], "list").read(values)
    assert others == [7]
    counts = np.array([max(n % 3, 1) for n in range(500) if n != 7])
    assert rows.group_by(LINE, maintain_order=True).len()["len"].to_list() == counts.tolist()
    assert rows["id"].to_list() == [str(n) for n in rows[LINE].to_list()]
