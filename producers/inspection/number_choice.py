"""Chooses the number form of a file, which all its amounts share, and names what the values do not decide."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from producers.inspection.column_profile import ColumnProfile
from producers.inspection.findings import Question, counted, listed
from producers.inspection.number_forms import FORMS, Form, form_text


@dataclass(frozen=True, slots=True)
class NumberChoice:
    """Form of the amounts, the evidence, and ambiguities."""

    form: Form
    evidence: str
    questions: tuple[Question, ...] = ()


def number_choice(columns: Sequence[ColumnProfile], typed: bool) -> NumberChoice:
    """Choose the form of a file's amounts.

    Args:
        columns: columns that a mapping reads as numbers.
        typed: whether the format has numbers itself, such as JSON, so that a point is the decimal sign if it can be.
    """
    given = [column for column in columns if column.numbers.values and column.typed is None]
    fits = [form for form in FORMS if all(form in column.numbers.fitting() for column in given)]
    if not given:
        return NumberChoice(FORMS[0], "")
    if not fits:
        return _contradicting(given)
    chosen = fits[0]
    rivals = [
        form for form in fits[1:] if any(frozenset((chosen, form)) in column.numbers.disagreements for column in given)
    ]
    if not rivals or (typed and chosen == FORMS[0]):
        return NumberChoice(chosen, _proof(given, chosen))
    column = next(one for one in given if frozenset((chosen, rivals[0])) in one.numbers.disagreements)
    example = column.numbers.disagreements[frozenset((chosen, rivals[0]))]
    readings = [f"{_value(example.value, form)} with {form_text(form)}" for form in (chosen, rivals[0])]
    text = f"Every number of {column.name} fits several forms: {example} is {' or '.join(readings)}."
    question = Question(
        "decimal", column.name, tuple(form_text(form) for form in (chosen, *rivals)), text,
        "Compare an amount with an invoice and write file.decimal and file.thousands.",
    )  # fmt: skip
    return NumberChoice(chosen, "", (question,))


def _contradicting(columns: Sequence[ColumnProfile]) -> NumberChoice:
    """Choose the form that leaves the fewest values unread, where none reads all of them."""
    chosen = min(FORMS, key=lambda form: sum(column.numbers.readings[form].unread for column in columns))
    faults = [column for column in columns if column.numbers.readings[chosen].unread]
    examples = [
        f"{counted(column.numbers.readings[chosen].unread, 'value')} of {column.name}, such as"
        f" {column.numbers.readings[chosen].first_unread}"
        for column in faults
    ]
    text = f"No form of numbers reads all values. With {form_text(chosen)} these are refused: {listed(examples, 3)}."
    others = [form for form in FORMS if form != chosen and _reads_a_fault(faults, chosen, form)]
    question = Question(
        "decimal", faults[0].name, tuple(form_text(form) for form in (chosen, *others)), text,
        "Correct the values in the source; file.decimal is one sign for the whole file.",
    )  # fmt: skip
    return NumberChoice(chosen, "", (question,))


def _reads_a_fault(columns: Sequence[ColumnProfile], chosen: Form, form: Form) -> bool:
    return any(
        column.numbers.readings[form].first_unread != column.numbers.readings[chosen].first_unread for column in columns
    )


def _proof(columns: Sequence[ColumnProfile], chosen: Form) -> str:
    """Return the value that contradicts the other decimal sign."""
    other: Form = (",", ".") if chosen[0] == "." else (".", ",")
    for column in columns:
        example = column.numbers.readings[other].first_unread
        if example is not None:
            sign = "comma" if other[0] == "," else "point"
            return f"{column.name} has {example}, which is no number with a decimal {sign}"
    return ""


def _value(text: str, form: Form) -> str:
    bare = re.sub(r"[^\d.,]", "", text)
    if form[1] in (".", ","):
        bare = bare.replace(form[1], "")
    return bare.replace(",", ".")
