"""Declares the options of messages in source shapes, and prints what was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final
from zoneinfo import ZoneInfo

import typer
from rich.console import Console

from features.errors import UsageError
from shopstream.cli.options import chosen
from shopstream.runtime.tables import table

if TYPE_CHECKING:
    from producers.source_shapes.moments import Admission
    from producers.source_shapes.shape import Faults, ShapeReport


PARTITIONS: Final = 4
"""Default partitions of each new topic."""


@dataclass(frozen=True, slots=True)
class ShapeSelection:
    """Options of messages in source shapes."""

    shapes: Annotated[
        str,
        typer.Option(
            "--as",
            metavar="SHAPES",
            help="Write messages of other systems: segment, snowplow, posthog; shopify, woocommerce, debezium.",
        ),
    ] = ""
    poison: Annotated[
        float, typer.Option("--poison", min=0, max=1, help="With --as: broken messages per message, 0-1.")
    ] = 0.0
    zone: Annotated[
        str | None,
        typer.Option("--zone", help="With --as: time zone of the shop, for local times: Europe/Berlin; default: UTC."),
    ] = None
    given_partitions: Annotated[
        int | None,
        typer.Option("--partitions", min=1, max=1_000, help="With --as: partitions of each new topic; default: 4."),
    ] = None

    @property
    def partitions(self) -> int:
        """Partitions of each new topic."""
        return self.given_partitions or PARTITIONS

    def names(self) -> tuple[str, ...]:
        """Return the names of the shapes; none without --as. Raises UsageError."""
        from producers.source_shapes.shapes import SHAPES

        return chosen("--as", self.shapes, SHAPES) if self.shapes else ()

    def checked(self) -> tuple[str, ...]:
        """Return the names of the shapes, after a check that no other option is without its shapes.

        Raises:
            UsageError: an unknown shape or zone, or an option without --as.
        """
        names = self.names()
        if self.poison and not names:
            raise UsageError("--poison needs --as.", "Add --as segment, or use --dirt.")
        for option, value in (("--zone", self.zone), ("--partitions", self.given_partitions)):
            if value is not None and not names:
                raise UsageError(f"{option} needs --as.", "Add --as segment, or remove it.")
        self.time_zone()
        return names

    def time_zone(self) -> ZoneInfo:
        """Return the zone. Raises UsageError."""
        from features.local_times import zone_name

        try:
            return ZoneInfo(zone_name(self.zone or "UTC"))
        except ValueError:
            raise UsageError(f"--zone {self.zone} is no time zone.", "Write it as Europe/Berlin.") from None

    def faults(self, dirt: float, seed: int) -> Faults:
        """Return the faults of the sources."""
        from producers.source_shapes.shape import Faults

        return Faults(dirt, self.poison, seed)


def topics_of(given: Sequence[str], shapes: Sequence[str]) -> dict[str, str]:
    """Parse values of --topic, `SHAPE=NAME`, or `NAME` if there is one shape.

    Raises:
        UsageError: a value names no shape of --as.
    """
    topics = {}
    for one in given:
        shape, equals, name = one.partition("=")
        if not equals and len(shapes) == 1:
            shape, name = shapes[0], one
        if shape not in shapes or not name:
            raise UsageError(
                f"--topic {one} is for no shape of --as.",
                f"Write SHAPE=NAME with one of {', '.join(shapes) or '--as'}.",
            )
        topics[shape] = name
    return topics


def print_shapes(console: Console, admission: Admission, reports: Mapping[str, ShapeReport]) -> bool:
    """Print faults and refused records. Return whether records were refused."""
    rows = [(shape, kind, f"{count:,}") for shape, one in reports.items() for kind, count in sorted(one.faults.items())]
    if rows:
        console.print(table("faults", ("shape", "kind", "messages"), rows, text_columns=2))
    if admission.invalid or admission.repeated:
        console.print(
            f"not written: {admission.invalid:,} invalid records, {admission.repeated:,} repetitions of events",
            highlight=False,
        )
    refused = [("all", reason, f"{count:,}") for reason, count in admission.refused.items()]
    refused += [
        (shape, reason, f"{count:,}") for shape, one in reports.items() for reason, count in one.refused.items()
    ]
    if refused:
        console.print(table("refused records", ("shape", "reason", "records"), refused, text_columns=2))
    return bool(refused)
