"""`dead-letters list|show|replay`: lists and shows rejected records, and replays them after a fix."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from connectors.clock import iso
from features.errors import ShopstreamError, UsageError

if TYPE_CHECKING:
    from consumers.dead_letters.review import DeadLetterFilter, ReplayPlan, StoredDeadLetter
    from shopstream.settings import Settings

RunOption = Annotated[str | None, typer.Option("--run", help="The run whose letters; default: shop.")]
TopicOption = Annotated[str | None, typer.Option("--topic", help="Of messages of this topic: events, shop.events.")]
PartitionOption = Annotated[int | None, typer.Option("--partition", help="Of messages of this partition.")]
OffsetsOption = Annotated[str | None, typer.Option("--offsets", help="Of messages at these offsets: 10-20, or 10.")]
LettersOption = Annotated[str | None, typer.Option("--letters", help="Letters of these numbers: 10-20, or 10.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Whose reason has this text in it.")]
FromOption = Annotated[str | None, typer.Option("--from", help="Written at this ISO 8601 time or later.")]
ToOption = Annotated[str | None, typer.Option("--to", help="Written before this ISO 8601 time.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    group = typer.Typer(help="Records that did not count: list them, show one, send them back.", no_args_is_help=True)
    group.command("list")(list_letters)
    group.command("show")(show)
    group.command("replay")(replay)
    app.add_typer(group, name="dead-letters")


def list_letters(  # noqa: PLR0917 - typer makes an option of each
    topic: TopicOption = None,
    partition: PartitionOption = None,
    offsets: OffsetsOption = None,
    letters: LettersOption = None,
    reason: ReasonOption = "",
    from_: FromOption = None,
    to: ToOption = None,
    by_reason: Annotated[bool, typer.Option("--by-reason", help="Count by kind of reason instead.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="The newest so many.")] = 50,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on standard output, without a limit.")
    ] = False,
    run: RunOption = None,
) -> None:
    """List dead letters, the newest last: number, when, where its message stood, key, reason, and if it was replayed.

    Values are not shown: they may hold personal data.

    Example: `shopstream dead-letters list --topic orders --reason total --by-reason`
    """
    from consumers.dead_letters.store import read_replayed

    settings, kafka = _open(run)
    choice = _choice(settings, topic, partition, offsets, letters, reason, from_, to)
    found = _chosen(kafka, settings, choice)
    replayed = read_replayed(kafka, settings.run)
    if by_reason:
        _show_counts(found, as_json=as_json)
    elif as_json:
        rows = [_as_json(letter, replayed=letter.place in replayed) for letter in found]
        typer.echo(json.dumps({"run": settings.run, "letters": rows}, indent=2))
    else:
        _show_table(found, replayed, limit)


def show(
    number: Annotated[int, typer.Argument(metavar="LETTER", help="Its number, as `list` shows it.")],
    contact: Annotated[bool, typer.Option("--contact", help="Show names and e-mail addresses.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the value's bytes to this new file, names and addresses too.")
    ] = None,
    run: RunOption = None,
) -> None:
    """Show one dead letter: where its message stood, what is wrong, its key and its value.

    Names and e-mail addresses are masked unless --contact is given. --out writes the bytes as they came, for
    `replay --letters LETTER --value FILE` after a correction.

    Example: `shopstream dead-letters show 17 --out letter-17.json`
    """
    from rich.table import Table

    from consumers.dead_letters.review import DeadLetterFilter, readable, safe_text, source_of, verdict

    settings, kafka = _open(run)
    letter = _one(kafka, settings, DeadLetterFilter(numbers=(number, number)), number)
    table = Table(show_header=False, box=None)
    source = source_of(letter.topic, settings.run)
    now = "" if source is None else verdict(source, letter.key, letter.value, _now_ms()) or "valid"
    rows = {
        "letter": f"{letter.number}, written {iso(letter.written_ms)}",
        "message": _place(letter),
        "wrong": letter.error,
        "judged now": f"{now}, but too late" if letter.too_late and now == "valid" else now,
        "key": "none" if letter.key is None else safe_text(letter.key),
        "size": "none" if letter.value is None else f"{len(letter.value):,} bytes",
        "cut": letter.cut,
        "value": readable(letter, contact=contact),
    }
    from rich.text import Text

    for name, text in rows.items():
        if text:
            table.add_row(name, Text(text))
    Console().print(table, soft_wrap=True)
    if out is not None:
        _write_value(out, letter)


def replay(  # noqa: PLR0917 - typer makes an option of each
    topic: TopicOption = None,
    partition: PartitionOption = None,
    offsets: OffsetsOption = None,
    letters: LettersOption = None,
    reason: ReasonOption = "",
    from_: FromOption = None,
    to: ToOption = None,
    value: Annotated[
        Path | None, typer.Option("--value", help="Send this file's bytes instead; --letters names the one letter.")
    ] = None,
    key: Annotated[str | None, typer.Option("--key", help="With --value: another key.")] = None,
    archive: Annotated[
        Path | None, typer.Option("--archive", help="Write the records into this archive instead of the topics.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    run: RunOption = None,
) -> None:
    """Send dead letters back to their topics, with their keys, once what was wrong is mended.

    Each is judged first as the consumers would judge it now; what is still not valid stays. A letter that was replayed
    is remembered and not sent again. What came too late would be too late again: with --archive its record is written
    into an archive, which `shopstream replay DIR --run NEW` sends in the order of time into a new run.

    Example: `shopstream dead-letters replay --topic orders --reason total --dry-run`
    """
    from consumers.dead_letters.review import sort_out
    from consumers.dead_letters.store import read_replayed, remember, send_back
    from consumers.dead_letters.to_archive import add_to_archive

    if value is not None and (archive is not None or letters is None or "-" in letters):
        raise UsageError("--value is for one letter.", "Name it by --letters NUMBER, and give no --archive.")
    if key is not None and value is None:
        raise UsageError("--key goes with --value.", "Give both, or neither.")
    settings, kafka = _open(run)
    choice = _choice(settings, topic, partition, offsets, letters, reason, from_, to)
    found = _chosen(kafka, settings, choice)
    if value is not None:
        found = [_corrected(letter, value, key) for letter in found]
    replayed = read_replayed(kafka, settings.run)
    late = archive is not None or value is not None
    done = sort_out(found, settings.run, lambda letter: letter.place in replayed, _now_ms(), late=late)
    console = Console()
    _tell(done, console)
    if not done.sendable or dry_run:
        return
    where = str(archive) if archive is not None else "their topics"
    if not yes:
        typer.confirm(f"Send {len(done.sendable)} records to {where}?", abort=True)
    if archive is None:
        send_back(kafka, settings.run, done.sendable)
    else:
        files = add_to_archive(archive, settings.run, done.sendable, _now_ms())
        remember(kafka, settings.run, done.sendable, f"the archive {archive}")
        console.print(
            f"{len(files)} files written; `shopstream replay {archive} --run NEW` sends them", highlight=False
        )
    console.print(f"{len(done.sendable)} records sent to {where}", highlight=False)


# --- reading ----------------------------------------------------------------------------------------------------------


def _open(run: str | None) -> tuple[Settings, Mapping[str, Any]]:
    from shopstream import embedded
    from shopstream.cli import known_runs
    from shopstream.settings import load_settings

    settings = load_settings(run=run)
    if run is not None:
        known_runs.check_anywhere(settings)
    return settings, embedded.kafka_endpoint(settings).client_properties()


def _chosen(kafka: Mapping[str, Any], settings: Settings, choice: DeadLetterFilter) -> list[StoredDeadLetter]:
    from consumers.dead_letters.review import once
    from consumers.dead_letters.store import read_letters

    return once(letter for letter in read_letters(kafka, settings.run) if choice.takes(letter))


def _one(kafka: Mapping[str, Any], settings: Settings, choice: DeadLetterFilter, number: int) -> StoredDeadLetter:
    found = _chosen(kafka, settings, choice)
    if not found:
        raise ShopstreamError(
            f"There is no dead letter {number} in run {settings.run}.", "`shopstream dead-letters list` shows them."
        )
    return found[0]


def _choice(
    settings: Settings,
    topic: str | None,
    partition: int | None,
    offsets: str | None,
    letters: str | None,
    reason: str,
    from_: str | None,
    to: str | None,
) -> DeadLetterFilter:
    from consumers.dead_letters.review import DeadLetterFilter
    from features.schema import SOURCE_TOPICS, topic_name
    from shopstream.cli.options import parse_time

    return DeadLetterFilter(
        numbers=_bounds(letters, "--letters"),
        topic=topic_name(settings.run, topic) if topic in SOURCE_TOPICS else topic,
        partition=partition,
        offsets=_bounds(offsets, "--offsets"),
        reason=reason,
        since_ms=None if from_ is None else parse_time(from_, "--from"),
        until_ms=None if to is None else parse_time(to, "--to"),
    )


def _bounds(text: str | None, option: str) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", text, re.ASCII)
    if found is None or (found[2] and int(found[2]) < int(found[1])):
        raise UsageError(f"{option} is {text!r}.", "Give a number, or first and last: 10-20.")
    return int(found[1]), int(found[2] or found[1])


def _corrected(letter: StoredDeadLetter, value: Path, key: str | None) -> StoredDeadLetter:
    from dataclasses import replace

    try:
        data = value.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{value} cannot be read: {error.strerror}.", "Give the file that holds the record."
        ) from error
    # a corrected value is another record: the old error no longer applies
    return replace(letter, value=data, key=letter.key if key is None else key.encode(), cut="", error="corrected")


def _write_value(out: Path, letter: StoredDeadLetter) -> None:
    if letter.value is None:
        raise ShopstreamError(f"Letter {letter.number} has a null value: there is nothing to write.")
    try:
        out.touch(mode=0o600, exist_ok=False)
        out.write_bytes(letter.value)
    except OSError as error:
        raise ShopstreamError(f"{out} cannot be written: {error.strerror}.", "Give a new file.") from error
    Console(stderr=True).print(f"{len(letter.value):,} bytes written to {out}; they may hold personal data")


# --- showing ----------------------------------------------------------------------------------------------------------


def _show_counts(found: Sequence[StoredDeadLetter], *, as_json: bool) -> None:
    from rich.table import Table

    from consumers.dead_letters.producer import reason_kind

    counts = Counter((letter.topic, reason_kind(letter.error)) for letter in found)
    if as_json:
        rows = [{"topic": topic, "reason": reason, "letters": n} for (topic, reason), n in counts.most_common()]
        typer.echo(json.dumps({"reasons": rows}, indent=2))
        return
    table = Table("letters", "topic", "reason", title=f"{len(found):,} letters", title_justify="left")
    for (topic, reason), count in counts.most_common():
        table.add_row(f"{count:,}", topic, _plain(reason))
    Console().print(table)


def _show_table(found: Sequence[StoredDeadLetter], replayed: set[tuple[str, int, int]], limit: int) -> None:
    from rich.table import Table

    from consumers.dead_letters.review import safe_text

    table = Table("letter", "written", "message", "key", "reason", "replayed")
    for letter in found[-limit:]:
        key = "none" if letter.key is None else safe_text(letter.key[:60])
        again = "yes" if letter.place in replayed else ""
        table.add_row(
            str(letter.number), iso(letter.written_ms), _place(letter), _plain(key), _plain(letter.error), again
        )
    console = Console()
    console.print(table)
    shown = f", the newest {limit} shown" if len(found) > limit else ""
    console.print(f"{len(found):,} letters{shown}", highlight=False)


def _tell(done: ReplayPlan, console: Console) -> None:
    from rich.table import Table

    from consumers.dead_letters.producer import reason_kind

    table = Table("letters", "what becomes of them")
    if done.sendable:
        table.add_row(f"{len(done.sendable):,}", "valid now: to be sent")
    for why, count in Counter(reason_kind(why) for _, why in done.held).most_common():
        table.add_row(f"{count:,}", _plain(f"stay: {why}"))
    console.print(table if done.sendable or done.held else "no letter is chosen")
    if any(letter.too_late for letter, _ in done.held):
        console.print(
            "What came too late can be counted by running history again: --archive DIR adds the records to an archive, "
            "and `shopstream replay DIR --run NEW` sends it in the order of time into a new run.",
            highlight=False,
        )


def _as_json(letter: StoredDeadLetter, *, replayed: bool) -> dict[str, Any]:
    return {
        "letter": letter.number,
        "written": iso(letter.written_ms),
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "key": None if letter.key is None else letter.key.decode("utf-8", "backslashreplace"),
        "bytes": None if letter.value is None else len(letter.value),
        "error": letter.error,
        "cut": letter.cut or None,
        "replayed": replayed,
    }


def _place(letter: StoredDeadLetter) -> str:
    if letter.offset < 0:
        return f"a document of {letter.topic}"
    return f"{letter.topic}[{letter.partition}] {letter.offset}"


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
