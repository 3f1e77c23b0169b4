"""What this worker knows about providers: their circuits, their speed, the routes' retry budgets."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from gateway.core.call import Target
from gateway.routing.breaker import CLOSED, Circuit
from gateway.routing.retry import RetryBudget

SAMPLES = 200
RECENT_SECONDS = 300.0
SHOWN_CHANGES = 20
HEDGED_SHARE = 0.02
MOST_TOLD = 1000
FRESH_SECONDS = 1.0  # percentiles are computed at most so often


class Speed:
    """Times to the first token of one model at one provider, in seconds."""

    __slots__ = ("_computed_at", "_p50", "_p95", "_samples")

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=SAMPLES)
        self._computed_at = -FRESH_SECONDS
        self._p50: float | None = None
        self._p95: float | None = None

    def note(self, now: float, seconds: float) -> None:
        self._samples.append((now, seconds))

    def percentiles(self, now: float) -> tuple[float | None, float | None]:
        """(p50, p95) of the last five minutes; None, None when nothing was measured."""
        if now - self._computed_at >= FRESH_SECONDS:
            samples = self._samples.copy()  # pages ask from other threads
            recent = sorted(seconds for at, seconds in samples if now - at <= RECENT_SECONDS)
            self._p50 = recent[len(recent) // 2] if recent else None
            self._p95 = recent[min(len(recent) - 1, int(len(recent) * 0.95))] if recent else None
            self._computed_at = now
        return self._p50, self._p95


def shown_state(circuit: Circuit, now: float) -> str:
    """The circuit's state in one word: closed, open, half_open, or cooling (closed, but asked to wait)."""
    return "cooling" if circuit.state == CLOSED and now < circuit.cool_until else circuit.state


class Health:
    """One for a worker. Outlives every configuration, so that a saved change forgets nothing."""

    def __init__(self) -> None:
        self._circuits: dict[tuple[str, str, str, str], Circuit] = {}
        self._told: dict[tuple[str, str, str, str], tuple[float, str]] = {}  # of places that no call here named yet
        self._speeds: dict[tuple[str, str], Speed] = {}
        self._budgets: dict[str, RetryBudget] = {}
        self._hedges: dict[str, RetryBudget] = {}
        self.listener: Callable[[Circuit, str, str], None] | None = None
        self.plans: tuple[object, dict[str, object]] | None = None  # of the newest configuration; see plan.py

    def circuit(self, target: Target) -> Circuit:
        key = (target.provider, target.base_url, target.upstream, target.credential)
        found = self._circuits.get(key)
        if found is None:
            found = self._circuits[key] = Circuit(target, self._changed)
            until, why = self._told.pop(key, (0.0, ""))
            if (now := time.monotonic()) < until:
                found.hold_open(now, until - now, why)
        found.target = target  # of the newest configuration: its secret may be another
        return found

    def known(self, provider: str, base_url: str, model: str, credential: str) -> Circuit | None:
        """The circuit of this place, None where no configuration has named it yet."""
        return self._circuits.get((provider, base_url, model, credential))

    def remember(self, place: tuple[str, str, str, str], until: float, why: str) -> None:
        """Another worker found this place down, which no call of this one has named yet. Until 0: it is back."""
        self._told.pop(place, None)
        if until and len(self._told) < MOST_TOLD:
            self._told[place] = (until, why)

    def _changed(self, circuit: Circuit, state: str, why: str) -> None:
        if self.listener is not None:
            self.listener(circuit, state, why)

    def speed(self, target: Target) -> Speed:
        key = (target.provider, target.upstream)
        found = self._speeds.get(key)
        if found is None:
            found = self._speeds[key] = Speed()
        return found

    def retry_budget(self, route: str) -> RetryBudget:
        found = self._budgets.get(route)
        if found is None:
            found = self._budgets[route] = RetryBudget()
        return found

    def hedge_budget(self, route: str) -> RetryBudget:
        """Second attempts beside slow ones: a share of the route's calls, and nothing by the second."""
        found = self._hedges.get(route)
        if found is None:
            found = self._hedges[route] = RetryBudget(HEDGED_SHARE, 0.0)
        return found

    def circuits(self) -> Iterable[Circuit]:
        return self._circuits.values()

    def report(self) -> list[dict[str, Any]]:
        """Every place that attempts go to, for pages: state, recent failures, speed and what happened to it."""
        now = time.monotonic()
        lines = []
        for circuit in list(self._circuits.values()):
            answered, failed = circuit.calls
            p50, p95 = self.speed(circuit.target).percentiles(now)
            lines.append(
                {
                    "provider": circuit.provider,
                    "model": circuit.target.model,
                    "upstream": circuit.model,
                    "credential": circuit.credential,
                    "state": shown_state(circuit, now),
                    "for_s": round(max(0.0, circuit.blocked_until - now), 1),
                    "answered": answered,
                    "failed": failed,
                    "first_token_p50_ms": None if p50 is None else round(p50 * 1000),
                    "first_token_p95_ms": None if p95 is None else round(p95 * 1000),
                    "why": circuit.last_failure,
                    "history": [change._asdict() for change in list(circuit.history)[-SHOWN_CHANGES:]],
                }
            )
        return lines

    def states(self) -> dict[tuple[str, str, str, str], int]:
        """How many circuits there are of each (provider, model, credential, state)."""
        now = time.monotonic()
        found: dict[tuple[str, str, str, str], int] = {}
        for circuit in list(self._circuits.values()):
            key = (circuit.provider, circuit.target.model, circuit.credential, shown_state(circuit, now))
            found[key] = found.get(key, 0) + 1
        return found

    def eject_credential(self, target: Target, seconds: float, why: str) -> None:
        """A provider refused this credential: none of its models is called with it for a while."""
        now = time.monotonic()
        for circuit in self._circuits.values():
            if (circuit.provider, circuit.base_url, circuit.credential) == (
                target.provider,
                target.base_url,
                target.credential,
            ):
                circuit.eject(now, seconds, why)
