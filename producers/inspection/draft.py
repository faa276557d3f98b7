"""Drafts a mapping for files of one form. What a person must decide has a CHECK comment with the evidence."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from connectors.formats.country_codes import country_codes
from connectors.messages.topic_format import TopicFormat
from connectors.tables.batches import shown
from producers.inspection.column_profile import ColumnProfile
from producers.inspection.draft_lines import check_lines, comment_lines, question_lines, scalar
from producers.inspection.findings import Question, counted, listed
from producers.inspection.inspection import Group
from producers.inspection.number_choice import NumberChoice, number_choice
from producers.inspection.recognition import Recognition, recognise
from producers.inspection.time_choice import TimeChoice, time_choice
from producers.inspection.topic_fields import UNKNOWN_SCALE, encoded_total, replace_address, visitor_path
from producers.inspection.word_lists import DOUBTFUL, event_type_of, normal_status, status_of

_AMOUNTS: Final = ("total", "quantity", "unit_price", "price")
_ORDER_OPTIONAL: Final = ("product", "category", "quantity", "unit_price")
_CLICK_OPTIONAL: Final = ("session", "device", "product", "category", "price", "quantity", "channel", "country")


@dataclass(slots=True)
class Draft:
    """Drafted mapping.

    Attributes:
        text: YAML with comments.
        complete: whether it has every required part, so that an import accepts it.
        recognition: fields and their columns.
        questions: everything that a person must decide.
    """

    text: str
    complete: bool
    recognition: Recognition
    questions: list[Question] = field(default_factory=list)


def draft(group: Group, topic: TopicFormat | None = None, scales: Mapping[str, int] = MappingProxyType({})) -> Draft:
    """Draft a mapping for the files of a group.

    Args:
        group: files of one form.
        topic: topic whose messages are the rows; None for files.
        scales: column -> scale of decimals in base64, where the messages have it.
    """
    recognition = recognise(group, messages=topic is not None)
    visitor: str | None = None
    encoded = encoded_total(group, recognition) if topic is not None and topic.envelope == "debezium" else None
    amounts = _amount_columns(group, recognition)
    candidates = [column for name in recognition.missing.get("total", ()) if (column := group.column(name))]
    amounts_to_be = [column for column in candidates if column.is_number]
    numbers = number_choice([*amounts, *amounts_to_be], typed=group.form.how.format not in ("csv", "whitespace"))
    currency_lines, currency_questions, matches = _currency(group, recognition, amounts, topic)
    if encoded is not None:
        recognition.columns["total"] = encoded
        matches[encoded] = f"{{path: {scalar(encoded)}, base64_scale: {scales.get(encoded, 2)}}}"
        if encoded not in scales:
            recognition.uncertain["total"] = UNKNOWN_SCALE
    if topic is not None:
        replace_address(group, recognition, matches)
        visitor = visitor_path(group, recognition)
        # clicks of a visitor without a user are left out by `identity`
        recognition.guests = 0 if visitor is not None else recognition.guests
    questions = [*group.form.questions, *recognition.questions, *numbers.questions, *currency_questions]
    first = group.files[0].name
    names = first if len(group.files) == 1 else f"{counted(len(group.files), 'file')}, the first of them {first}"
    made_by = f"`shopstream inspect` from {counted(group.rows, 'row')}"
    if topic is not None:
        made_by = f"`shopstream map guess` from {counted(group.rows, 'message')}"
    lines = [
        *comment_lines(f"Drafted by {made_by} of {names}."),
        *comment_lines("A person decides the lines with CHECK. docs/import.md explains the keys."),
        f"kind: {recognition.kind}",
        *(_file_part(group, recognition, numbers) if topic is None else _topic_part(topic, numbers)),
    ]
    time_lines, time_questions = _time_part(group, recognition, topic)
    questions += time_questions
    lines += time_lines
    lines += _left_out_part(group, recognition)
    lines += currency_lines
    if recognition.kind == "orders":
        lines += _order_part(group, recognition, matches, topic)
    else:
        lines += _click_part(group, recognition, matches, topic, visitor)
    return Draft("\n".join(lines) + "\n", recognition.complete, recognition, questions)


# --- file -------------------------------------------------------------------------------------------------------------
def _amount_columns(group: Group, recognition: Recognition) -> list[ColumnProfile]:
    columns = [group.column(recognition.columns[name]) for name in _AMOUNTS if name in recognition.columns]
    if recognition.lines is not None:
        name, fields = recognition.lines
        elements = {column.name: column for column in group.elements[name]}
        columns += [elements[fields[one]] for one in ("quantity", "unit_price") if one in fields]
    return [column for column in columns if column is not None]


def _file_part(group: Group, recognition: Recognition, numbers: NumberChoice) -> list[str]:
    how, lines = group.form.how, ["file:"]
    questions = {question.topic: question for question in group.form.questions}
    for topic in ("separator", "quote", "header", "encoding", "records", "sheet"):
        if topic in questions:
            lines += question_lines(questions[topic], 2)
    lines.append(f"  format: {how.format}")
    if how.columns is not None:
        lines += check_lines(
            "the names of the columns are made up." if not group.form.has_header else "names made unique.", 2
        )
        lines.append(f"  columns: [{', '.join(scalar(name) for name in how.columns)}]")
    if how.format == "csv" and how.separator != ",":
        lines.append(f"  separator: {scalar(how.separator)}")
    if how.format == "csv" and how.quote != '"':
        lines.append(f"  quote: {'null' if how.quote is None else scalar(how.quote)}")
    lines += [f"  skip_lines: {how.skip_lines}"] if how.skip_lines else []
    lines += [f"  encoding: {scalar(how.encoding)}"] if how.encoding else []
    lines += [f"  records: {scalar(how.records)}"] if how.records else []
    names = ", ".join(scalar(name) for name, _ in how.by_sheet() if name is not None)
    if names:
        lines.append(f"  sheet: [{names}]" if isinstance(how.sheet, tuple) else f"  sheet: {names}")
    decimal, thousands = numbers.form
    for question in numbers.questions:
        lines += question_lines(question, 2)
    if numbers.evidence and (decimal, thousands) != (".", None):
        lines += comment_lines(f"{numbers.evidence}.", 2)
    lines += ['  decimal: ","'] if decimal == "," else []
    if thousands is not None and (decimal, thousands) != (",", "."):
        lines.append(f"  thousands: {json.dumps(thousands)}")
    return lines + _missing_line(group, recognition)


def _topic_part(topic: TopicFormat, numbers: NumberChoice) -> list[str]:
    """Return `from`. Amounts of JSON have a decimal point; questions about other signs are comments."""
    parts = [f"topic: {scalar(topic.topic)}", f"format: {topic.format}"]
    parts += [f"envelope: {topic.envelope}"] if topic.envelope else []
    fields = ", ".join(scalar(name) for name in topic.text_fields)
    parts += [f"text_fields: [{fields}]"] if fields else []
    return [*(line for one in numbers.questions for line in question_lines(one)), f"from: {{{', '.join(parts)}}}"]


def _missing_line(group: Group, recognition: Recognition) -> list[str]:
    """Return `missing` for the placeholders of amounts and times, which are refused otherwise."""
    words: dict[str, list[str]] = {}
    for name in (*_AMOUNTS, "time", "updated"):
        column = group.column(recognition.columns.get(name, ""))
        if column is not None:
            for word in column.placeholders:
                words.setdefault(word, []).append(column.name)
    if not words:
        return []
    lines = check_lines(f"placeholders in {listed(sorted({name for names in words.values() for name in names}))}.", 2)
    for word, names in words.items():
        elsewhere = [one.name for one in group.columns if word in one.placeholders and one.name not in names]
        if elsewhere:
            lines += check_lines(f"{word} is no value in {listed(elsewhere)} either; is it a real word there?", 2)
    return [*lines, f"  missing: [{', '.join(scalar(word) for word in words)}]"]


# --- time -------------------------------------------------------------------------------------------------------------
def _time_part(group: Group, recognition: Recognition, topic: TopicFormat | None) -> tuple[list[str], list[Question]]:
    name = recognition.columns.get("time")
    if name is None:
        candidates = recognition.missing.get("time", [])
        text = "no column is recognised as the time." + (f" Candidates: {listed(candidates, 8)}." if candidates else "")
        return ["# time:", *check_lines(text, 2), "#   column: ?"], []
    column = group.column(name)
    assert column is not None
    choice = time_choice(column, group.form.types.get(name))
    lines = ["time:"]
    others = [one for one in recognition.others.get("time", []) if one != recognition.columns.get("updated")]
    clocks = [one.name for one in group.columns if one.kind == "time of day"]
    if clocks and column.kind == "date":
        lines += check_lines(f"{listed(clocks)} has times of day, which a mapping cannot join to a date.", 2)
    if others:
        lines += check_lines(f"other times: {listed(others)}.", 2)
    if topic is not None and topic.envelope == "debezium" and (choice.format or "").startswith("epoch"):
        lines += check_lines(
            "Debezium counts a column without a zone as if it were UTC; its zone is `local: Europe/Berlin`.", 2
        )
    return lines + _time_lines(name, choice, 2), list(choice.questions)


def _time_lines(name: str, choice: TimeChoice, indent: int) -> list[str]:
    blank = " " * indent
    lines = []
    for question in choice.questions:
        lines += question_lines(question, indent)
    lines.append(f"{blank}column: {scalar(name)}")
    if choice.format not in (None, "iso"):
        lines.append(f"{blank}format: {scalar(str(choice.format))}")
    if choice.needs_zone:
        lines.append(f"{blank}zone: UTC")
    if choice.zones:
        proposed = {word: offset for word, offset in choice.zones.items() if offset is not None}
        lines += [f"{blank}zones:"] if proposed else [f"{blank}# zones:"]
        lines += [
            f"{blank}  {scalar(word)}: {json.dumps(offset)}" if offset else f"{blank}  # {scalar(word)}: ?"
            for word, offset in choice.zones.items()
        ]
    return lines


# --- rules and currency -----------------------------------------------------------------------------------------------
def _left_out_part(group: Group, recognition: Recognition) -> list[str]:
    """Return rules for lines of totals, and proposals for guests and amounts below 0."""
    rules, notes = [], []
    for name, value in dict.fromkeys((column, value) for _, _, column, value in group.summaries):
        if name is None:
            notes += comment_lines(f"The line {value!r} at the end is refused; delete it from the file.")
            continue
        notes += check_lines(f"the row with {name} = {value!r} at the end looks like a line of totals.")
        rules.append(f"  - {{reason: line of totals, column: {scalar(name)}, equals: {json.dumps(value)}}}")
    customer = group.column(recognition.columns.get("customer", ""))
    if customer is not None and recognition.guests:
        words = ", ".join(f"{word} ({count:,})" for word, (count, _) in list(customer.placeholders.items())[:5])
        texts = ", ".join([*map(scalar, customer.placeholders), "null"])
        notes += check_lines(
            f"{counted(recognition.guests, 'row')} without a customer{': ' + words if words else ''}. They are refused,"
            " unless left out:"
        )
        notes.append(f"#  - {{reason: no customer, column: {scalar(customer.name)}, in: [{texts}]}}")
    net = ", or order.negative: net for returned lines" if recognition.rows == "line" else ""
    for field_name in ("total", "quantity"):
        column = group.column(recognition.columns.get(field_name, ""))
        reading = column.numbers.readings[column.numbers.best()] if column is not None and column.is_number else None
        if column is not None and reading is not None and reading.negative is not None:
            notes += check_lines(
                f"{counted(reading.negatives, 'value')} of {column.name} below 0, first {reading.negative}."
                f" Such rows are refused, unless left out{net}:"
            )
            notes.append(f"#  - {{reason: {field_name} not above 0, column: {scalar(column.name)}, at_most: 0}}")
    if rules:
        return [*notes, "left_out:", *rules]
    return ["# left_out:", *notes] if notes else []


def _currency(
    group: Group, recognition: Recognition, amounts: Iterable[ColumnProfile], topic: TopicFormat | None
) -> tuple[list[str], list[Question], dict[str, str]]:
    """Return the lines of the currency, questions, and column -> source for amounts with a currency sign."""
    lines: list[str] = []
    questions: list[Question] = []
    matches: dict[str, str] = {}
    signs: dict[str, int] = {}
    for column in amounts:
        own = column.numbers.currencies()
        for sign, count in own.items():
            signs[sign] = signs.get(sign, 0) + count
        if len(own) == 1:
            sign = re.escape(next(iter(own)))
            matches[column.name] = (
                rf"^(?:{sign})?[ \u00a0\u202f]*([0-9][0-9.,' \u00a0\u202f]*?)[ \u00a0\u202f]*(?:{sign})?$"
            )
    matches = {name: f"{{path: {scalar(name)}, match: {json.dumps(match)}}}" for name, match in matches.items()}
    if signs:
        named = ", ".join(f"{sign} ({counted(count, 'value')})" for sign, count in signs.items())
        several = len(signs) > 1
        text = f"Amounts have {'signs of several currencies' if several else 'the sign of a currency'}: {named}."
        decides = (
            "Rows with a sign are refused: write the amounts with one currency, or the currency in its own column."
            if several
            else "All amounts count as one currency, and amounts below 0 with a sign are refused."
        )
        questions.append(Question("currency", None, tuple(signs), text, decides))
        lines += question_lines(questions[-1])
        matches = {} if several else matches
    name = recognition.columns.get("currency")
    column_ = group.column(name or "")
    if column_ is None or (recognition.kind == "clicks" and "price" not in recognition.columns):
        return lines, questions, matches
    if len(column_.words) == 1 and topic is not None:
        only = scalar(next(iter(column_.words)))
        text = f"all amounts are in {only}. Messages in a currency without a rate are left out."
        lines += [*check_lines(text), f"currency: {{path: {scalar(column_.name)}, rates: {{{only}: 1}}}}"]
        return lines, questions, matches
    if len(column_.words) == 1:
        return [*lines, f"currency: {{column: {scalar(column_.name)}}}"], questions, matches
    words = list(column_.words)
    named = listed([f"{word} ({counted(count, 'row')})" for word, count in column_.words.items()])
    text = f"{column_.name} has several currencies: {named or counted(column_.distinct, 'word')}."
    questions.append(
        Question(
            "currency",
            column_.name,
            tuple(words),
            text,
            "Give the rate of each to the shop's currency in currency.rates.",
        )
    )
    main = scalar(words[0]) if words else "EUR"
    rest = [f"#   {scalar(word)}: ?" for word in words[1:]]
    lines += [
        *question_lines(questions[-1]),
        f"currency: {{column: {scalar(column_.name)}, rates: {{{main}: 1}}}}",
        *rest,
    ]
    return lines, questions, matches


# --- orders and clicks ------------------------------------------------------------------------------------------------
def _order_part(
    group: Group, recognition: Recognition, matches: Mapping[str, str], topic: TopicFormat | None
) -> list[str]:
    columns = recognition.columns
    sums = {"quantity", "unit_price"} <= columns.keys()
    lines = ["order:"]
    for question in recognition.questions:
        if question.topic in ("rows", "ids"):
            lines += question_lines(question, 2)
    lines.append(f"  rows: {recognition.rows}")
    if "id" in columns:
        lines += [*_others(recognition, "id"), *_content_question(recognition, "id")]
        lines.append(f"  id: {scalar(columns['id'])}")
    else:
        if topic is None:
            lines += check_lines("no column is recognised as the order's id, so that every row is an order.", 2)
        if "id" in recognition.missing:
            lines.append(f"  # id: ?   {_candidates(recognition, 'id')}")
    lines += _field(recognition, "customer", matches)
    lines += _total(recognition, matches, sums=sums)
    omitted = {"quantity", "unit_price"} if recognition.amounts_are_lines and not sums else set()
    for name in _ORDER_OPTIONAL:
        if name in columns and name not in omitted and recognition.lines is None:
            lines += [*_others(recognition, name), *_content_question(recognition, name)]
            lines.append(f"  {name}: {_source(columns[name], matches)}")
    lines += _json_lines(recognition)
    lines += _status(group, recognition)
    lines += _updated(group, recognition, topic)
    for name in ("session", "channel", "country", "payment_method"):
        if name in columns:
            lines.append(f"  {name}: {scalar(columns[name])}")
    return [*lines, *_countries(group, recognition)]


def _updated(group: Group, recognition: Recognition, topic: TopicFormat | None) -> list[str]:
    """Return the time of a change. Debezium has that of the commit, which a row of its snapshot does not have."""
    column = group.column(recognition.columns.get("updated", ""))
    of_change = topic is not None and topic.envelope == "debezium"
    lines = ["  updated:"] if column is not None or of_change else []
    if column is not None:
        own = _time_lines(column.name, time_choice(column, group.form.types.get(column.name)), 6 if of_change else 4)
        if of_change:
            first = next(number for number, line in enumerate(own) if not line.lstrip().startswith("#"))
            own[first] = f"    - {own[first].lstrip()}"
            own.append("      when: {path: op, equals: r}")
        lines += own
    if of_change:
        lines += ["    - {path: source.ts_ms, format: epoch_ms}"]
        lines += check_lines("deletions need REPLICA IDENTITY FULL; without this line they are left out.", 2)
        lines += ["  deleted: void"]
    if not lines and group.column("ce_time") is not None:
        lines = ["  updated: {path: ce_time}"]
    if not lines and topic is not None:
        lines = check_lines(
            "no path is the time of a change; of the records of an order with one time the status wins.", 2
        )
    return lines


def _total(recognition: Recognition, matches: Mapping[str, str], *, sums: bool) -> list[str]:
    columns = recognition.columns
    decisions = [line for one in recognition.questions if one.topic == "total" for line in question_lines(one, 2)]
    if recognition.amounts_are_lines and sums:
        return [*decisions, f"  # total: {scalar(columns['total'])}"]
    if recognition.amounts_are_lines:
        return [*decisions, '  quantity: {value: "1"}', f"  unit_price: {_source(columns['total'], matches)}"]
    if "total" in columns:
        content = _content_question(recognition, "total")
        return [*_others(recognition, "total"), *content, f"  total: {_source(columns['total'], matches)}"]
    if "total" in recognition.missing:
        return [f"  # total: ?   {_candidates(recognition, 'total')}"]
    return comment_lines("The total is the sum of quantity * unit_price.", 2)


def _click_part(
    group: Group, recognition: Recognition, matches: Mapping[str, str], topic: TopicFormat | None, visitor: str | None
) -> list[str]:
    columns = recognition.columns
    lines = ["click:", *_field(recognition, "customer", matches)]
    if visitor is not None:
        user = _source(columns["customer"], matches)
        text = "a user, and the browser or device in which nobody may be logged in."
        lines = [*check_lines(text), f"identity: {{user: {user}, visitor: {scalar(visitor)}}}", "click:"]
    if topic is not None and "session" not in columns:
        lines += check_lines("no path is recognised as the session; messages without one are left out.", 2)
        lines.append("  # session: ?")
    if "type" in columns:
        column = group.column(columns["type"])
        assert column is not None
        lines.append(f"  type: {scalar(column.name)}")
        lines += _words("types", column, {word: event_type_of(word) for word in column.words}, {})
    else:
        lines.append(f"  # type: ?   {_candidates(recognition, 'type')}")
        lines += comment_lines("or, if all rows have one type: type: {value: product_view}", 2)
    for name in ("id", *_CLICK_OPTIONAL):
        if name == "device" and name in columns:
            lines += _devices(group.column(columns[name]))
        elif name in columns:
            lines += _others(recognition, name)
            lines.append(f"  {name}: {_source(columns[name], matches)}")
    return [*lines, *_click_lines(recognition), *_countries(group, recognition)]


def _click_lines(recognition: Recognition) -> list[str]:
    """Return the proposal for a list of lines. It is a comment, because only some event types have lines."""
    if recognition.lines is None:
        return []
    name, fields = recognition.lines
    named = {"unit_price": "price"}
    return [
        *check_lines("events of some types have a list of lines, each of which can be an event:", 2),
        "  # lines:",
        f"  #   list: {scalar(name)}",
        "  #   types: [purchase]",
        *(f"  #   {named.get(key, key)}: {scalar(path)}" for key, path in fields.items()),
    ]


def _devices(column: ColumnProfile | None) -> list[str]:
    assert column is not None
    known = {"mobile": "mobile", "desktop": "desktop", "tablet": "tablet", "phone": "mobile", "smartphone": "mobile",
             "web": "desktop", "computer": "desktop", "ios": "mobile", "android": "mobile"}  # fmt: skip
    if not column.words:
        return check_lines(f"{column.name} may be the device; a user agent is read by {{path: ..., device: true}}.", 2)
    proposals = {word: known.get(word.casefold()) for word in column.words}
    return [f"  device: {scalar(column.name)}", *_words("devices", column, proposals, {})]


def _field(recognition: Recognition, name: str, matches: Mapping[str, str]) -> list[str]:
    if name in recognition.columns:
        content = _content_question(recognition, name)
        return [*_others(recognition, name), *content, f"  {name}: {_source(recognition.columns[name], matches)}"]
    return [f"  # {name}: ?   {_candidates(recognition, name)}"]


def _content_question(recognition: Recognition, name: str) -> list[str]:
    if name not in recognition.uncertain:
        return []
    return check_lines(f"{recognition.columns[name]} is recognised by {recognition.uncertain[name]}.", 2)


def _candidates(recognition: Recognition, name: str) -> str:
    candidates = recognition.missing.get(name, [])
    return f"CHECK: candidates: {shown(listed(candidates, 8))}" if candidates else "CHECK: no column is a candidate"


def _others(recognition: Recognition, name: str) -> list[str]:
    used = set(recognition.columns.values())
    others = [one for one in recognition.others.get(name, []) if one not in used]
    return check_lines(f"{name} may also be {listed(others)}.", 2) if others else []


def _source(column: str, matches: Mapping[str, str]) -> str:
    return matches.get(column, scalar(column))


def _json_lines(recognition: Recognition) -> list[str]:
    if recognition.lines is None:
        return []
    name, fields = recognition.lines
    return ["  lines:", f"    list: {scalar(name)}", *(f"    {key}: {scalar(path)}" for key, path in fields.items())]


def _status(group: Group, recognition: Recognition) -> list[str]:
    column = group.column(recognition.columns.get("status", ""))
    if column is None:
        return []
    doubtful = {word: DOUBTFUL[normal_status(word)] for word in column.words if normal_status(word) in DOUBTFUL}
    proposals = {word: status_of(word) for word in column.words}
    lines = _others(recognition, "status")
    if not column.words:
        lines += check_lines(f"{column.name} has {counted(column.distinct, 'word')}; list them in statuses.", 2)
    return [*lines, f"  status: {scalar(column.name)}", *_words("statuses", column, proposals, doubtful)]


def _words(
    key: str, column: ColumnProfile, proposals: Mapping[str, str | None], doubtful: Mapping[str, str]
) -> list[str]:
    """Return a table of words with counts. A word without a proposal is a comment, so that its rows are refused."""
    if not column.words:
        return []
    every = {**column.words, **{word: count for word, (count, _) in column.placeholders.items()}}
    lines = []
    for word, count in every.items():
        proposal = proposals.get(word)
        if proposal is None:
            reason = f" {doubtful[word]};" if word in doubtful else ""
            lines.append(f"    # {scalar(word)}: ?   CHECK: {counted(count, 'row')};{reason} refused without an entry")
        else:
            lines.append(f"    {scalar(word)}: {proposal}   # {counted(count, 'row')}")
    listed_words = any(proposals.get(word) for word in every)
    head = check_lines("meaning of the words.", 2)
    return [*head, f"  {key}:" if listed_words else f"  # {key}:", *lines]


def _countries(group: Group, recognition: Recognition) -> list[str]:
    column = group.column(recognition.columns.get("country", ""))
    names = [] if column is None else [word for word in column.words if word not in country_codes()]
    if not names:
        return []
    lines = check_lines("names of countries without a code are dropped and counted. Give each its ISO 3166 code:")
    return [*lines, "# countries:", *(f"#   {scalar(name)}: ??" for name in names)]


def recognised(draft_: Draft) -> dict[str, Any]:
    """Return the fields of a draft and their columns."""
    return {"kind": draft_.recognition.kind, "columns": dict(draft_.recognition.columns)}
