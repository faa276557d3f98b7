"""Declares the options that several commands share, and parses their values."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from features.errors import UsageError


def chosen(option: str, text: str, known: Sequence[str], *, may_be_none: bool = False) -> tuple[str, ...]:
    """Parse a comma-separated list of names, each once, in the order of the known ones.

    Args:
        option: name of the option for errors, such as `--roles`.
        text: value of the option.
        known: permitted names.
        may_be_none: whether the list may be empty.

    Raises:
        UsageError: the list has an unknown name, or is empty.
    """
    names = {name.strip() for name in text.split(",") if name.strip()}
    if names - set(known) or not (names or may_be_none):
        unknown = ", ".join(sorted(names - set(known)))
        problem = f"Unknown names in {option}: {unknown}." if unknown else f"{option} is empty."
        none = ", or ''" if may_be_none else ""
        raise UsageError(problem, f"Choose from {', '.join(known)}, separated by commas{none}.")
    return tuple(name for name in known if name in names)


def parse_time(text: str, option: str, zone: str | None = None) -> int:
    """Parse an ISO 8601 date or time to epoch milliseconds. A number of eleven digits or more is epoch milliseconds.

    Args:
        text: value of the option.
        option: name of the option for errors, such as `--from`.
        zone: IANA zone of a time without an offset; None: the setting `shop.time_zone`, else UTC.

    Raises:
        UsageError: the text is no time.
    """
    if text.isdecimal() and len(text) > 10:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"Invalid time for {option}: {text!r}.", "Give ISO 8601: 2025-01-31 or 2025-01-31T18:00:00Z."
        ) from None
    if moment.tzinfo is None:
        from shopstream.settings import load_settings

        moment = moment.replace(tzinfo=ZoneInfo(zone or load_settings().shop.time_zone or "UTC"))
    # not by timestamp(): a float of seconds may fall just short of its millisecond
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def check_range(start_ms: int | None, end_ms: int | None) -> None:
    """Check that the half-open range of `--from` and `--to`, epoch ms, is not empty. Raises UsageError."""
    if start_ms is not None and end_ms is not None and start_ms >= end_ms:
        raise UsageError("The range from --from to --to is empty.", "Give a --to after --from; --to is exclusive.")


def parse_duration_s(text: str, option: str) -> float:
    """Parse a duration to seconds, from `90`, `90s`, `10m`, `1.5h` or `2d`. Raises UsageError, naming the option."""
    units = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
    count = positive(text[:-1] if text[-1:] in units else text)
    if count is None:
        raise UsageError(f"Invalid duration for {option}: {text!r}.", "Give a duration such as 90s, 10m or 1.5h.")
    return count * units.get(text[-1:], 1)


def positive(text: str) -> float | None:
    """Parse a finite number above 0; None for any other text."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None


def parse_answers(given: Sequence[str] | None) -> dict[str, str]:
    """Parse the values of `--set NAME=VALUE`. Raises UsageError."""
    answers = {}
    for one in given or ():
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {one} has no value.", "Write --set NAME=VALUE, such as --set zone=Europe/Berlin.")
        answers[name] = value
    return answers


def parsed_option(option: str, parse: Callable[[str, str], object], metavar: str, text: str) -> Any:
    """Return an option whose values `parse` converts; it gets the value and the name of the option."""
    return typer.Option(option, parser=lambda value: parse(value, option), metavar=metavar, help=text)


def time_option(option: str, text: str) -> Any:
    """Return an option that parses an ISO 8601 time to epoch milliseconds."""
    return parsed_option(option, parse_time, "TIME", text)


def with_options(group: type, parameter: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replace the parameter of a command by the options that the fields of a data class declare.

    Args:
        group: data class whose fields are annotated with options.
        parameter: name of the command's parameter that receives its instance. The options are in its position.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        of_group, own = (inspect.signature(one, eval_str=True).parameters for one in (group, command))
        position = list(own).index(parameter)
        others = [option for name, option in own.items() if name != parameter]
        options = [*others[:position], *of_group.values(), *others[position:]]

        @functools.wraps(command)
        def run(**values: Any) -> None:
            selected = group(**{name: values.pop(name) for name in of_group})
            command(**{parameter: selected}, **values)

        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in options]
        )
        return run

    return decorate


