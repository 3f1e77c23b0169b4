"""In which order a route's targets are tried for one call."""

import math
import time
from collections.abc import Collection, Iterable
from hashlib import blake2b

from gateway.core.call import Call
from gateway.core.errors import Forbidden, NotFound, Unsupported
from gateway.providers import speaks
from gateway.routing.chance import chance
from gateway.routing.facts import Facts
from gateway.routing.health import Health
from gateway.routing.outliers import KEPT_SHARE, SLOW, slow_ones
from gateway.routing.plan import Chosen, RoutePlan, Step, route_plan
from gateway.snapshot import RoutesSnapshot, RouteView

EXPLORED_SHARE = 0.03  # of a latency route's calls: else a target that was slow once would never be measured again
TEXT_FORMS = frozenset({"chat", "messages", "responses", "completions"})
TRANSLATED_FORMS = TEXT_FORMS - {"chat"}
TEXTLESS_KINDS = frozenset({"embedding", "rerank", "moderation", "image", "audio"})


def find(call: Call, routes: RoutesSnapshot) -> None:
    """Set the call's route, its candidates in order and the decision. Raises as routing.stage.choose does."""
    upstream = routes.upstream
    assert upstream is not None, "a configuration that serves calls holds a client"
    health = upstream.health
    plan = route_plan(routes, call.model, health)
    if plan is None:
        raise NotFound(f"There is no model or route {call.model!r}.", code="model_not_found", param="model")
    allow(call, call.model)
    call.route = call.model
    slow = slow_ones(plan) if len(plan.steps) > 1 else frozenset()
    if (
        plan.simple
        and not slow
        and not call.controls.prefer
        and ((plan.all_text and call.form.name not in TRANSLATED_FORMS) or not unfit(call, plan.steps))
    ):
        call.decision, call.candidates, first = plan.decision, plan.candidates, 0
        if len(plan.steps[0].targets) > 1 and (first := take_turn(plan.steps[0])):
            call.candidates = (plan.steps[0].targets[first], *plan.candidates[1:])
        call.plan = Chosen(plan, plan.steps, health, first)
        return
    steps = preferred(call, plan, routes, health) if call.controls.prefer else list(plan.steps)
    left_out = unfit(call, steps)
    fit = [step for step in steps if step.model not in left_out]
    if not call.controls.prefer:
        fit = ordered(call, plan, fit, routes, slow)
    if not fit:
        if call.form.name in TRANSLATED_FORMS and (lost := untranslatable(call)) is not None:
            raise lost
        reasons = "; ".join(f"{model} {why}" for model, why in left_out.items()) or "it has no targets"
        raise Unsupported(f"No target of {call.model!r} can serve this call: {reasons}.", param="model")
    first = take_turn(fit[0])
    call.candidates = (fit[0].targets[first], *(step.targets[0] for step in fit[1:]))
    call.decision = [{**step.note, "why": SLOW} if step.model in slow else step.note for step in fit]
    call.decision += [
        {**step.note, "state": "left out", "why": left_out[step.model]} for step in steps if step.model in left_out
    ]
    call.plan = Chosen(plan, tuple(fit), health, first)


def take_turn(step: Step) -> int:
    """The credential whose turn it is."""
    step.turn = (step.turn + 1) % len(step.targets)
    return step.turn


def ordered(
    call: Call, plan: RoutePlan, steps: list[Step], routes: RoutesSnapshot, slow: Collection[str] = ()
) -> list[Step]:
    """The steps in the order of the route's strategy. Models that are `slow` keep a quarter of their calls."""
    match plan.view.strategy:
        case "weighted":
            who = stickiness(call, plan.view.sticky_by)
            return weighted(plan.view, steps, who, slow if who == call.id else ())
        case "latency":
            return by_latency(steps)  # sees to it by itself
        case "cost":
            found = by_cost(call, steps, routes)
        case "quality":
            found = sorted(steps, key=lambda step: -(step.view.model.quality or 0.0))
        case _:
            found = steps
    if slow and uniform(f"slow\0{call.id}") >= KEPT_SHARE:
        return sorted(found, key=lambda step: step.model in slow)  # stable: the others stay as they are
    return found


def weighted(route: RouteView, steps: list[Step], who: str, slow: Collection[str] = ()) -> list[Step]:
    """Weighted rendezvous: each target draws a number from (route, target, who), scaled by its weight; the lowest wins.

    The same `who` draws the same numbers in every process. A target's share of all who is its share of the weights,
    and raising one target's weight lowers its numbers alone, so that nobody leaves it. A `slow` one counts a quarter;
    that is for calls that stick to nothing, because who sticks is moved only by a target that is out.

    Source: Wang and Ravishankar's weighted highest random weight, with exponential draws -ln(u) / weight.
    """
    drawn = [
        (-math.log(uniform(f"{route.name}\0{step.model}\0{who}")) / weight(step, slow), index)
        for index, step in enumerate(steps)
        if step.view.weight > 0
    ]
    return [steps[index] for _, index in sorted(drawn)]


