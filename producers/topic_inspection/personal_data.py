"""Decides which values are not shown: those of people, such as names, addresses, telephone numbers and secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from producers.inspection.field_names import COUNTRY, CUSTOMER, name_rank, normal_name

_NAMES: Final = frozenset(
    {
        "name", "first_name", "last_name", "given_name", "family_name", "middle_name", "full_name", "display_name",
        "nick_name", "nickname", "user_name", "recipient", "company", "city", "town", "region", "zip", "plz",
        "postcode", "postal_code", "district", "gender", "sex", "note", "notes", "message", "comment", "comments",
        "query", "search", "keyword", "keywords", "url", "uri", "referrer", "referer", "href", "to",
        "vorname", "nachname", "stadt", "ort", "wohnort", "firma", "notiz", "bemerkung", "prenom", "nom", "ville",
        "nombre", "apellido", "apellidos", "ciudad", "nome", "cognome", "citta",
    }
)  # fmt: skip
"""Last steps of a path that are about a person, or hold what people type and where they are."""
_WORDS: Final = frozenset(
    {
        "email", "mail", "phone", "telephone", "tel", "fax", "ip", "street", "address", "addresses", "zip",
        "postcode", "postal", "surname", "firstname", "lastname", "fullname", "username", "birthday", "birthdate",
        "birth", "dob", "iban", "ssn", "passport", "password", "secret", "token", "auth", "card", "agent",
        "latitude", "longitude", "lat", "lng", "lon", "coordinates", "strasse", "straße", "hausnummer", "anschrift",
        "adresse", "geburtstag", "geburtsdatum", "telefon", "handy", "empfaenger", "empfänger", "rue", "naissance",
        "calle", "direccion", "telefono", "correo", "nacimiento", "indirizzo",
    }
)  # fmt: skip
"""Words of a step that make the whole path one about a person."""
_BLOCKS: Final = frozenset({"billing", "shipping", "traits", "person", "person_properties", "$set", "contact"})
"""Objects about a person."""
_VALUES: Final = (
    re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+"),
    re.compile(r"(?:\d{1,3}\.){3}\d{1,3}"),
    re.compile(r"(?:[0-9A-Fa-f]{0,4}:){3,7}[0-9A-Fa-f]{0,4}"),
    re.compile(r"(?:\+|00)\d[\d ()/.-]{6,}|\(?0\d{1,4}\)?[ /-]\d{3}[\d ()/-]{2,}"),
)
"""E-mail addresses, addresses of machines, telephone numbers."""


def names_a_person(text: str) -> bool:
    """Return whether a word of a sentence looks like an e-mail address, an IP address or a telephone number."""
    return any(pattern.fullmatch(word.strip("\"',;:.")) for word in text.split() for pattern in _VALUES)


def is_personal(path: str, values: Iterable[str] = ()) -> bool:
    """Return whether the values of a path are not shown.

    Args:
        path: path of a value. A country is shown wherever it is.
        values: some of its values: one that looks like an e-mail address, an IP address or a telephone number suffices.
    """
    steps = [normal_name(step) for step in re.split(r"\.|\[[^\]]*\]", path) if step]
    if not steps:
        return False
    if any(pattern.fullmatch(value.strip()) for value in values for pattern in _VALUES):
        return True
    if name_rank(steps[-1], COUNTRY) is not None:
        return False
    if steps[-1] in _NAMES or any(step in _BLOCKS for step in steps[:-1]):
        return True
    return name_rank(path, CUSTOMER) is not None or any(_WORDS.intersection(step.split("_")) for step in steps)
