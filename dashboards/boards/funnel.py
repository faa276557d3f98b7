"""Declares the funnel board: where visits end, how long buying takes, and what would help."""

from __future__ import annotations

import itertools
from typing import Final

from dashboards.boards.data import CHANNEL, COUNTRY, SESSION_COUNT, SESSIONS, channel, country, reached
from dashboards.boards.now import ABANDONED, CONVERSION
from dashboards.conditions import Exists, Is
from dashboards.panels import Control, Dashboard, Dimension, Measure, Panel, Position, Ratio, Steps, Terms, Time
from features.schema import STAGES

INTERVENTIONS: Final = {
    "visit": "improve search, landing pages and recommendations: no product was viewed",
    "view": "show reviews, stock and delivery time; send a reminder of viewed products",
    "cart": "send a cart reminder within a day; show delivery cost earlier",
    "checkout": "offer guest checkout and more payment methods; check for errors",
}
"""Furthest stage of a visit without a purchase -> the usual remedy."""

STEPS: Final = tuple(itertools.pairwise(STAGES))
"""Each stage with its next stage."""


def _count(stage: str) -> Measure:
    return Measure(f"To {stage}", "count", where=reached(stage))


RATES: Final = tuple(Ratio(f"{a} → {b}", _count(b), _count(a)) for a, b in STEPS)
"""Share of the sessions of a stage that reach the next one: percent of the previous step."""
OF_FIRST: Final = tuple(Ratio(f"reach {b}", _count(b), SESSION_COUNT) for _, b in STEPS)
"""Share of all sessions that reach each stage: percent of the first step."""
LOSSES: Final = tuple(Ratio(f"lost at {a}", _count(b), _count(a), rest=True) for a, b in STEPS)
TIMED: Final = (
    ("visit → view", "to_view_s"),
    ("view → cart", "view_to_cart_s"),
    ("cart → checkout", "cart_to_checkout_s"),
    ("checkout → purchase", "checkout_to_purchase_s"),
    ("visit → purchase", "to_purchase_s"),
)
"""Each step, and the whole funnel, with the field that holds its seconds."""


def _times(percent: int, word: str) -> tuple[Measure, ...]:
    return tuple(
        Measure(f"{word} {step}", "percentile", field, (Exists(field),), "seconds", percent) for step, field in TIMED
    )


def _breakdown(what: str, dimension: Dimension, position: Position) -> Panel:
    return Panel(
        f"funnel-{what}", f"By {what}", f"Which {what} loses visitors, and at which step?",
        SESSIONS, "table", position, (SESSION_COUNT, *RATES, CONVERSION), (dimension,),
    )  # fmt: skip


FUNNEL: Final = Dashboard(
    "funnel",
    "Funnel",
    "Where do visits end, how long does buying take, and what would help?",
    days=30,
    controls=(
        country(SESSIONS),
        channel(SESSIONS),
        Control("Device", "device", SESSIONS),
        Control("Category", "category", SESSIONS),
    ),
    panels=(
        *(
            Panel(
                f"funnel-rate-{b}", f"{a} → {b}", f"What share of the visits that reach {a} also reaches {b}?",
                SESSIONS, "metric", Position(12 * n, 0, 12, 6), (rate,),
            )
            for n, ((a, b), rate) in enumerate(zip(STEPS, RATES, strict=True))
        ),
        Panel(
            "funnel-steps", "Sessions by stage reached", "How many visits reach each stage?",
            SESSIONS, "bar_horizontal", Position(0, 6, 24, 13),
            (SESSION_COUNT,),
            (Steps("Stage", tuple((f"{n} {stage}", reached(stage)) for n, stage in enumerate(STAGES, 1))),),
            note="A visit counts at its furthest stage and at all earlier ones. The tiles above show percent of the "
            "previous stage, the table below percent of the first.",
        ),
        Panel(
            "funnel-lost", "Where visits end, and what helps", "Which step loses most visits, and what would help?",
            SESSIONS, "table", Position(24, 6, 24, 13),
            (SESSION_COUNT, Measure("Customers", "unique", "customer_id")),
            (
                Steps(
                    "Ended at: what helps",
                    tuple((f"{stage}: {INTERVENTIONS[stage]}", (Is("stage", (stage,)),)) for stage in STAGES[:-1]),
                ),
            ),
            sort=("Sessions", True),
        ),
        Panel(
            "funnel-of-first", "Percent of all visits", "What share of all visits reaches each stage?",
            SESSIONS, "table", Position(0, 19, 48, 8),
            (SESSION_COUNT, *OF_FIRST), (Terms("Device", "device", 3, by="Sessions"),),
        ),
        Panel(
            "funnel-drop-off", "Drop-off over time", "Does a step become worse?",
            SESSIONS, "line", Position(0, 27, 24, 12), LOSSES, (Time("Day", "start_ts", "day"),),
        ),
        Panel(
            "funnel-abandoned", "Abandoned carts over time", "How many carts are abandoned?",
            SESSIONS, "bar", Position(24, 27, 24, 12),
            (Measure("Abandoned carts", "count", where=ABANDONED),), (Time("Day", "start_ts", "day"),),
            note="A cart counts as abandoned half an hour after the last click of a visit without a purchase.",
        ),
        Panel(
            "funnel-median", "Time to convert: median", "How long does each step take at the median?",
            SESSIONS, "table", Position(0, 39, 48, 8),
            (SESSION_COUNT, *_times(50, "median")), (Terms("Device", "device", 3, by="Sessions"),),
            note="Seconds from the first event of one stage to the first event of the next.",
        ),
        Panel(
            "funnel-p90", "Time to convert: 90th percentile", "How long does each step take at the 90th percentile?",
            SESSIONS, "table", Position(0, 47, 48, 8),
            (SESSION_COUNT, *_times(90, "p90")), (Terms("Device", "device", 3, by="Sessions"),),
        ),
        _breakdown("device", Terms("Device", "device", 3, by="Sessions"), Position(0, 55, 24, 10)),
        _breakdown("channel", Terms("Channel", CHANNEL, 10, by="Sessions"), Position(24, 55, 24, 10)),
        _breakdown("category", Terms("Category", "category", 12, by="Sessions"), Position(0, 65, 24, 12)),
        _breakdown("country", Terms("Country", COUNTRY, 12, by="Sessions"), Position(24, 65, 24, 12)),
    ),
)  # fmt: skip
