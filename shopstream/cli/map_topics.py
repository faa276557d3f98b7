"""Maps topics of other systems to the topics of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from features.errors import UsageError
from shopstream.cli.options import Answers, AsJson, MappingOfTopic, parse_answers
from shopstream.runtime.tables import table

if TYPE_CHECKING:
    from producers.topic_mapping.examples import ExampleReport

_LINES_SHOWN = 5


def list_mappings(as_json: AsJson = False) -> None:
    """List the ready mappings of topics: what they read and what it becomes.

    Example: `shopstream map list`

    Example: `shopstream map list --json`
    """
    from producers.topic_mapping.ready import ready_summaries

    rows = ready_summaries()
    if as_json:
        typer.echo(json.dumps({"mappings": [one._asdict() for one in rows]}, ensure_ascii=False))
    else:
        Console().print(table(None, ("mapping", "kind", "reads", "source"), rows))


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Ready mapping.")],
    topic: Annotated[
        str | None, typer.Option("--topic", metavar="TOPIC", help="Topic to read, instead of that of the mapping.")
    ] = None,
) -> None:
    """Print a ready mapping as YAML, to save and to adapt to a shop.

    Example: `shopstream map show segment`

    Example: `shopstream map show debezium-orders --topic shopdb.public.orders`
    """
    from producers.topic_mapping.ready import ready_mappings, with_topic

    ready = ready_mappings()
    if name not in ready:
        raise UsageError(f"There is no ready mapping {name}.", f"Give one of {', '.join(ready)}.")
    typer.echo(ready[name] if topic is None else with_topic(ready[name], topic), nl=False)


def check(
    mapping: MappingOfTopic,
    sample: Annotated[
        Path | None,
        typer.Option(
            "--sample", metavar="FILE", help="Examples: a message in each line. Default: MAPPING with .jsonl, if any."
        ),
    ] = None,
    expect: Annotated[
        Path | None,
        typer.Option(
            "--expect", metavar="FILE", help="Expected results. Default: MAPPING with .expected.jsonl, if any."
        ),
    ] = None,
    answers: Answers = None,
    as_json: AsJson = False,
) -> None:
    """Check a mapping of a topic, and map its examples.

    Examples next to a mapping are its tests: `clicks.jsonl` has messages, `clicks.expected.jsonl` their results.
    A ready mapping has examples of its own, with a fixed salt and the zone Europe/Berlin.
    A message with a schema is a line `{"value": BASE64, "headers": {NAME: BASE64}}`; the registry must be running.
    The exit code is 1 if a result differs from the expected one, or if a message without an expectation is refused.

    Example: `shopstream map check clicks.yaml`

    Example: `shopstream map check clicks.yaml --sample today.jsonl --json`

    Example: `shopstream map check woocommerce-orders --sample today.jsonl --set zone=Europe/Berlin`
    """
    from connectors.formats.money_format import UNSET_MONEY
    from producers.topic_mapping.examples import ExampleReport, check_examples
    from producers.topic_mapping.ready import EXAMPLE_ANSWERS, EXAMPLE_SALT, read_topic_mapping, ready_examples
    from shopstream.runtime.logs import configure_logs
    from shopstream.runtime.topic_mapper import open_mapper, registries_of, shop_money
    from shopstream.settings import guest_salt, load_settings

    configure_logs(json=not Console(stderr=True).is_terminal)
    settings = load_settings()
    own = ready_examples(mapping) if sample is None and expect is None and not answers else None
    given = parse_answers(answers) if own is None else EXAMPLE_ANSWERS
    salt = guest_salt(settings) if own is None else EXAMPLE_SALT
    loaded = read_topic_mapping(mapping, given, shop_money(settings) if own is None else UNSET_MONEY)
    mapper = open_mapper(Path(mapping).stem, loaded.mapping, salt, registries_of(settings, [loaded]))
    if own is not None:
        sample, expect = own
    elif ready_examples(mapping) is None:
        file = Path(mapping)
        sample = sample or _existing(file.with_suffix(".jsonl"))
        expect = expect or _existing(file.with_suffix(".expected.jsonl"))
    report = (
        ExampleReport()
        if sample is None
        else check_examples(mapper, mapper.topic, sample, expect, with_bytes=mapper.has_schemas)
    )
    if as_json:
        for one in report.results:
            typer.echo(json.dumps(one, ensure_ascii=False))
    else:
        _print(Console(), report, mapper.topic, sample, expect)
    unexpected = report.expected == 0 and report.reasons("refused")
    if report.differences or unexpected:
        raise typer.Exit(1)


def _existing(file: Path) -> Path | None:
    return file if file.is_file() else None


def _print(console: Console, report: ExampleReport, topic: str, sample: Path | None, expect: Path | None) -> None:
    console.print(f"The mapping of the topic {topic} is valid.", markup=False, highlight=False)
    if sample is None:
        console.print("There are no examples: give --sample FILE.", markup=False, highlight=False)
        return
    rows = [("messages", f"{len(report.results):,}"), ("mapped", f"{report.mapped:,}")]
    for outcome, words in (("left_out", "left out"), ("refused", "refused")):
        rows += [(f"  {words}: {reason}", f"{len(lines):,}") for reason, lines in report.reasons(outcome).items()]
    rows += [(f"records of {name}", f"{count:,}") for name, count in sorted(report.records.items())]
    console.print(table(str(sample), ("", ""), [(text, count) for text, count in rows], text_columns=1))
    for reason, lines in report.reasons("refused").items():
        shown = ", ".join(map(str, lines[:_LINES_SHOWN])) + (", …" if len(lines) > _LINES_SHOWN else "")
        console.print(f"refused, line {shown}: {reason}", markup=False, highlight=False, soft_wrap=True)
    for one in report.differences:
        console.print(f"{expect}, line {one.line} differs", markup=False, highlight=False, style="bold")
        for word, result in (("expected", one.expected), ("mapped", one.mapped)):
            shown = json.dumps({key: value for key, value in result.items() if key != "line"}, ensure_ascii=False)
            console.print(f"  {word:8} {shown}", markup=False, highlight=False, soft_wrap=True)
    if expect is not None:
        agreed = report.expected - len(report.differences)
        console.print(f"{agreed:,} of {report.expected:,} results are as expected.", markup=False, highlight=False)
