"""One call's hold over all its attempts: plan, reserve, roll over, settle."""

import hashlib
import itertools
import logging
import time
from typing import Any

import msgspec
from msgspec.structs import replace

from budgets import bill
from budgets.estimate import FLAT_OUTPUT, estimate, most_output
from budgets.plan import SHADOW, TIGHT, Plan, make_plan
from budgets.snapshot import BudgetsSnapshot, WorkspaceBudgets
from gateway.core.bounds import Size, asked_output, choices, measure, measured
from gateway.core.call import Attempt, Call, Target, Usage
from gateway.core.counters import Granted, Ledger, Short, Spent, StoreUnavailable, Wish
from gateway.core.errors import BudgetExceeded, Unavailable
from gateway.core.money import dollars, part

log = logging.getLogger(__name__)

USEFUL_OUTPUT_TOKENS = 512  # what a call of unknown length takes while others are under way
LEAST_OUTPUT_TOKENS = 16  # what it takes of the very last money
SHARE = 8  # a call of unknown length takes an eighth of what is free
CHARACTERS_PER_TOKEN_MOST = 12  # over a whole answer no tokenizer does better
NOBODY = WorkspaceBudgets(clock=None)  # type: ignore[arg-type]  # no budgets, so no periods
KNOWN_INPUTS_MOST = 4096
_looks = itertools.count(1)
known_inputs: dict[bytes, int] = {}  # digest of (model, body) → input tokens as the provider counted them


