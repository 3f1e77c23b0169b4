"""Routes made ready to be called: what each configuration gives, worked out once and not for every call."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from gateway.core.call import Target
from gateway.core.conditions import predicate, told
from gateway.providers import provider_of
from gateway.providers.base import Provider
from gateway.routing.breaker import Circuit
from gateway.routing.health import Health, Speed
from gateway.routing.retry import RetryBudget
from gateway.snapshot import RoutesSnapshot, RouteView, TargetView, Timeouts


class Condition(NamedTuple):
    field: str
    holds: Callable[[Any], bool]
    told: str


@dataclass(slots=True)
class Step:
    """One target of a route with all it takes to call it. `targets` and `circuits` go together, one a credential."""

    view: TargetView
    model: str
    targets: tuple[Target, ...]
    circuits: tuple[Circuit, ...]
    adapter: Provider
    speed: Speed
    streamed: Timeouts
    whole: Timeouts
    note: dict[str, Any]  # its line in the decision when nothing is special
    conditions: tuple[Condition, ...] = ()
    turn: int = 0  # which credential is next
    slow_since: float | None = None  # see outliers.py


@dataclass(slots=True)
class RoutePlan:
    """One route.

    simple    its chain is taken as it stands, for every call
    all_text  all of its models write text, so any call of text fits
    """

    view: RouteView
    steps: tuple[Step, ...]
    candidates: tuple[Target, ...]
    decision: list[dict[str, Any]]
    budget: RetryBudget
    simple: bool
    all_text: bool
    most_attempts: int
    hedges: RetryBudget | None = None  # where the route asks for it; see hedge.py
    looked_at: float = 0.0  # see outliers.py
    slow: frozenset[str] = frozenset()


@dataclass(slots=True)
class Chosen:
    """What `choose` found for one call, for `opened` to carry out."""

    plan: RoutePlan
    steps: tuple[Step, ...]
    health: Health
    first: int = 0  # the credential of the first step whose turn it is


def route_plan(routes: RoutesSnapshot, name: str, health: Health) -> RoutePlan | None:
    """The plan of a route or model, None when there is none of that name."""
    if health.plans is None or health.plans[0] is not routes:
        health.plans = (routes, {})
    plans: dict[str, Any] = health.plans[1]
    found: RoutePlan | None = plans.get(name)
    if found is None:
        view = routes.routes.get(name)
        if view is None:
            return None
        found = plans[name] = compile_route(view, routes.timeouts, health)
    return found


def compile_route(view: RouteView, timeouts: Timeouts, health: Health) -> RoutePlan:
    steps = tuple(compile_step(each, timeouts, health) for each in view.targets if each.model.targets)
    return RoutePlan(
        view=view,
        steps=steps,
        candidates=tuple(step.targets[0] for step in steps),
        decision=[step.note for step in steps],
        budget=health.retry_budget(view.name),
        simple=view.strategy == "priority" and not any(step.view.conditions for step in steps),
        all_text=all(step.view.model.kind == "chat" for step in steps),
        most_attempts=max(5, len(steps)),
        hedges=None if view.hedge_after_s is None else health.hedge_budget(view.name),
    )


def compile_step(view: TargetView, timeouts: Timeouts, health: Health) -> Step:
    targets = view.model.targets
    total = timeouts.total if view.timeout_s is None else view.timeout_s
    first, token = view.first_byte_timeout_s, view.first_token_timeout_s
    connect = timeouts.connect if view.connect_timeout_s is None else view.connect_timeout_s
    idle = timeouts.idle if view.idle_timeout_s is None else view.idle_timeout_s
    if token is None:
        token = max(timeouts.first_byte, timeouts.first_token) if first is None else first
    return Step(
        view=view,
        model=view.model.name,
        targets=targets,
        circuits=tuple(health.circuit(target) for target in targets),
        adapter=provider_of(targets[0]),
        speed=health.speed(targets[0]),
        streamed=Timeouts(
            connect=connect,
            first_byte=timeouts.first_byte if first is None else first,
            first_token=token,
            idle=idle,
            total=total,
        ),
        # The first byte of a whole answer comes when all of it is made, so only a limit set on purpose applies.
        whole=Timeouts(connect, total if first is None else first, total, idle, total),
        note={"model": view.model.name, "provider": view.model.provider, "state": "candidate"},
        conditions=tuple(Condition(*predicate(each), told(each)) for each in view.conditions),
    )
