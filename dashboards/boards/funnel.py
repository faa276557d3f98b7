"""Declares the funnel board: where visits end, how long buying takes, and what would help."""

from __future__ import annotations

import itertools
from typing import Final

from dashboards.boards.data import CHANNEL, COUNTRY, SESSIONS, VISIT_COUNT, channel, country, reached
from dashboards.boards.now import ABANDONED, CONVERSION
from dashboards.conditions import Exists, Is
from dashboards.panels import Control, Dashboard, Dimension, Measure, Panel, Position, Ratio, Steps, Terms, Time
from features.labels import value_label
from features.schema import DEVICES, STAGES

NAMES: Final = {"visit": "Visit", "view": "Product view", "cart": "Cart", "checkout": "Checkout", "purchase": "Order"}
"""Stage -> its name in a step between two stages."""
INTERVENTIONS: Final = {
    "visit": "No product viewed. Improve search, landing pages and recommendations.",
    "view": "Show reviews, stock and delivery time; send browse reminders.",
    "cart": "Send a cart reminder within 24 h; show shipping cost earlier.",
    "checkout": "Offer guest checkout and more payment methods; check for errors.",
}
"""Furthest stage of a visit without an order -> the usual remedy."""

STEPS: Final = tuple(itertools.pairwise(STAGES))
"""Each stage with its next stage."""
_VISITS_WITH_VIEW: Final = Measure("Visits with a product view", "count")


def _step(first: str, last: str) -> str:
    return f"{NAMES[first]} → {NAMES[last].lower()}"


def _count(stage: str) -> Measure:
    return Measure(f"To {stage}", "count", where=reached(stage))


RATES: Final = tuple(Ratio(_step(a, b), _count(b), _count(a)) for a, b in STEPS)
"""Share of the visits of a stage that reach the next one: percent of the previous step."""
OF_FIRST: Final = tuple(Ratio(NAMES[b], _count(b), VISIT_COUNT) for _, b in STEPS)
"""Share of all visits that reach each stage: percent of the first step."""
LOSSES: Final = tuple(Ratio(f"{_step(a, b)} drop-off", _count(b), _count(a), rest=True) for a, b in STEPS)
TIMED: Final = (
    (_step("visit", "view"), "to_view_s"),
    (_step("view", "cart"), "view_to_cart_s"),
    (_step("cart", "checkout"), "cart_to_checkout_s"),
    (_step("checkout", "purchase"), "checkout_to_purchase_s"),
    (_step("visit", "purchase"), "to_purchase_s"),
)
"""Each step, and the whole funnel, with the field that holds its seconds."""
_DEVICE: Final = Terms("Device", "device", len(DEVICES), by="Visits")


def _times(percent: int) -> tuple[Measure, ...]:
    return tuple(Measure(step, "percentile", field, (Exists(field),), "seconds", percent) for step, field in TIMED)


def _breakdown(what: str, dimension: Dimension, position: Position) -> Panel:
    return Panel(
        f"funnel-{what}", f"Funnel by {what}", "Steps as a share of the previous step.",
        SESSIONS, "table", position, (VISIT_COUNT, *RATES, CONVERSION), (dimension,),
    )  # fmt: skip


FUNNEL: Final = Dashboard(
    "funnel",
    "Funnel",
    "How visits turn into orders.",
    days=30,
    controls=(country(SESSIONS), channel(SESSIONS), Control("Device", "device", SESSIONS)),
    panels=(
        *(
            Panel(
                f"funnel-rate-{b}", rate.label, "Share of the previous step.",
                SESSIONS, "metric", Position(12 * n, 0, 12, 6), (rate,),
            )
            for n, ((_, b), rate) in enumerate(zip(STEPS, RATES, strict=True))
        ),
        Panel(
            "funnel-steps", "Purchase funnel", "A visit counts at its furthest step and at all earlier steps.",
            SESSIONS, "bar_horizontal", Position(0, 6, 24, 13),
            (VISIT_COUNT,),
            (
                Steps(
                    "Step",
                    tuple((f"{n} {value_label('stage', stage)}", reached(stage)) for n, stage in enumerate(STAGES, 1)),
                ),
            ),
        ),
        Panel(
            "funnel-lost", "Where visits drop off", "Visits without an order, by the last step that they reached.",
            SESSIONS, "table", Position(24, 6, 24, 13),
            (VISIT_COUNT, Measure("Visitors", "unique", "customer_id")),
            (
                Steps(
                    "Last step reached",
                    tuple((value_label("stage", stage), (Is("stage", (stage,)),)) for stage in STAGES[:-1]),
                    tuple(INTERVENTIONS[stage] for stage in STAGES[:-1]),
                    "Suggestion",
                ),
            ),
            sort=("Visits", True),
        ),
        Panel(
            "funnel-conversion", "Conversion rate over time", "Share of visits with an order.",
            SESSIONS, "line", Position(0, 19, 48, 12),
            (CONVERSION,), (Time("Day", "start_ts", "day"), Terms("Device", "device", len(DEVICES))),
        ),
        Panel(
            "funnel-of-first", "Share of visits reaching each step", "Share of all visits.",
            SESSIONS, "table", Position(0, 31, 48, 8),
            (VISIT_COUNT, *OF_FIRST), (_DEVICE,),
        ),
        Panel(
            "funnel-drop-off", "Step drop-off over time", "Share of visits that do not reach the next step.",
            SESSIONS, "line", Position(0, 39, 24, 12), LOSSES, (Time("Day", "start_ts", "day"),),
        ),
        Panel(
            "funnel-abandoned", "Abandoned carts",
            "Visits with a cart and without an order within 30 minutes of the last click.",
            SESSIONS, "bar", Position(24, 39, 24, 12),
            (Measure("Abandoned carts", "count", where=ABANDONED),), (Time("Day", "start_ts", "day"),),
        ),
        Panel(
            "funnel-median", "Time between steps (median)",
            "From the first event of one step to the first event of the next.",
            SESSIONS, "table", Position(0, 51, 48, 8), (VISIT_COUNT, *_times(50)), (_DEVICE,),
        ),
        Panel(
            "funnel-p90", "Time between steps (90th percentile)", "Nine of ten visits take at most this time.",
            SESSIONS, "table", Position(0, 59, 48, 8), (VISIT_COUNT, *_times(90)), (_DEVICE,),
        ),
        _breakdown("device", _DEVICE, Position(0, 67, 48, 8)),
        _breakdown("channel", Terms("Channel", CHANNEL, 10, by="Visits", other=True), Position(0, 75, 48, 12)),
        Panel(
            "funnel-category", "Funnel by category",
            "Visits by their most viewed category, steps as a share of the previous step.",
            SESSIONS, "table", Position(0, 87, 48, 13),
            (
                _VISITS_WITH_VIEW,
                *RATES[1:],
                Ratio(_step("view", "purchase"), _count("purchase"), _VISITS_WITH_VIEW),
            ),
            (Terms("Category", "category", 12, by=_VISITS_WITH_VIEW.label, other=True),),
            where=reached("view"),
            note="A visit without a product view has no category.",
        ),
        _breakdown("country", Terms("Country", COUNTRY, 12, by="Visits", other=True), Position(0, 100, 48, 13)),
    ),
)  # fmt: skip