def weight(step: Step, slow: Collection[str]) -> float:
    return step.view.weight * (KEPT_SHARE if step.model in slow else 1.0)


def uniform(text: str) -> float:
    """A number in (0, 1) that depends on the text alone."""
    return (int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()) + 0.5) / 2**64


def stickiness(call: Call, by: str) -> str:
    """Who keeps the same target. A call without the named thing sticks to nothing: its own id."""
    controls, caller = call.controls, call.caller
    found = ""
    if by == "user":
        found = controls.user
    elif by == "session":
        found = controls.session_id
    elif by == "key" and caller is not None:
        found = caller.key_id
    if not found:
        return call.id
    return f"{caller.workspace_id if caller is not None else ''}\0{found}"


def by_cost(call: Call, steps: list[Step], routes: RoutesSnapshot) -> list[Step]:
    """The one where this very call costs least in its dearest case first; those without a price last."""
    if routes.costs is None:
        return steps
    costs = routes.costs.of(call, [step.targets[0] for step in steps])
    order = sorted(range(len(steps)), key=lambda index: (costs[index] is None, costs[index] or 0, index))
    return [steps[index] for index in order]


def by_latency(steps: list[Step]) -> list[Step]:
    """The fastest of late first: by the middle of p50 and p95 to the first token. Unmeasured ones come first."""
    now = time.monotonic()
    if len(steps) > 1 and chance.random() < EXPLORED_SHARE:
        return chance.sample(steps, len(steps))

    def slowness(step: Step) -> float:
        p50, p95 = step.speed.percentiles(now)
        return -1.0 if p50 is None or p95 is None else (p50 + p95) / 2

    return sorted(steps, key=slowness)


def preferred(call: Call, plan: RoutePlan, routes: RoutesSnapshot, health: Health) -> list[Step]:
    """The route's steps with those that the caller prefers first, in the caller's order.

    A preferred name is one of the route's models, or any name that the caller's key may call anyway. Raises NotFound
    for an unknown name, Forbidden for one that the key may not call. A model that was asked for by its own name stays
    first unless the list places it: then the list holds its fallbacks.
    """
    within = {step.model: step for step in plan.steps}
    chosen: dict[str, Step] = {}
    for name in call.controls.prefer:
        if name in within:
            chosen[name] = within[name]
            continue
        other = route_plan(routes, name, health)
        if other is None:
            raise NotFound(f"There is no model or route {name!r}.", code="model_not_found", param="prefer")
        allow(call, name, param="prefer")
        for step in other.steps:
            chosen.setdefault(step.model, step)
    if plan.view.is_model and not any(model in chosen for model in within):
        return [*plan.steps, *chosen.values()]
    return [*chosen.values(), *(step for model, step in within.items() if model not in chosen)]


def allow(call: Call, name: str, *, param: str = "model") -> None:
    """Raise Forbidden unless the caller's key may call this name."""
    caller = call.caller
    if caller is not None and caller.models is not None and name not in caller.models:
        raise Forbidden(
            f"This API key may not call {name!r}.",
            param=param,
            hint="GET /v1/models lists what it may call; an admin of your workspace can change that.",
        )


def unfit(call: Call, steps: Iterable[Step]) -> dict[str, str]:
    """Models that don't serve this call, with the reason.

    Another kind of model, a form that can't be said in the words that the target knows, or a condition that does not
    hold. Raises InvalidRequest where the form's own text is wrong.
    """
    form = call.form.name
    found = {}
    facts: Facts | None = None
    as_it_is = False
    for step in steps:
        kind = step.view.model.kind
        if kind in TEXTLESS_KINDS and form in TEXT_FORMS:
            found[step.model] = f"is a model for {kind}, not for text"
        elif not as_it_is and form in TRANSLATED_FORMS:
            as_it_is = speaks(step.targets[0], form)  # then the others are looked at when it is their turn
            if not as_it_is and (lost := untranslatable(call)) is not None:
                found[step.model] = f"can't be asked this: {lost.message}"
        for condition in step.conditions:
            facts = facts or Facts(call)
            if not condition.holds(facts.get(condition.field)):
                was = facts.complexity_told() if condition.field == "complexity" else shown(facts.get(condition.field))
                found[step.model] = f"is for {condition.told}; here it is {was}"
                break
    return found


def untranslatable(call: Call) -> Unsupported | None:
    """What in the call only a provider could serve that speaks the caller's own form."""
    try:
        call.canonical()
    except Unsupported as lost:
        return lost
    return None


def shown(value: object) -> str:
    """A fact as words."""
    if isinstance(value, tuple):
        return ", ".join(value) or "not given"
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
