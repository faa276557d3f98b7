"""Whether bytes are about a person, in every spelling that a producer may send."""

from __future__ import annotations

import json
import time

import pytest

from consumers.erasure.person import Person

NAME, ADDRESS = "Zoë Ångström", "Zoë/Å@exämple.org"
ZOE = Person("zoë-кот-1").known_from([json.dumps({"name": NAME, "email": ADDRESS}).encode()])


@pytest.mark.parametrize(
    "value",
    [
        json.dumps({"x": NAME}, ensure_ascii=False).encode(),
        json.dumps({"x": NAME}).encode(),
        json.dumps({"x": NAME}).upper().replace("\\U", "\\u").encode(),
        NAME.encode("latin-1"),
        b'{"email": "' + ADDRESS.encode().replace(b"/", b"\\/"),
        f"<mail>{ADDRESS.casefold()}</mail>".encode(),
        b"\xff\xfe" + NAME.encode("latin-1"),
    ],
)
def test_search_matches_a_name_or_address_in_any_spelling(value):
    assert ZOE.is_named_in(value)


@pytest.mark.parametrize(
    ("customer_id", "value", "told"),
    [
        ("zoë-кот-1", json.dumps({"customer_id": "zoë-кот-1"}), True),
        ("zoë-кот-1", json.dumps({"customer_id": "zoë-кот-1"}, ensure_ascii=False), True),
        ("zoë-кот-1", "zoë-кот-1;41;LI", True),
        ("zoë-кот-1", '{"customer_id": "zoë-кот-12"}', False),
        ("😀-1", json.dumps({"customer_id": "😀-1"}), True),
        ('a"b\\c', json.dumps({"customer_id": 'a"b\\c'}), True),
        ("123", '{"customer_id": 123, "age": 5}', True),
        ("123", '{"customer_id": 1234}', False),
        ("ann", '{"customer_id": "annette", "name": "ann b"}', False),
        ("ann", '{"customer_id": "ann", "age": "old"', True),
    ],
)
def test_search_matches_an_id_as_a_whole_word_only(customer_id, value, told):
    assert Person(customer_id).is_identified_in(value.encode()) is told


def test_short_names_are_not_searched_and_repr_hides_the_person():
    assert (
        Person("c").known_from([b'{"name": "Li", "email": null}', b"[1]", b"\xff", b"[" * 100_000]).contact
        == frozenset()
    )
    assert "zo" not in repr(ZOE).casefold()
    assert not ZOE.is_named_in(None)
    assert not ZOE.is_identified_in(b"")


def test_time_of_a_search_is_linear_in_the_length():
    begin_s = time.process_time()
    for value in (b"\\" * 2_000_000, b"\\u00e9" * 300_000, b"zo\\u00eb-" * 200_000, '"zoë-кот-1'.encode() * 100_000):
        ZOE.is_identified_in(value)
        ZOE.is_named_in(value)
    assert time.process_time() - begin_s < 10
