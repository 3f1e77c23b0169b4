"""Who is down: one circuit for each (provider, base URL, model, credential).

    closed      calls pass. Opens after 5 failures in a row, or at half of at least 20 calls within 10 s
                of at least 10 calls with more failures than answers a part is held back before it comes to that
    open        no call passes until its time is over: 5 s, ±20 %, longer each time it opens again after a slow failure
    half open   one call at a time passes as a probe; two successes in a row close it, a failure opens it

Failures are what the target did wrong: no connection, silence, 5xx, nonsense. A caller's bad request is none, and
neither is a rate limit: that makes the target cool off until its `Retry-After`. Times are time.monotonic().
"""

import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from gateway.core.call import Target
from gateway.routing.chance import chance

FAILURES_IN_A_ROW = 5
WINDOW_SECONDS = 10.0
WINDOW_CALLS = 20
OPEN_SECONDS = 5.0
LONGEST_OPEN_SECONDS = 60.0
SUCCESSES_TO_CLOSE = 2
HEALTHY_SECONDS = 30.0  # closed for so long, one ejection is forgotten
LONGEST_COOL_SECONDS = 300.0
THROTTLE_CALLS = 10
THROTTLE = 2.0  # so many calls for each answer are let through: Google's SRE book, chapter 21, "client-side throttling"
COOL_SECONDS = 1.0  # for a rate limit without Retry-After

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half_open"


class Change(NamedTuple):
    """One change of a circuit's state, for people to read."""

    at: float  # time.time()
    state: str
    why: str


