"""Lists and shows dead letters, the rejected records, and replays them after a fix."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from features.errors import ShopstreamError, UsageError
from shopstream.cli.options import Answers, AsJson, DeadLetterSelection, Run, Yes, parse_answers, with_options
from shopstream.runtime.tables import table

if TYPE_CHECKING:
    from consumers.dead_letters.review import DeadLetterFilter, ReplayPlan, StoredDeadLetter
    from shopstream.settings import Settings


@with_options(DeadLetterSelection, "selection")
def list_dead_letters(
    selection: DeadLetterSelection,
    by_reason: Annotated[bool, typer.Option("--by-reason", help="Print counts by kind of reason.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Maximum number of rows; the newest are shown.")] = 50,
    as_json: AsJson = False,
    run: Run = None,
) -> None:
    """List dead letters, the newest last: number, time, position of the message, key, reason, and whether replayed.

    Values are not shown, since they may hold personal data.

    Example: `shopstream dead-letters list --topic orders --reason total --by-reason`
    """
    from consumers.dead_letters.store import read_replayed

    settings, kafka = _open(run)
    selected = _read(kafka, settings, _filter(settings, selection))
    replayed = read_replayed(kafka, settings.run)
    if by_reason:
        _print_counts(selected, as_json=as_json)
    elif as_json:
        rows = [_as_json(dead_letter, replayed=dead_letter.position in replayed) for dead_letter in selected]
        typer.echo(json.dumps({"run": settings.run, "letters": rows}, indent=2))
    else:
        _print_list(selected, replayed, limit)


def show(
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="Number of the dead letter in `list`.")],
    contact: Annotated[bool, typer.Option("--contact", help="Show names and e-mail addresses.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="New file for the bytes of the value, with personal data."),
    ] = None,
    run: Run = None,
) -> None:
    """Show one dead letter: position of its message, error, key and value.

    Names and e-mail addresses are masked unless --contact is given. --out writes the original bytes, for
    `replay --numbers NUMBER --value FILE` after a correction.

    Example: `shopstream dead-letters show 17 --out letter-17.json`
    """
    from connectors.clock import iso
    from consumers.dead_letters.review import DeadLetterFilter, invalid_reason, readable, safe_text, source_of

    settings, kafka = _open(run)
    selected = _read(kafka, settings, DeadLetterFilter(numbers=(number, number)))
    if not selected:
        raise ShopstreamError(
            f"There is no dead letter {number} in run {settings.run}.", "`shopstream dead-letters list` shows them."
        )
    dead_letter = selected[0]
    source = source_of(dead_letter.topic, settings.run)
    if source is None and dead_letter.offset >= 0:
        _show_foreign(kafka, settings, dead_letter, out, contact=contact)
        return
    now = "" if source is None else invalid_reason(source, dead_letter.key, dead_letter.value, _now_ms()) or "valid"
    rows = {
        "dead letter": f"{dead_letter.number}, written {iso(dead_letter.written_ms)}",
        "message": _position(dead_letter),
        "error": dead_letter.error,
        "checked now": f"{now}, but too late" if dead_letter.too_late and now == "valid" else now,
        "key": "none" if dead_letter.key is None else safe_text(dead_letter.key),
        "size": "none" if dead_letter.value is None else f"{len(dead_letter.value):,} bytes",
        "cut": dead_letter.cut,
        "value": readable(dead_letter, contact=contact),
    }
    shown = [(name, Text(text)) for name, text in rows.items() if text]
    Console().print(table(None, ("", ""), shown, show_header=False, box=None), soft_wrap=True)
    if out is not None:
        _write_value(out, dead_letter)


@with_options(DeadLetterSelection, "selection")
def replay(  # noqa: PLR0917 - typer makes an option of each
    selection: DeadLetterSelection,
    value: Annotated[
        Path | None,
        typer.Option("--value", metavar="FILE", help="File with a corrected value, for one dead letter of --numbers."),
    ] = None,
    key: Annotated[str | None, typer.Option("--key", help="Corrected key, with --value.")] = None,
    archive: Annotated[
        Path | None,
        typer.Option("--archive", metavar="DIR", help="Archive to write the records to, instead of the topics."),
    ] = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option(
            "--mapping", metavar="MAPPING", help="Corrected mapping: maps the messages of `map run` again. Repeatable."
        ),
    ] = None,
    answers: Answers = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be sent, and send nothing.")] = False,
    yes: Yes = False,
    run: Run = None,
) -> None:
    """Send dead letters back to their topics with their keys, once the cause is fixed.

    The command first validates each record as the consumers would now; invalid ones stay. A replayed dead letter is
    recorded and not sent again. A late record would be late again: with --archive it goes to an archive, which
    `shopstream replay DIR --run NEW` sends in event-time order into a new run.

    The messages of dead letters of `map run` are in the topics of other systems: --mapping reads and maps them again.

    Example: `shopstream dead-letters replay --topic orders --reason total --dry-run`

    Example: `shopstream dead-letters replay --mapping clicks.yaml --dry-run`
    """
    from consumers.dead_letters.review import plan_replay
    from consumers.dead_letters.store import read_replayed, record_replayed, send_back
    from consumers.dead_letters.to_archive import add_to_archive

    if mapping and (value is not None or archive is not None):
        raise UsageError("--mapping goes with neither --value nor --archive.")
    if value is not None and (archive is not None or selection.numbers is None or "-" in selection.numbers):
        raise UsageError("--value is for one dead letter.", "Give --numbers NUMBER, and no --archive.")
    if key is not None and value is None:
        raise UsageError("--key goes with --value.", "Give both, or neither.")
    settings, kafka = _open(run)
    selected = _read(kafka, settings, _filter(settings, selection))
    if value is not None:
        selected = [_corrected(dead_letter, value, key) for dead_letter in selected]
    replayed = read_replayed(kafka, settings.run)
    if mapping:
        _map_again(kafka, settings, selected, mapping, parse_answers(answers), replayed, dry_run=dry_run, yes=yes)
        return
    late = archive is not None or value is not None
    plan = plan_replay(
        selected, settings.run, lambda dead_letter: dead_letter.position in replayed, _now_ms(), late=late
    )
    console = Console()
    _print_plan(plan, console)
    if not plan.sendable or dry_run:
        return
    target = str(archive) if archive is not None else "their topics"
    if not yes:
        typer.confirm(f"Send {len(plan.sendable)} records to {target}?", abort=True)
    if archive is None:
        send_back(kafka, settings.run, plan.sendable)
    else:
        files = add_to_archive(archive, settings.run, plan.sendable, _now_ms())
        record_replayed(kafka, settings.run, plan.sendable, f"the archive {archive}")
        console.print(
            f"{len(files)} files written; `shopstream replay {archive} --run NEW` sends them", highlight=False
        )
    console.print(f"{len(plan.sendable)} records sent to {target}", highlight=False)


def _map_again(
    kafka: Mapping[str, Any],
    settings: Settings,
    selected: Sequence[StoredDeadLetter],
    mappings: Sequence[str],
    answers: Mapping[str, str],
    replayed: set[tuple[str, int, int]],
    *,
    dry_run: bool,
    yes: bool,
) -> None:
    from shopstream.jobs.map_dead_letters import map_again, send
    from shopstream.jobs.map_topics import check_guests, load_mappings

    mapped = load_mappings(settings, mappings, answers)
    check_guests(kafka, settings.run, mapped)
    again = map_again(
        kafka,
        settings.run,
        selected,
        mapped.mappers,
        lambda one: one.position in replayed,
    )
    console = Console()
    _print_plan(again.plan, console)
    if not again.plan.sendable or dry_run:
        return
    count = len(again.records)
    if not yes:
        typer.confirm(f"Send {count} records to the topics of run {settings.run}?", abort=True)
    send(kafka, settings.run, again)
    console.print(f"{count} records sent to the topics of run {settings.run}", highlight=False)


# --- reading ----------------------------------------------------------------------------------------------------------


def _open(run: str | None) -> tuple[Settings, Mapping[str, Any]]:
    from shopstream import embedded
    from shopstream.jobs.runs import check_exists
    from shopstream.settings import load_settings

    settings = load_settings(run=run)
    if run is not None:
        check_exists(settings)
    return settings, embedded.kafka_endpoint(settings).client_properties()


def _read(kafka: Mapping[str, Any], settings: Settings, choice: DeadLetterFilter) -> list[StoredDeadLetter]:
    from consumers.dead_letters.review import deduplicate
    from consumers.dead_letters.store import read_dead_letters

    return deduplicate(
        dead_letter for dead_letter in read_dead_letters(kafka, settings.run) if choice.matches(dead_letter)
    )


def _filter(settings: Settings, selection: DeadLetterSelection) -> DeadLetterFilter:
    from consumers.dead_letters.review import DeadLetterFilter
    from features.schema import SOURCE_TOPICS, topic_name

    return DeadLetterFilter(
        numbers=_bounds(selection.numbers, "--numbers"),
        topic=topic_name(settings.run, selection.topic) if selection.topic in SOURCE_TOPICS else selection.topic,
        partition=selection.partition,
        offsets=_bounds(selection.source_offsets, "--source-offsets"),
        reason=selection.reason,
        since_ms=selection.since_ms,
        until_ms=selection.until_ms,
    )


def _bounds(text: str | None, option: str) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", text, re.ASCII)
    if match is None or (match[2] and int(match[2]) < int(match[1])):
        raise UsageError(f"Invalid value for {option}: {text!r}.", "Give a number, or first and last: 10-20.")
    return int(match[1]), int(match[2] or match[1])


def _corrected(dead_letter: StoredDeadLetter, value: Path, key: str | None) -> StoredDeadLetter:
    try:
        data = value.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{value} cannot be read: {error.strerror}.", "Give the file that holds the record."
        ) from error
    # a corrected value is another record: the old error no longer applies
    return replace(
        dead_letter, value=data, key=dead_letter.key if key is None else key.encode(), cut="", error="corrected"
    )


def _show_foreign(
    kafka: Mapping[str, Any], settings: Settings, dead_letter: StoredDeadLetter, out: Path | None, *, contact: bool
) -> None:
    """Show a dead letter of `map run`, whose message is in the topic of another system."""
    from connectors.clock import iso
    from connectors.kafka.positions import read_positions
    from consumers.dead_letters.review import safe_text
    from features.schema import group_name

    messages = read_positions(kafka, group_name(settings.run, "position"), {dead_letter.position})
    message = messages.get(dead_letter.position)
    value = None if message is None else message.value()
    text = "the topic has the message no longer" if message is None else "null"
    if value is not None:
        # nobody knows which fields of another system hold personal data
        text = safe_text(value) if contact else f"({len(value):,} bytes of another system: --contact shows them)"
    rows = {
        "dead letter": f"{dead_letter.number}, written {iso(dead_letter.written_ms)}",
        "message": _position(dead_letter),
        "error": dead_letter.error,
        "value": text,
    }
    shown = [(name, Text(text)) for name, text in rows.items()]
    Console().print(table(None, ("", ""), shown, show_header=False, box=None), soft_wrap=True)
    if out is not None:
        _write_value(out, replace(dead_letter, value=value))


def _write_value(out: Path, dead_letter: StoredDeadLetter) -> None:
    if dead_letter.value is None:
        raise ShopstreamError(f"Dead letter {dead_letter.number} has a null value: there is nothing to write.")
    try:
        out.touch(mode=0o600, exist_ok=False)
        out.write_bytes(dead_letter.value)
    except OSError as error:
        raise ShopstreamError(f"{out} cannot be written: {error.strerror}.", "Give a new file.") from error
    Console(stderr=True).print(f"{len(dead_letter.value):,} bytes written to {out}; they may hold personal data")


# --- printing ---------------------------------------------------------------------------------------------------------


def _print_counts(selected: Sequence[StoredDeadLetter], *, as_json: bool) -> None:
    from consumers.dead_letters.producer import reason_kind

    counts = Counter((dead_letter.topic, reason_kind(dead_letter.error)) for dead_letter in selected).most_common()
    if as_json:
        reasons = [{"topic": topic, "reason": reason, "letters": count} for (topic, reason), count in counts]
        typer.echo(json.dumps({"reasons": reasons}, indent=2))
        return
    rows = [(f"{count:,}", topic, escape(reason)) for (topic, reason), count in counts]
    title = f"{len(selected):,} dead letters"
    Console().print(table(title, ("count", "topic", "reason"), rows, title_justify="left"))


def _print_list(selected: Sequence[StoredDeadLetter], replayed: set[tuple[str, int, int]], limit: int) -> None:
    from connectors.clock import iso
    from consumers.dead_letters.review import safe_text

    rows = [
        (
            str(dead_letter.number),
            iso(dead_letter.written_ms),
            _position(dead_letter),
            "none" if dead_letter.key is None else escape(safe_text(dead_letter.key[:60])),
            escape(dead_letter.error),
            "yes" if dead_letter.position in replayed else "",
        )
        for dead_letter in selected[-limit:]
    ]
    console = Console()
    console.print(table(None, ("number", "written", "message", "key", "reason", "replayed"), rows))
    shown = f", the newest {limit} shown" if len(selected) > limit else ""
    console.print(f"{len(selected):,} dead letters{shown}", highlight=False)


def _print_plan(plan: ReplayPlan, console: Console) -> None:
    from consumers.dead_letters.producer import reason_kind

    held = Counter(reason_kind(reason) for _, reason in plan.held).most_common()
    rows = [(f"{count:,}", escape(f"stay: {reason}")) for reason, count in held]
    if plan.sendable:
        rows.insert(0, (f"{len(plan.sendable):,}", "valid now: to be sent"))
    console.print(table(None, ("count", "action"), rows) if rows else "no dead letter is selected")
    if any(dead_letter.too_late for dead_letter, _ in plan.held):
        console.print(
            "Late records can be counted by a replay of the history: --archive DIR adds them to an archive, and "
            "`shopstream replay DIR --run NEW` sends it in event-time order into a new run.",
            highlight=False,
        )


def _as_json(dead_letter: StoredDeadLetter, *, replayed: bool) -> dict[str, Any]:
    from connectors.clock import iso

    return {
        "letter": dead_letter.number,
        "written": iso(dead_letter.written_ms),
        "topic": dead_letter.topic,
        "partition": dead_letter.partition,
        "offset": dead_letter.offset,
        "key": None if dead_letter.key is None else dead_letter.key.decode("utf-8", "backslashreplace"),
        "bytes": None if dead_letter.value is None else len(dead_letter.value),
        "error": dead_letter.error,
        "cut": dead_letter.cut or None,
        "replayed": replayed,
    }


def _position(dead_letter: StoredDeadLetter) -> str:
    if dead_letter.offset < 0:
        return f"a document of {dead_letter.topic}"
    return f"{dead_letter.topic}[{dead_letter.partition}] {dead_letter.offset}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