class Hold:
    """What a call holds now, and what its attempts were charged.

    entries  the ledger entries of ended attempts, for the call's final record
    pending  the entry of the running attempt if its end is never known: charged in full, in doubt
    beside   the hold of an attempt that runs at the same time: see budgets/beside.py
    nanos, tokens  the sums over the entries
    """

    __slots__ = (
        "_asked",
        "_begun",
        "_choices",
        "_known",
        "_least",
        "_settled",
        "_size",
        "_total",
        "attempt",
        "beside",
        "body",
        "budgets",
        "call",
        "count",
        "entries",
        "granted",
        "nanos",
        "output",
        "pending",
        "plan",
        "tokens",
        "workspace",
    )

    def __init__(self, call: Call, budgets: BudgetsSnapshot) -> None:
        assert call.caller is not None
        self.call, self.budgets = call, budgets
        self.workspace = budgets.workspaces.get(SHADOW if call.account else call.caller.workspace_id, NOBODY)
        self.body = call.chat if call.chat is not None else call.body
        self._size: Size = measured(call)
        self._asked, self._choices = asked_output(self.body), choices(self.body)
        self._known: bytes | None = None
        self._settled = True
        self.entries: list[dict[str, Any]] = []
        self.pending: dict[str, Any] | None = None
        self.beside: Hold | None = None
        self.plan: Plan | None = None
        self.granted: Granted | None = None
        self.attempt = ""
        self.output: int | None = None
        self.count = 0
        self._begun = 0
        self._least = self._total = self.nanos = self.tokens = 0

    # --- What routing calls ---------------------------------------------------------------------------------

    async def move(self, target: Target) -> int | None:
        """Be ready for an attempt at this target; see the module `budgets.stage`."""
        if self._running() is not None or self._settled or self.plan is None or self.plan.target is not target:
            await self.reserve(target)
        return self.output

    def _running(self) -> Attempt | None:
        """The attempt that this reservation is for, once it has begun."""
        attempts = self.call.attempts
        return attempts[-1] if len(attempts) > self._begun else None

    async def settle(self, attempt: Attempt | None) -> None:
        """Charge an attempt that has ended; None where it was never begun. The second time it does nothing."""
        if self._settled:
            return
        spent = self._charge(attempt)
        if (ledger := self.budgets.ledger) is not None and self.granted is not None:
            await ledger.settle(self.attempt, spent)

    def ask_anew(self, body: dict[str, Any]) -> None:
        """The next attempt asks this, e.g. for the rest of an answer that broke off. Nothing may be held."""
        self.body, self._size, self._known = body, measure(body), None
        self._asked = asked_output(body)

    def output_for(self, target: Target) -> int | None:
        """The output tokens to allow for one choice."""
        if self.plan is not None and self.plan.target is target:
            return self.output
        return most_output(self._asked, self.call.form.name, target) or None

    def cost(self, usage: Usage) -> int:
        """Nano-dollars of a usage at the running attempt's price, with what earlier attempts cost."""
        return self.nanos + (
            self.plan.price.cost(usage) if self.plan is not None and self.plan.price is not None else 0
        )

    def overrun(self, characters: int) -> bool:
        """Whether an answer of so many characters can't have kept to the output that was reserved, by 10 %."""
        bound = self._total
        return bound > 0 and characters > CHARACTERS_PER_TOKEN_MOST * (bound + bound // 10 + 16)

    def lines(self) -> list[dict[str, Any]]:
        """The ledger lines of this call as it stands: of its ended attempts, and in doubt of those that run."""
        lines = [*self.entries, self.pending] if self.pending is not None else self.entries
        return lines if self.beside is None else [*lines, *self.beside.lines()]

    # --- Reserving ---------------------------------------------------------------------------------------------

    async def reserve(self, target: Target) -> None:
        """Hold for an attempt at this target; the attempt before it is settled in the same step."""
        plan = self._plan(target)
        spent = None if self._settled else self._charge(self._running())
        before, self.count = self.attempt, self.count + 1
        self.attempt = f"{self.call.id}.{self.count}"
        self.plan, self.granted, self._begun = plan, None, len(self.call.attempts)
        try:
            wish = self._wish(plan)
        except BudgetExceeded:
            if not self._count_exactly():
                raise
            plan = self.plan
            wish = self._wish(plan)
        ledger = self.budgets.ledger
        if ledger is None or not plan.asks:
            if ledger is not None and spent is not None:
                await ledger.settle(before, spent)
            output = wish.most
        else:
            try:
                self.granted = await self._take(ledger, before, spent, wish)
                output = self.granted.output
            except StoreUnavailable:
                if spent is not None:  # the ledger keeps it until the store is back
                    await ledger.settle(before, spent)
                if self.workspace.on_unavailable == "closed" and plan.is_hard:
                    raise unavailable() from None
                output = wish.most
        self._settled = False
        self._ready(output)

    async def look(self, target: Target) -> None:
        """Raise BudgetExceeded where the same call, asked anew, would be refused; hold nothing and wait for nobody.

        What others hold is not spent: a kept answer costs nothing, so it needs none of it.
        """
        plan = self.plan = self._plan(target)
        ledger = self.budgets.ledger
        if ledger is None or not plan.asks:
            return
        while True:
            plan, least = self.plan, self._least_output(self.plan)
            self.attempt = f"{self.call.id}.look{next(_looks)}"  # a call may be looked at twice, by two holds
            try:
                result = await ledger.reserve(self.attempt, plan.asks, Wish(least, least), self._describe)
                if isinstance(result, Granted):
                    await ledger.settle(self.attempt, Spent(0, 0))
                    return
            except StoreUnavailable:
                if self.workspace.on_unavailable == "closed" and plan.is_hard:
                    raise unavailable() from None
                return
            ask = plan.asks[result.which]
            assert ask.cap is not None
            needed = ask.base + part(least, ask.rate)
            if result.spent + needed <= ask.cap:
                return
            if not self._count_exactly():
                raise self._exceeded(result, needed)

    def _ready(self, output: int) -> None:
        plan = self.plan  # by now perhaps one that was counted exactly
        assert plan is not None
        self._total = output
        flat = self.call.form.name in FLAT_OUTPUT
        self.output = None if flat else max(1, output // self._choices)
        most = Spent(plan.nanos(output), plan.tokens(output), in_doubt=True)
        self.pending = self._entry(plan.target, most, "in_doubt", {})
        for _, unit, cap in plan.call_caps:
            plan.tight = plan.tight or cap < TIGHT * (most.nanos if unit == "usd" else most.tokens)
        if plan.least_left is not None and self.call.stream:  # else the head goes out after settling, and says more
            self.call.reply_headers["x-tollgate-budget-remaining-usd"] = dollars(max(0, plan.least_left))

    def _plan(self, target: Target, known_input: int | None = None) -> Plan:
        guess = estimate(self._size, self.body, self.call.form.name, target, self._asked, self._choices)
        if guess is not None and known_input is not None:
            guess = replace(guess, input=known_input)
        return make_plan(self.call, self.budgets, self.workspace, target, guess)

    def _wish(self, plan: Plan) -> Wish:
        """How much output this attempt would like. Raises BudgetExceeded when a budget of the call itself is too small."""
        most = plan.most_output
        free = self._is_free(plan)
        shared = SHARE if free and self._asked is None else 1
        wish = Wish(most, min(most, USEFUL_OUTPUT_TOKENS * self._choices) if free else most, shared)
        self._least = self._least_output(plan)
        return plan.within_call(wish, (self.nanos, self.tokens), self._least) if plan.call_caps else wish

    def _is_free(self, plan: Plan) -> bool:
        """Whether the answer may be shorter than the most that was asked for."""
        return self.call.form.name not in FLAT_OUTPUT and (self._asked is None or plan.affords)

    def _least_output(self, plan: Plan) -> int:
        """The output without which this attempt is not made."""
        return min(plan.most_output, LEAST_OUTPUT_TOKENS) if self._is_free(plan) else plan.most_output

    async def _take(self, ledger: Ledger, before: str, spent: Spent | None, wish: Wish) -> Granted:
        """Reserve, waiting for other calls to settle where that may help. Raises BudgetExceeded."""
        assert self.plan is not None
        least = min(self._least, wish.most)
        until: float | None = None
        while True:
            plan = self.plan
            if spent is not None:
                result = await ledger.roll((before, spent), self.attempt, plan.asks, wish, self._describe)
                spent = None
            else:
                result = await ledger.reserve(self.attempt, plan.asks, wish, self._describe)
            if isinstance(result, Granted):
                plan.look(result)
                return result
            if self._count_exactly():
                continue
            ask = plan.asks[result.which]
            assert ask.cap is not None
            lowest = ask.base + part(least, ask.rate)
            if result.spent + lowest > ask.cap:
                raise self._exceeded(result, lowest)
            now = time.monotonic()
            until = now + self._patience() if until is None else until
            if result.held == 0 or now >= until:
                if wish.least <= least:
                    raise self._exceeded(result, lowest)
                wish = Wish(wish.most, least)
                continue
            await ledger.freed(max(0.001, until - now))

    def _patience(self) -> float:
        timeout = self.call.controls.timeout_s
        return self.budgets.wait_s if timeout is None else min(self.budgets.wait_s, timeout - self.call.elapsed)

    def _exceeded(self, short: Short, needed: int) -> BudgetExceeded:
        plan, asking = self.plan, self.budgets.asking
        assert plan is not None
        error = plan.exceeded(short.which, short.spent, short.held, needed)
        if asking is not None and (budget := plan.views[short.which].id):
            subject = plan.asks[short.which].bucket.split(":", 5)[5]
            error.hint = f"Wait for the period to end, or ask for more: {asking.link(budget, subject, self._who())}"
        return error

    def _who(self) -> str:
        """Who asks, for those who decide."""
        caller, user = self.call.caller, self.call.controls.user
        assert caller is not None
        return f"{caller.key} ({user})" if user else caller.key

    def _describe(self) -> str:
        """The ledger line of the attempt that is being reserved, as JSON, with what its cost follows from."""
        plan = self.plan
        assert plan is not None
        line = self._entry(plan.target, Spent(0, 0), "in_doubt", {})
        line |= {"base": plan.base, "rate": plan.rate, "input": plan.input}
        try:
            return msgspec.json.encode(line).decode()
        except UnicodeEncodeError:  # a lone surrogate in the end user's name
            line["user"] = line["user"].encode("utf-8", "replace").decode()
            return msgspec.json.encode(line).decode()

    # --- Counting exactly near a cap -------------------------------------------------------------------------

    def _digest(self) -> bytes:
        if self._known is None:
            assert self.plan is not None
            content = {name: value for name, value in self.body.items() if name not in bill.NOT_READ}
            target = self.plan.target
            seed = f"{target.provider}\0{target.upstream}\0".encode()
            self._known = hashlib.blake2b(seed + msgspec.json.encode(content), digest_size=16).digest()
        return self._known

    def _count_exactly(self) -> bool:
        """Plan again with the input as this provider counted it for the very same body, if that is known and less."""
        plan = self.plan
        if plan is None or plan.estimate is None or plan.exact or self._size.unbounded:
            return False
        known = known_inputs.get(self._digest())
        if known is None or known >= plan.estimate.input:
            return False
        self.plan = self._plan(plan.target, known)
        self.plan.exact = True
        return True

    def _remember_input(self, usage: Usage) -> None:
        if self.plan is not None and self.plan.tight and usage.input > 0 and not usage.estimated:
            if len(known_inputs) >= KNOWN_INPUTS_MOST:
                known_inputs.clear()
            known_inputs[self._digest()] = usage.input

    # --- Settling -------------------------------------------------------------------------------------------------

    def _charge(self, attempt: Attempt | None) -> Spent:
        """What the running attempt is charged, entered. `attempt` is None when it was never begun."""
        plan = self.plan
        assert plan is not None
        last = attempt is not None and attempt is self.call.attempts[-1]
        usage, status = bill.judge(attempt, self.call if last else None, plan, self._total)
        nanos = plan.price.cost(usage) if plan.price is not None else 0
        spent = Spent(nanos, usage.input + usage.output, status == "in_doubt")
        bound = plan.nanos(self._total)
        if nanos > bound:
            log.warning("estimate_exceeded: %s was held at %s and cost %s nano-dollars", self.attempt, bound, nanos)
        if attempt is not None:
            attempt.usage, attempt.cost_nanos = usage, nanos
            if attempt.sent:
                self.entries.append(self._entry(plan.target, spent, status, bill.classes(usage)))
                self.nanos += spent.nanos
                self.tokens += spent.tokens
                self._remember_input(usage)
            if last and attempt.outcome == "answered":
                self.call.usage = usage
        self.call.cost_nanos, self.call.tokens = self.nanos, self.tokens
        self._settled, self.pending = True, None
        if plan.least_left is not None:
            freed = plan.least_left + bound - nanos
            self.call.reply_headers["x-tollgate-budget-remaining-usd"] = dollars(max(0, freed))
        return spent

    def _entry(self, target: Target, spent: Spent, status: str, classes: dict[str, Any]) -> dict[str, Any]:
        """A ledger entry, complete by itself: who, what, when (the instant of the reservation) and how much."""
        caller, plan = self.call.caller, self.plan
        assert caller is not None
        assert plan is not None
        account = self.call.account
        return {
            "attempt": self.attempt,
            "at": plan.at,
            "workspace": SHADOW if account else caller.workspace_id,
            "team": "" if account else caller.team_id,
            "key": "" if account else caller.key_id,
            "user": account or self.call.controls.user,
            "model": target.model,
            "provider": target.provider,
            "nanos": spent.nanos,
            "tokens": spent.tokens,
            "status": status,
            "price": plan.price.version if plan.price is not None else "",
            "classes": classes,
        }

    async def close(self) -> None:
        """Settle what still runs. The ledger takes it before it first waits, so a cancelled call leaves no hold behind.

        The call is let go: while each knows the other, both stay in memory until a collection finds them.
        """
        try:
            await self.settle(self._running())
        finally:
            del self.call


def unavailable() -> Unavailable:
    return Unavailable(
        "The budgets of this workspace can't be checked just now.",
        code="budget_unavailable",
        headers={"retry-after": "1"},
    )
