"""What one attempt asks of which budgets."""

import time
from typing import NamedTuple

import msgspec

from budgets.estimate import most_output
from budgets.periods import FOREVER, bucket, utc
from budgets.pricing import Estimate, Price
from budgets.snapshot import BudgetsSnapshot, BudgetView, WorkspaceBudgets
from gateway.core.bounds import asked_output, choices
from gateway.core.call import Call, Target
from gateway.core.counters import Ask, Granted, Wish
from gateway.core.errors import BudgetExceeded, PriceUnknown
from gateway.core.money import MILLION, dollars, part

TIGHT = 64  # a budget with room for fewer calls than this is worth counting exactly
SHADOW = "shadow"  # stands for the workspace where a call's own account pays; its "users" are the shadowed routes
KEPT_MOST = 4096  # callers and targets whose buckets are remembered, for each workspace


class Applying(NamedTuple):
    """One bucket that some caller's attempts at some target ask, and the budget that it stands for."""

    bucket: str
    view: BudgetView
    cap: int | None
    in_dollars: bool
    end: int
    affords: bool


class Applied(NamedTuple):
    """All of them, until the first of their periods ends."""

    until: float
    buckets: tuple[Applying, ...]
    views: list[BudgetView]
    ends: list[int]
    affords: bool


class Plan(msgspec.Struct, eq=False):
    """One attempt's bounds and the buckets it asks. `views` are the budgets that the asks stand for, in order.

    base, rate  nano-dollars for all but the output, and for a million output tokens
    call_caps   (budget's name, unit, cap) of budgets of the call itself
    least_left  nano-dollars left in the tightest hard budget of dollars, once that is known
    """

    target: Target
    form: str
    at: float
    estimate: Estimate | None
    price: Price | None
    base: int
    rate: int
    most_output: int
    asks: list[Ask]
    views: list[BudgetView]
    call_caps: list[tuple[str, str, int]]
    affords: bool
    ends: list[int]
    exact: bool = False
    tight: bool = False
    least_left: int | None = None

    @property
    def input(self) -> int:
        return 0 if self.estimate is None else self.estimate.input

    @property
    def tool_uses(self) -> int:
        return 0 if self.estimate is None else self.estimate.tool_uses

    @property
    def is_hard(self) -> bool:
        """Whether one of its budgets may refuse it; soft ones only count, which the ledger does afterwards as well."""
        return any(ask.cap is not None for ask in self.asks)

    def nanos(self, output: int) -> int:
        """The most that the attempt costs with so much output."""
        return self.base + part(output, self.rate)

    def tokens(self, output: int) -> int:
        return self.input + output

    def look(self, granted: Granted) -> None:
        """Note how much room the budgets have left: `least_left`, and whether one of them is tight."""
        for ask, view, left in zip(self.asks, self.views, granted.left, strict=True):
            if left is not None:
                if left < TIGHT * (ask.base + part(granted.output, ask.rate)):
                    self.tight = True
                if view.unit == "usd" and (self.least_left is None or left < self.least_left):
                    self.least_left = left

    def within_call(self, wish: Wish, spent: tuple[int, int], least: int) -> Wish:
        """The wish, cut to what the budgets of the call itself allow over all its attempts. Raises BudgetExceeded."""
        for name, unit, cap in self.call_caps:
            base, rate, used = (self.base, self.rate, spent[0]) if unit == "usd" else (self.input, MILLION, spent[1])
            rest = cap - used - base
            fits = -1 if rest < 0 else wish.most if rate == 0 else min(wish.most, rest * MILLION // rate)
            if fits < min(least, wish.most):
                needed = base + part(min(least, wish.most), rate)
                raise refusal(name, unit, left=max(0, cap - used), held=0, needed=needed, resets=None)
            wish = Wish(fits, min(wish.least, fits), wish.share)
        return wish

    def exceeded(self, index: int, spent: int, held: int, needed: int) -> BudgetExceeded:
        """The refusal by the budget that this ask stands for."""
        view, ask = self.views[index], self.asks[index]
        assert ask.cap is not None
        left = max(0, ask.cap - spent - held)
        resets = None if view.per == "total" else self.ends[index]
        return refusal(view.name, view.unit, left=left, held=held, needed=needed, resets=resets)


def make_plan(
    call: Call, budgets: BudgetsSnapshot, workspace: WorkspaceBudgets, target: Target, guess: Estimate | None
) -> Plan:
    """Bounds, price and asks of an attempt at this target. Raises PriceUnknown where the workspace wants that."""
    at = time.time()
    hard_dollars = workspace.has_hard_dollars or call.controls.budget_nanos is not None
    price = price_of(target, budgets, at)
    if price is None and workspace.on_unpriced == "ceiling":
        price = budgets.dearest
    if price is None and hard_dollars and workspace.on_unpriced != "allow":
        raise PriceUnknown(f"There is no price for the model {target.model}, so its cost can't be held to a budget.")
    if guess is None:
        if hard_dollars and workspace.on_unpriced != "allow":
            raise PriceUnknown(
                f"This call holds a file, a hosted tool or a kept conversation, and how much {target.model} may read "
                "of it is not known, so its cost can't be held to a budget.",
                hint="Give the model its context_tokens in the configuration, or leave that part out.",
            )
        body = call.chat if call.chat is not None else call.body
        guess = Estimate(0, most_output(asked_output(body), call.form.name, target) * choices(body))
    base, rate = price.bound(guess) if price is not None else (0, 0)
    applied = applying(call, target, workspace, at)
    asks = [
        Ask(known.bucket, base, rate, known.cap)
        if known.in_dollars
        else Ask(known.bucket, guess.input, MILLION, known.cap)
        for known in applied.buckets
    ]
    form, affords = call.form.name, applied.affords
    plan = Plan(
        target, form, at, guess, price, base, rate, guess.output, asks, applied.views, [], affords, applied.ends
    )
    if call.controls.budget_nanos is not None:
        plan.call_caps.append(("the call's own budget", "usd", call.controls.budget_nanos))
    for view in workspace.per_call:
        if view.hard:
            plan.call_caps.append((view.name, view.unit, view.limit))
            plan.affords = plan.affords or view.afford
    return plan


def applying(call: Call, target: Target, workspace: WorkspaceBudgets, at: float) -> Applied:
    """The buckets that a call to this target asks, remembered until the first of their periods ends."""
    caller = call.caller
    assert caller is not None
    who = (caller.key_id, call.account or call.controls.user, target.model, target.provider)
    kept: Applied | None = workspace.kept.get(who)
    if kept is not None and at < kept.until:
        return kept
    found: dict[str, Applying] = {}
    until: float = FOREVER
    for view in workspace.others:
        name = subject(view, call, target)
        if not name:
            continue
        period = workspace.clock.period(view.per, at)
        until = min(until, period.end)
        payer = SHADOW if call.account else caller.workspace_id
        bucket_name = bucket(payer, view.of, name, view.per, period.start, view.unit)
        cap, changes = view.cap(name, at) if view.hard else (None, until)
        until = min(until, changes)
        before = found.get(bucket_name)
        # Two budgets for the same spending: the tighter one counts.
        if before is None or (cap is not None and (before.cap is None or cap < before.cap)):
            affords = (view.afford and view.hard) or (before is not None and before.affords)
            found[bucket_name] = Applying(bucket_name, view, cap, view.unit == "usd", period.end, affords)
    if len(workspace.kept) >= KEPT_MOST:
        workspace.kept.clear()
    buckets = tuple(found.values())
    views, ends = [known.view for known in buckets], [known.end for known in buckets]
    applied = Applied(until, buckets, views, ends, any(known.affords for known in buckets))
    workspace.kept[who] = applied
    return applied


def subject(view: BudgetView, call: Call, target: Target) -> str:
    """Whose spending this budget counts for this attempt; "" when it is not about it."""
    caller = call.caller
    assert caller is not None
    match view.of:
        case "workspace":
            return caller.workspace_id
        case "team":
            return caller.team_id if not view.match or view.match == caller.team else ""
        case "key":
            return caller.key_id if not view.match or view.match == caller.key else ""
        case "user":
            name = call.account or call.controls.user
        case "model":
            name = target.model
        case _:
            name = target.provider
    return name if not view.match or view.match == name else ""


def price_of(target: Target, budgets: BudgetsSnapshot, at: float) -> Price | None:
    """The price of a target's model at an instant: the configuration's, else the catalogue's, else none."""
    for valid_from, price in budgets.prices.get(target.model, ()):
        if valid_from <= at:
            return price
    return budgets.catalogue(target.kind, target.upstream)


def refusal(name: str, unit: str, *, left: int, held: int, needed: int, resets: int | None) -> BudgetExceeded:
    """The contract's refusal: which budget, what it has left, what the call may cost, when it resets."""

    def amount(number: int) -> str:
        return f"${dollars(number)}" if unit == "usd" else f"{number} tokens"

    under_way = f" ({amount(held)} more is held for calls under way)" if held else ""
    when = f" It resets at {utc(resets):%Y-%m-%dT%H:%M:%SZ}." if resets is not None else ""
    headers = {"x-should-retry": "false"}
    if resets is not None:
        headers["retry-after"] = str(max(1, int(resets - time.time()) + 1))
    if unit == "usd":
        headers["x-tollgate-budget-remaining-usd"] = dollars(left)
    return BudgetExceeded(
        f"The budget {name!r} has {amount(left)} left{under_way}; this call may cost {amount(needed)}.{when} "
        "Nothing was sent.",
        headers=headers,
    )
