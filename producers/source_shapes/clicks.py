"""Provides what all click systems have: browsers, their clocks, and the times at which calls are sent and received."""

from __future__ import annotations

import functools
import hashlib
import uuid
from dataclasses import dataclass
from typing import Final

from features.schema import HOUR_MS, SECOND_MS, Event
from producers.source_shapes.draws import DailyDraws
from producers.source_shapes.shape import DELIVERY_MS_MAX, Faults

MINUTE_MS: Final = 60 * SECOND_MS
_CHROME: Final = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0"
_WEBKIT: Final = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4"
_ON_IOS: Final = "Mobile/15E148 Safari/604.1"
USER_AGENTS: Final[dict[str, tuple[str, ...]]] = {
    "desktop": (
        f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_CHROME} Safari/537.36",
        f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_CHROME} Safari/537.36",
        f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_WEBKIT} Safari/605.1.15",
        "Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0",
    ),
    "mobile": (
        f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) {_WEBKIT} {_ON_IOS}",
        f"Mozilla/5.0 (Linux; Android 14; Pixel 8) {_CHROME} Mobile Safari/537.36",
        f"Mozilla/5.0 (Linux; Android 13; SM-A546B) {_CHROME} Mobile Safari/537.36",
    ),
    "tablet": (
        f"Mozilla/5.0 (iPad; CPU OS 17_4 like Mac OS X) {_WEBKIT} {_ON_IOS}",
        f"Mozilla/5.0 (Linux; Android 13; SM-X200) {_CHROME} Safari/537.36",
    ),
}
"""Device -> user agents of its browsers."""
ROBOT: Final = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
MEDIA: Final = {
    "paid_search": "cpc", "email": "email", "social": "social", "referral": "referral", "affiliate": "affiliate",
    "organic_search": "organic",
}  # fmt: skip
"""Channel -> medium of a campaign (utm_medium)."""

_SENT_AFTER_MS: Final = (20, 2 * SECOND_MS)
"""Clients send their calls in small batches."""
_NETWORK_MS: Final = (30, 400)
_OFFLINE_MS: Final = (MINUTE_MS, 6 * HOUR_MS)
_WRONG_CLOCK_MS: Final = (5 * MINUTE_MS, 6 * HOUR_MS)
"""Size of the fault of a wrong clock: far above the network's time and the 60 seconds that mappings tolerate."""
_LONG_RETRY_SHARE: Final = 0.3
_WHOLE_RETRY_MS: Final = (SECOND_MS, 40 * SECOND_MS)


@dataclass(frozen=True, slots=True)
class CallTimes:
    """Times of a call, epoch ms.

    The call happened at `original` by the client's clock and was sent at `sent` by it; the server received it at
    `received` by its own. If the two clocks differ by more than a minute, the true time is original + received - sent,
    otherwise it is original.
    """

    original_ms: int
    sent_ms: int
    received_ms: int

    @property
    def corrected_ms(self) -> int:
        """The server's time of the call: received - (sent - original)."""
        return self.received_ms - (self.sent_ms - self.original_ms)


@functools.lru_cache(maxsize=100_000)
def made_id(*parts: str) -> str:
    """Return an id in the form of a UUID that depends on the parts."""
    digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=16).digest()
    return str(uuid.UUID(bytes=digest, version=4))


class Clients:
    """Browsers of a shop: their ids, user agents and clocks.

    Args:
        faults: share of wrong clocks, of calls that wait offline and of retries; seed of the ids.
        draws: random numbers of the shape.
    """

    def __init__(self, faults: Faults, draws: DailyDraws) -> None:
        self._faults = faults
        self._draws = draws
        self._wrong_by_ms: dict[str, int] = {}

    def begin_day(self) -> None:
        """Set all clocks again."""
        self._wrong_by_ms.clear()

    def visitor(self, event: Event) -> str:
        """Return the id of the event's browser. It depends on customer and device."""
        return made_id(str(self._faults.seed), event.customer_id, event.device)

    def stranger(self, event: Event) -> str:
        """Return the id of another browser, which has no user."""
        return made_id(str(self._faults.seed), event.event_id, "stranger")

    def user_agent(self, event: Event) -> str:
        """Return the user agent of the event's browser."""
        agents = USER_AGENTS[event.device]
        return agents[int(self.visitor(event)[:4], 16) % len(agents)]

    def times(self, visitor: str, ts_ms: int) -> CallTimes:
        """Return the times of a browser's call that happened at a time."""
        late = self._draws.happens(self._faults.dirt * _LONG_RETRY_SHARE)
        waits_ms = self._draws.whole(*(_OFFLINE_MS if late else _SENT_AFTER_MS))
        wrong_by_ms = self._wrong_by(visitor)
        if wrong_by_ms:
            # the difference between the clocks, with the time in the network
            return CallTimes(ts_ms - wrong_by_ms, ts_ms - wrong_by_ms + waits_ms, ts_ms + waits_ms)
        sent_ms = ts_ms + waits_ms
        return CallTimes(ts_ms, sent_ms, sent_ms + self._draws.whole(*_NETWORK_MS))

    def retry(self, times: CallTimes, ts_ms: int) -> CallTimes:
        """Return the times of the same call sent again, seconds or hours later. It happened at the same time."""
        after_ms = self._draws.whole(*_WHOLE_RETRY_MS)
        if self._draws.happens(_LONG_RETRY_SHARE):
            after_ms = self._draws.whole(*_OFFLINE_MS)
        after_ms = min(after_ms, ts_ms + DELIVERY_MS_MAX - MINUTE_MS - times.received_ms)
        difference_ms = times.received_ms - times.sent_ms
        if abs(difference_ms) < MINUTE_MS:
            difference_ms = self._draws.whole(*_NETWORK_MS)
        sent_ms = times.sent_ms + after_ms
        return CallTimes(times.original_ms, sent_ms, sent_ms + difference_ms)

    def _wrong_by(self, visitor: str) -> int:
        """Return received - sent of a browser whose clock is wrong today; 0 of all others."""
        wrong_by_ms = self._wrong_by_ms.get(visitor)
        if wrong_by_ms is None:
            wrong_by_ms = 0
            if self._draws.happens(self._faults.dirt):
                wrong_by_ms = self._draws.one_of((-1, 1)) * self._draws.whole(*_WRONG_CLOCK_MS)
            self._wrong_by_ms[visitor] = wrong_by_ms
        return wrong_by_ms
