"""Defines what became of one attempt to send a notification. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one attempt.

    Attributes:
        kind: `delivered`; `retry`: a later attempt may succeed; `refused`: no repetition of the same request can.
        reason: why it is not delivered, without addresses, tokens and the receiver's text.
        retry_after_s: time that the receiver asks to wait, seconds; None: it does not say.
    """

    kind: Literal["delivered", "retry", "refused"]
    reason: str = ""
    retry_after_s: float | None = None


DELIVERED = Outcome("delivered")