class Circuit:
    """The state of one place that attempts go to."""

    __slots__ = (
        "_bad",
        "_bad_before",
        "_closed_at",
        "_half_window_at",
        "_in_a_row",
        "_ok",
        "_ok_before",
        "_probing",
        "_proofs",
        "base_url",
        "blocked_until",
        "cool_until",
        "credential",
        "ejections",
        "history",
        "last_failure",
        "listener",
        "model",
        "provider",
        "state",
        "target",
        "throttle",
    )

    def __init__(self, target: Target, listener: Callable[["Circuit", str, str], None] | None = None) -> None:
        self.target, self.listener = target, listener
        self.provider, self.base_url = target.provider, target.base_url
        self.model, self.credential = target.upstream, target.credential
        self.state = CLOSED
        self.blocked_until = 0.0  # open or cooling until then: the one number that the common path looks at
        self.cool_until = 0.0
        self.throttle = 0.0  # the share of calls that is held back
        self.ejections = 0
        self.last_failure = ""
        self.history: deque[Change] = deque(maxlen=50)
        self._in_a_row = 0
        self._ok = self._bad = self._ok_before = self._bad_before = 0
        self._half_window_at = 0.0
        self._probing = False
        self._proofs = 0
        self._closed_at = 0.0

    def admits(self, now: float) -> bool:
        """Whether a call may go there now; in the half-open state it takes the place of the probe."""
        if now < self.blocked_until:
            return False
        if self.state is CLOSED:
            return not self.throttle or not self._holds_back(now)
        if self._probing:
            return False
        if self.state is OPEN:
            self._turn(HALF_OPEN, "probing")
            self._proofs = 0
        self._probing = True
        return True

    def succeeded(self, now: float) -> None:
        self._in_a_row = 0
        if now - self._half_window_at > WINDOW_SECONDS / 2:
            self._rotate(now)
        self._ok += 1
        if self.throttle:
            self._adapt()
        if now < self.blocked_until and self.state is CLOSED:  # ejected, asked all the same, and it works again
            self.blocked_until = self.cool_until
        if self.state is OPEN:  # asked all the same, because every target was out: the best news there is
            self.blocked_until, self._proofs = self.cool_until, 0
            self._turn(HALF_OPEN, "answered while open")
        if self.state is not CLOSED:
            self._probing = False
            self._proofs += 1
            if self._proofs >= SUCCESSES_TO_CLOSE:
                self._closed_at = now
                self._ok_before = self._bad_before = self._ok = self._bad = 0
                self._turn(CLOSED, f"{self._proofs} probes answered")

    def failed(self, now: float, why: str, *, instant: bool = False) -> None:
        """`instant`: the failure cost no time, so trying again soon costs none either."""
        self.last_failure = why
        self._in_a_row += 1
        if now - self._half_window_at > WINDOW_SECONDS / 2:
            self._rotate(now)
        self._bad += 1
        if self.state is OPEN:
            return  # sent before it opened, or because every target was out: that it is down is known
        if self.state is HALF_OPEN:
            self._probing = False
            self._open(now, why, instant=instant)
            return
        bad, calls = self._bad + self._bad_before, self._bad + self._bad_before + self._ok + self._ok_before
        if self._in_a_row >= FAILURES_IN_A_ROW:
            self._open(now, f"{self._in_a_row} failures in a row: {why}", instant=instant)
        elif calls >= WINDOW_CALLS and 2 * bad >= calls:
            self._open(now, f"{bad} of {calls} calls failed: {why}", instant=instant)
        else:
            self._adapt()

    def released(self) -> None:
        """A call that was let in ended without saying anything about the target."""
        self._probing = False

    def cool(self, now: float, seconds: float | None, why: str) -> None:
        """Send nothing there for so long (None: a moment, spread out), because the provider asked for it."""
        self._probing = False
        pause = COOL_SECONDS * (1 + chance.random()) if seconds is None else min(seconds, LONGEST_COOL_SECONDS)
        self.cool_until = max(self.cool_until, now + pause)
        self.blocked_until = max(self.blocked_until, self.cool_until)
        self.last_failure = why

    def eject(self, now: float, seconds: float, why: str) -> None:
        """Send nothing there for so long, while there is anybody else to ask: nobody asked us to wait."""
        self._probing = False
        self.blocked_until = max(self.blocked_until, now + seconds)
        self.last_failure = why

    def hold_open(self, now: float, seconds: float, why: str) -> None:
        """Be open for so much longer: an active check found it still down, or another worker says so."""
        self.last_failure = self.last_failure or "reported"
        if self.state is CLOSED:
            self.state = OPEN  # without telling the others: it is from them
            self.history.append(Change(time.time(), OPEN, why))
        self.blocked_until = max(self.blocked_until, now + seconds)

    def try_soon(self, now: float) -> None:
        """Another worker had answers: the next call probes."""
        if self.state is OPEN:
            self.blocked_until = max(now, self.cool_until)

    def why_not(self, now: float) -> str:
        """Why no call may go there now, for the decision record."""
        if now < self.cool_until:
            return f"cooling off for {self.cool_until - now:.1f} s more ({self.last_failure})"
        if self.state is HALF_OPEN:
            return "being probed"
        if self.state is CLOSED and self.throttle and now >= self.blocked_until:
            return f"held back for a part of the calls, because most fail ({self.last_failure})"
        if self.state is CLOSED:
            return f"left out for {max(0.0, self.blocked_until - now):.1f} s more ({self.last_failure})"
        return f"circuit open for {max(0.0, self.blocked_until - now):.1f} s more ({self.last_failure})"

    @property
    def calls(self) -> tuple[int, int]:
        """(answered, failed) within the last 5 to 10 seconds."""
        if time.monotonic() - self._half_window_at > WINDOW_SECONDS:
            return 0, 0
        return self._ok + self._ok_before, self._bad + self._bad_before

    def _adapt(self) -> None:
        """Hold back as many calls as came without an answer, once more of them fail than are answered."""
        answered = self._ok + self._ok_before
        calls = answered + self._bad + self._bad_before
        self.throttle = max(0.0, (calls - THROTTLE * answered) / (calls + 1)) if calls >= THROTTLE_CALLS else 0.0

    def _holds_back(self, now: float) -> bool:
        if now - self._half_window_at > WINDOW_SECONDS:
            self.throttle = 0.0
            return False
        return chance.random() < self.throttle

    def _open(self, now: float, why: str, *, instant: bool) -> None:
        if now - self._closed_at > HEALTHY_SECONDS and self.state is CLOSED:
            self.ejections = max(0, self.ejections - int((now - self._closed_at) / HEALTHY_SECONDS))
        self.ejections += 1
        length = OPEN_SECONDS if instant else min(OPEN_SECONDS * self.ejections, LONGEST_OPEN_SECONDS)
        self.blocked_until = max(self.cool_until, now + length * chance.uniform(0.8, 1.2))
        self._turn(OPEN, why)

    def _turn(self, state: str, why: str) -> None:
        self.state, self.throttle = state, 0.0
        self.history.append(Change(time.time(), state, why))
        if self.listener is not None:
            self.listener(self, state, why)

    def _rotate(self, now: float) -> None:
        stale = now - self._half_window_at > WINDOW_SECONDS
        self._ok_before, self._bad_before = (0, 0) if stale else (self._ok, self._bad)
        self._ok = self._bad = 0
        self._half_window_at = now