Archive = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the archive.")]
Run = Annotated[str | None, typer.Option("--run", help="Name of the run.", show_default="shop")]
AsOf = Annotated[
    int | None,
    time_option(
        "--as-of",
        "ISO 8601 time of the result, in the shop's zone without one; default: end of the archive, until now.",
    ),
]
From = Annotated[
    int | None, time_option("--from", "Start of the range, ISO 8601, inclusive; without a zone: the shop's.")
]
To = Annotated[int | None, time_option("--to", "End of the range, ISO 8601, exclusive; without a zone: the shop's.")]


@dataclass(frozen=True, slots=True)
class DeadLetterSelection:
    """Options that select dead letters; a dead letter must fit all of them."""

    topic: Annotated[str | None, typer.Option("--topic", help="Source topic of the message: events, shop.events.")] = (
        None
    )
    partition: Annotated[int | None, typer.Option("--partition", help="Source partition of the message.")] = None
    source_offsets: Annotated[
        str | None,
        typer.Option(
            "--source-offsets", metavar="RANGE", help="Offsets of the message in its source topic: 10-20, or 10."
        ),
    ] = None
    numbers: Annotated[
        str | None, typer.Option("--numbers", metavar="RANGE", help="Numbers of the dead letters: 10-20, or 10.")
    ] = None
    reason: Annotated[str, typer.Option("--reason", help="Text in the reason of the rejection.")] = ""
    since_ms: Annotated[int | None, time_option("--from", "Start of the rejection times, ISO 8601, inclusive.")] = None
    until_ms: Annotated[int | None, time_option("--to", "End of the rejection times, ISO 8601, exclusive.")] = None


OutFile = Annotated[
    Path, typer.Option("--out", metavar="FILE", help="Output file: Parquet, or CSV by its suffix.", show_default=False)
]
OutFolder = Annotated[Path, typer.Option("--out", metavar="DIR", help="Output folder.")]
Force = Annotated[bool, typer.Option("--force", help="Replace existing output.")]
Yes = Annotated[bool, typer.Option("--yes", help="Skip the confirmation prompt.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object to standard output.")]

State = Annotated[
    str | None, typer.Option("--state", help="Folder or URI of the checkpoints; default: below the data folder.")
]
UntilEnd = Annotated[
    bool, typer.Option("--until-end", help="Stop at the current end offsets, after a final row of every customer.")
]
FinalAsOf = Annotated[
    int | None, time_option("--as-of", "ISO 8601 time of the final rows; default: the maximum event time.")
]
IndexPii = Annotated[bool, typer.Option("--index-pii", help="Write names and e-mail addresses to the index.")]

Customers = Annotated[int, typer.Option("--customers", help="Number of customers at the end of the history.")]
Events = Annotated[int, typer.Option("--events", help="Exact number of click events in the history.")]
Days = Annotated[int, typer.Option("--days", help="Length of the history in days.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Random seed; the same seed produces the same result.")]
Mappings = Annotated[
    list[str] | None,
    typer.Option("--mapping", help="Built-in mapping or YAML file; one for all files, or one per file."),
]
MappingOfTopic = Annotated[
    str, typer.Argument(metavar="MAPPING", help="Ready mapping (`shopstream map list`), or YAML file with `from`.")
]
Answers = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Value that a mapping asks for, such as the shop's zone."),
]

Bundle = Annotated[
    Path | None,
    typer.Option("--bundle", help="Bundle of models, or folder with a current one; default: that of the data folder."),
]
Tries = Annotated[int, typer.Option("--tries", help="Number of XGBoost settings to try.", min=1, max=200)]
Threads = Annotated[int, typer.Option("--threads", help="Threads for training on this machine.", min=1)]
ForecastDays = Annotated[int, typer.Option("--horizon", help="Number of days to forecast.", min=1, max=180)]


def _days(option: str, text: str, setting: str) -> Any:
    return typer.Option(option, help=text, min=1, max=400, show_default=f"the setting training.{setting}")


Horizon = Annotated[
    int | None, _days("--horizon", "Days after the cut-off without an order that count as churn.", "horizon_days")
]
History = Annotated[int | None, _days("--history", "Minimum days of history before the first cut-off.", "history_days")]
Spacing = Annotated[int | None, _days("--spacing", "Days between two cut-offs.", "spacing_days")]
Cutoffs = Annotated[int | None, _days("--cutoffs", "Maximum number of cut-offs; the latest are used.", "cutoffs_max")]
