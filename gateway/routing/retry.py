"""Trying again: how often, after how long, and out of which budget."""

import time

from gateway.core.errors import UpstreamError
from gateway.routing.chance import chance

MOST_ATTEMPTS = 5  # for one call, unless its route has more targets: each gets its chance
LONGEST_WAIT_SECONDS = 2.0  # a Retry-After up to this is waited for once
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 1.0
LAST_CHANCE_SECONDS = 1.0  # with less than this left of a call's time no further attempt begins
NOT_AGAIN = frozenset({501, 505})

SHARE_OF_CALLS = 0.1
PER_SECOND = 2.5
MOST_SAVED = 5.0


class RetryBudget:
    """Retries that a route may still make: a tenth of its calls and a few a second, so that a failing provider is
    not hit harder than a healthy one. Trying *another* target is no retry and costs nothing here."""

    __slots__ = ("_at", "_left", "_per_second", "_share")

    def __init__(self, share: float = SHARE_OF_CALLS, per_second: float = PER_SECOND) -> None:
        self._share, self._per_second = share, per_second
        self._left = 2.0
        self._at = time.monotonic()

    def call(self) -> None:
        """A call began."""
        if self._left < MOST_SAVED:
            self._left += self._share

    def take(self) -> bool:
        """Take one retry if there is one."""
        now = time.monotonic()
        self._left = min(MOST_SAVED, self._left + self._per_second * (now - self._at))
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


def pause_before(error: UpstreamError, tries: int) -> float | None:
    """Seconds to wait before the same target is tried again; None when it should not be.

    `tries` counts what it was tried already. A connection that broke is tried again at once, on another one; a busy
    or failing server after a pause with full jitter; silence and nonsense not at all, for they cost time or money.
    """
    if error.kind == "connect":
        return 0.0 if tries == 1 else jitter(tries)
    if error.kind == "server_error" and error.upstream_status not in NOT_AGAIN:
        if error.retry_after is None:
            return jitter(tries)
        return error.retry_after if error.retry_after <= LONGEST_WAIT_SECONDS else None
    if error.kind == "rate_limit":
        if error.retry_after is None:
            return None
        return error.retry_after if error.retry_after <= LONGEST_WAIT_SECONDS and tries == 1 else None
    return None


def jitter(tries: int) -> float:
    """Full jitter: anything between nothing and 50 ms · 2^tries, at most a second."""
    return chance.uniform(0.0, min(FIRST_PAUSE_SECONDS * 2**tries, LONGEST_PAUSE_SECONDS))
