"""Reports what a foreign topic holds, and writes the mapping that fits it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from features.errors import UsageError
from shopstream.cli.options import AsJson, Force
from shopstream.runtime.tables import table

if TYPE_CHECKING:
    from connectors.kafka.topic_sample import TopicSample
    from producers.topic_inspection.path_profile import PathProfile
    from producers.topic_inspection.ready_fit import ReadyFit
    from producers.topic_inspection.topic_guess import TopicGuess

_PATHS_SHOWN = 80
_WORDS_SHOWN = 8
_WORD_CHARACTERS = 32
_REASONS_SHOWN = 10
_FILE_TOPIC = "TOPIC"
_WIDTH_MAX = 120


def guess(
    topic: Annotated[
        str | None, typer.Argument(metavar="TOPIC", help="Full name of the topic; with --file, for the mapping.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="FILE", help="File to read, with the value of a message in each line."),
    ] = None,
    messages: Annotated[
        int, typer.Option("--messages", min=1, max=100_000, help="Messages to read: the newest of all partitions.")
    ] = 1_000,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Output file for the mapping.")] = None,
    as_json: AsJson = False,
    force: Force = False,
) -> None:
    """Report what a topic holds: format, keys, paths, and the ready mapping that fits or a draft.

    The topic is read without a consumer group; nothing is committed. Values of people are not shown.
    The exit code is 1 if no message has a record, or if the draft lacks a required part.

    Example: `shopstream map guess segment.events`

    Example: `shopstream map guess shopdb.public.orders --out orders.yaml`

    Example: `shopstream map guess --file today.jsonl --messages 5000 --json`
    """
    from connectors.clock import wall_clock_ms
    from connectors.kafka.topic_sample import sample_topic
    from connectors.messages.mapped import Message
    from producers.topic_inspection.topic_guess import guess_as_dict, guess_topic
    from producers.topic_mapping.examples import read_examples
    from shopstream.embedded import kafka_endpoint
    from shopstream.settings import load_settings

    if topic is None and file is None:
        raise UsageError("Give TOPIC, or --file.", "shopstream map guess segment.events")
    if out is not None and out.exists() and not force:
        raise UsageError(f"{out} exists.", "Name another file, or replace it by --force.")
    sample: TopicSample | None = None
    name = topic or _FILE_TOPIC
    if file is not None:
        every = read_examples(file, name)
        newest = every[-messages:]
        positions = [f"line {number}" for number in range(len(every) - len(newest) + 1, len(every) + 1)]
        guessed = guess_topic(name, newest, None, wall_clock_ms(), positions)
    else:
        sample = sample_topic(kafka_endpoint(load_settings()).client_properties(), name, messages)
        read = [Message(one.value, f"{name}-{one.partition}-{one.offset}", one.headers) for one in sample.messages]
        positions = [f"partition {one.partition}, offset {one.offset}" for one in sample.messages]
        guessed = guess_topic(name, read, [one.key for one in sample.messages], wall_clock_ms(), positions)
    written = _write(out, guessed)
    if as_json:
        typer.echo(json.dumps(_partitions(sample) | guess_as_dict(guessed), ensure_ascii=False, indent=2))
    else:
        console = Console()
        console.width = min(console.width, _WIDTH_MAX) if console.is_terminal else _WIDTH_MAX
        _print(console, guessed, sample, file, written)
    if not guessed.complete:
        raise typer.Exit(1)


def _write(out: Path | None, guessed: TopicGuess) -> Path | None:
    if out is None or guessed.mapping is None:
        return None
    try:
        out.write_text(guessed.mapping, "utf-8")
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}.", "Name another file of --out.") from error
    return out


def _partitions(sample: TopicSample | None) -> dict[str, Any]:
    if sample is None:
        return {}
    parts = [{"number": p.number, "low": p.low, "high": p.high, "read": p.read} for p in sample.partitions]
    return {"partitions": parts}


# --- text -------------------------------------------------------------------------------------------------------------
def _print(
    console: Console, guessed: TopicGuess, sample: TopicSample | None, file: Path | None, written: Path | None
) -> None:
    console.print(table(str(file) if sample is None else guessed.topic, ("", ""), _facts(guessed, sample)))
    if guessed.paths:
        console.print(_path_table(guessed))
    if len(guessed.paths) > _PATHS_SHOWN:
        _say(console, f"{len(guessed.paths) - _PATHS_SHOWN} more paths: see --json.")
    for fit in guessed.fits[:1]:
        _print_fit(console, fit)
    if len(guessed.fits) > 1:
        _say(console, f"- Others that fit: {', '.join(fit.name for fit in guessed.fits[1:])}.")
    if guessed.drafted is not None:
        _print_draft(console, guessed)
    _print_next(console, guessed, file, written)


def _facts(guessed: TopicGuess, sample: TopicSample | None) -> list[tuple[str, str]]:
    facts = [("messages read", f"{guessed.messages:,}")]
    if sample is not None:
        retained = sum(p.high - p.low for p in sample.partitions)
        parts = ", ".join(f"{p.number}: {p.read:,}" for p in sample.partitions[:12])
        facts.append(("partitions", f"{len(sample.partitions)}, with {retained:,} offsets; read of each: {parts}"))
        times = [one.time_ms for one in sample.messages if one.time_ms is not None]
        if times:
            from connectors.clock import iso

            facts.append(("timestamps", f"{iso(min(times))} to {iso(max(times))}"))
    facts += [("values", _counts(guessed.forms, guessed.messages)), ("envelope", guessed.envelope_text)]
    facts += [("  without a record", f"{reason}: {count:,}") for reason, count in guessed.unopened.most_common()]
    if guessed.keys is not None:
        keyed = guessed.messages - guessed.keys.forms["none"]
        facts.append(("keys", _counts(guessed.keys.forms, guessed.messages)))
        equal = [f"{path} ({count / keyed:.0%})" for path, count in guessed.keys.equal.items()]
        if keyed:
            facts.append(("  equal to", ", ".join(equal) or "no path of the value"))
    return [(name, escape(text)) for name, text in facts]


def _counts(counts: Any, total: int) -> str:
    return ", ".join(f"{name} ({count / total:.0%})" for name, count in counts.most_common() if count)


def _path_table(guessed: TopicGuess) -> Any:
    rows = [
        (
            escape(one.path), ", ".join(one.types), f"{one.fill:.0%}",
            "" if one.column is None else f"{one.column.distinct:,}", escape(_values(one, guessed.words)),
        )
        for one in guessed.paths[:_PATHS_SHOWN]
    ]  # fmt: skip
    return table(None, ("path", "types", "filled", "distinct", "values"), rows)


def _values(path: PathProfile, words: set[str]) -> str:
    from producers.topic_inspection.topic_guess import time_range

    column, times = path.column, time_range(path)
    if path.hidden:
        return "not shown"
    if column is None:
        return ""
    if times is not None:
        return f"{times[1]} to {times[2]} ({times[0]})"
    if path.path in words:
        shown = [f"{_short(word)} ({count:,})" for word, count in list(column.words.items())[:_WORDS_SHOWN]]
        more = len(column.words) - len(shown)
        return ", ".join([*shown, *([f"{more} more"] if more else [])])
    return f"{column.low} to {column.high}" if column.is_number and column.low is not None else ""


def _short(text: str) -> str:
    return text if len(text) <= _WORD_CHARACTERS else f"{text[: _WORD_CHARACTERS - 1]}…"


def _print_fit(console: Console, fit: ReadyFit) -> None:
    from producers.topic_mapping.ready import EXAMPLE_ANSWERS

    rows = [("mapped", fit.mapped)]
    for word, reasons in (("left out", fit.left_out), ("refused", fit.refused)):
        rows += [(f"  {word}: {reason}", count) for reason, count in reasons.most_common(_REASONS_SHOWN)]
    texts = [(escape(name), f"{count:,}", f"{count / fit.messages:.0%}") for name, count in rows]
    console.print(table(f"ready mapping {fit.name}", ("", "messages", "share"), texts, text_columns=1))
    present = [f"{path} {share:.0%}" for path, share in fit.fill.items() if share]
    absent = [path for path, share in fit.fill.items() if not share]
    _say(console, f"- {len(present)} of {len(fit.fill)} paths of {fit.name} are filled: {', '.join(present)}.")
    if absent:
        _say(console, f"- In no message: {', '.join(absent)}.")
    for name, question in fit.requested.items():
        _say(console, f"- It asks for {name}: {question}. The counts are those of {name}={EXAMPLE_ANSWERS[name]}.")


def _print_draft(console: Console, guessed: TopicGuess) -> None:
    drafted = guessed.drafted
    assert drafted is not None
    _say(console, "- No ready mapping fits.")
    fields = ", ".join(f"{name}: {path}" for name, path in drafted.recognition.columns.items())
    _say(console, f"- The draft is a mapping of {drafted.recognition.kind} with {fields or 'no recognised path'}.")
    for name, candidates in drafted.recognition.missing.items():
        known = f"; candidates: {', '.join(candidates[:8])}" if candidates else "; no path is a candidate"
        _say(console, f"- No path is recognised as {name}{known}. Write it in the mapping.")
    if drafted.questions:
        console.print("[bold]To decide[/]")
        for question in drafted.questions:
            _say(console, f"- {question.text} {question.decides}")


def _print_next(console: Console, guessed: TopicGuess, file: Path | None, written: Path | None) -> None:
    if guessed.mapping is None:
        _say(console, "No message has a JSON object as its value, so that there is no mapping.")
        return
    console.print("[bold]Next[/]")
    source = guessed.topic if file is None else f"--file {shlex.quote(str(file))}"
    if guessed.topic == _FILE_TOPIC:
        _say(console, f"  The mapping has the topic {_FILE_TOPIC}: write its name.")
    if written is None:
        _say(console, f"  shopstream map guess {source} --out mapping.yaml", soft_wrap=True)
        return
    sample = f" --sample {shlex.quote(str(file))}" if file is not None else ""
    sample += "".join(f" --set {name}=VALUE" for fit in guessed.fits[:1] for name in fit.requested)
    checks = guessed.mapping.count("CHECK:")
    state = f"has {checks} lines with CHECK" if guessed.drafted is not None else "lists at its top what to adapt"
    _say(console, f"  {written} {state}. Edit it, then:")
    _say(console, f"  shopstream map check {shlex.quote(str(written))}{sample}", soft_wrap=True)


def _say(console: Console, text: str, *, soft_wrap: bool = False) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=soft_wrap)
