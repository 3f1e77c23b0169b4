"""One call's way through its targets: trying, trying again, falling back, until one has begun to answer."""

import asyncio
import time
from typing import TYPE_CHECKING

from gateway.core.errors import (
    AllTargetsFailed,
    GatewayError,
    Unsupported,
    UpstreamError,
    UpstreamRejected,
    UpstreamUnavailable,
)
from gateway.routing.hedge import Race, repeatable
from gateway.routing.plan import Chosen, Step
from gateway.routing.retry import LAST_CHANCE_SECONDS, LONGEST_WAIT_SECONDS, pause_before

if TYPE_CHECKING:
    from gateway.routing.stage import opened

OTHER_CREDENTIAL = frozenset({"auth", "rate_limit"})  # failures that another credential of the provider may not have
ALWAYS_FALLS_BACK = "auth"  # our credential is not the caller's fault


class Search:
    """Made for one call. `run` returns once a target has begun to answer."""

    __slots__ = ("answer", "attempts", "call", "chosen", "last", "reasons", "rejected", "states", "unsupported")

    def __init__(self, answer: "opened", chosen: Chosen) -> None:
        self.answer, self.chosen, self.call = answer, chosen, answer.call
        self.attempts = 0
        self.reasons: dict[str, str] = {}  # why a model gave no answer
        self.states: dict[str, str] = {}  # what became of a model, where that is not plain
        self.rejected: UpstreamRejected | None = None
        self.last: UpstreamError | None = None
        self.unsupported: Unsupported | None = None

    async def run(self) -> None:
        """Raises UpstreamRejected, AllTargetsFailed, DeadlinePassed, Unsupported, or what a hook raised."""
        steps = self.chosen.steps
        self.chosen.plan.budget.call()
        if self.chosen.plan.hedges is not None:
            self.chosen.plan.hedges.call()
        try:
            for index, step in enumerate(steps):
                if self._is_too_small(step) or self.states.get(step.model) == "failed":
                    continue
                which = self._first() if index == 0 else self.pick(step)
                if await self._try(step, which=which, left=len(steps) - index - 1):
                    return
            if self.attempts == 0 and await self._panic():
                return
            raise self._exhausted()
        finally:
            if self.reasons:
                self.explain()
            # An error knows the frames that it came through, and they know this search: neither would go by itself.
            self.last = self.rejected = self.unsupported = None

    async def _try(self, step: Step, *, which: int | None, left: int) -> bool:
        """Try one target, with its retries and credentials; whether it answers. `left` targets come after it."""
        used: list[int] = []
        tries = 0
        while which is not None:
            try:
                hold_back = left > 0 or self.chosen.plan.view.retries > 0
                may_refuse = left > 0 and "content_refused" in self.chosen.plan.view.fall_back_on
                if self.chosen.plan.hedges is not None and repeatable(self.call):
                    step = await Race(self, step, which, may_refuse=may_refuse).run()
                else:
                    await self.answer.attempt(step, which, hold_back=hold_back, may_refuse=may_refuse)
            except Unsupported as error:
                self.unsupported = error
                self.note(step, "left out", error.message)
                step.circuits[which].released()
                return False
            except UpstreamError as error:
                await self.failed(step, error)
                tries += 1
                self._look_at(error)
                if error.kind in OTHER_CREDENTIAL:
                    used.append(which)
                    if (other := self.pick(step, used)) is not None:
                        which, tries = other, 0
                        continue
                    which = used[-1]
                if not await self._waits(step, which, error, tries, left):
                    if not self.falls_back(error):
                        raise self._exhausted() from None
                    return False
            else:
                self.states[step.model] = "answered"
                return True
        return False

    def _first(self) -> int | None:
        """The first target's credential whose turn it is, or else another."""
        step, which = self.chosen.steps[0], self.chosen.first
        if step.circuits[which].admits(time.monotonic()):
            return which
        return self.pick(step)

    def pick(self, step: Step, used: "list[int] | tuple[()]" = ()) -> int | None:
        """The next credential in turn that may be used now; None, with the reason noted, when there is none."""
        now = time.monotonic()
        circuits = step.circuits
        if len(circuits) == 1:
            if not used and circuits[0].admits(now):
                return 0
        else:
            step.turn = (step.turn + 1) % len(circuits)
            for offset in range(len(circuits)):
                which = (step.turn + offset) % len(circuits)
                if which not in used and circuits[which].admits(now):
                    return which
        if not used:
            self.note(step, "left out", circuits[0].why_not(now))
        return None

    async def _waits(self, step: Step, which: int, error: UpstreamError, tries: int, left: int) -> bool:
        """Whether the same target is tried again; if so, returns when its time has come."""
        plan = self.chosen.plan
        if tries > plan.view.retries or self.attempts + left >= plan.most_attempts:
            return False
        pause = pause_before(error, tries)
        circuit = step.circuits[which]
        if pause is None and error.kind == "rate_limit" and not left and tries == 1:
            pause = circuit.cool_until - time.monotonic()  # there is nobody else to ask
        if pause is None or pause > LONGEST_WAIT_SECONDS or self.answer.out_of_time(pause + self.least()):
            return False
        if not plan.budget.take():
            return False
        if pause > 0:
            await asyncio.sleep(pause)
        return circuit.admits(time.monotonic())

    async def _panic(self) -> bool:
        """Every target is out: ask the one that will be let in soonest, once, unless it asked us to wait."""
        now = time.monotonic()
        open_ones = [
            (circuit.blocked_until, index, which)
            for index, step in enumerate(self.chosen.steps)
            for which, circuit in enumerate(step.circuits)
            if now >= circuit.cool_until and step.model not in self.states_of("failed")
        ]
        if not open_ones or self.unsupported is not None:
            return False
        _, index, which = min(open_ones)
        step = self.chosen.steps[index]
        try:
            await self.answer.attempt(step, which, hold_back=False)
        except UpstreamError as error:
            await self.failed(step, error)
            self._look_at(error)
            return False
        self.states[step.model] = "answered"
        return True

    def states_of(self, state: str) -> set[str]:
        return {model for model, found in self.states.items() if found == state}

    async def failed(self, step: Step, error: UpstreamError, answer: "opened | None" = None) -> None:
        """An attempt failed: the one under way, or that of another answer to the same call."""
        await (answer or self.answer).failed(error)
        self.attempts += 1
        self.note(step, "failed", error.message)

    def rival_of(self, step: Step, which: int) -> tuple[Step, int] | None:
        """Whom to ask beside this one: the next in the chain that may be called, else this one once more."""
        behind = False
        for other in self.chosen.steps:
            if behind and other.model not in self.states and (found := self.pick(other)) is not None:
                return other, found
            behind = behind or other is step
        if (found := self.pick(step, [which])) is not None:
            return step, found
        return (step, which) if step.circuits[which].admits(time.monotonic()) else None

    # --- what follows from a failure -----------------------------------------------------------------------

    def _look_at(self, error: UpstreamError) -> None:
        """Raise where nothing more can be done for this call."""
        self.last = error
        if isinstance(error, UpstreamRejected):
            if not self.falls_back(error):
                raise error
            self.rejected = self.rejected or error
        if (upload := self.call.upload) is not None and upload.began:
            raise self._exhausted()  # its bytes are gone: nobody else can have them
        if self.answer.out_of_time(self.least()):
            raise self.answer.deadline_passed() from None

    def falls_back(self, error: BaseException | None) -> bool:
        """Whether another target is asked after this failure."""
        if not isinstance(error, UpstreamError):
            return False
        return error.kind == ALWAYS_FALLS_BACK or error.kind in self.chosen.plan.view.fall_back_on

    def least(self) -> float:
        """Seconds below which no further attempt is worth beginning."""
        whole = self.call.controls.timeout_s
        return 0.0 if whole is None else min(LAST_CHANCE_SECONDS, whole / 5)

    def _is_too_small(self, step: Step) -> bool:
        """Whether the call was too long for a target that is no smaller than this one."""
        if self.rejected is None or self.rejected.kind != "context_too_long":
            return False
        failed = self.call.attempts[-1].target.context_tokens
        size = step.targets[0].context_tokens
        if failed is None or size is None or size > failed:
            return False
        self.note(step, "left out", f"its context of {size} tokens is not larger than that of the one that failed")
        return True

    def note(self, step: Step, state: str, why: str) -> None:
        self.states[step.model], self.reasons[step.model] = state, why

    def _exhausted(self) -> GatewayError:
        """What the caller is told when no target answered."""
        if self.rejected is not None:
            return self.rejected
        if self.attempts == 0 and self.unsupported is not None:
            return self.unsupported
        told = "; ".join(f"{model}: {why}" for model, why in self.reasons.items())
        now = time.monotonic()
        soonest = min((circuit.blocked_until for step in self.chosen.steps for circuit in step.circuits), default=now)
        headers = {"retry-after": str(max(1, int(soonest - now + 0.999)))} if soonest > now else {}
        message = f"No target of {self.call.route!r} answered. {told}"
        if len(self.chosen.steps) == 1:  # its only provider's own word: the caller's client knows what to do
            limited = self.last
            if limited is None and all(now < circuit.cool_until for circuit in self.chosen.steps[0].circuits):
                told_as = {"type": "rate_limit_error", "code": "rate_limit_exceeded"}
                limited = UpstreamUnavailable(message, kind="rate_limit", status=429, body=told_as, sent=False)
            if limited is not None and limited.upstream_status == 429:
                limited.headers.update(headers)
                return limited
        return AllTargetsFailed(message, headers=headers)

    def explain(self) -> None:
        """Put what became of each target into the decision; plain calls share their route's."""
        lines = []
        for line in self.call.decision:
            model = line["model"]
            state = self.states.get(model, line["state"])
            lines.append({**line, "state": state} | ({"why": self.reasons[model]} if model in self.reasons else {}))
        self.call.decision = lines
